"""Pushing back: quota, disk, a database behind a lock. Whatever is refused is refused with Retry-After, and nothing of it is stored."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
import redis
from django.conf import settings
from django.db import connection

from console.audit.models import AuditEntry
from console.identity.models import Agent, Role
from messages.ingest import gate, http
from messages.models import Event
from tests.factories import agent_key, api_key, event, person, push
from tests.pages.people import signed_in, text_of

EVENTS = "/ingest/v1/events"


@pytest.fixture(autouse=True)
def fresh_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_stuck_until", 0.0)
    monkeypatch.setattr(gate, "_disk", (float("-inf"), 1.0))
    monkeypatch.setattr(gate, "_in_debt", {})
    monkeypatch.setattr(gate, "_buckets", {})
    http._agents.clear()
    redis.Redis.from_url(settings.REDIS_URL).flushall()


@pytest.mark.django_db
@pytest.mark.parametrize("redis_answers", [True, False], ids=["counted in Redis", "Redis is away"])
def test_over_its_quota_an_agent_waits_and_another_does_not(redis_answers: bool, monkeypatch: pytest.MonkeyPatch):
    if not redis_answers:
        monkeypatch.setattr(gate, "_redis", redis.Redis(port=1, socket_connect_timeout=0.1))
    key, other = agent_key("noisy"), agent_key("quiet")
    Agent.objects.filter(name="noisy").update(events_per_s=10)

    first = push(EVENTS, [event() for _ in range(150)], key=key)  # the burst is 100: 50 in debt
    second = push(EVENTS, [event()], key=key)

    assert first.status_code == 200
    assert (second.status_code, second.json()["code"], second["Retry-After"]) == (429, "over_quota", "5")
    assert "10 events a second" in second.json()["detail"]
    assert push(EVENTS, [event()], key=other).status_code == 200
    assert Event.objects.count() == 151


@pytest.mark.django_db
def test_a_quota_of_bytes_counts_what_came_over_the_wire():
    key = agent_key("noisy")
    Agent.objects.filter(name="noisy").update(bytes_per_s=100)
    push(EVENTS, [event(name="x" * 3000)], key=key)

    assert push(EVENTS, [event()], key=key).json()["code"] == "over_quota"


@pytest.mark.django_db
def test_a_body_that_is_refused_counts_towards_the_quota_of_bytes():
    key = agent_key("noisy")
    Agent.objects.filter(name="noisy").update(bytes_per_s=100)

    codes = [push(EVENTS, b"x" * 3000, key=key).json()["code"] for _ in range(2)]

    assert codes == ["malformed", "over_quota"]


@pytest.mark.django_db
def test_of_two_quotas_the_longer_wait_holds():
    key = agent_key("noisy")
    Agent.objects.filter(name="noisy").update(events_per_s=1, bytes_per_s=1000)
    push(EVENTS, [event(name="x" * 1000) for _ in range(40)], key=key)  # 30 s of events, about as many of bytes
    Agent.objects.filter(name="noisy").update(bytes_per_s=4000)
    http._agents.clear()

    answer = push(EVENTS, [event()], key=key)

    assert (answer.json()["code"], answer["Retry-After"]) == ("over_quota", "30")


@pytest.mark.django_db
@pytest.mark.parametrize("quota", [1000, None])
def test_a_larger_quota_takes_effect_for_an_agent_that_waits(quota: int | None):
    key = agent_key("noisy")
    Agent.objects.filter(name="noisy").update(events_per_s=1)
    push(EVENTS, [event() for _ in range(40)], key=key)
    assert push(EVENTS, [event()], key=key).status_code == 429

    Agent.objects.filter(name="noisy").update(events_per_s=quota)
    http._agents.clear()  # as after three seconds

    assert push(EVENTS, [event()], key=key).status_code == 200


@pytest.mark.django_db
def test_otlp_is_told_in_its_own_words_to_come_back():
    from google.rpc.status_pb2 import Status

    key = agent_key("noisy")
    Agent.objects.filter(name="noisy").update(events_per_s=1)
    push(EVENTS, [event() for _ in range(20)], key=key)

    answer = push("/v1/traces", b"\x0a\x00", key=key, content_type="application/x-protobuf")

    assert (answer.status_code, Status.FromString(answer.content).code, answer["Retry-After"]) == (429, 8, "10")


@pytest.mark.django_db
def test_a_disk_that_is_nearly_full_takes_nothing_until_there_is_room(monkeypatch: pytest.MonkeyPatch):
    key = agent_key()
    monkeypatch.setattr(settings, "DISK_RESERVE_PERCENT", 10)
    monkeypatch.setattr(settings, "DISK_PATHS", [Path("/")])
    monkeypatch.setattr(gate.shutil, "disk_usage", lambda path: SimpleNamespace(free=9, total=100))

    answer = push(EVENTS, [event()], key=key)

    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (503, "disk_nearly_full", "30")
    assert Event.objects.count() == 0
    monkeypatch.setattr(gate.shutil, "disk_usage", lambda path: SimpleNamespace(free=11, total=100))
    monkeypatch.setattr(gate, "_disk", (float("-inf"), 1.0))
    assert push(EVENTS, [event()], key=key).status_code == 200


@pytest.mark.django_db
def test_a_disk_that_fills_is_said_on_every_page_in_rest_and_by_readyz(monkeypatch: pytest.MonkeyPatch):
    client, said = signed_in("vera", Role.VIEWER), []
    monkeypatch.setattr(settings, "DISK_RESERVE_PERCENT", 10)

    for free in (0.5, 0.12, 0.07):
        monkeypatch.setattr(gate, "_disk", (float("inf"), free))
        said.append(client.get("/api/v1/ingest").json()[0]["alarm"])
        page = client.get("/flows/")

        assert client.get("/readyz").json()["checks"]["disk"] == (said[-1] or "ok")
        assert said[-1] in text_of(page)
        assert ('role="alert"' in page.content.decode()) == bool(said[-1])

    assert said == [
        "",
        "12.0% of the disk is free. Under 10 % ingest takes nothing more.",
        "Only 7.0% of the disk is free: ingest takes nothing until 10 % are. Agents keep what they have.",
    ]


def test_behind_a_lock_one_request_waits_and_those_after_it_are_refused_at_once(committed):
    key, started, done = agent_key(), threading.Event(), threading.Event()

    def hold() -> None:
        with psycopg.connect(_dsn()) as other:
            other.execute("LOCK TABLE messaging_event IN ACCESS EXCLUSIVE MODE")
            started.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    started.wait(10)
    try:
        waited = push(EVENTS, [event()], key=key)
        at_once = [push(EVENTS, [event()], key=key) for _ in range(20)]
    finally:
        done.set()
        thread.join()
    time.sleep(max(0.0, gate._stuck_until - time.monotonic()))

    assert (waited.status_code, waited["Retry-After"]) == (503, "2")
    assert {(answer.status_code, answer.json()["code"]) for answer in at_once} == {(503, "unavailable")}
    assert "stuck behind a lock" in at_once[0].json()["detail"]
    assert push(EVENTS, [event()], key=key).status_code == 200
    assert Event.objects.count() == 1


def _dsn() -> str:
    given = connection.get_connection_params()
    return psycopg.conninfo.make_conninfo(
        "", **{name: given[name] for name in ("host", "port", "user", "password", "dbname") if given.get(name)}
    )


@pytest.mark.django_db
def test_an_administrator_sets_a_quota_on_the_page_and_by_rest_and_nobody_else():
    agent_key("noisy")
    agent = Agent.objects.get()
    page = f"/agents/{agent.pk}/quota"

    assert signed_in().post(page, {"events_per_s": "1,000", "bytes_per_s": ""}).status_code == 303
    refused = signed_in("again", Role.ADMINISTRATOR).post(page, {"events_per_s": "many", "bytes_per_s": "7"})
    assert (refused.status_code, "is not a whole number" in text_of(refused)) == (422, True)
    assert signed_in("operator", Role.OPERATOR).post(page, {"events_per_s": "1", "bytes_per_s": ""}).status_code == 403
    agent.refresh_from_db()
    assert (agent.events_per_s, agent.bytes_per_s) == (1000, None)
    assert AuditEntry.objects.get(action="agent.quota_changed").details["events_per_s"] == [None, 1000]

    def patch(key: str, body: object) -> object:
        from django.test import Client

        return Client().patch(
            f"/api/v1/agents/{agent.pk}", body, content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {key}"
        )

    admin, viewer = api_key(person("rest", Role.ADMINISTRATOR)), api_key(person("reader", Role.VIEWER))
    assert patch(admin, {"bytes_per_s": 5_000_000}).json()["events_per_s"] == 1000
    assert patch(admin, {"events_per_s": 0}).status_code == 400
    assert patch(viewer, {"events_per_s": 5}).status_code == 403
    agent.refresh_from_db()
    assert (agent.events_per_s, agent.bytes_per_s) == (1000, 5_000_000)
