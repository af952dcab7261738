"""Dead letters of Kafka by who wrote them: what their headers say, and that no header makes the decoder stumble."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.connectors.base import Header, Outgoing
from messages.connectors.headers import from_dicts
from messages.connectors.hygiene import strip_headers
from messages.connectors.kafka.decode import Record, decode_record
from messages.connectors.kafka.dialects import number, origin_by_name
from messages.connectors.kafka.reasons import reason_code_of
from messages.connectors.kafka.window import header_bytes, sending_of

AT = 1_795_647_345_091
STACK = (
    "org.springframework.kafka.listener.ListenerExecutionFailedException: x\n\tat A\n"
    "Caused by: java.net.SocketTimeoutException: no answer\n\tat B"
)


def record(*headers: tuple[str, bytes | None], topic: str = "dead", **changes: Any) -> Record:
    return Record(**{"topic": topic, "partition": 1, "offset": 7, "value": b"{}", "timestamp_ms": AT} | changes, headers=headers)  # fmt: skip


def letter(*headers: tuple[str, bytes | None], topic: str = "dead", **changes: Any) -> dict[str, Any]:
    return decode_record(record(*headers, topic=topic, **changes), broker="b")


def big(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big", signed=True)


# What Kafka Connect 4.1.2 wrote, as tests/contracts/test_kafka.py makes it, and what KIP-1034 and KIP-1191 say.
CONNECT = (
    ("order", b"\xff\x00"),
    ("__connect.errors.topic", b"orders"),
    ("__connect.errors.partition", b"2"),
    ("__connect.errors.offset", b"41"),
    ("__connect.errors.connector.name", b"to-file"),
    ("__connect.errors.task.id", b"0"),
    ("__connect.errors.stage", b"VALUE_CONVERTER"),
    ("__connect.errors.class.name", b"org.apache.kafka.connect.json.JsonConverter"),
    ("__connect.errors.exception.class.name", b"org.apache.kafka.connect.errors.DataException"),
    ("__connect.errors.exception.message", b"Converting byte[] to Kafka Connect data failed due to serialization error: "),
    (
        "__connect.errors.exception.stacktrace",
        b"org.apache.kafka.connect.errors.DataException: x\nCaused by: com.fasterxml.jackson.core.JsonParseException: y\n\tat Z",
    ),
)  # fmt: skip
STREAMS = (
    ("__streams.errors.exception", b"java.lang.IllegalArgumentException"),
    ("__streams.errors.stacktrace", b"java.lang.IllegalArgumentException: negative\n\tat A"),
    ("__streams.errors.message", b"negative"),
    ("__streams.errors.topic", b"orders"),
    ("__streams.errors.partition", b"2"),
    ("__streams.errors.offset", b"41"),
)
SHARE = (
    ("__dlq.errors.topic", b"orders"),
    ("__dlq.errors.partition", b"2"),
    ("__dlq.errors.offset", b"41"),
    ("__dlq.errors.group", b"billing"),
    ("__dlq.errors.delivery.count", b"5"),
    ("__dlq.errors.message", b"delivery count exceeded the limit"),
)
# What DeadLetterPublishingRecoverer of spring-kafka 3.3.4 wrote to a Kafka of ours, and again when its letter failed once more.
SPRING = (
    ("kafka_dlt-exception-fqcn", b"org.springframework.kafka.listener.ListenerExecutionFailedException"),
    ("kafka_dlt-exception-cause-fqcn", b"java.lang.IllegalStateException"),
    ("kafka_dlt-exception-message", b"Listener failed; cannot bill"),
    ("kafka_dlt-exception-stacktrace", STACK.encode()),
    ("kafka_dlt-original-topic", b"orders"),
    ("kafka_dlt-original-partition", b"\x00\x00\x00\x02"),
    ("kafka_dlt-original-offset", b"\x00\x00\x00\x00\x00\x00\x00)"),
    ("kafka_dlt-original-timestamp", b"\x00\x00\x01\xa2\x14\xec\x11\xc3"),
    ("kafka_dlt-original-timestamp-type", b"CreateTime"),
    ("kafka_dlt-original-consumer-group", b"billing"),
)
SPRING_TWICE = (
    *SPRING[4:],
    ("kafka_dlt-exception-fqcn", b"org.springframework.kafka.listener.ListenerExecutionFailedException"),
    ("kafka_dlt-exception-cause-fqcn", b"java.io.IOException"),
    ("kafka_dlt-exception-message", b"again; disk"),
    (
        "kafka_dlt-exception-stacktrace",
        b"java.io.IOException: disk\nCaused by: java.io.EOFException: end\n\t... 1 more",
    ),
    ("kafka_dlt-original-topic", b"orders-dlt"),
    ("kafka_dlt-original-partition", b"\x00\x00\x00\x00"),
    ("kafka_dlt-original-offset", b"\x00\x00\x00\x00\x00\x00\x00\x00"),
    ("kafka_dlt-original-timestamp", b"\x00\x00\x01\xa2\x15\x05\x8f\xcb"),
    ("kafka_dlt-original-timestamp-type", b"CreateTime"),
    ("kafka_dlt-original-consumer-group", b"dlt-group"),
)
RETRY = (
    ("kafka_original-topic", b"orders"),
    ("kafka_original-partition", big(2, 4)),
    ("kafka_original-offset", big(41, 8)),
    ("kafka_dlt-original-consumer-group", b"billing"),
    ("kafka_exception-fqcn", b"org.springframework.kafka.listener.ListenerExecutionFailedException"),
    ("kafka_exception-stacktrace", STACK.encode()),
    ("retry_topic-attempts", big(3, 4)),
    ("retry_topic-original-timestamp", big(AT, 6)),
    ("retry_topic-backoff-timestamp", big(AT + 1000, 6)),
)
CLOUD_STREAM = (
    ("x-original-topic", b"orders"),
    ("x-original-partition", big(2, 4)),
    ("x-original-offset", big(41, 8)),
    ("x-original-timestamp", big(AT, 8)),
    ("x-original-timestamp-type", b"CreateTime"),
    ("x-exception-fqcn", b"java.lang.IllegalStateException"),
    ("x-exception-message", b"Listener failed"),
    ("x-exception-stacktrace", STACK.encode()),
    ("contentType", b'"application/json"'),
)
CLONE = (
    ("dlt-original-topic", b"orders"),
    ("dlt-original-partition", b"2"),
    ("dlt-original-offset", b"41"),
    ("dlt-exception-fqcn", b"PaymentTimeout"),
    ("dlt-exception-message", b"Listener failed"),
    ("retry-count", b"3"),
)
OTHER_PREFIX = tuple((name.replace("__connect.", "__neo4j."), value) for name, value in CONNECT)
WRITERS = {
    "Kafka Connect": (CONNECT, "deserialization", "com.fasterxml.jackson.core.JsonParseException", None),
    "a sink with a prefix of its own": (OTHER_PREFIX, "deserialization", "com.fasterxml.jackson.core.JsonParseException", None),
    "Kafka Streams": (STREAMS, "rejected", "java.lang.IllegalArgumentException", None),
    "a share group": (SHARE, "delivery_limit", "", 5),
    "Spring": (SPRING, "target_error", "java.net.SocketTimeoutException", None),
    "Spring's retry topics": (RETRY, "target_error", "java.net.SocketTimeoutException", 3),
    "Spring Cloud Stream": (CLOUD_STREAM, "target_error", "java.net.SocketTimeoutException", None),
    "a clone": (CLONE, "target_error", "PaymentTimeout", 3),
}  # fmt: skip


@pytest.mark.parametrize(("headers", "reason", "root", "attempts"), WRITERS.values(), ids=WRITERS)
def test_a_letter_says_where_it_died_and_why_whoever_wrote_it(
    headers: Any, reason: str, root: str, attempts: int | None
):
    found = letter(*headers)

    assert (found["origin"], found["route"]) == ("orders", {"topic": "orders", "partition": "2"})
    assert (found["properties"]["original_partition"], found["properties"]["original_offset"]) == (2, 41)
    assert (found["reason_code"], found["error"]["root_type"], found.get("attempts")) == (reason, root, attempts)


@pytest.mark.parametrize(("headers", "reason", "root", "attempts"), WRITERS.values(), ids=WRITERS)
def test_a_replay_leaves_out_what_tells_of_the_death_and_keeps_the_rest(
    headers: Any, reason: str, root: str, attempts: Any
):
    mine = ("tenant", b"a\xffb")
    kept = strip_headers(from_dicts(letter(mine, *headers)["headers"]))

    told = [header.name for header in kept if header.name not in {"tenant", "order", "contentType"}]
    assert header_bytes(kept[0]) == b"a\xffb"
    assert told == [] or told == [name for name, _ in OTHER_PREFIX[1:]]  # nobody can know every prefix


@pytest.mark.parametrize(("headers", "known"), [(CONNECT, False), (STREAMS, False), (SPRING, True), ((), True)])
def test_the_time_of_a_letter_is_that_of_its_death_or_it_has_none(headers: Any, known: bool):
    assert (letter(*headers).get("failed_at") == "2026-11-25T22:55:45.091000+00:00") is known
    assert "failed_at" in letter(*headers, append_time=True)


def test_who_failed_is_the_group_or_the_connector_unless_the_operator_says():
    assert [letter(*headers)["system"] for headers in (SPRING, RETRY, SHARE, CONNECT, STREAMS)] == [
        "billing",
        "billing",
        "billing",
        "to-file",
        "",
    ]
    assert decode_record(record(*SPRING), broker="b", system="erp")["system"] == "erp"


def test_of_repeated_headers_the_first_tells_the_origin_and_the_last_the_death():
    found = letter(*SPRING_TWICE)

    assert (found["route"], found["system"]) == ({"topic": "orders", "partition": "2"}, "billing")
    assert (found["error"]["root_type"], found["error"]["message"]) == ("java.io.EOFException", "again; disk")
    assert [h["value"] for h in found["headers"] if h["name"] == "kafka_dlt-original-topic"] == ["orders", "orders-dlt"]


def test_of_several_writers_the_last_tells_of_the_death():
    assert letter(*SPRING, *CONNECT)["reason"] == "VALUE_CONVERTER"
    assert letter(*CONNECT, *SPRING)["system"] == "billing"


NAMES = {
    "orders.DLQ": "orders",
    "orders.dlq": "orders",
    "orders-dlt": "orders",
    "orders.DLT": "orders",
    "eu.orders_dlq": "eu.orders",
    "error.orders.billing": "orders",
    "error.eu.orders.billing": "eu.orders",
    "dlq.orders": "orders",
    "orders": "",
}


@pytest.mark.parametrize(("topic", "origin"), NAMES.items())
def test_a_plain_topic_is_known_by_its_name_or_not_at_all(topic: str, origin: str):
    found = letter(("x", b"y"), topic=topic)

    assert (found["origin"], found["route"]) == (origin, {"topic": origin} if origin else {})
    assert decode_record(record(topic="dead"), broker="b", origin="orders")["origin"] == "orders"


def test_a_group_with_dots_is_cut_off_when_it_is_known():
    assert origin_by_name("error.orders.team.billing", "team.billing") == "orders"


NUMBERS: dict[bytes | None, int | None] = {
    b"41": 41,
    b"-1": -1,
    big(41, 4): 41,
    big(41, 8): 41,
    big(AT, 6): AT,
    big(-1, 4): -1,
    b"\x00": 0,
    b"": None,
    b"none": None,
    b"4 1": None,
    b"9" * 21: None,
    b"\xff" * 9: None,
    None: None,
}


@pytest.mark.parametrize(("value", "said"), NUMBERS.items(), ids=[str(value) for value in NUMBERS])
def test_numbers_are_text_or_big_endian(value: bytes | None, said: int | None):
    assert number(value) == said


def test_the_name_of_a_death_is_its_place_and_time_and_never_too_long():
    long = letter(topic="t" * 249)["id"]

    assert letter()["id"] == f"b/dead[1]@7/{AT}"
    assert letter(timestamp_ms=None)["id"] == "b/dead[1]@7"
    assert letter()["id"] != letter(timestamp_ms=AT + 1)["id"]  # the topic was deleted and made again
    assert len(decode_record(record(topic="t" * 249), broker="b" * 120)["id"]) <= 256  # type: ignore[arg-type]
    assert long != letter(topic="t" * 248 + "u")["id"]


def sent_back(found: dict[str, Any], partitions: int = 4) -> Any:
    item = Outgoing(
        id="r", destination=found["origin"], route=found["route"], properties=found["properties"],
        body=base64.b64decode(found["body_base64"]) if "body_base64" in found else found["body"].encode(),
        headers=strip_headers(from_dicts(found["headers"])), content_type=found["content_type"],
    )  # fmt: skip
    return sending_of(item, "orders", partitions)


@pytest.mark.parametrize("value", [None, b"", b"{}", b"\x00\xff", "ü".encode()])
@pytest.mark.parametrize("key", [None, b"", b"k", b"\x00\xff" * 200])
def test_value_key_headers_and_partition_come_back_as_they_were(value: bytes | None, key: bytes | None):
    own = [
        ("a", b"1"),
        ("a", b"2"),
        ("none", None),
        ("bin", b"\xff\x00"),
        ("zero", b"\x00\x01"),
        ("text", "ü".encode()),
    ]
    found = json.loads(json.dumps(letter(*own, *SPRING, value=value, key=key)))

    back = sent_back(found)

    assert (back.value, back.key, back.partition, back.note) == (value, key, 2, "")
    assert back.headers == own


def test_a_partition_that_is_gone_is_said():
    with_key, without = sent_back(letter(*SPRING, key=b"k"), 2), sent_back(letter(*SPRING), 2)

    assert [one.partition for one in (with_key, without, sent_back(letter()))] == [-1, -1, -1]
    assert "no partition 2 any more, so it went by its key" in with_key.note
    assert "to any" in without.note


def test_a_tombstone_whose_body_was_written_anew_is_no_tombstone():
    properties = {"tombstone": True}

    assert sending_of(Outgoing(id="1", destination="t", body=b"x", properties=properties), "t", 1).value == b"x"
    assert sending_of(Outgoing(id="1", destination="t", body=b"", properties=properties), "t", 1).value is None


TYPES: dict[str, tuple[str, object, bytes | None]] = {
    "text": ("string", "ü", "ü".encode()),
    "bytes": ("bytes", "AP8=", b"\x00\xff"),
    "a number": ("int", 41, b"41"),
    "a truth": ("bool", True, b"true"),
    "null": ("null", None, None),
    "a time": ("timestamp", "2026-01-02T03:04:05+00:00", b"2026-01-02T03:04:05+00:00"),
    "an object": ("json", {"a": [1, {"$bytes": "AP8="}]}, b'{"a": [1, {"$bytes": "AP8="}]}'),
}


@pytest.mark.parametrize(("kind", "value", "sent"), TYPES.values(), ids=TYPES)
def test_headers_of_other_families_are_text_in_kafka(kind: str, value: object, sent: bytes | None):
    assert header_bytes(Header(name="h", type=kind, value=value)) == sent


def test_headers_that_nobody_can_read_are_said_and_do_not_hold_up_the_letter():
    found = letter(headers_lost=True, topic="orders.DLQ")

    assert (found["origin"], found["headers"]) == ("orders", [])
    assert "no UTF-8" in found["reason"]


HOSTILE = st.one_of(
    st.sampled_from([name for headers, *_ in WRITERS.values() for name, _ in headers] + ["traceparent", "retry_topic-attempts"]),
    st.text(max_size=20).filter(lambda text: text.isprintable()),
)  # fmt: skip


@given(
    st.lists(st.tuples(HOSTILE, st.none() | st.binary(max_size=24)), max_size=12),
    st.none() | st.binary(max_size=20),
    st.none() | st.integers(0, 2**63 - 1),
)
def test_no_record_makes_the_decoder_stumble_and_every_header_is_kept(
    headers: list[tuple[str, bytes | None]], value: bytes | None, at: int | None
):
    found = letter(*headers, value=value, timestamp_ms=at)

    kept = from_dicts(json.loads(json.dumps(found))["headers"])
    assert [(header.name, header_bytes(header)) for header in kept] == headers
    assert (found["properties"].get("tombstone") is True) is (value is None)


def test_a_stack_of_a_million_lines_is_no_trouble():
    assert letter(("kafka_dlt-exception-stacktrace", b"\n" * 1_000_000))["error"]["root_type"] == ""


REASONS = {
    ("VALUE_CONVERTER", "", ()): "deserialization",
    ("TASK_PUT", "", ("com.shop.author.Failed",)): "target_error",
    ("", "", ("com.shop.author.OrderException",)): "target_error",
    ("", "", ("org.apache.kafka.common.errors.RecordDeserializationException",)): "deserialization",
    ("", "", ("org.springframework.security.access.AccessDeniedException",)): "auth",
    ("", "", ("org.springframework.web.client.HttpClientErrorException$TooManyRequests",)): "throttled",
    ("", "client rejected the record", ()): "rejected",
    ("", "", ()): "unknown",
}


@pytest.mark.parametrize(("said", "code"), REASONS.items(), ids=[str(said) for said in REASONS])
def test_reasons_are_told_by_stage_exception_and_words(said: tuple[str, str, tuple[str, ...]], code: str):
    assert reason_code_of(stage=said[0], words=said[1], error_types=said[2]) == code
