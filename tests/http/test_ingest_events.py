"""Native events over HTTP: what 2xx means, what is refused, and what a second copy does."""

from __future__ import annotations

import gc
import gzip
import json
import zlib
from io import BytesIO

import pytest
import zstandard
from django.test import Client

from console.identity.keys import revoke_key
from console.identity.models import Key
from messages.ingest import http
from messages.models import Event, IngestReject, LedgerEntry, Message, RollupMinute, TraceLink
from messages.payloads.queries import stored_content
from tests.factories import agent_key, api_key, event, person, push

pytestmark = pytest.mark.django_db
EVENTS = "/ingest/v1/events"


def test_events_are_stored_with_their_message_keys_payload_and_rollup():
    key = agent_key()
    sent = event(keys={"order_no": 4711}, payload={"content_type": "application/json", "body": '{"a":1}'})
    processed = event(message_id=sent["message_id"], system="erp", operation="process", duration_ms=12.5)

    answer = push(EVENTS, [sent, processed], key=key)

    assert answer.json() == {"accepted": 2, "duplicates": 0, "rejected": []}
    message = Message.objects.get()
    assert (message.message_id, message.get_status_display(), message.event_count) == (
        sent["message_id"],
        "delivered",
        2,
    )
    assert message.keys == {"order_no": "4711"}
    first = Event.objects.get(operation=2)
    assert stored_content(first.environment_id, first.id, first.payload_on).body == b'{"a":1}'
    assert sum(RollupMinute.objects.values_list("count", flat=True)) == 2


def test_a_second_copy_of_an_event_is_counted_not_stored():
    key, once = agent_key(), event()
    push(EVENTS, [once], key=key)

    answer = push(EVENTS, [once, event()], key=key)

    assert answer.json() == {"accepted": 1, "duplicates": 1, "rejected": []}
    assert Event.objects.count() == 2
    assert sum(RollupMinute.objects.values_list("count", flat=True)) == 2


def test_the_same_batch_gets_the_same_answer_and_stores_nothing_again():
    key, body = agent_key(), {"batch_id": "b-1", "events": [event(), {"id": "bad"}]}

    first, second = push(EVENTS, body, key=key), push(EVENTS, body, key=key)

    assert first.json() == second.json()
    assert (Event.objects.count(), IngestReject.objects.count(), LedgerEntry.objects.count()) == (1, 1, 1)


def test_the_same_batch_id_with_another_body_is_a_conflict_and_stores_nothing():
    key = agent_key()
    push(EVENTS, {"batch_id": "b-1", "events": [event()]}, key=key)

    answer = push(EVENTS, {"batch_id": "b-1", "events": [event()]}, key=key)

    assert (answer.status_code, answer.json()["code"]) == (409, "batch_conflict")
    assert Event.objects.count() == 1


def test_bad_items_are_named_by_index_and_kept_with_their_bytes_while_good_ones_are_stored():
    key = agent_key()

    answer = push(
        EVENTS, [event(), event(operation="explode"), event(occurred_at="2026-11-24T10:00:00"), event()], key=key
    )

    assert answer.json()["accepted"] == 2
    assert [(r["index"], r["code"]) for r in answer.json()["rejected"]] == [(1, "invalid_item"), (2, "invalid_item")]
    assert IngestReject.objects.count() == 2


