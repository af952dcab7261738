"""What a delivery's headers tell: recorded from RabbitMQ 3.10.8, written after the frameworks' documents, and hostile."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pika
import pytest

from messages.connectors.headers import Epoch
from messages.connectors.rabbitmq.decode import decode_delivery
from messages.connectors.rabbitmq.fields import DEEPEST, install, read_table, write_value
from messages.connectors.suffixes import moment

AT = datetime(2026, 11, 25, 22, 44, 14, tzinfo=UTC)
TIME = "2026-11-25T22:44:14+00:00"
JAVA = (
    "org.springframework.amqp.rabbit.support.ListenerExecutionFailedException: Listener threw\n\tat a.B.c(B.java:1)\n"
    "Caused by: com.shop.OrderException: no stock\n\tat a.B.d(B.java:2)\nCaused by: java.net.SocketTimeoutException: Read timed out\n"
)
DOTNET = (
    "System.AggregateException: One or more errors ---> Sales.OrderException: no stock ---> System.TimeoutException: 30 s\n   at A.B()\n"
    "   --- End of inner exception stack trace ---"
)


def letter(
    headers: dict[str, Any] | None = None, *, queue: str = "d.dlq", body: bytes = b"x", **properties: Any
) -> dict[str, Any]:
    return decode_delivery(
        pika.BasicProperties(headers=headers, **properties), body, broker="b", queue=queue, system="erp"
    )


def death(queue: Any, reason: Any, **more: Any) -> dict[str, Any]:
    return {"count": 1, "exchange": "", "queue": queue, "reason": reason, "routing-keys": [queue], "time": AT, **more}


def dead(*deaths: dict[str, Any], **first: str) -> dict[str, Any]:
    return {"x-death": list(deaths), **{f"x-first-death-{name}": value for name, value in first.items()}}


NSERVICEBUS = {
    "NServiceBus.MessageId": "m-7",
    "NServiceBus.CorrelationId": "m-1",
    "NServiceBus.ConversationId": "c-1",
    "NServiceBus.FailedQ": "Sales",
    "NServiceBus.ProcessingEndpoint": "Sales",
    "NServiceBus.Retries": "3",
    "NServiceBus.TimeOfFailure": "2026-11-25 22:44:14:123456 Z",
    "NServiceBus.ExceptionInfo.ExceptionType": "System.AggregateException",
    "NServiceBus.ExceptionInfo.InnerExceptionType": "Sales.OrderException",
    "NServiceBus.ExceptionInfo.Message": "One or more errors",
    "NServiceBus.ExceptionInfo.StackTrace": DOTNET,
    **dead(death("nsb.v2.delay-level-03", "expired")),
}
MASSTRANSIT = {
    "MT-Reason": "fault",
    "MT-Fault-InputAddress": "rabbitmq://rabbit.example/shop/order%20service?durable=true",
    "MT-Fault-ExceptionType": "System.InvalidOperationException",
    "MT-Fault-Message": "no stock",
    "MT-Fault-StackTrace": "   at A.B()",
    "MT-Fault-RetryCount": 2,
    "MT-Fault-Timestamp": "2026-11-25T22:44:14.1234567Z",
}
SPRING = {
    "x-exception-stacktrace": JAVA,
    "x-exception-message": "Listener threw",
    "x-original-exchange": "orders",
    "x-original-routingKey": "order.created",
}
ENVELOPE = b'{"messageId": "mt-1", "conversationId": "mt-c", "correlationId": "mt-o", "message": {"orderNo": "4711"}}'

# name → (a delivery, what its letter says)
SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "recorded: rejected, and its time to live is kept": (
        letter(
            dead(
                death("rej", "rejected", **{"original-expiration": "60000"}),
                exchange="",
                queue="rej",
                reason="rejected",
            ),
            message_id="m-1",
        ),
        {
            "origin": "rej",
            "route": {"exchange": "", "routing_key": "rej"},
            "reason": "rejected",
            "reason_code": "rejected",
            "message_id": "m-1",
            "properties": {"message_id": "m-1", "original_expiration": "60000"},
            "first_failed_at": TIME,
            "failed_at": TIME,
        },
    ),
    "recorded: the delivery limit of a quorum queue": (
        letter(
            {**dead(death("quo", "delivery_limit"), queue="quo", reason="delivery_limit"), "x-delivery-count": 4},
        ),
        {"origin": "quo", "reason_code": "delivery_limit", "attempts": None},
    ),
    "recorded: expired by the queue's own time to live": (
        letter(dead(death("ttl", "expired"), queue="ttl", reason="expired")),
        {"origin": "ttl", "reason_code": "expired", "properties": {}},
    ),
    "recorded: too many in the queue": (
        letter(dead(death("max", "maxlen"), queue="max", reason="maxlen")),
        {"origin": "max", "reason": "maxlen", "reason_code": "overflow"},
    ),
    "recorded: a retry loop, newest first": (
        letter(
            dead(death("retry", "expired", count=2), death("loop", "rejected", count=2), queue="loop", reason="rejected")
        ),
        {"origin": "retry", "reason": "expired", "first_failed_at": TIME, "failed_at": None},
    ),
    "recorded: died behind an exchange, and goes back into the queue alone": (
        letter(dead(death("rej", "rejected", exchange="fan", **{"routing-keys": ["key.1", "other"]}))),
        {"origin": "rej", "route": {"exchange": "", "routing_key": "rej"}},
    ),
    "x-death of another kind": (
        letter({"x-death": "nonsense", "x-first-death-queue": "first"}),
        {"origin": "first", "reason": "", "reason_code": "unknown"},
    ),
    "x-death with odd entries": (
        letter({"x-death": [1, None, {"queue": 5, "count": "many", "time": "yesterday", "reason": b"\xff"}]}),
        {"origin": "5", "reason": "�", "first_failed_at": None},
    ),
    "x-death of tables and lists": (
        letter({"x-death": [{"queue": {"a": 1}, "reason": ["rejected"], "time": Epoch(10**13), "count": None}]}),
        {"origin": "d", "reason": "", "first_failed_at": None},
    ),
    "times with and without a zone": (
        letter(dead(death("a", "expired"), death("b", "rejected", time=AT.replace(tzinfo=None, hour=1)))),
        {"first_failed_at": "2026-11-25T01:44:14+00:00", "failed_at": TIME},
    ),
    "nothing at all": (
        letter(None, queue="erp.orders.dlq"),
        {"origin": "erp.orders", "reason_code": "unknown", "error": {"type": "", "root_type": "", "message": "", "stack": ""}},
    ),
    "Spring AMQP: back to its exchange, root cause": (
        letter(SPRING, queue="error.orders"),
        {
            "origin": "order.created",
            "route": {"exchange": "orders", "routing_key": "order.created"},
            "reason_code": "target_error",
            "error": {
                "type": "org.springframework.amqp.rabbit.support.ListenerExecutionFailedException",
                "root_type": "java.net.SocketTimeoutException",
                "message": "Listener threw",
                "stack": JAVA,
            },
        },
    ),
    "Spring AMQP after a retry queue: the republishing is the reason, not the waiting": (
        letter({**SPRING, **dead(death("orders.wait", "expired")), "retry-count": 2}),
        {"reason": "", "reason_code": "target_error", "attempts": 3, "first_failed_at": TIME},
    ),
    "NServiceBus": (
        letter(NSERVICEBUS, queue="error", correlation_id="m-1"),
        {
            "origin": "Sales",
            "route": {"exchange": "", "routing_key": "Sales"},
            "reason": "",
            "reason_code": "target_error",
            "message_id": "m-7",
            "correlation_id": "c-1",
            "attempts": 4,
            "failed_at": "2026-11-25T22:44:14.123456+00:00",
            "error": {
                "type": "System.AggregateException",
                "root_type": "System.TimeoutException",
                "message": "One or more errors",
                "stack": DOTNET,
            },
        },
    ),
    "NServiceBus that could not read the message": (
        letter(
            {
                "NServiceBus.FailedQ": "Sales",
                "NServiceBus.ExceptionInfo.ExceptionType": "NServiceBus.MessageDeserializationException",
                "NServiceBus.TimeOfFailure": "soon",
            }
        ),
        {"reason_code": "deserialization", "failed_at": None, "attempts": None},
    ),
    "MassTransit: a fault": (
        letter(MASSTRANSIT, queue="order service_error", body=ENVELOPE, content_type="application/vnd.masstransit+json"),
        {
            "origin": "order service",
            "route": {"exchange": "", "routing_key": "order service"},
            "reason": "fault",
            "reason_code": "target_error",
            "message_id": "mt-1",
            "correlation_id": "mt-c",
            "attempts": 3,
            "failed_at": "2026-11-25T22:44:14.123456+00:00",
        },
    ),
    "MassTransit: skipped, and its envelope is deep beyond reading": (
        letter({"MT-Reason": "dead-letter"}, queue="orders_skipped", body=b'{"a":' * 50_000, message_id="own"),
        {"origin": "orders", "reason": "dead-letter", "reason_code": "rejected", "message_id": "own"},
    ),
    "Celery: the task's id is the message's": (
        letter(
            {"lang": "py", "task": "erp.book", "id": "t-1", "root_id": "r-1", "retries": 2, "origin": "gen1@host", **dead(death("celery", "rejected"))},
            correlation_id="t-1",
        ),
        {"origin": "celery", "reason_code": "rejected", "message_id": "t-1", "correlation_id": "r-1", "attempts": 3},
    ),
    "an unknown family, by the ends of its names": (
        letter(
            {
                "my-app-original-queue": "orders",
                "dlt_exception_fqcn": "shop.OrderError",
                "dlt_exception_message": "no stock",
                "my.retry.count": "4",
                "acme-failed-at": "2026-11-25T22:44:14Z",
            },
            queue="dead",
        ),
        {
            "origin": "orders",
            "route": {"exchange": "", "routing_key": "orders"},
            "reason_code": "target_error",
            "attempts": 5,
            "failed_at": TIME,
            "error": {"type": "shop.OrderError", "root_type": "shop.OrderError", "message": "no stock", "stack": ""},
        },
    ),
    "text that is none, where text belongs": (
        letter({"message-id": b"\xff"}, message_id=b"\xfe", correlation_id=b"\xfd", content_type=b"\xfc"),  # type: ignore[arg-type]
        {"message_id": "�", "correlation_id": "�", "content_type": "�"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("found", "said"), SHAPES.values(), ids=SHAPES)
def test_a_delivery_tells(found: dict[str, Any], said: dict[str, Any]):
    assert {name: found.get(name) for name in said} == said


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-25 22:44:14:000001 Z", "2026-11-25T22:44:14.000001+00:00"),
        ("2026-11-25T22:44:14", TIME),
        ("22:44:14:1 Z", None),
        ("9999-99-99 22:44:14:123456 Z", None),
        (None, None),
        ("9" * 10_000, None),
    ],
)
def test_a_moment_is_read_or_left_out(text: str | None, time: str | None):
    assert moment(text) == time


VALUES = {
    "float": 1.5, "not a number": float("nan"), "past the year 9999": Epoch(1_764_110_654_000), "text": "ä", "no text": b"\xff", "none": None,
    "yes": True, "large": 2**62, "negative": -5, "decimal": Decimal("-1.25"), "time": AT, "nested": {"a": [{"b": [1, None, 2.5]}]},
}  # fmt: skip


def test_every_value_comes_back_from_amqp_as_it_was():
    install()
    sent = pika.BasicProperties(headers=VALUES)

    back = pika.BasicProperties().decode(b"".join(sent.encode())).headers

    assert repr(back) == repr(VALUES)
    assert {name: type(value) for name, value in back.items()} == {name: type(value) for name, value in VALUES.items()}


def test_tables_deeper_than_anybody_nests_are_kept_as_bytes_and_end_no_line():
    raw = b""
    for _ in range(5000):
        raw = b"\x01aF" + struct.pack(">I", len(raw)) + raw
    encoded = struct.pack(">I", len(raw)) + raw

    table, end = read_table(encoded, 0)

    depth: Any = table
    for _ in range(DEEPEST):
        depth = depth["a"]
    assert (type(depth["a"]), end) == (bytes, len(encoded))
    assert letter(table)["headers"][0]["type"] == "json"


def test_a_list_of_every_kind_is_written_as_long_as_it_says():
    install()
    pieces: list[bytes] = []

    size = write_value(pieces, list(VALUES.values()))

    assert size == len(b"".join(pieces))
