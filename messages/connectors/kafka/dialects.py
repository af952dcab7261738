"""Who tells of a death in a record's headers, and in which words. Pure. Sources: see decode.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LONGEST_TEXT = 1_000_000  # characters of one header that are looked at
Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one writer of dead letters names what we ask for.

    marks            lower-case beginnings of header names by which it is known.
    names            what we ask for → lower-case names of headers, the best first.
    keeps_timestamp  a dead letter has the time of the message that died, not of its death.
    """

    marks: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]]
    keeps_timestamp: bool = False


def _prefixed(prefix: str, **names: str) -> dict[str, tuple[str, ...]]:
    return {what: (prefix + name,) for what, name in names.items()}


# One after the other where several could be meant: Spring's retry topics write the group under the dead-letter topic's name.
SPRING = {
    "topic": ("kafka_dlt-original-topic", "kafka_original-topic"),
    "partition": ("kafka_dlt-original-partition", "kafka_original-partition"),
    "offset": ("kafka_dlt-original-offset", "kafka_original-offset"),
    "timestamp": ("kafka_dlt-original-timestamp", "kafka_original-timestamp", "retry_topic-original-timestamp"),
    "group": ("kafka_dlt-original-consumer-group", "kafka_original-consumer-group"),
    "exception": (
        "kafka_dlt-exception-fqcn", "kafka_exception-fqcn", "kafka_dlt-key-exception-fqcn", "kafka_key-exception-fqcn",
    ),
    "cause": ("kafka_dlt-exception-cause-fqcn", "kafka_exception-cause-fqcn"),
    "message": (
        "kafka_dlt-exception-message", "kafka_exception-message", "kafka_dlt-key-exception-message", "kafka_key-exception-message",
    ),
    "stack": (
        "kafka_dlt-exception-stacktrace", "kafka_exception-stacktrace", "kafka_dlt-key-exception-stacktrace",
        "kafka_key-exception-stacktrace",
    ),
    "attempts": ("retry_topic-attempts", "kafka_deliveryattempt"),
}  # fmt: skip
DIALECTS = (
    Dialect(
        marks=("kafka_dlt-", "kafka_original-", "kafka_exception-", "kafka_key-exception-", "retry_topic-"),
        names=SPRING,
    ),
    Dialect(
        marks=("__connect.errors.",),
        names=_prefixed(
            "__connect.errors.", topic="topic", partition="partition", offset="offset", connector="connector.name", stage="stage",
            exception="exception.class.name", message="exception.message", stack="exception.stacktrace",
        ),
        keeps_timestamp=True,
    ),
    Dialect(
        marks=("__streams.errors.",),
        names=_prefixed(
            "__streams.errors.", topic="topic", partition="partition", offset="offset", exception="exception", message="message",
            stack="stacktrace",
        ),
        keeps_timestamp=True,
    ),
    Dialect(
        marks=("__dlq.errors.",),
        names=_prefixed(
            "__dlq.errors.", topic="topic", partition="partition", offset="offset", group="group", attempts="delivery.count",
            reason="message",
        ),
        keeps_timestamp=True,
    ),
    Dialect(
        marks=("x-original-", "x-exception-"),
        names={
            **_prefixed("x-original-", topic="topic", partition="partition", offset="offset", timestamp="timestamp"),
            **_prefixed("x-exception-", exception="fqcn", message="message", stack="stacktrace"),
        },
    ),
)  # fmt: skip

