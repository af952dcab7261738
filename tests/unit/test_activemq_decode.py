"""ActiveMQ's dead letters as they came over STOMP from ActiveMQ 5.17.2 and Artemis 2.40.0, and what a SEND of ours says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stomp.utils import parse_frame

from agents.harvest.config import load_config
from messages.connectors.activemq.connector import CannotCarry, frame_of
from messages.connectors.activemq.decode import decode_message
from messages.connectors.base import Header, Outgoing
from messages.connectors.hygiene import strip_headers

# Each is a frame as the broker wrote it.
CLASSIC_NACKED = b"""MESSAGE
mine:a\\cb\\nc
expires:0
correlation-id:c-1
destination:/queue/ActiveMQ.DLQ
ack:ID\\cvm-34151-1795646539149-5\\c11
subscription:dActiveMQ.DLQ
priority:7
type:Order
original-destination:/queue/orders
traceparent:00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
originalExpiration:0
message-id:ID\\cvm-34151-1795646539149-4\\c1\\c-1\\c1\\c1
persistent:true
reply-to:/queue/replies
timestamp:1795646561502

text body"""
CLASSIC_EXPIRED = b"""MESSAGE
expires:0
dlqDeliveryFailureCause:java.lang.Throwable\\c Message Expired. Expiration\\c1795646561842
destination:/queue/DLQ.own.orders
ack:ID\\cvm-34151-1795646539149-5\\c16
subscription:d
priority:7
original-destination:/queue/own.orders
originalExpiration:1795646561842
message-id:ID\\cvm-34151-1795646539149-4\\c1\\c-1\\c1\\c6
persistent:true
timestamp:1795646561542

expiring"""
CLASSIC_CLIENT_GAVE_UP = b"""MESSAGE
content-length:3
expires:0
flag:true
dlqDeliveryFailureCause:java.lang.Throwable\\c Delivery[3] exceeds redelivery policy limit\\cRedeliveryPolicy {destination = null, \
collisionAvoidanceFactor = 0.15, maximumRedeliveries = 2, preDispatchCheck = true}, cause\\cjava.lang.IllegalStateException\\c no such \
customer\\c 4711
destination:/queue/ActiveMQ.DLQ
count:3
ack:ID\\cvm-34151-1795646539149-5\\c187
subscription:s
priority:4
original-destination:/queue/java.orders
originalExpiration:0
message-id:ID\\cvm-35833-1795646831713-1\\c1\\c1\\c1\\c2
persistent:true
timestamp:1795646831902

\x00\x01\x02"""
CLASSIC_MAP_MESSAGE = CLASSIC_NACKED.partition(b"\n\n")[0] + b"\n\n"
ARTEMIS_EXPIRED = b"""MESSAGE
subscription:dExpiryQueue
message-id:76,43
destination:ExpiryQueue
correlation-id:c-1
expires:0
redelivered:false
priority:7
persistent:true
reply-to:replies
timestamp:1795646585355
type:Order
receipt:r1
_AMQ_ACTUAL_EXPIRY:1795646588443
mine:a\\cb\\nc
_AMQ_ORIG_MESSAGE_ID:27
_AMQ_ORIG_QUEUE:orders
_AMQ_ORIG_ROUTING_TYPE:1
_AMQ_ORIG_ADDRESS:orders
destination-type:ANYCAST
ack:76,43
content-length:8

expiring"""
ARTEMIS_OPENWIRE = b"""MESSAGE
subscription:s
message-id:943,927
destination:DLQ
correlation-id:corr
expires:0
redelivered:false
priority:4
persistent:true
timestamp:1795646835525
type:Order
__HDR_dlqDeliveryFailureCause:java.lang.Throwable\\c Delivery[3] exceeds redelivery policy limit\\cRedeliveryPolicy {destination = null, \
maximumRedeliveries = 2}, cause\\cjava.lang.IllegalStateException\\c no such customer\\c 4711
_AMQ_GROUP_ID:g1
_AMQ_GROUP_SEQUENCE:0
__HDR_BROKER_IN_TIME:1795646835529
flag:true
_AMQ_ORIG_MESSAGE_ID:920
__HDR_MESSAGE_ID:ID\\cvm-40035-1795646835223-1\\c1\\c1\\c1\\c1
__AMQ_CID:ID\\cvm-40035-1795646835223-0\\c1
_AMQ_ORIG_QUEUE:java.orders
_AMQ_ORIG_ROUTING_TYPE:1
_AMQ_ORIG_ADDRESS:java.orders
ack:943,927
content-length:19

