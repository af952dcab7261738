"""Replaying one dead letter: send, mark, prove, and what a person decides about it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from console.audit.models import AuditEntry
from console.core.errors import Forbidden
from console.identity.models import Role
from messages.catalog.connections import withdraw_connection
from messages.connectors import memory
from messages.models import Flow, Message, Replay
from messages.replay.proofs import settle_replays
from messages.replay.sending import send_due
from messages.replay.services import IllegalTransition, ReplayNotAllowed, mark_processed, request_replay, send_again
from messages.replay.states import TRANSITIONS, can_move
from messages.search.naming import name_of
from tests.factories import ROOT, actor, agent_key, event, letter, memory_connection, person, push, stored_letter

pytestmark = pytest.mark.django_db


def sent_to(found, destination="erp.orders"):
    return memory.QUEUES[found.address][destination]


def replayed(**changes):
    """Return (connection, letter, replay) after a worker ran the replay."""
    found, stored = memory_connection(**changes.pop("options", {})), stored_letter(**changes)
    replay = request_replay(stored, by=ROOT, reason="fixed")
    send_due(replay.connection_id)
    replay.refresh_from_db()
    return found, stored, replay


def prove(replay, **changes):
    """Push the receiver's event, as its exporter would, and look for proofs."""
    item = event(
        system="erp",
        operation="process",
        destination="erp.orders",
        occurred_at=datetime.now(UTC).isoformat(),
        message_id="",
        **changes,
    )
    assert push("/ingest/v1/events", [item], key=agent_key("erp exporter")).json()["accepted"] == 1
    settle_replays()
    replay.refresh_from_db()


def test_a_confirmed_replay_is_not_called_processed_before_its_proof():
    _, stored, replay = replayed()

    settle_replays()
    replay.refresh_from_db()
    stored.refresh_from_db()

    assert (replay.state, stored.state) == ("confirmed", "replaying")


def test_what_goes_out_is_the_message_without_the_deads_headers_and_with_our_marks():
    headers = [
        {"name": n, "type": "string", "value": "v"}
        for n in ("message-id", "error-stack", "x-death", "kafka_dlt-original-topic", "mine", "traceparent")
    ]
    found, stored, replay = replayed(headers=headers, body="hello")

    [out] = sent_to(found)

    names = [h.name for h in out.headers]
    assert names == ["message-id", "mine", "replay-id", "replay-of", "replay-attempt", "replay-by", "traceparent"]
    assert out.body == b"hello"
    assert next(h.value for h in out.headers if h.name == "replay-id") == str(replay.pk)
    assert next(h.value for h in out.headers if h.name == "traceparent").split("-")[1] == replay.trace_id.hex
    assert next(h.value for h in out.headers if h.name == "replay-of") == stored.message_id


@pytest.mark.parametrize("tie", ["trace", "link", "message id"])
def test_the_receivers_event_proves_it_by_trace_link_or_message_id(tie):
    _, stored, replay = replayed()
    own = {"trace_id": "ab" * 16, "span_id": "cd" * 8}
    ties = {
        "trace": {"trace_id": replay.trace_id.hex, "span_id": "cd" * 8},
        "link": own | {"links": [{"trace_id": replay.trace_id.hex, "span_id": replay.span_id}]},
        "message id": {"message_id": stored.message_id},
    }

    item = ties[tie]
    message_id = item.pop("message_id", "")
    answer = push(
        "/ingest/v1/events",
        [
            event(
                **{
                    "system": "erp",
                    "operation": "process",
                    "destination": "erp.orders",
                    "occurred_at": datetime.now(UTC).isoformat(),
                    "message_id": message_id,
                }
                | item
            )
        ],
        key=agent_key("erp"),
    )
    assert answer.json()["accepted"] == 1
    settle_replays()
    replay.refresh_from_db()
    stored.refresh_from_db()

    assert (replay.state, replay.proof_tie) == ("processed", tie)
    assert (stored.state, stored.resolution) == ("closed", "processed")
    assert Message.objects.get(id=stored.message_uid).get_status_display() == "delivered"
    entry = AuditEntry.objects.get(action="replay.processed")
    assert entry.object_label == name_of(stored.keys, "").title  # the number people know it by


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "error", "error": {"type": "X"}},
        {"operation": "receive"},
        {"operation": "send"},
        {"system": "crm", "destination": "other"},
    ],
)
def test_a_failure_a_mere_receipt_and_somebody_elses_event_prove_nothing(changes):
    _, _, replay = replayed()

    item = event(
        **{
            "system": "erp",
            "operation": "process",
            "destination": "erp.orders",
            "trace_id": replay.trace_id.hex,
            "span_id": "cd" * 8,
            "message_id": "",
        }
        | changes
    )
    push("/ingest/v1/events", [item], key=agent_key("erp"))
    settle_replays()
    replay.refresh_from_db()

    assert replay.state == "confirmed"


