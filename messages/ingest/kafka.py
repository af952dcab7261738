"""Kafka in front of ingest: a record is what an HTTP request would have been. Pure: who consumes is in consume.py.

The value is the body. Headers name the `endpoint` (traces, logs, events, cloudevents, dead-letters, changes, mapped/<slug>), `content-type`,
`content-encoding`, `idempotency-key` and, for a topic that several agents share, `authorization`. A record without them is what the
consumer was told its topic holds. CloudEvents come as its Kafka binding has them: `ce_…` headers, or the structured content type.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from messages.ingest.http import WIRE_BYTES, Body, Malformed, TooLarge, inflate

PROTOBUF = frozenset({"traces", "logs"})
LONGEST_BATCH_ID = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A Kafka record. headers: name → value of the last header of this name; names lower-case; none, and said so, when they cannot be read."""

    topic: str
    partition: int
    offset: int
    value: bytes
    headers: Mapping[str, str]
    headers_readable: bool = True

    @property
    def place(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """What a topic's records are when their headers do not say."""

    endpoint: str
    content_type: str = ""


def text_headers(headers: Iterable[tuple[str, Any]]) -> dict[str, str]:
    """Return a record's headers as text, the last of each name; bytes that are no UTF-8 lose what is wrong."""
    return {
        name.lower(): value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""
        for name, value in headers
    }


def endpoint_of(record: Record, plain: Plain) -> str:
    """Return which endpoint's format a record has."""
    if "ce_specversion" in record.headers or _media_type(record).startswith("application/cloudevents"):
        return "cloudevents"
    return record.headers.get("endpoint", "") or plain.endpoint


def body_of(record: Record, endpoint: str, plain: Plain) -> Body:
    """Return the record's body, inflated; raises Malformed, WrongType, TooLarge."""
    if len(record.value) > WIRE_BYTES:
        raise TooLarge(f"the record has {len(record.value):,} bytes; at most {WIRE_BYTES:,} are taken")
    data = inflate(record.value, record.headers.get("content-encoding", "").strip().lower())
    batch_id = record.headers.get("idempotency-key", "").strip()
    if len(batch_id) > LONGEST_BATCH_ID or "\x00" in batch_id:
        raise Malformed(f"an idempotency-key has at most {LONGEST_BATCH_ID} characters")
    default = "application/x-protobuf" if endpoint in PROTOBUF else "application/json"
    return Body(
        data=data,
        media_type=_media_type(record) or plain.content_type or default,
        wire_bytes=len(record.value),
        sha256=hashlib.sha256(data).digest(),
        batch_id=batch_id or None,
        headers=_as_over_http(record) if endpoint == "cloudevents" else {},
    )


def _media_type(record: Record) -> str:
    return record.headers.get("content-type", "").partition(";")[0].strip().lower()


def _as_over_http(record: Record) -> dict[str, str]:
    """Return the headers of a CloudEvent in binary mode as its HTTP binding names and writes them: percent-encoded."""
    attributes = {f"ce-{name[3:]}": quote(value) for name, value in record.headers.items() if name.startswith("ce_")}
    return attributes | {"content-type": record.headers.get("content-type", "")}