def test_ndjson_is_taken_line_by_line():
    key = agent_key()
    lines = "\n".join([json.dumps(event()), '{"cut', "", json.dumps(event())]).encode()

    answer = push(EVENTS, lines, key=key, content_type="application/x-ndjson")

    assert answer.json()["accepted"] == 2
    assert [r["index"] for r in answer.json()["rejected"]] == [1]


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b'{"cut', {}, 400, "malformed"),
        (b"[" * 5000, {}, 400, "malformed"),
        (b"\xff\xfe[]", {}, 400, "malformed"),
        (b"{}", {}, 400, "malformed"),
        (b'{"batch_id": "\\u0000", "events": [{}]}', {}, 400, "malformed"),
        (b"[]", {"content_type": "text/xml"}, 415, "unsupported_media_type"),
        (b"\x1f\x8b broken", {"HTTP_CONTENT_ENCODING": "gzip"}, 400, "malformed"),
        (gzip.compress(b"[]", mtime=0)[:-4], {"HTTP_CONTENT_ENCODING": "gzip"}, 400, "malformed"),
        (b"[]", {"HTTP_CONTENT_ENCODING": "br"}, 415, "unsupported_media_type"),
        (b"[]", {"HTTP_CONTENT_ENCODING": "gzip, gzip"}, 415, "unsupported_media_type"),
        (gzip.compress(b" " * 21 * 2**20, mtime=0), {"HTTP_CONTENT_ENCODING": "gzip"}, 413, "too_large"),
        (zlib.compress(b" " * 21 * 2**20), {"HTTP_CONTENT_ENCODING": "deflate"}, 413, "too_large"),
        (zstandard.compress(b" " * 256 * 2**20), {"HTTP_CONTENT_ENCODING": "zstd"}, 413, "too_large"),
        (b" " * (8 * 2**20 + 1), {}, 413, "too_large"),
        (json.dumps([{}] * 5001).encode(), {}, 413, "too_large"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_whole_in_words(body, headers, status, code):
    answer = push(EVENTS, body, key=agent_key(), **headers)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_compressed_bodies_are_inflated(encoding):
    body = json.dumps([event()]).encode()
    packed = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstandard.compress}[encoding](body)

    answer = push(EVENTS, packed, key=agent_key(), HTTP_CONTENT_ENCODING=encoding)

    assert answer.json()["accepted"] == 1


POISON = {
    "NUL": {
        "name": "a\u0000b",
        "keys": {"order_no": "1\u00002"},
        "attributes": {"x\u0000": "y\u0000"},
        "error": {"message": "\u0000"},
        "outcome": "error",
    },
    "a lone continuation byte": {"name": "BAD-BYTE"},
    "a long random id": {"correlation_id": "ä" * 4000},
    "a long key": {"keys": {"order_no": "k" * 10_000, "x" * 3000: "1"}},
    "many keys": {"keys": {str(n): n for n in range(1000)}},
    "many attributes": {"attributes": {str(n): "v" * 100 for n in range(5000)}},
    "a 5 MB error": {"outcome": "error", "error": {"type": "X", "message": "m" * 5_000_000, "stack": "s" * 1000}},
    "year 1": {"occurred_at": "0001-01-01T00:00:00+14:00"},
    "year 9999": {"occurred_at": "9999-12-31T23:59:59-14:00"},
    "a huge duration": {"duration_ms": 1e300},
    "a negative duration": {"duration_ms": -5},
    "a 400-digit attribute": {"attributes": {"n": 10**400, "f": -(10**30)}},
    "nested attributes": {"attributes": {"a": {"b": [{"c": [1, None, True]}]}}},
    "zero trace": {"trace_id": "0" * 32, "span_id": "0" * 16},
    "NUL in a field that is none": {"\u0000": 1},
    "NUL in a field of an error that is none": {"outcome": "error", "error": {"a\u0000": 1}},
}


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON.keys())
def test_poison_in_one_event_never_harms_its_batch(poison):
    body = json.dumps([event(), event(**poison), event()]).encode().replace(b"BAD-BYTE", b"\xff")

    answer = push(EVENTS, body, key=agent_key())

    body = answer.json()
    assert answer.status_code == 200
    assert body["accepted"] + len(body["rejected"]) == 3
    assert body["accepted"] >= 2
    assert Event.objects.count() == body["accepted"]


@pytest.mark.parametrize(
    "raw",
    [b'"\\ud800"', b"1e200000", b'{"a": NaN}', b"[" * 200 + b"]" * 200],
    ids=["lone surrogate", "1e200000", "NaN", "depth 200"],
)
def test_json_that_no_database_takes_is_an_error_with_a_code_never_a_500(raw):
    body = json.dumps([event(attributes={"x": "HERE"})]).encode().replace(b'"HERE"', raw)

    answer = push(EVENTS, body, key=agent_key())

    assert answer.status_code in (200, 400)
    assert answer.status_code == 400 or answer.json()["accepted"] + len(answer.json()["rejected"]) == 1