@pytest.mark.parametrize("tie", ["link", "message id"])
@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "error", "error": {"type": "X"}},
        {"operation": "receive"},
        {"operation": "send"},
        {"system": "crm", "destination": "other"},
        {"occurred_at": (datetime.now(UTC) - timedelta(hours=1)).isoformat()},
    ],
    ids=["failure", "receipt", "sending", "another system", "before the replay"],
)
def test_what_proves_nothing_by_trace_proves_nothing_by_link_or_message_id_either(tie, changes):
    _, stored, replay = replayed()
    linked = {"message_id": "", "links": [{"trace_id": replay.trace_id.hex, "span_id": replay.span_id}]}
    tied = linked if tie == "link" else {"message_id": stored.message_id}
    item = event(
        **{"system": "erp", "operation": "process", "destination": "erp.orders", "trace_id": "ab" * 16, "span_id": "cd" * 8}
        | {"occurred_at": datetime.now(UTC).isoformat()} | tied | changes
    )  # fmt: skip

    push("/ingest/v1/events", [item], key=agent_key("erp"))
    settle_replays()
    replay.refresh_from_db()

    assert replay.state == "confirmed"


def test_a_letter_that_comes_back_closes_the_old_one_as_failed_again_and_is_linked():
    _, stored, replay = replayed()

    later = stored_letter(message_id=stored.message_id, replay_id=str(replay.pk))

    replay.refresh_from_db()
    stored.refresh_from_db()
    assert (replay.state, stored.resolution) == ("failed_again", "failed_again")
    assert (later.previous_id, later.state) == (stored.pk, "open")


def test_refused_opens_the_letter_again_with_the_brokers_words():
    _, stored, replay = replayed(options={"refuse": "erp.orders"})

    stored.refresh_from_db()
    assert (replay.state, stored.state) == ("refused", "open")
    assert "no queue takes it" in replay.detail


def test_a_connection_that_was_withdrawn_since_the_request_is_not_used():
    found, stored = memory_connection(), stored_letter()
    replay = request_replay(stored, by=ROOT, reason="fixed")
    withdraw_connection(found, by=ROOT, reason="wrong broker")

    send_due(replay.connection_id)

    replay.refresh_from_db()
    stored.refresh_from_db()
    assert (replay.state, stored.state, sent_to(found)) == ("refused", "open", [])
    assert "not approved any more" in replay.detail


def test_unavailable_waits_and_is_tried_again_and_given_up_after_ten_attempts():
    _, stored, replay = replayed(options={"unavailable": "erp.orders"})
    assert replay.state == "queued"
    assert replay.not_before > replay.created_at

    for _ in range(9):
        Replay.objects.update(not_before=None)
        send_due(replay.connection_id)
    replay.refresh_from_db()
    stored.refresh_from_db()

    assert (replay.state, replay.attempt, stored.state) == ("refused", 10, "open")
    assert "given up" in replay.detail


def test_a_broken_line_is_unknown_until_a_person_or_a_proof_decides():
    _, stored, replay = replayed(options={"unknown": "erp.orders"})
    stored.refresh_from_db()
    assert (replay.state, stored.state) == ("unknown", "replaying")

    prove(replay, trace_id=replay.trace_id.hex, span_id="cd" * 8)

    assert replay.state == "processed"


