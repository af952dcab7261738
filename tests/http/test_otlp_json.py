"""OTLP's JSON as SDKs write it, which is not always as the specification has it."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

import pytest

from messages.ingest.semconv import SEND
from messages.models import Event, LoggedException, TraceLink
from tests.factories import agent_key, push

pytestmark = pytest.mark.django_db
WAYS: dict[str, Callable[[bytes], str]] = {
    "hex": bytes.hex,
    "upper case": lambda raw: raw.hex().upper(),
    "base64": lambda raw: base64.b64encode(raw).decode(),
    "unpadded": lambda raw: base64.b64encode(raw).decode().rstrip("="),
    "url-safe": lambda raw: base64.urlsafe_b64encode(raw).decode(),
}


@pytest.mark.parametrize("write", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("size", [0, 300_000], ids=["small", "large"])
def test_json_ids_are_taken_as_hex_and_as_base64(write: Callable[[bytes], str], size: int):
    trace, span, other = b"\xfb\xff\xbf" + bytes(range(13)), b"\xff\xef" + bytes(6), b"\xfe" * 16
    made = {
        "traceId": write(trace), "spanId": write(span), "parentSpanId": write(span[::-1]), "name": "x" * size,
        "kind": "SPAN_KIND_PRODUCER", "status": {"code": "STATUS_CODE_ERROR"},
        "startTimeUnixNano": time.time_ns(), "endTimeUnixNano": str(time.time_ns()),
        "links": [{"traceId": write(other), "spanId": write(span)}],
        "attributes": [{"key": "messaging.destination.name", "value": {"stringValue": "q"}}],
    }  # fmt: skip
    logged = {key: made[key] for key in ("traceId", "spanId")} | {"eventName": "exception", "severityNumber": "SEVERITY_NUMBER_ERROR"}  # fmt: skip

    key = agent_key()
    answer = push("/v1/traces", {"resourceSpans": [{"scopeSpans": [{"spans": [made]}]}]}, key=key)
    logs = push("/v1/logs", {"resourceLogs": [{"scopeLogs": [{"logRecords": [logged]}]}]}, key=key)

    assert (answer.json(), logs.json()) == ({}, {})
    event = Event.objects.get()
    assert (event.trace_id.bytes, event.span_id, event.parent_span_id) == (trace, span.hex(), span[::-1].hex())
    assert (event.operation, event.get_outcome_display()) == (SEND, "error")
    assert TraceLink.objects.get().linked_trace_id.bytes == other
    assert LoggedException.objects.get().event_id == event.id


NUMBERS = [
    ({"intValue": 9007199254740993}, 9007199254740993),
    ({"intValue": "9007199254740993"}, 9007199254740993),
    ({"intValue": "-9223372036854775808"}, -(2**63)),
    ({"doubleValue": "1.5"}, 1.5),
    ({"doubleValue": 1}, 1.0),
    ({"doubleValue": "Infinity"}, "inf"),
    ({"boolValue": False}, False),
    ({"stringValue": ""}, ""),
    ({"arrayValue": {"values": [{"intValue": 1}, {"stringValue": "a"}]}}, [1, "a"]),
    ({"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "1"}}]}}, {"a": 1}),
]


@pytest.mark.parametrize(("value", "stored"), NUMBERS)
def test_json_values_are_taken_as_text_and_as_number(value: dict[str, object], stored: object):
    made = {"traceId": "1" * 32, "spanId": "2" * 16, "attributes": [{"key": "a", "value": value}]}

    answer = push("/v1/traces", {"resourceSpans": [{"scopeSpans": [{"spans": [made]}]}]}, key=agent_key())

    assert (answer.status_code, answer.json()) == (200, {})
    assert Event.objects.get().attributes == {"a": stored}
