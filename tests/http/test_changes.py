"""Changes that pipelines tell: stored once, told on by their id, refused by index."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from console.identity.models import Role
from messages.models import Change, Flow, IngestReject, System
from tests.factories import agent_key, api_key, environment, person, push

pytestmark = pytest.mark.django_db
CHANGES = "/ingest/v1/changes"
NOW = datetime.now(UTC).replace(microsecond=0)


def deployment(**changes: Any) -> dict[str, Any]:
    return {
        "id": "github/shop/erp/17/1", "kind": "deployment", "title": "Deploy ERP", "systems": ["erp"], "version": "2.4.1",
    } | changes  # fmt: skip


def tell(*items: Any, key: str | None = None, **headers: str) -> Any:
    return push(CHANGES, list(items), key=key or agent_key("pipeline"), **headers)


def ask(path: str, key: str, body: Any = None) -> Any:
    client, header = Client(raise_request_exception=False), {"HTTP_AUTHORIZATION": f"Bearer {key}"}
    if body is None:
        return client.get(f"/api/v1/{path}", **header)
    return client.post(f"/api/v1/{path}", body, content_type="application/json", **header)


def operator(name: str = "op", role: Role = Role.OPERATOR, **where: Any) -> str:
    return api_key(person(name, role, **where))


def test_a_change_is_stored_as_it_was_told():
    said = deployment(
        flows=["orders: shop → erp"], started_at=(NOW - timedelta(minutes=9)).isoformat(), ended_at=NOW.isoformat(),
        outcome="success", url="https://ci.example/run/17", author="ana",
    )  # fmt: skip

    answer = tell(said)

    assert (answer.status_code, answer.json()) == (200, {"accepted": 1, "duplicates": 0, "rejected": []})
    found = Change.objects.get()
    assert (found.kind, found.title, found.version, found.systems) == ("deployment", "Deploy ERP", "2.4.1", ["erp"])
    assert (found.flows, found.outcome, found.author) == (["orders: shop → erp"], "succeeded", "ana")
    assert (found.started_at, found.ended_at) == (NOW - timedelta(minutes=9), NOW)
    assert (found.url, found.external_id, found.agent.name) == (
        "https://ci.example/run/17",
        "github/shop/erp/17/1",
        "pipeline",
    )
    assert (System.objects.count(), Flow.objects.count()) == (0, 0)  # naming something does not make it


def test_the_same_change_sent_twice_is_one_in_the_same_batch_and_in_another():
    key = agent_key()

    first = tell(deployment(), key=key)
    again = tell(deployment(), key=key)
    elsewhere = tell(deployment(), deployment(), deployment(id="another"), key=key)

    assert first.json() == again.json() == {"accepted": 1, "duplicates": 0, "rejected": []}
    assert elsewhere.json() == {"accepted": 1, "duplicates": 2, "rejected": []}
    assert Change.objects.count() == 2


def test_a_batch_id_with_another_body_is_a_conflict_and_changes_nothing():
    key = agent_key()
    tell(deployment(), key=key, HTTP_IDEMPOTENCY_KEY="batch 1")

    answer = tell(deployment(title="Other"), key=key, HTTP_IDEMPOTENCY_KEY="batch 1")

    assert (answer.status_code, answer.json()["code"]) == (409, "batch_conflict")
    assert Change.objects.get().title == "Deploy ERP"


def test_a_later_message_says_how_it_ended_and_needs_only_the_id():
    tell(deployment(outcome="running"))
    began_at = Change.objects.get().started_at

    answer = tell({"id": "github/shop/erp/17/1", "outcome": "failure"})

    found = Change.objects.get()
    assert answer.json()["accepted"] == 1
    assert (found.outcome, found.started_at, found.title) == ("failed", began_at, "Deploy ERP")
    assert found.ended_at is not None
    assert found.ended_at >= began_at


def test_a_start_that_comes_late_or_again_does_not_undo_the_end():
    end, start = deployment(outcome="succeeded"), deployment(outcome="running", author="ana")

    tell(end)
    ended_at = Change.objects.get().ended_at
    tell(start)
    tell(start, deployment(id="in one batch", outcome="running"), deployment(id="in one batch", outcome="cancelled"))

    found = Change.objects.get(external_id="github/shop/erp/17/1")
    assert (found.outcome, found.ended_at, found.author) == ("succeeded", ended_at, "ana")
    assert Change.objects.get(external_id="in one batch").outcome == "cancelled"


def test_a_window_may_lie_ahead_and_its_early_end_is_its_end():
    begins, ends = NOW + timedelta(days=3), NOW + timedelta(days=3, hours=2)
    planned = {"id": "m1", "kind": "maintenance", "title": "ERP patch", "systems": ["erp"]}
    tell(planned | {"started_at": begins.isoformat(), "ended_at": ends.isoformat()})
    tell({"id": "m2", "kind": "maintenance", "title": "now", "ended_at": ends.isoformat()})

    tell({"id": "m2", "outcome": "succeeded"})

    first, second = Change.objects.get(external_id="m1"), Change.objects.get(external_id="m2")
    assert (first.started_at, first.ended_at) == (begins, ends)
    assert second.ended_at is not None
    assert second.ended_at < datetime.now(UTC) + timedelta(minutes=5)


def test_nul_and_long_texts_are_stored_clean():
    tell(deployment(title="a\x00b" + "ü" * 900, systems=["e\x00rp", "e\x00rp"], author="x" * 300))

    found = Change.objects.get()
    assert found.title.startswith("a\ufffdb")
    assert len(found.title.encode()) <= 300
    assert found.systems == ["e\ufffdrp"]


BAD = {
    "no id": {"kind": "deployment", "title": "x"},
    "no kind at first": {"id": "1", "title": "x"},
    "no title at first": {"id": "1", "kind": "deployment"},
    "only spaces for a title": {"id": "1", "kind": "deployment", "title": "  "},
    "unknown kind": deployment(kind="release"),
    "unknown outcome": deployment(outcome="great"),
    "unknown field": deployment(environment="staging"),
    "no time zone": deployment(started_at="2026-11-24T10:00:00"),
    "out of reason": deployment(started_at="2051-01-01T00:00:00Z"),
    "year 1": deployment(started_at="0001-01-01T00:00:00+14:00"),
    "ends before it starts": deployment(started_at=NOW.isoformat(), ended_at=(NOW - timedelta(hours=1)).isoformat()),
    "lasts too long": deployment(started_at=NOW.isoformat(), ended_at=(NOW + timedelta(days=32)).isoformat()),
    "a script": deployment(url="javascript:alert(1)"),
    "a script with a host": deployment(url="javascript://ci.example/%0aalert(1)"),
    "another scheme": deployment(url="ftp://ci.example/"),
    "no host": deployment(url="https:///x"),
    "a password": deployment(url="https://ana:secret@ci.example/"),
    "a line break": deployment(url="https://ci.example/\nx"),
    "systems are no list": deployment(systems="erp"),
    "an empty name": deployment(systems=[""]),
    "too many names": deployment(systems=[f"s{n}" for n in range(51)]),
    "no object": 7,
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_item_is_answered_by_index_and_kept_and_the_others_are_stored(what: str):
    answer = tell(deployment(id="good"), BAD[what])

    body = answer.json()
    assert (answer.status_code, body["accepted"]) == (200, 1)
    assert [(one["index"], one["code"]) for one in body["rejected"]] == [(1, "invalid_item")]
    assert body["rejected"][0]["detail"]
    assert (IngestReject.objects.get().endpoint, Change.objects.count()) == ("changes", 1)


def test_an_id_belongs_to_one_kind():
    tell(deployment())

    answer = tell(deployment(kind="maintenance"))

    assert "belongs to a deployment" in answer.json()["rejected"][0]["detail"]
    assert Change.objects.get().kind == "deployment"


@pytest.mark.parametrize(("body", "status"), [(b"{}", 400), (b'{"events": []}', 400), (b"[", 400), (b"[" * 70, 400)])
def test_a_body_that_is_no_list_of_changes_is_refused_whole(body: bytes, status: int):
    answer = push(CHANGES, body, key=agent_key())

    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")


def test_envelope_and_lines_are_taken_like_those_of_the_other_addresses():
    key = agent_key()
    lines = b"\n".join(json.dumps(deployment(id=f"line {n}")).encode() for n in range(2))

    envelope = push(CHANGES, {"batch_id": "b", "changes": [deployment()]}, key=key)
    ndjson = push(CHANGES, lines, key=key, content_type="application/x-ndjson")

    assert (envelope.json()["accepted"], ndjson.json()["accepted"]) == (1, 2)


def test_without_a_key_nothing_is_taken():
    environment()

    assert tell(deployment(), key="wb_agent_nobody").status_code == 401


def test_two_environments_do_not_share_ids():
    tell(deployment(), key=agent_key("one"))
    tell(deployment(title="Staging"), key=agent_key("two", slug="staging"))

    assert {change.title for change in Change.objects.all()} == {"Deploy ERP", "Staging"}


def test_the_same_new_change_told_by_many_at_once_is_one(committed: None):
    key, barrier, answers = agent_key(), Barrier(6), []

    def send(number: int) -> None:
        barrier.wait()
        answers.append(tell(deployment(author=f"sender {number}"), key=key))
        connections.close_all()

    threads = [Thread(target=send, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [(answer.status_code, answer.json()["accepted"]) for answer in answers] == [(200, 1)] * 6
    assert Change.objects.count() == 1