def test_an_idempotent_receiver_gets_an_unknown_one_again_with_the_same_id():
    found = memory_connection(unknown="erp.orders")
    stored = stored_letter()
    Flow.objects.update(receiver_is_idempotent=True)
    replay = request_replay(stored, by=ROOT, reason="fixed")

    send_due(replay.connection_id)
    replay.refresh_from_db()
    assert replay.state == "queued"
    found.options = {}
    found.save(update_fields=["options"])
    Replay.objects.update(not_before=None)
    send_due(replay.connection_id)
    replay.refresh_from_db()

    assert (replay.state, replay.attempt) == ("confirmed", 2)
    assert [h.value for h in sent_to(found)[0].headers if h.name == "replay-id"] == [str(replay.pk)]


def test_what_a_person_closed_on_their_word_cannot_be_sent_again():
    _, stored, replay = replayed(options={"unknown": "erp.orders"})
    mark_processed(replay, by=ROOT, reason="seen in the ERP")

    with pytest.raises(IllegalTransition):
        send_again(replay, by=ROOT, reason="a second tab was open")

    replay.refresh_from_db()
    stored.refresh_from_db()
    assert (replay.state, stored.state) == ("unknown", "closed")


def test_a_header_that_is_not_what_its_type_says_is_refused_before_anything_is_sent():
    found, _, replay = replayed(headers=[{"name": "due", "type": "timestamp", "value": "yesterday"}])

    assert (replay.state, sent_to(found)) == ("refused", [])
    assert "header due" in replay.detail


def test_a_person_sends_an_unknown_one_again_or_closes_it_with_a_note():
    found, stored, replay = replayed(options={"unknown": "erp.orders"})
    found.options = {}
    found.save(update_fields=["options"])
    send_again(replay, by=ROOT, reason="the receiver is idempotent after all")
    send_due(replay.connection_id)
    replay.refresh_from_db()
    assert replay.state == "confirmed"

    mark_processed(replay, by=ROOT, reason="seen in the ERP")

    stored.refresh_from_db()
    replay.refresh_from_db()
    assert (stored.state, stored.resolution, replay.state) == ("closed", "processed", "confirmed")
    assert replay.proof_event_id is None
    assert "closed without proof by root" in replay.detail


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        ("nothing", "no connection in production is named"),
        ("unapproved", "is not approved"),
        ("no body", "nothing to send"),
        ("no origin", "nowhere to send"),
    ],
)
def test_what_cannot_be_replayed_is_refused_with_what_is_missing(prepare, words):
    if prepare != "nothing":
        found = memory_connection()
        if prepare == "unapproved":
            found.approved_at, found.approved_by = None, ""
            found.save()
    stored = stored_letter(
        **({"body": None} if prepare == "no body" else {"origin": ""} if prepare == "no origin" else {})
    )

    with pytest.raises(ReplayNotAllowed, match=words):
        request_replay(stored, by=ROOT, reason="fixed")

    stored.refresh_from_db()
    assert stored.state == "open"


@pytest.mark.parametrize("role", [None, Role.VIEWER])
def test_only_operators_replay(role):
    memory_connection()
    with pytest.raises(Forbidden):
        request_replay(stored_letter(), by=actor(person("vic", role)), reason="because")


def test_every_state_is_reached_by_a_listed_way_and_final_ones_lead_nowhere():
    assert {state for following in TRANSITIONS.values() for state in following} | {"queued"} == set(TRANSITIONS)
    assert not any(
        can_move(final, after) for final in ("processed", "failed_again", "refused") for after in TRANSITIONS
    )


def test_a_batch_of_letters_keeps_working_when_json_is_odd():
    answer = push("/ingest/v1/dead-letters", json.dumps([letter(body='{"a":')]).encode(), key=agent_key())

    assert answer.json()["accepted"] == 1


def test_whoever_asks_for_a_replay_is_not_held_up_by_a_dead_broker_of_tasks(monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr("kombu.utils.functional.sleep", slept.append)
    dead = Celery("dead", broker="redis://127.0.0.1:1/0", set_as_current=False)
    dead.config_from_object("django.conf:settings", namespace="CELERY")
    dead.conf.broker_url = "redis://127.0.0.1:1/0"

    with pytest.raises(OperationalError):
        dead.send_task("messaging.send_replays", [1])

    assert slept == []
