"""Two-way agents over HTTP, on the pages and by REST: who fetches what, and who may say so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Role
from messages.models import Connection, OrderSecret, Replay
from messages.orders.rights import make_order_secret
from messages.orders.wire import Ask, read_order, sign
from messages.replay.services import request_replay
from tests.factories import ROOT, agent, agent_key, api_key, person, push, stored_letter
from tests.orders.test_services import agents_connection, asked
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
ORDERS, RESULTS = "/ingest/v1/orders", "/ingest/v1/orders/results"
NONCE = "0a" * 16


def question(**changes: Any) -> bytes:
    said = {"connection": "redis", "kind": "memory", "most": 5, "nonce": NONCE} | changes
    return Ask(**said).data()


def post(path: str, data: bytes, *, key: str, secret: str, label: Any = "ask") -> Any:
    return push(path, data, key=key, HTTP_WAYBILL_SIGNATURE=sign(secret, label, data))


def test_an_agent_fetches_its_order_and_reports_and_both_are_signed():
    agents_connection()
    [replay] = asked(1)
    key, secret = agent_key("harvester"), make_order_secret(agent("harvester"), by=ROOT)

    answer = post(ORDERS, question(), key=key, secret=secret)
    order = read_order(answer.json(), secret=secret, nonce=NONCE, connection="redis", kind="memory")
    report = json.dumps(
        {"results": [{"id": str(replay.pk), "attempt": 1, "result": "confirmed", "detail": "ok"}]}
    ).encode()
    marked = post(RESULTS, report, key=key, secret=secret, label="results")
    again = post(RESULTS, report, key=key, secret=secret, label="results")
    nothing = post(ORDERS, question(nonce="0b" * 16), key=key, secret=secret)

    assert [one.message.id for one in order.items] == [str(replay.pk)]
    assert answer["Cache-Control"] == "no-store"
    assert marked.json() == {"marked": 1, "again": 0, "not_yours": 0}
    assert again.json() == {"marked": 0, "again": 1, "not_yours": 0}
    assert (nothing.json()["order"], nothing.json()["again_s"], nothing["Retry-After"]) == (None, 1, "1")
    assert Replay.objects.get().state == "confirmed"
    assert Connection.objects.get().agent_asked_at is not None


def test_a_key_without_the_order_secret_fetches_and_marks_nothing():
    agents_connection()
    [replay] = asked(1)
    key, others = agent_key("harvester"), make_order_secret(agent("another"), by=ROOT)
    report = json.dumps({"results": [{"id": str(replay.pk), "attempt": 1, "result": "confirmed"}]}).encode()

    without = post(ORDERS, question(), key=key, secret="")
    make_order_secret(agent("harvester"), by=ROOT)
    unsigned = push(ORDERS, question(), key=key)
    foreign = post(ORDERS, question(), key=key, secret=others)
    marked = post(RESULTS, report, key=key, secret=others, label="results")
    no_key = Client().post(ORDERS, question(), content_type="application/json")

    assert [one.status_code for one in (without, unsigned, foreign, marked, no_key)] == [403, 403, 403, 403, 401]
    assert {one.json()["code"] for one in (without, unsigned, foreign, marked)} == {"orders_not_allowed"}
    assert Replay.objects.get().state == "queued"


@pytest.mark.parametrize(
    ("path", "label", "body"),
    [
        (ORDERS, "ask", b"[]"),
        (ORDERS, "ask", question(nonce="short")),
        (ORDERS, "ask", question(most=0)),
        (ORDERS, "ask", question(most="many")),
        (ORDERS, "ask", question().replace(b'"format": 1', b'"format": 2')),
        (RESULTS, "results", b'{"results": []}'),
        (RESULTS, "results", b'{"results": [{"id": "x", "attempt": 1, "result": "confirmed"}]}'),
        (RESULTS, "results", json.dumps({"results": [{"id": NONCE, "attempt": 1, "result": "fine"}]}).encode()),
        (
            RESULTS,
            "results",
            json.dumps({"results": [{"id": NONCE, "attempt": 1, "result": "confirmed"}] * 2}).encode(),
        ),
        (
            RESULTS,
            "results",
            json.dumps({"results": [{"id": NONCE, "attempt": 2**40, "result": "confirmed"}]}).encode(),
        ),
    ],
)
def test_what_is_no_question_and_no_report_is_refused_though_it_is_signed(path: str, label: Any, body: bytes):
    key, secret = agent_key("harvester"), make_order_secret(agent("harvester"), by=ROOT)

    answer = post(path, body, key=key, secret=secret, label=label)

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


def test_nul_and_hostile_words_in_a_report_do_no_harm():
    agents_connection()
    [replay] = asked(1)
    key, secret = agent_key("harvester"), make_order_secret(agent("harvester"), by=ROOT)
    post(ORDERS, question(), key=key, secret=secret)
    said = {"id": str(replay.pk), "attempt": 1, "result": "refused", "detail": "a\x00<b>", "retry_after_s": 2**31 - 1}

    answer = post(RESULTS, json.dumps({"results": [said]}).encode(), key=key, secret=secret, label="results")

    assert (answer.status_code, Replay.objects.get().detail) == (200, "a<b>")


def test_an_administrator_lets_a_connection_live_with_an_agent_and_gives_it_an_order_secret_on_the_pages():
    client, found = signed_in(), agent("harvester")
    form = {"name": "redis", "kind": "memory", "agent": str(found.pk), "address": "", "secret": "forgotten"}

    made = client.post("/connections/", form)
    page = client.get(made["Location"])
    client.post(made["Location"] + "approve")
    shown = client.post(f"/agents/{found.pk}/order-secret/")

    stored = Connection.objects.get()
    assert (stored.agent, stored.address, bytes(stored.secret), stored.approved_at is not None) == (
        found,
        "",
        b"",
        True,
    )
    assert "has never asked for replays" in text_of(page)
    assert "Replace the credentials" not in page.content.decode()
    assert "Test now" not in page.content.decode()
    assert "lives with harvester, which is not heard" in text_of(client.get("/connections/"))
    assert ("wb_order_" in shown.content.decode(), shown["Cache-Control"]) == (True, "no-store")
    assert "wb_order_" not in client.get(f"/agents/{found.pk}/").content.decode()
    assert client.post(f"/agents/{found.pk}/order-secret/end/").status_code == 303
    assert not OrderSecret.objects.exists()
    assert {"connection.created", "order_secret.made", "order_secret.ended"} <= set(
        AuditEntry.objects.values_list("action", flat=True)
    )


def test_a_connection_needs_an_address_or_an_agent_and_moves_between_them():
    client, found = signed_in(), agent("harvester")
    form = {"name": "redis", "kind": "memory", "address": ""}

    refused = client.post("/connections/", form)
    made = client.post("/connections/", form | {"address": "memory://x"})["Location"]
    place = f"{made}place/"
    moved = client.post(place, {"agent": str(found.pk), "address": "memory://x"})
    nowhere = client.post(place, {"agent": "", "address": ""})
    foreign = client.post(place, {"agent": str(agent("far", "staging").pk)})
    back = client.post(place, {"agent": "", "address": "memory://y"})

    assert [one.status_code for one in (refused, moved, nowhere, foreign, back)] == [422, 303, 422, 422, 303]
    assert Connection.objects.get().address == "memory://y"


def test_an_operator_sees_where_it_lives_and_changes_nothing():
    found, operator = agents_connection(), signed_in("olga", Role.OPERATOR)

    page = operator.get(f"/connections/{found.pk}/")
    answers = [operator.post(f"/connections/{found.pk}/place/", {"address": "memory://x"}),
               operator.post(f"/agents/{found.agent_id}/order-secret/"), operator.post(f"/agents/{found.agent_id}/order-secret/end/")]  # fmt: skip

    assert "harvester is not heard" in text_of(page)
    assert "Move it" not in page.content.decode()
    assert [one.status_code for one in answers] == [422, 403, 403]


def test_a_replay_that_waits_for_a_silent_agent_says_so_on_its_letter():
    found = agents_connection()
    letter = stored_letter()
    request_replay(letter, by=ROOT, reason="again")
    client = signed_in(role=Role.OPERATOR)

    silent = text_of(client.get(f"/dead-letters/{letter.pk}/"))
    key, secret = agent_key("harvester"), make_order_secret(agent("harvester"), by=ROOT)
    post(ORDERS, question(connection="nowhere"), key=key, secret=secret)
    Replay.objects.update(state="withdrawn")
    post(ORDERS, question(), key=key, secret=secret)
    Replay.objects.update(state="queued")
    heard = text_of(client.get(f"/dead-letters/{letter.pk}/"))

    assert "It waits for the agent harvester, which is not heard. It has never asked for replays" in silent
    assert "It waits for the agent harvester to fetch it." in heard
    assert found.agent_is_silent


def test_a_heartbeat_says_what_an_agent_sent_and_its_page_shows_it():
    said = {
        "broker": "rabbit-eu",
        "kind": "rabbitmq",
        "confirmed": 1204,
        "error": "the broker <b>went</b>",
        "asked_at": "2026-11-26T09:00:00+00:00",
    }

    answer = push("/ingest/v1/heartbeat", {"version": "1", "replays": [said]}, key=agent_key("harvester"))

    page = signed_in().get(f"/agents/{agent('harvester').pk}/")
    assert answer.status_code == 200
    assert "rabbit-eu" in text_of(page)
    assert "1,204" in text_of(page)
    assert "<b>went" not in page.content.decode()


def test_all_of_it_is_in_rest():
    root = person("root", Role.ADMINISTRATOR)
    key, found = api_key(root), agent("harvester")
    client = Client(HTTP_AUTHORIZATION=f"Bearer {key}")

    def call(method: str, path: str, body: Any = None) -> Any:
        return client.generic(method, f"/api/v1/{path}", json.dumps(body or {}), content_type="application/json")

    none = call("GET", f"agents/{found.pk}/order-secret")
    made = call("POST", f"agents/{found.pk}/order-secret")
    told = call("GET", f"agents/{found.pk}/order-secret")
    added = call(
        "POST", "connections", {"environment": "production", "name": "redis", "kind": "memory", "agent": "harvester"}
    )
    unknown = call(
        "POST", "connections", {"environment": "production", "name": "b", "kind": "memory", "agent": "nobody"}
    )
    no_address = call("POST", "connections", {"environment": "production", "name": "b", "kind": "memory"})
    back = call("PUT", f"connections/{added.json()['id']}/place", {"address": "memory://x"})
    again = call("PUT", f"connections/{added.json()['id']}/place", {"agent": "harvester"})
    tested = call("POST", f"connections/{added.json()['id']}/test")
    ended = call("DELETE", f"agents/{found.pk}/order-secret")

    statuses = [one.status_code for one in (none, made, told, added, unknown, no_address, back, again, tested, ended)]
    assert statuses == [404, 201, 200, 201, 404, 400, 200, 200, 400, 204]
    assert made.json()["order_secret"].startswith("wb_order_")
    assert told.json()["made_by"] == "root"
    assert (added.json()["agent"], back.json()["agent"], again.json()["agent"]) == ("harvester", None, "harvester")
    assert tested.json()["code"] == "lives_with_agent"
