"""What a Kafka record is: its endpoint, its body, its headers, without a broker."""

from __future__ import annotations

import gzip

import pytest

from messages.ingest.http import Malformed, TooLarge, WrongType
from messages.ingest.kafka import Plain, Record, body_of, endpoint_of, text_headers

EVENTS, SPANS = Plain(endpoint="events"), Plain(endpoint="traces")


def record(value: bytes = b"[]", **headers: str) -> Record:
    named = {name.replace("_", "-") if not name.startswith("ce_") else name: text for name, text in headers.items()}
    return Record(topic="t", partition=0, offset=7, value=value, headers=named)


def test_the_last_header_of_a_name_counts_and_wrong_bytes_do_no_harm():
    given = [("Endpoint", b"logs"), ("endpoint", b"traces"), ("x", b"\xff"), ("none", None)]

    assert text_headers(given) == {"endpoint": "traces", "x": "\ufffd", "none": ""}


@pytest.mark.parametrize(
    ("made", "plain", "endpoint"),
    [
        (record(), EVENTS, "events"),
        (record(), SPANS, "traces"),
        (record(endpoint="dead-letters"), SPANS, "dead-letters"),
        (record(ce_specversion="1.0"), SPANS, "cloudevents"),
        (record(content_type="application/cloudevents-batch+json; charset=utf-8"), EVENTS, "cloudevents"),
    ],
)
def test_headers_say_the_endpoint_else_what_the_topic_holds(made: Record, plain: Plain, endpoint: str):
    assert endpoint_of(made, plain) == endpoint


@pytest.mark.parametrize(
    ("made", "endpoint", "plain", "media_type"),
    [
        (record(), "events", EVENTS, "application/json"),
        (record(), "logs", SPANS, "application/x-protobuf"),
        (record(), "traces", Plain(endpoint="traces", content_type="application/json"), "application/json"),
        (record(content_type="Application/X-NDJSON; charset=utf-8"), "events", EVENTS, "application/x-ndjson"),
    ],
)
def test_headers_say_the_content_type_else_the_endpoint_does(
    made: Record, endpoint: str, plain: Plain, media_type: str
):
    assert body_of(made, endpoint, plain).media_type == media_type


def test_a_body_is_inflated_within_the_caps_of_http():
    assert body_of(record(gzip.compress(b"[1]"), content_encoding="gzip"), "events", EVENTS).data == b"[1]"
    with pytest.raises(TooLarge):
        body_of(record(b" " * (8 * 1024 * 1024 + 1)), "events", EVENTS)
    with pytest.raises(TooLarge):
        body_of(record(gzip.compress(b" " * (20 * 1024 * 1024 + 1)), content_encoding="gzip"), "events", EVENTS)
    with pytest.raises(WrongType):
        body_of(record(content_encoding="br"), "events", EVENTS)
    with pytest.raises(Malformed):
        body_of(record(idempotency_key="x" * 181), "events", EVENTS)


def test_a_cloud_events_attributes_are_written_as_its_http_binding_writes_them():
    made = record(ce_specversion="1.0", ce_id="100 %", content_type="text/plain")

    assert body_of(made, "cloudevents", EVENTS).headers == {
        "ce-specversion": "1.0",
        "ce-id": "100%20%25",
        "content-type": "text/plain",
    }