def test_ids_that_are_all_zero_are_no_ids_and_tie_nothing_together():
    none = {"trace_id": "0" * 32, "span_id": "0" * 16}
    links = {"trace_id": "a" * 32, "span_id": "b" * 16, "parent_span_id": "0" * 16, "links": [none]}
    items = [event(message_id="", **none), event(message_id="", **none), event(message_id="", **links)]

    answer = push(EVENTS, items, key=agent_key())

    assert answer.json()["accepted"] == 3
    assert Event.objects.filter(trace_id=None, span_id=None, message_uid=None).count() == 2
    assert Event.objects.get(span_id="b" * 16).parent_span_id is None
    assert (Message.objects.count(), TraceLink.objects.count()) == (1, 0)


@pytest.mark.parametrize("name", ["trace_id", "span_id", "parent_span_id"])
def test_an_id_with_a_line_end_behind_it_is_none(name: str):
    answer = push(EVENTS, [event(**{name: "a" * (32 if name == "trace_id" else 16) + "\n"}), event()], key=agent_key())

    assert (answer.json()["accepted"], answer.json()["rejected"][0]["code"]) == (1, "invalid_item")


def test_links_of_an_event_without_a_span_of_its_own_lead_from_its_trace_too():
    there = {"trace_id": "c" * 32, "span_id": "d" * 16}
    sent = event(trace_id="a" * 32, links=[there])

    answers = [push(EVENTS, [sent, event()], key=key).json() for key in [agent_key()] * 2]

    assert [(one["accepted"], one["duplicates"]) for one in answers] == [(2, 0), (1, 1)]
    [link], stored = TraceLink.objects.all(), Event.objects.get(trace_id="a" * 32)
    assert (link.trace_id.hex, link.span_id, link.linked_trace_id.hex, link.linked_span_id) == (
        "a" * 32, stored.span_id, "c" * 32, "d" * 16,
    )  # fmt: skip


def test_links_that_lead_from_no_trace_or_are_too_many_are_refused_in_words_and_kept():
    there = {"trace_id": "c" * 32, "span_id": "d" * 16}

    answer = push(EVENTS, [event(links=[there]), event(trace_id="a" * 32, links=[there] * 1_001)], key=agent_key())

    alone, many = answer.json()["rejected"]
    assert alone["detail"] == "links lead from this event's trace: give its trace_id too"
    assert "1000" in many["detail"]
    assert (IngestReject.objects.count(), Event.objects.count()) == (2, 0)


def test_times_outside_the_range_are_clamped_and_the_senders_own_is_kept():
    push(EVENTS, [event(occurred_at="2031-01-01T00:00:00Z")], key=agent_key())

    stored = Event.objects.get()

    assert stored.clamped_from.year == 2031
    assert stored.occurred_at.year < 2031


def test_a_clamped_event_sent_again_meets_its_first_copy():
    key, once = agent_key(), event(occurred_at="2031-01-01T00:00:00Z")
    push(EVENTS, [once], key=key)

    answer = push(EVENTS, [once, event()], key=key)

    assert answer.json() == {"accepted": 1, "duplicates": 1, "rejected": []}


def test_no_key_a_wrong_kind_of_key_and_a_revoked_key_are_refused():
    key = agent_key()
    admin = api_key(person("ann"))
    anonymous = Client().post(EVENTS, b"[]", content_type="application/json")
    wrong_kind = push(EVENTS, [], key=admin)
    mistyped = push(EVENTS, [], key=key[:-1] + ("a" if key[-1] != "a" else "b"))

    revoke_key(Key.objects.get(kind="agent"))
    http._agents.clear()  # after three seconds

    assert [r.status_code for r in (anonymous, wrong_kind, mistyped, push(EVENTS, [], key=key))] == [401] * 4


def test_get_is_refused_with_the_method_that_is_taken():
    answer = Client().get(EVENTS)

    assert (answer.status_code, answer["Allow"], answer.json()["code"]) == (405, "POST", "method_not_allowed")


def test_a_body_that_is_refused_is_let_go_at_once():
    """The refusal holds the frames that held the body, and waited in a circle for garbage collection: 20 MiB each."""
    body, key = gzip.compress(b" " * (21 * 2**20)), agent_key()
    gc.collect()
    gc.disable()
    try:
        assert push(EVENTS, body, key=key, HTTP_CONTENT_ENCODING="gzip").status_code == 413
        held = [one for one in gc.get_objects() if type(one) is BytesIO and len(one.getbuffer()) > 2**20]
    finally:
        gc.enable()

    assert held == []