# The last resort: what the names of headers of home-made and third-party writers end with.
ENDINGS: dict[str, tuple[str, ...]] = {
    "topic": ("original-topic", "original.topic", "original_topic", "errors.topic", "source-topic"),
    "partition": ("original-partition", "original.partition", "original_partition", "errors.partition", "source-partition"),
    "offset": ("original-offset", "original.offset", "original_offset", "errors.offset", "source-offset"),
    "timestamp": ("original-timestamp", "original.timestamp", "original_timestamp"),
    "group": ("consumer-group", "consumer.group", "consumer_group", "errors.group"),
    "connector": ("errors.connector.name",),
    "stage": ("errors.stage",),
    "exception": ("exception-fqcn", "exception.class.name", "exception-class", "exception-type", "error-type", "errors.exception"),
    "cause": ("exception-cause-fqcn",),
    "message": ("exception-message", "exception.message", "error-message", "exception_message"),
    "reason": ("dead-reason", "failure-reason", "error-reason"),
    "stack": ("stacktrace", "stack-trace", "stack_trace", "error-stack"),
    "attempts": ("retry-count", "retry_count", "attempts", "delivery-count", "delivery.count"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a dead letter's headers say; "" and None where they do not."""

    topic: str = ""
    partition: int | None = None
    offset: int | None = None
    timestamp_ms: int | None = None
    group: str = ""
    connector: str = ""
    stage: str = ""
    exception: str = ""
    cause: str = ""
    message: str = ""
    reason: str = ""
    stack: str = ""
    attempts: int | None = None

    def types(self, error: Mapping[str, str]) -> tuple[str, ...]:
        """Return the names of exceptions, the innermost first."""
        return tuple(name for name in (error["root_type"], self.cause, self.exception) if name)


def dialect_of(names: Sequence[str]) -> Dialect | None:
    """Return the dialect of the newest death: headers are appended, so that of the last one that tells of any; None without one."""
    for name in reversed(names):
        for dialect in DIALECTS:
            if name.lower().startswith(dialect.marks):
                return dialect
    return None


def find(headers: Headers, dialect: Dialect | None) -> Found:
    """Return what is said. Of repeated headers the first tells where the message truly comes from, the last how it died at last."""
    values = _named(headers, dialect.names) if dialect else _ending(headers)
    first = {what: texts[0] for what, texts in values.items()}
    last = {what: texts[-1] for what, texts in values.items()}
    return Found(
        topic=_text(first.get("topic"))[:300],
        partition=_count(first.get("partition")),
        offset=_count(first.get("offset")),
        timestamp_ms=_count(first.get("timestamp")),
        group=_text(first.get("group"))[:300],
        connector=_text(last.get("connector"))[:300],
        stage=_text(last.get("stage"))[:300],
        exception=_text(last.get("exception")),
        cause=_text(last.get("cause")),
        message=_text(last.get("message")),
        reason=_text(last.get("reason")),
        stack=_text(last.get("stack")),
        attempts=_count(last.get("attempts")),
    )


def _named(headers: Headers, names: Mapping[str, tuple[str, ...]]) -> dict[str, list[bytes]]:
    by_name: dict[str, list[bytes]] = {}
    for name, value in headers:
        if value is not None:
            by_name.setdefault(name.lower(), []).append(value)
    found = {}
    for what, candidates in names.items():
        said = next((by_name[name] for name in candidates if name in by_name), None)
        if said:
            found[what] = said
    return found


def _ending(headers: Headers) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for name, value in headers:
        for what, endings in ENDINGS.items():
            if value is not None and name.lower().endswith(endings):
                found.setdefault(what, []).append(value)
                break
    return found


def number(value: bytes | None) -> int | None:
    """Return a number written as decimal text or as 1 to 8 bytes, big-endian and signed; None for anything else.

    Spring writes partitions in 4 bytes, offsets in 8 and some times in as many as they need. Bytes that can be printed are text:
    as binary they would be a partition beyond 500 million or a year beyond 3000.
    """
    if not value or len(value) > 20:
        return None
    if value.isascii() and value.decode().isprintable():
        return int(value) if value.removeprefix(b"-").isdigit() else None
    return int.from_bytes(value, "big", signed=True) if len(value) <= 8 else None


def _count(value: bytes | None) -> int | None:
    """Return a number that cannot be negative: -1 stands for unknown."""
    counted = number(value)
    return counted if counted is not None and 0 <= counted < 2**63 else None


def _text(value: bytes | None) -> str:
    return (value or b"")[:LONGEST_TEXT].decode("utf-8", "replace")


SUFFIXES = (
    ".dlq",
    "-dlq",
    "_dlq",
    ".dlt",
    "-dlt",
    "_dlt",
    ".dead-letter",
    "-dead-letter",
    ".deadletter",
    ".error",
    "-error",
)


def origin_by_name(topic: str, group: str = "") -> str:
    """Return the topic that a dead-letter topic's name is made of: orders.DLQ, orders-dlt, error.orders.group; "" when it is not."""
    for suffix in SUFFIXES:
        if topic.lower().endswith(suffix):
            return topic[: -len(suffix)]
    if topic.startswith("error."):
        rest = topic.removeprefix("error.")
        return rest.removesuffix(f".{group}") if group and rest.endswith(f".{group}") else rest.rpartition(".")[0]
    return topic.removeprefix("dlq.") if topic.startswith("dlq.") else ""
