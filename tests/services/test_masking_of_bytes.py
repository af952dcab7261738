"""What a rule is to mask is in no bytes either: an attribute, a header, a key or a body that is no UTF-8, however it can be read."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from messages.ingest.clean import ERROR_BYTES
from messages.models import DeadLetter, Event, LoggedException, Payload
from tests.factories import agent_key, event, letter, push
from tests.services.test_masking import CARD, CLOUD, EVENTS, LETTERS, PROTOBUF, SECRET, everything_stored, opened, rule

pytestmark = pytest.mark.django_db
NOTE = f"Karte von Müller {SECRET}, bezahlt"
WAYS = {
    "latin-1": NOTE.encode("latin-1"),
    "utf-16": NOTE.encode("utf-16"),
    "in a frame": b"\x00\x00\x00\x00\x2a" + NOTE.encode(),
}


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def what_people_could_read() -> Iterator[str]:
    """Yield what is stored, and whatever stands in it as base64 or as an escape, without NULs."""
    stored = everything_stored().replace("\\x00", "").replace("\\u0000", "").replace("\x00", "")
    yield stored
    for found in re.findall(r"[A-Za-z0-9+/]{12,}={0,2}", stored):
        yield base64.b64decode(found[: len(found) // 4 * 4]).replace(b"\x00", b"").decode("latin-1")


def span_with(**attributes: bytes | list[bytes] | dict[str, bytes]) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, kind=4)
    span.attributes.add(key="messaging.destination.name").value.string_value = "orders"
    span.status.code = 2
    for name, given in attributes.items():
        value = span.attributes.add(key=name.replace("__", ".")).value
        if isinstance(given, bytes):
            value.bytes_value = given
        elif isinstance(given, list):
            for one in given:
                value.array_value.values.add().bytes_value = one
        else:
            for key, one in given.items():
                value.kvlist_value.values.add(key=key).value.bytes_value = one
    return request


def of_a_span(data: bytes) -> Any:
    request = span_with(
        note=data, exception__message=data, exception__type=data, many=[data], named={"a": data}, business__card=data
    )
    request.resource_spans[0].resource.attributes.add(key="host.name").value.bytes_value = data
    return push("/v1/traces", request.SerializeToString(), key=agent_key(), content_type=PROTOBUF)


def of_a_span_that_carries_a_body(data: bytes) -> Any:
    request = span_with(waybill__payload=data)
    return push("/v1/traces", request.SerializeToString(), key=agent_key(), content_type=PROTOBUF)


def of_a_logged_exception(data: bytes) -> Any:
    logs = ExportLogsServiceRequest()
    record = logs.resource_logs.add().scope_logs.add().log_records.add(trace_id=b"t" * 16, span_id=b"s" * 8)
    for name in ("exception.type", "exception.message", "exception.stacktrace"):
        record.attributes.add(key=name).value.bytes_value = data
    return push("/v1/logs", logs.SerializeToString(), key=agent_key(), content_type=PROTOBUF)


def of_a_dead_letter(data: bytes) -> Any:
    headers = [
        {"name": "card", "type": "bytes", "value": text(data)},
        {"name": "x-death", "type": "json", "value": [{"who": {"$bytes": text(data)}}]},
    ]
    named = {"key_base64": text(data), "sns": {"MessageAttributes": {"card": {"Type": "Binary", "Value": text(data)}}}}
    asked = letter(headers=headers, properties=named, body_base64=text(data), body=None, content_type="text/plain")
    return push(LETTERS, [asked], key=agent_key())


def of_an_event(data: bytes) -> Any:
    payload = {"content_type": "text/plain", "body_base64": text(data), "headers": {"card": text(data)}}
    return push(EVENTS, [event(payload=payload, attributes={"card": text(data)})], key=agent_key())


def of_a_cloud_event(data: bytes) -> Any:
    item = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "orders", "data_base64": text(data), "card": text(data)}  # fmt: skip
    return push(CLOUD, item, key=agent_key(), content_type="application/cloudevents+json")


ENTRIES = [of_a_span, of_a_span_that_carries_a_body, of_a_logged_exception, of_a_dead_letter, of_an_event, of_a_cloud_event]  # fmt: skip


@pytest.mark.parametrize("kept", [False, True], ids=["dropped", "let through"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("send", ENTRIES, ids=lambda send: send.__name__)
def test_nobody_finds_in_stored_bytes_what_a_rule_masks(send: Any, way: str, kept: bool):
    rule("regex", CARD, drop_unreadable=not kept)

    answer = send(WAYS[way])

    assert answer.status_code == 200, answer.content
    assert Event.objects.count() + DeadLetter.objects.count() + LoggedException.objects.count() == 1
    assert [found for found in what_people_could_read() if SECRET in found] == []


def test_bytes_in_which_nothing_matches_are_stored_as_they_came():
    rule("regex", CARD, drop_unreadable=False)
    offset, name = bytes(7) + b"\x2a", "Müller".encode("latin-1")
    sent = letter(
        headers=[{"name": "kafka_dlt-original-offset", "type": "bytes", "value": text(offset)}],
        properties={"key_base64": text(name)},
        body=None,
        body_base64=text(name),
    )

    push(LETTERS, [sent], key=agent_key())
    request = span_with(note=name)
    push("/v1/traces", request.SerializeToString(), key=agent_key(), content_type=PROTOBUF)

    stored = opened(Payload.objects.get().id)
    assert (stored.headers, stored.properties, stored.body) == (sent["headers"], sent["properties"], name)
    assert DeadLetter.objects.get().content_masked is False
    assert Event.objects.get().attributes["note"] == text(name)


def test_a_name_in_latin_1_is_seen_by_an_expression_with_its_letters():
    rule("regex", "Müller", drop_unreadable=False)

    of_a_dead_letter("Herr Müller".encode("latin-1"))

    stored = opened(Payload.objects.get().id)
    assert (stored.body.decode(), stored.properties["key_base64"]) == ("•••", "•••")


def test_what_ingest_cut_is_read_as_far_as_it_goes():
    rule("regex", CARD)

    of_a_span(WAYS["latin-1"] + b"\xfc" * ERROR_BYTES)

    assert Event.objects.get().attributes["note"] == "•••"


def test_text_that_stands_in_base64_is_masked_as_text():
    rule("regex", CARD)

    of_an_event(f"card {SECRET}".encode())

    assert Event.objects.get().attributes["card"] == "card •••"
