"""A message of confluent-kafka as a record."""

from __future__ import annotations

from operator import methodcaller
from typing import Any

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, TIMESTAMP_NOT_AVAILABLE, Message

from messages.connectors.kafka.decode import Record

_HEADERS = methodcaller("headers")


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


def read_headers(message: Message) -> list[tuple[str, Any]] | None:
    """Return the headers as the library has them; None when it cannot read them: a name is no UTF-8.

    The library then returns a broken list beside its exception. Called through C, Python looks for that exception; a call that the
    interpreter has specialised for speed does not, and to read on in the list ends the process.
    """
    try:
        return list(_HEADERS(message) or ())
    except Exception:  # noqa: BLE001  one such record would hold up its partition for ever
        return None


def _headers(message: Message) -> tuple[tuple[str, bytes | None], ...] | None:
    headers = read_headers(message)
    return None if headers is None else tuple((name, _bytes(value)) for name, value in headers)


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
