"""Which keys open what: not an expired one, not one of somebody who left; and who may read /metrics from elsewhere."""

from __future__ import annotations

import json
import socket
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from console.identity.keys import revoke_key
from console.identity.models import Agent, Key, Role, User
from messages.ingest import http as ingest_http
from messages.models import Event
from tests.factories import agent_key, api_key, environment, event, person, push
from tests.product import wait_until

pytestmark = pytest.mark.django_db


def ask(path: str, key: str = "", **environ: str) -> Any:
    headers = {"HTTP_AUTHORIZATION": f"Bearer {key}"} if key else {}
    return Client(raise_request_exception=False).get(path, **headers, **environ)


@pytest.mark.parametrize(("minutes", "status"), [(-1, 401), (1, 200)])
def test_a_key_opens_until_it_expires(minutes: int, status: int):
    pushing, reading = agent_key(), api_key(person("op", Role.OPERATOR))
    Key.objects.update(expires_at=timezone.now() + timedelta(minutes=minutes))

    assert push("/ingest/v1/events", [event()], key=pushing).status_code == status
    assert ask("/api/v1/flows", reading).status_code == status


def test_the_keys_of_somebody_who_left_open_nothing():
    reading = api_key(person("op", Role.OPERATOR))
    User.objects.update(is_active=False)

    answer = ask("/api/v1/flows", reading)

    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_key")


def test_a_key_with_one_letter_changed_is_refused_before_the_database_is_asked(django_assert_num_queries):
    key = agent_key()

    with django_assert_num_queries(0):
        answer = push("/ingest/v1/events", [event()], key=key[:-8] + ("a" if key[-8] != "a" else "b") + key[-7:])

    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_key")


def metrics_readers() -> dict[str, str]:
    environment()
    root = User.objects.create_superuser("boss", password="long-enough-Secret-1")
    return {"nobody": "", "operator": api_key(person("op", Role.OPERATOR)), "root": api_key(root), "agent": agent_key()}


@pytest.mark.parametrize(("reader", "status"), [("nobody", 401), ("agent", 401), ("operator", 403), ("root", 200)])
@pytest.mark.parametrize(
    "way",
    [{"REMOTE_ADDR": "10.1.2.3"}, {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "10.1.2.3"}],
    ids=["direct", "proxy"],
)
def test_metrics_are_open_on_the_loopback_and_else_for_administrators(reader: str, status: int, way: dict[str, str]):
    keys = metrics_readers()

    assert ask("/metrics", keys[reader], **way).status_code == status
    assert ask("/metrics", REMOTE_ADDR="127.0.0.1").status_code == 200


def test_a_key_that_is_revoked_while_the_body_comes_opens_nothing_any_more(
    committed: None, live_server: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ingest_http, "KEY_FRESH_S", 0)
    body, key, address = json.dumps([event()]).encode(), agent_key(), urlsplit(live_server.url)
    head = f"POST /ingest/v1/events HTTP/1.0\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    asked = Agent.objects.get().pk
    ingest_http._agents.clear()

    with socket.create_connection((address.hostname, address.port), timeout=30) as line:
        line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:10])
        wait_until(lambda: ingest_http._agents, seconds=20, what="the key to be looked at")
        revoke_key(Key.objects.get(agent_id=asked))
        line.sendall(body[10:])
        answer = b"".join(iter(lambda: line.recv(65536), b""))

    assert b" 401 " in answer.partition(b"\r\n")[0]
    assert b"invalid_key" in answer
    assert not Event.objects.exists()
