"""The native dead letter, decoded and cleaned. Pure but for the caller's clock.

The struct is the schema: docs/schemas/dead-letter.json is generated from it and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from console.core.ids import uuid7, uuid_of
from messages.connectors.context import context_of
from messages.connectors.roots import root_type
from messages.ingest import clean
from messages.ingest.bodies import Keys, keys_of_body
from messages.ingest.http import Malformed
from messages.ingest.identity import dead_letter_identity, message_uid
from messages.ingest.model import RawItem, Refused
from messages.ingest.native import Error, Hex16, Hex32, Id, Name, Zoned, body_bytes, decode_item, id_of
from messages.payloads.seal import Content

ReasonCode = Literal[
    "rejected",
    "delivery_limit",
    "expired",
    "overflow",
    "deserialization",
    "target_error",
    "auth",
    "throttled",
    "hop_limit",
    "unknown",
]


class HeaderItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One header, lossless: bytes as base64, timestamps as RFC 3339."""

    name: Annotated[str, Meta(max_length=1024)]
    type: Literal["string", "int", "float", "bool", "bytes", "timestamp", "null", "json"] = "string"
    value: Any = None


class LetterError(Error, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why it failed; `root_type` is the innermost exception's."""

    root_type: str = ""


class DeadLetterItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message that failed for good. `id` names this death: the same when the broker delivers it again."""

    id: Id
    broker: Annotated[str, Meta(min_length=1, max_length=120)]
    family: Annotated[str, Meta(min_length=1, max_length=40)]
    queue: Name
    origin: Annotated[str, Meta(max_length=300)] = ""
    route: dict[str, str] = {}
    system: Annotated[str, Meta(max_length=300)] = ""
    reason: str = ""
    reason_code: ReasonCode = "unknown"
    message_id: Annotated[str, Meta(max_length=512)] = ""
    correlation_id: Annotated[str, Meta(max_length=512)] = ""
    trace_id: Hex32 | None = None
    span_id: Hex16 | None = None
    error: LetterError | None = None
    attempts: Annotated[int, Meta(ge=0, le=2147483647)] | None = None
    first_failed_at: Zoned | None = None
    failed_at: Zoned | None = None
    keys: dict[str, str | int | float] = {}
    headers: list[HeaderItem] = []
    properties: dict[str, Any] = {}
    content_type: Annotated[str, Meta(max_length=200)] = ""
    content_encoding: Annotated[str, Meta(max_length=100)] = ""
    body: str | None = None
    body_base64: str | None = None
    replay_id: Annotated[str, Meta(max_length=64)] = ""


@dataclass(slots=True, kw_only=True)
class NewDeadLetter:
    """A dead letter ready to be stored; `content` is None when no body came with it."""

    index: int
    raw: RawItem
    id: UUID
    identity: UUID
    item: DeadLetterItem
    failed_at: datetime
    first_failed_at: datetime | None
    message_uid: UUID | None
    trace_id: UUID | None
    span_id: str
    replay_id: UUID | None
    keys: dict[str, str]
    content: Content | None
    texts: dict[str, str] = field(default_factory=dict)  # column → cleaned text
    masked: dict[str, object] = field(default_factory=dict)  # masking rule id → values it replaced
    content_masked: bool = False


def letters_of(
    items: Sequence[RawItem], *, environment_id: int, now: datetime, retention: timedelta, keys: Keys
) -> tuple[list[NewDeadLetter], list[Refused]]:
    """Return (dead letters, refused items) of these JSON items; the same identity twice in one batch is one letter."""
    letters: dict[UUID, NewDeadLetter] = {}
    refused: list[Refused] = []
    for index, raw in enumerate(items):
        try:
            item = decode_item(raw, DeadLetterItem)
            letter = _letter(item, index, raw, environment_id, now, retention, keys)
            letters.setdefault(letter.identity, letter)
        except Malformed as error:
            refused.append(Refused(index=index, code="invalid_item", detail=str(error), raw=raw))
    return list(letters.values()), refused


def _letter(
    item: DeadLetterItem, index: int, raw: RawItem, environment_id: int, now: datetime, retention: timedelta, keys: Keys
) -> NewDeadLetter:
    # A dead letter may be older than the retention of traffic: it waits until a person has decided. Only the future is clamped.
    longest = max(retention, timedelta(days=3650))
    failed_at = clean.moment(item.failed_at or now, now=now, retention=longest)[0]
    first = clean.moment(item.first_failed_at, now=now, retention=longest)[0] if item.first_failed_at else None
    body = body_bytes(item.body, item.body_base64)
    error = item.error or LetterError()
    content = None
    if body is not None:
        headers = [{"name": h.name, "type": h.type, "value": h.value} for h in item.headers[:1000]]
        check_encodable(headers, item.properties)
        content = Content(body, headers, item.properties)
    destination = item.origin or item.queue
    trace_id, span_id = _context(item)
    message_id = clean.text(item.message_id, clean.ID_BYTES)
    return NewDeadLetter(
        index=index,
        raw=raw,
        id=uuid7(),
        identity=dead_letter_identity(environment_id, item.id),
        item=item,
        failed_at=failed_at,
        first_failed_at=first,
        message_uid=uuid_of(message_uid(environment_id, message_id, destination)) if message_id else None,
        trace_id=UUID(hex=trace_id) if trace_id else None,
        span_id=span_id,
        replay_id=_uuid(item.replay_id),
        keys=_business_keys(item, body, keys),
        content=content,
        texts={
            "broker": clean.text(item.broker, 120),
            "family": clean.text(item.family, 40),
            "queue": clean.text(item.queue, 300),
            "origin": clean.text(item.origin, 300),
            "reason": clean.text(item.reason, clean.ERROR_BYTES),
            "error_type": clean.text(error.type, clean.NAME_BYTES),
            "error_root_type": clean.text(error.root_type or root_type(error.stack) or error.type, clean.NAME_BYTES),
            "error_message": clean.text(error.message, clean.ERROR_BYTES),
            "error_stack": clean.text(error.stack, clean.ERROR_BYTES),
            "message_id": message_id,
            "correlation_id": clean.text(item.correlation_id, clean.ID_BYTES),
            "content_type": clean.text(item.content_type, 200),
        },
    )


def _context(item: DeadLetterItem) -> tuple[str, str]:
    """Return (trace id, span id) that the sender names, else those of the context in its headers, else ("", "")."""
    if trace_id := id_of(item.trace_id):
        return trace_id, id_of(item.span_id) or ""
    texts: dict[str, str] = {}
    for header in item.headers[:1000]:
        if header.type == "string" and isinstance(header.value, str):
            texts.setdefault(header.name.lower(), header.value)
    return context_of(texts.get) or ("", "")


def check_encodable(*values: object) -> None:
    """Refuse numbers that cannot be kept as they are: headers are lossless or they are refused."""
    try:
        msgspec.msgpack.encode(values)
    except OverflowError as error:
        raise Malformed("a number in headers or properties is beyond 64 bits: send it as text") from error


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _business_keys(item: DeadLetterItem, body: bytes | None, keys: Keys) -> dict[str, str]:
    """Return the keys of the body's JSON fields, then of headers, then those the sender names: the later wins."""
    found = keys_of_body(body, keys)
    found.update(keys({h.name: h.value for h in item.headers}))
    for name, value in list(item.keys.items())[: clean.MOST_KEYS]:
        if (text := clean.key_value(value)) is not None:
            found[clean.text(name, 64)] = text
    return dict(list(found.items())[: clean.MOST_KEYS])
