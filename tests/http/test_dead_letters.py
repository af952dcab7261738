"""Dead letters over HTTP, and what operators do to them."""

from __future__ import annotations

import json

import pytest

from console.audit.models import AuditEntry
from console.core.errors import Forbidden
from console.identity.models import Role
from messages.dead_letters.services import NotOpen, ReasonMissing, discard_dead_letter, restore_dead_letter
from messages.models import DeadLetter, IngestReject, Message
from messages.payloads.queries import stored_content
from tests.factories import ROOT, actor, agent_key, event, letter, person, push, stored_letter

pytestmark = pytest.mark.django_db
LETTERS = "/ingest/v1/dead-letters"


def test_a_dead_letter_is_stored_with_body_headers_keys_and_a_dead_message():
    stored = stored_letter(
        headers=[{"name": "blob", "type": "bytes", "value": "AAE="}],
        body=json.dumps({"order_no": "4711", "x": {"invoice_no": "R1"}}),
    )

    content = stored_content(stored.environment_id, stored.pk, stored.payload_on)

    assert json.loads(content.body)["order_no"] == "4711"
    assert content.headers == [{"name": "blob", "type": "bytes", "value": "AAE="}]
    assert stored.keys == {"order_no": "4711"}
    assert (stored.flow.name, stored.system.name, stored.state) == ("erp.orders", "erp", "open")
    assert Message.objects.get().get_status_display() == "dead"


def test_the_same_death_delivered_again_meets_its_first_copy():
    key, once = agent_key("harvester"), letter()
    push(LETTERS, [once], key=key)

    answer = push(LETTERS, [once, once, letter()], key=key)

    assert answer.json() == {"accepted": 1, "duplicates": 2, "rejected": []}
    assert DeadLetter.objects.count() == 2


def test_the_same_death_twice_in_one_batch_is_one_and_a_duplicate():
    twice = letter()

    answer = push(LETTERS, [twice, letter(), twice, {}], key=agent_key()).json()

    assert (answer["accepted"], answer["duplicates"], len(answer["rejected"])) == (2, 1, 1)
    assert DeadLetter.objects.count() == 2


def test_a_message_seen_before_becomes_dead_and_stays_so_when_an_older_event_arrives_late():
    key = agent_key()
    sent = event(message_id="message-0000000000000042", keys={"order_no": "42"})
    push(LETTERS, [letter(message_id="message-0000000000000042", origin="orders")], key=key)

    push("/ingest/v1/events", [sent, event(message_id=sent["message_id"], operation="process")], key=key)

    message = Message.objects.get()
    assert (message.get_status_display(), message.event_count) == ("dead", 2)


@pytest.mark.parametrize(
    "poison",
    [
        {"body": "a\u0000b"}, {"message_id": "x\u0000" * 100}, {"failed_at": "0001-01-01T00:00:00Z"}, {"failed_at": "9999-12-31T23:59:59Z"},
        {"attempts": 10**12}, {"keys": {"order_no": "\u0000"}}, {"route": {"a" * 500: "b" * 5000}}, {"error": {"stack": "s" * 3_000_000}},
        {"body_base64": "not base64!"}, {"headers": [{"name": "n" * 2000}]}, {"headers": [{"name": "h", "type": "json", "value": {"a": [10**400]}}]},
        {"replay_id": "no uuid"}, {"properties": {"p": 10**30}}, {"reason_code": "tired"}, {"trace_id": "zz"}, {"queue": ""},
        {"\u0000": 1}, {"error": {"a\u0000": 1}},
    ],
)  # fmt: skip
def test_poison_in_one_dead_letter_never_harms_its_batch(poison):
    answer = push(LETTERS, [letter(), letter(**poison), letter()], key=agent_key())

    body = answer.json()
    assert answer.status_code == 200
    assert body["accepted"] + len(body["rejected"]) == 3
    assert DeadLetter.objects.count() == body["accepted"] >= 2
    assert IngestReject.objects.count() == len(body["rejected"])


def test_a_trace_id_that_is_all_zero_is_none_and_one_with_a_line_end_is_refused_alone():
    context = [{"name": "traceparent", "type": "string", "value": f"00-{'a' * 32}-{'b' * 16}-01"}]
    items = [letter(trace_id="0" * 32, span_id="0" * 16, headers=context), letter(trace_id="a" * 32 + "\n")]

    answer = push(LETTERS, items, key=agent_key()).json()

    assert (answer["accepted"], [one["index"] for one in answer["rejected"]]) == (1, [1])
    assert DeadLetter.objects.get().trace_id.hex == "a" * 32


def test_a_heartbeat_is_kept_and_a_bad_one_refused():
    from console.identity.models import Agent

    key = agent_key("harvester")
    good = push(
        "/ingest/v1/heartbeat", {"version": "1", "queues": [{"broker": "b", "queue": "q\u0000", "depth": 3}]}, key=key
    )
    bad = push("/ingest/v1/heartbeat", {"queues": [{"depth": "many"}]}, key=key)

    assert (good.status_code, bad.status_code) == (200, 400)
    assert Agent.objects.get().heartbeat["queues"][0]["depth"] == 3


def test_discard_and_restore_are_claims_with_a_reason_in_the_audit_list():
    stored = stored_letter()

    discard_dead_letter(stored, by=ROOT, reason=" duplicate of 4712 ")
    with pytest.raises(NotOpen):
        discard_dead_letter(stored, by=ROOT, reason="again")
    assert (stored.state, stored.resolution) == ("closed", "discarded")
    assert Message.objects.get().get_status_display() == "failed"
    restore_dead_letter(stored, by=ROOT, reason="it was not")

    assert (stored.state, stored.resolution, stored.closed_at) == ("open", None, None)
    entries = AuditEntry.objects.filter(object_kind="deadletter").order_by("id").values_list("action", "reason")
    assert list(entries) == [("dead_letter.discarded", "duplicate of 4712"), ("dead_letter.restored", "it was not")]


def test_an_action_without_a_reason_is_refused():
    with pytest.raises(ReasonMissing):
        discard_dead_letter(stored_letter(), by=ROOT, reason="  \x00 ")


@pytest.mark.parametrize("role", [None, Role.VIEWER])
def test_only_operators_discard(role):
    with pytest.raises(Forbidden):
        discard_dead_letter(stored_letter(), by=actor(person("vic", role)), reason="because")
