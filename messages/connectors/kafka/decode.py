"""A record of a dead-letter topic as a native dead letter. Pure.

Who writes dead letters to Kafka tells of the death in headers, each in its own words: a Dialect a writer. Sources:
Kafka Connect's DeadLetterQueueReporter; KIP-1034 (Streams); KIP-1191 (share groups); Spring for Apache Kafka's KafkaHeaders and
DeadLetterPublishingRecoverer; Spring Cloud Stream's Kafka binder. Others are met by the ends of their headers' names.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from messages.connectors.base import Header
from messages.connectors.body import body_fields
from messages.connectors.context import context_of
from messages.connectors.headers import as_dicts, first_text, header_of
from messages.connectors.kafka.dialects import Dialect, Found, dialect_of, find, origin_by_name
from messages.connectors.kafka.reasons import reason_code_of
from messages.connectors.roots import root_type

LONGEST_ID = 256
HEADERS_LOST = "its headers cannot be read: one has a name that is no UTF-8"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MESSAGE_ID = ("message-id", "ce_id", "x-message-id", "message_id", "messageid")
CORRELATION_ID = ("correlation-id", "kafka_correlationid", "x-correlation-id", "ce_correlationid", "correlation_id", "correlationid")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A Kafka record as it was read; a value of None is a tombstone. timestamp_ms: since 1970, None when it has none."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    key: bytes | None = None
    timestamp_ms: int | None = None
    append_time: bool = False  # the timestamp is the broker's, not the producer's
    headers: tuple[tuple[str, bytes | None], ...] = ()
    headers_lost: bool = False  # they cannot be read: a name is no UTF-8, which Kafka's protocol does not allow


def decode_record(record: Record, *, broker: str, system: str = "", origin: str = "") -> dict[str, object]:
    """Return the native dead letter of a record; odd headers never raise, they are kept as they are.

    system, origin  who failed and the topic it died in, for letters that do not say.
    """
    headers = [header_as_text(name, value) for name, value in record.headers]
    dialect = dialect_of([name for name, _ in record.headers])
    found = find(record.headers, dialect)
    topic = found.topic or origin or origin_by_name(record.topic, found.group)
    native = found.stage or found.reason or (HEADERS_LOST if record.headers_lost else "")
    error = _error(found)
    return {
        "id": identity(record, broker),
        "broker": broker,
        "family": "kafka",
        "queue": record.topic,
        "origin": topic,
        "route": _route(topic, found.partition),
        "system": system or found.group or found.connector,
        "reason": native or error["root_type"],
        "reason_code": reason_code_of(stage=found.stage, words=found.reason, error_types=found.types(error)),
        "message_id": _first(headers, MESSAGE_ID)[:256],
        "correlation_id": _first(headers, CORRELATION_ID)[:256],
        "error": error,
        "headers": as_dicts(headers),
        "properties": _properties(record, found),
        "content_type": _first(headers, ("content-type", "contenttype")).strip('"')[:200],
        "content_encoding": _first(headers, ("content-encoding",))[:100],
        "replay_id": _first(headers, ("replay-id",))[:36],
        **body_fields(record.value or b""),
        **_when_known(record, dialect, found, headers),
    }


def identity(record: Record, broker: str) -> str:
    """Return broker/topic[partition]@offset/timestamp: offsets begin anew when a topic is deleted and made again, times do not."""
    at = "" if record.timestamp_ms is None else f"/{record.timestamp_ms}"
    place = f"[{record.partition}]@{record.offset}{at}"
    topic = f"{broker}/{record.topic}"
    if len(topic) + len(place) > LONGEST_ID:
        topic = hashlib.sha256(topic.encode("utf-8", "replace")).hexdigest()
    return topic + place


def header_as_text(name: str, value: bytes | None) -> Header:
    """Return a header as text when that loses nothing and a person can read it, else as bytes; null stays null."""
    if value is None:
        return header_of(name, None)
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return header_of(name, value)
    readable = all(char >= " " or char in "\t\n\r" for char in text)
    return header_of(name, text if readable else value)


def _first(headers: Sequence[Header], names: Sequence[str]) -> str:
    return next((text for name in names if (text := first_text(headers, name))), "")


def _error(found: Found) -> dict[str, str]:
    kind = found.cause or found.exception
    return {
        "type": kind,
        "root_type": root_type(found.stack) or kind,
        "message": found.message,
        "stack": found.stack,
    }


def _route(topic: str, partition: int | None) -> dict[str, str]:
    if not topic:
        return {}
    return {"topic": topic} if partition is None else {"topic": topic, "partition": str(partition)}


def _properties(record: Record, found: Found) -> dict[str, object]:
    """Return what belongs to the message and is no header. The key may be personal: it lies with the body, sealed, not in the route."""
    known = {
        "key_base64": None if record.key is None else base64.b64encode(record.key).decode(),
        "tombstone": True if record.value is None else None,
        "timestamp_ms": record.timestamp_ms,
        "original_partition": found.partition,
        "original_offset": found.offset,
        "original_timestamp_ms": found.timestamp_ms,
        "consumer_group": found.group or None,
        "connector": found.connector or None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _when_known(record: Record, dialect: Dialect | None, found: Found, headers: Sequence[Header]) -> dict[str, object]:
    """Return the fields that are left out when nothing tells them: trace, attempts, times."""
    known: dict[str, object] = {}
    if context := context_of(partial(first_text, headers)):
        known["trace_id"], known["span_id"] = context
    if found.attempts is not None:
        known["attempts"] = min(found.attempts, 2**31 - 1)
    # Some writers give the dead letter the time of the message, which is not that of its death.
    if (record.append_time or dialect is None or not dialect.keeps_timestamp) and (at := _moment(record.timestamp_ms)):
        known["failed_at"] = at
    return known


def _moment(milliseconds: int | None) -> str | None:
    try:
        return None if milliseconds is None else (EPOCH + timedelta(milliseconds=milliseconds)).isoformat()
    except OverflowError:
        return None