{"order_no":"4711"}"""
ARTEMIS_BYTES = b"""MESSAGE
subscription:s
content-length:3
message-id:943,929
destination:DLQ
expires:0
redelivered:false
priority:4
timestamp:1795646835547
_AMQ_ORIG_MESSAGE_ID:921
_AMQ_ORIG_QUEUE:prices.of.shop
_AMQ_ORIG_ROUTING_TYPE:0
_AMQ_ORIG_ADDRESS:prices
ack:943,929

\x00\x01\x02"""
ARTEMIS_MOVED_ONTO_ITSELF = b"""MESSAGE
subscription:s
message-id:600,465
destination:DLQ
expires:0
redelivered:true
priority:7
timestamp:1795646585355
_AMQ_ORIG_MESSAGE_ID:204
_AMQ_ORIG_QUEUE:DLQ
_AMQ_ORIG_ROUTING_TYPE:1
_AMQ_ORIG_ADDRESS:DLQ
ack:600,465
content-length:8

expiring"""
GAVE_UP = "Delivery[3] exceeds redelivery policy limit"
EXCEPTION = {
    "type": "java.lang.IllegalStateException",
    "root_type": "java.lang.IllegalStateException",
    "message": "no such customer: 4711",
    "stack": "",
}

CASES: dict[str, tuple[bytes, str, dict[str, Any]]] = {
    "Classic, rejected by a STOMP consumer": (
        CLASSIC_NACKED,
        "ActiveMQ.DLQ",
        {
            "origin": "orders", "route": {}, "reason": "", "reason_code": "unknown", "body": "text body", "correlation_id": "c-1",
            "message_id": "ID:vm-34151-1795646539149-4:1:-1:1:1", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        },
    ),
    "Classic, expired, in a queue of its own": (
        CLASSIC_EXPIRED,
        "DLQ.own.orders",
        {
            "origin": "own.orders", "reason": "expired", "reason_code": "expired", "failed_at": "2026-11-25T22:42:41.842000+00:00",
            "error": {"type": "", "root_type": "", "message": "", "stack": ""},
        },
    ),
    "Classic, a JMS client gave up": (
        CLASSIC_CLIENT_GAVE_UP,
        "ActiveMQ.DLQ",
        {
            "origin": "java.orders", "reason": GAVE_UP, "reason_code": "delivery_limit", "attempts": 3, "error": EXCEPTION,
            "body_base64": "AAEC",
        },
    ),
    "Artemis, expired": (
        ARTEMIS_EXPIRED,
        "ExpiryQueue",
        {
            "origin": "orders", "route": {}, "reason": "expired", "reason_code": "expired", "message_id": "",
            "failed_at": "2026-11-25T22:43:08.443000+00:00",
        },
    ),
    "Artemis, an OpenWire client gave up": (
        ARTEMIS_OPENWIRE,
        "DLQ",
        {
            "origin": "java.orders", "reason": GAVE_UP, "reason_code": "delivery_limit", "attempts": 3, "error": EXCEPTION,
            "message_id": "ID:vm-40035-1795646835223-1:1:1:1:1",
        },
    ),
    "Artemis, from one subscription of a multicast address": (
        ARTEMIS_BYTES,
        "DLQ",
        {
            "origin": "prices", "route": {"queue": "prices::prices.of.shop", "type": "MULTICAST"},
            "reason": "moved here by Artemis or by a person: it does not tell failures from moves", "reason_code": "unknown",
        },
    ),
    "Artemis, moved onto its own queue": (
        ARTEMIS_MOVED_ONTO_ITSELF,
        "DLQ",
        {"origin": "", "route": {}, "reason_code": "unknown"},
    ),
}  # fmt: skip


def letter_of(raw: bytes, queue: str = "DLQ", **changed: str) -> dict[str, Any]:
    frame = parse_frame(raw)
    artemis = b"message-id:ID" not in raw
    return decode_message(frame.headers | changed, frame.body, broker="b", queue=queue, artemis=artemis, system="erp")


@pytest.mark.parametrize(("raw", "queue", "expected"), CASES.values(), ids=CASES)
def test_what_the_brokers_wrote_is_read(raw: bytes, queue: str, expected: dict[str, Any]):
    letter = letter_of(raw, queue)

    assert {name: letter.get(name) for name in expected} == expected
    assert (letter["broker"], letter["family"], letter["queue"], letter["system"]) == ("b", "activemq", queue, "erp")


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (CLASSIC_NACKED, "text"),
        (CLASSIC_CLIENT_GAVE_UP, "bytes"),
        (ARTEMIS_OPENWIRE, "text"),
        (ARTEMIS_BYTES, "bytes"),
    ],
)
def test_texts_and_bytes_are_told_apart(raw: bytes, kind: str):
    assert letter_of(raw)["properties"]["message_type"] == kind


def test_what_a_replay_restores_is_in_the_properties_and_what_tells_of_the_death_is_not_sent():
    letter = letter_of(CLASSIC_NACKED)

    assert letter["properties"] == {
        "type": "Order", "priority": "7", "persistent": "true", "correlation_id": "c-1", "reply_to": "/queue/replies", "message_type": "text",
        "sent_at": "2026-11-25T22:42:41.502000+00:00",
    }  # fmt: skip
    for raw in (CLASSIC_NACKED, CLASSIC_CLIENT_GAVE_UP, ARTEMIS_OPENWIRE, ARTEMIS_EXPIRED):
        kept = strip_headers(Header(**header) for header in letter_of(raw)["headers"])
        assert {header.name for header in kept} <= {"mine", "flag", "count", "_AMQ_GROUP_ID"}


def test_headers_are_unescaped_and_the_first_of_a_name_counts():
    again = CLASSIC_NACKED.replace(b"expires:0", b"mine:forged\nexpires:0")

    assert {"name": "mine", "type": "string", "value": "a:b\nc"} in letter_of(again)["headers"]


def test_a_message_that_stomp_cannot_carry_has_no_body_rather_than_an_empty_one():
    letter = letter_of(CLASSIC_MAP_MESSAGE)

    assert not {"body", "body_base64"} & set(letter)
    assert letter_of(CLASSIC_MAP_MESSAGE, **{"content-length": "0"})["body"] == ""


def test_a_redelivery_is_the_same_letter_and_another_death_is_another():
    first = letter_of(CLASSIC_NACKED)["id"]
    artemis = letter_of(ARTEMIS_EXPIRED)["id"]

    assert letter_of(CLASSIC_NACKED, redelivered="true", ack="ID:other:1", subscription="x")["id"] == first
    assert letter_of(CLASSIC_NACKED, **{"original-destination": "/queue/billing"})["id"] != first
    assert letter_of(ARTEMIS_EXPIRED, redelivered="true", **{"message-id": "99,43", "ack": "99,43"})["id"] == artemis
    assert letter_of(ARTEMIS_EXPIRED, **{"message-id": "76,44"})["id"] != artemis
    assert letter_of(ARTEMIS_EXPIRED, timestamp="1")["id"] != artemis  # a broker with new data counts from the start


def test_a_copy_that_artemis_moved_onto_its_own_queue_is_still_the_first():
    moved = letter_of(ARTEMIS_MOVED_ONTO_ITSELF)["id"]

    assert letter_of(ARTEMIS_MOVED_ONTO_ITSELF, _AMQ_ORIG_QUEUE="x", **{"message-id": "1,204"})["id"] == moved


WORDS = st.text(max_size=60) | st.sampled_from(
    ["", "9" * 400, "-1", "java.lang.Throwable: Delivery[99999999999] exceeds", "Message Expired. Expiration:999999999999999", "1,2,,", "\ud800"]
)  # fmt: skip
NAMES = st.sampled_from(
    [
        "message-id", "timestamp", "dlqDeliveryFailureCause", "__HDR_dlqDeliveryFailureCause", "original-destination", "originalExpiration",
        "_AMQ_ORIG_ADDRESS", "_AMQ_ORIG_QUEUE", "_AMQ_ORIG_MESSAGE_ID", "_AMQ_ACTUAL_EXPIRY", "JMSXDeliveryCount", "content-length", "ack",
        "priority", "traceparent", "replay-id", "content-type", "b3",
    ]
) | st.text(max_size=30)  # fmt: skip


@given(
    headers=st.dictionaries(NAMES, WORDS),
    body=st.binary(max_size=40),
    queue=st.text(max_size=400),
    artemis=st.booleans(),
)
def test_no_header_and_no_body_makes_the_decoder_fail(headers: dict[str, str], body: bytes, queue: str, artemis: bool):
    letter = decode_message(headers, body, broker="b", queue=queue, artemis=artemis)

    assert len(str(letter["id"])) <= 256
    json.dumps(letter)


def outgoing(**changes: Any) -> Outgoing:
    return Outgoing(**{"id": "1", "destination": "orders", "body": b"x"} | changes)


def test_a_frame_restores_the_message_and_marks_it_persistent():
    letter = letter_of(CLASSIC_NACKED)
    headers = (
        Header(name="mine", type="string", value="a"),
        Header(name="count", type="int", value=3),
        Header(name="flag", type="bool", value=True),
        Header(name="blob", type="bytes", value="AP8="),
        Header(name="destination", type="string", value="elsewhere"),
        Header(name="Receipt", type="string", value="forged"),
    )
    sent = frame_of(outgoing(headers=headers, properties=letter["properties"]), artemis=False)

    assert sent == {
        "mine": "a", "count": "3", "flag": "true", "blob": "AP8=", "destination": "/queue/orders", "persistent": "true",
        "correlation-id": "c-1", "type": "Order", "reply-to": "/queue/replies", "priority": "7",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "artemis", "expected"),
    [
        ({"destination": "/topic/x"}, False, {"destination": "/topic/x"}),
        ({}, True, {"destination": "orders", "destination-type": "ANYCAST"}),
        (
            {"route": {"queue": "orders::audit", "type": "MULTICAST"}},
            True,
            {"destination": "orders::audit", "destination-type": "MULTICAST"},
        ),
        ({"body": b"\xff"}, False, {"content-length": "1"}),
        ({"body": b"a\0b"}, True, {"content-length": "3"}),
        ({"properties": {"message_type": "bytes"}}, False, {"content-length": "1"}),
        ({"properties": {"expires": "2026-11-25T22:42:41.842+00:00"}}, False, {"expires": "1795646561842"}),
        ({"properties": {"expires": 1795646561842}}, False, {"expires": "1795646561842"}),
        ({"content_type": "text/plain"}, False, {"content-type": "text/plain"}),
    ],
)
def test_a_frame_says_where_and_as_what(changes: dict[str, Any], artemis: bool, expected: dict[str, str]):
    sent = frame_of(outgoing(**changes), artemis=artemis)

    assert {name: sent.get(name) for name in expected} == expected


UNSENDABLE: dict[str, dict[str, Any]] = {
    "a priority that is none": {"properties": {"priority": "high"}},
    "an expiry that is no time": {"properties": {"expires": "soon"}},
    "a NUL in a header": {"headers": (Header(name="a", type="string", value="x\0y"),)},
    "a header without a name": {"headers": (Header(name="", type="string", value="x"),)},
    "half a character": {"headers": (Header(name="a", type="string", value="\ud800"),)},
    "a value that is not of its type": {"headers": (Header(name="a", type="timestamp", value="x"),)},
    "a header too long": {"headers": (Header(name="a", type="string", value="ü" * 6000),)},
    "too many headers": {"headers": tuple(Header(name=f"h{n}", type="int", value=n) for n in range(1001))},
}


@pytest.mark.parametrize("changes", UNSENDABLE.values(), ids=UNSENDABLE)
def test_what_stomp_cannot_carry_is_found_before_anything_is_sent(changes: dict[str, Any]):
    with pytest.raises(CannotCarry):
        frame_of(outgoing(**changes), artemis=False)


def test_the_configuration_in_the_docs_is_one(tmp_path: Path):
    page = (Path(__file__).resolve().parents[2] / "docs/brokers/activemq.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", page, re.S)
    file = tmp_path / "harvest.toml"
    file.write_text(
        'console = "http://127.0.0.1:1"\nkey = "wb_agent_x"\n' + re.sub(r"(?m)^# (\w+ = )", r"\1", "".join(blocks))
    )

    config = load_config(file, {"AMQ_PASSWORD": "x"})

    assert [queue.name for queue in config.queues] == ["ActiveMQ.DLQ", "DLQ.own.orders", "DLQ"]
    assert set(config.queues[1].options) == {"system", "prefetch", "window_bytes", "empty", "redelivery"}
