"""A message of confluent-kafka as a record."""

from __future__ import annotations

from typing import Any

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, TIMESTAMP_NOT_AVAILABLE, Message

from messages.connectors.kafka.decode import Record


def record_of(message: Message) -> Record:
    kind, at = message.timestamp()
    headers = _headers(message)
    return Record(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        timestamp_ms=None if kind == TIMESTAMP_NOT_AVAILABLE or at < 0 else at,
        append_time=kind == TIMESTAMP_LOG_APPEND_TIME,
        headers=headers or (),
        headers_lost=headers is None,
    )


def _headers(message: Message) -> tuple[tuple[str, bytes | None], ...] | None:
    """Return the headers; None when the library cannot read them, which it says by any exception: a name is no UTF-8."""
    try:
        headers: Any = message.headers() or ()
        return tuple((name, _bytes(value)) for name, value in headers)
    except Exception:  # noqa: BLE001  one such record would hold up its partition for ever
        return None


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
