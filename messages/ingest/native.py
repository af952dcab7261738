"""The native format: a JSON array, an envelope or NDJSON of events. Pure but for the caller's clock.

The structs are the schema: docs/schemas/event.json is generated from them and a test compares the two.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from messages.ingest import clean, jsontext
from messages.ingest.http import MOST_ITEMS, Malformed, TooLarge
from messages.ingest.identity import message_of_span, message_uid, messages_of_links, native_event_id
from messages.ingest.model import NewEvent, NewPayload, RawItem, Refused
from messages.ingest.semconv import CONSUMING
from messages.payloads.seal import Content

NDJSON = "application/x-ndjson"
Hex32 = Annotated[str, Meta(pattern="^[0-9a-fA-F]{32}$", max_length=32)]  # Python's $ lets a line end follow
Hex16 = Annotated[str, Meta(pattern="^[0-9a-fA-F]{16}$", max_length=16)]
Id = Annotated[str, Meta(min_length=1, max_length=256)]
Name = Annotated[str, Meta(min_length=1, max_length=300)]
Zoned = Annotated[datetime, Meta(tz=True)]
LINKS = (
    "They need the trace_id of this event; without a span_id it gets one of its own. A receive, process or settle without a message_id "
    "and with several links, or one that names a message, is about every message that they lead to: give the ids of those that have one."
)
OPERATIONS = {"other": 0, "create": 1, "send": 2, "receive": 3, "process": 4, "settle": 5}
OUTCOMES = {"unset": 0, "ok": 1, "error": 2}


class Link(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A span of another trace that this event continues; of a batch, the span that sent the message with this id."""

    trace_id: Hex32
    span_id: Hex16
    message_id: str = ""


class Error(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why it failed."""

    type: str = ""
    message: str = ""
    stack: str = ""


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The message's body as text, or base64 for bytes, with its headers."""

    content_type: str = "text/plain"
    body: str | None = None
    body_base64: str | None = None
    headers: dict[str, str] = {}


class EventItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One hop of a message. `id` is unique per system: the same id and time again is the same event."""

    id: Id
    system: Name
    operation: Literal["create", "send", "receive", "process", "settle", "other"]
    occurred_at: Zoned
    outcome: Literal["ok", "error", "unset"] = "ok"
    duration_ms: float = 0.0
    name: str = ""
    destination: str = ""
    message_id: str = ""
    correlation_id: str = ""
    trace_id: Hex32 | None = None
    span_id: Hex16 | None = None
    parent_span_id: Hex16 | None = None
    links: Annotated[list[Link], Meta(max_length=clean.MOST_LINKS, description=LINKS)] = []
    keys: dict[str, str | int | float] = {}
    attributes: dict[str, Any] = {}
    error: Error | None = None
    payload: Payload | None = None


Item = TypeVar("Item", bound=msgspec.Struct)
Keys = Callable[[Mapping[str, Any]], dict[str, str]]


class _Envelope(msgspec.Struct, frozen=True):
    batch_id: Annotated[str, Meta(max_length=180)] = ""
    events: list[msgspec.Raw] | UnsetType = UNSET
    dead_letters: list[msgspec.Raw] | UnsetType = UNSET
    changes: list[msgspec.Raw] | UnsetType = UNSET


def split_items(
    data: bytes, media_type: str, member: Literal["events", "dead_letters", "changes"]
) -> tuple[Sequence[RawItem], str | None]:
    """Return (each item's own JSON bytes, the envelope's batch id); raises Malformed or TooLarge.

    Items stay bytes so that a bad one is refused alone, and kept as it came.
    """
    items: Sequence[RawItem]
    batch_id = None
    if media_type == NDJSON:
        items = [line for line in data.split(b"\n") if line.strip()]
    else:
        try:
            if data.lstrip()[:1] == b"[":
                items = jsontext.decode_around(data, list[msgspec.Raw])
            else:
                envelope = jsontext.decode_around(data, _Envelope)
                raws = getattr(envelope, member)
                if raws is UNSET:
                    raise Malformed(f'send a JSON array, or an object with "{member}": […]')
                if "\x00" in envelope.batch_id:
                    raise Malformed("a batch_id has no NUL in it")
                items, batch_id = raws, envelope.batch_id or None
        except jsontext.UNREADABLE as error:
            raise Malformed(f"the body is not JSON of the documented shape: {error}") from error
    if len(items) > MOST_ITEMS:
        raise TooLarge(f"a request carries at most {MOST_ITEMS:,} items, this one {len(items):,}; send smaller batches")
    return items, batch_id


def decode_item(raw: RawItem, kind: type[Item]) -> Item:
    """Return one typed item; raises Malformed in words that name the field."""
    try:
        jsontext.check_item(bytes(raw))
        return jsontext.decode(raw, kind)
    except jsontext.UNREADABLE as error:
        raise Malformed(str(error)[:500]) from error


def events_of(
    items: Sequence[RawItem],
    *,
    environment_id: int,
    now: datetime,
    retention: timedelta,
    keys: Keys,
) -> tuple[list[NewEvent], list[Refused]]:
    """Return (events, refused items) of these JSON items."""
    events: list[NewEvent] = []
    refused: list[Refused] = []
    for index, raw in enumerate(items):
        try:
            item = decode_item(raw, EventItem)
            events.append(_event(item, index, raw, environment_id, now, retention, keys))
        except Malformed as error:
            refused.append(Refused(index=index, code="invalid_item", detail=str(error), raw=raw))
    return events, refused


def _event(
    item: EventItem, index: int, raw: RawItem, environment_id: int, now: datetime, retention: timedelta, keys: Keys
) -> NewEvent:
    occurred_at, clamped_from = clean.moment(item.occurred_at, now=now, retention=retention)
    destination = clean.optional(item.destination, clean.NAME_BYTES)
    message_id = clean.optional(item.message_id, clean.ID_BYTES)
    system = clean.text(item.system, 120)
    event_id = native_event_id(environment_id, system, item.id)
    links = _links(item)
    trace = _trace_of(item)
    span_id = id_of(item.span_id) or (event_id[-8:].hex() if links else None)
    parent_span_id = id_of(item.parent_span_id)
    uid: bytes | None = message_uid(environment_id, message_id, destination) if message_id else None
    batch = [] if message_id else _batch(item, links, destination, environment_id)
    if trace and span_id and not (message_id or batch):
        uid = message_of_span(
            environment_id, operation=OPERATIONS[item.operation], destination=destination, trace_id=trace, span_id=span_id,
            parent_span_id=parent_span_id, links=links,
        )  # fmt: skip
    error = item.error or Error()
    failed = item.outcome == "error"
    return NewEvent(
        index=index,
        id=event_id,
        occurred_at=occurred_at,
        clamped_from=clamped_from,
        system=system,
        operation=OPERATIONS[item.operation],
        outcome=OUTCOMES[item.outcome],
        duration_us=clean.duration(item.duration_ms * 1000),
        name=clean.text(item.name or f"{item.operation} {item.destination}".strip(), clean.NAME_BYTES),
        destination=destination,
        message_id=message_id,
        message_uid=uid,
        batch=batch,
        correlation_id=clean.optional(item.correlation_id, clean.ID_BYTES),
        trace_id=trace,
        span_id=span_id,
        parent_span_id=parent_span_id,
        links=links,
        error_type=clean.text(error.type or "_OTHER", clean.NAME_BYTES) if failed else None,
        error_message=clean.optional(error.message, clean.ERROR_BYTES) if failed else None,
        error_stack=clean.optional(error.stack, clean.ERROR_BYTES) if failed else None,
        keys=business_keys(item.keys, item.attributes, keys),
        attributes=clean.attributes(item.attributes),
        payload=payload_of(item.payload) if item.payload else None,
        found_in=item.attributes,
        named_keys=item.keys,
        raw=raw,
    )


def _links(item: EventItem) -> list[tuple[bytes, str]]:
    """Return the spans it is linked to; a link to an all-zero id leads nowhere. Raises Malformed where they lead from no trace."""
    links = [span for span in map(_span_of, item.links) if span]
    if links and not id_of(item.trace_id):
        raise Malformed("links lead from this event's trace: give its trace_id too")
    return links


def _span_of(link: Link) -> tuple[bytes, str] | None:
    return (
        (bytes.fromhex(link.trace_id), link.span_id.lower()) if id_of(link.trace_id) and id_of(link.span_id) else None
    )


def _batch(
    item: EventItem, links: list[tuple[bytes, str]], destination: str | None, environment_id: int
) -> list[tuple[bytes, str | None]]:
    """Return the messages of an event about many: those that its links lead to, or [] for one about one or none."""
    named = [clean.optional(link.message_id, clean.ID_BYTES) for link in item.links]
    if not destination or OPERATIONS[item.operation] not in CONSUMING or not (len(links) > 1 or any(named)):
        return []
    return messages_of_links(environment_id, destination, zip(named, map(_span_of, item.links), strict=True))


def _trace_of(item: EventItem) -> bytes | None:
    trace_id = id_of(item.trace_id)
    return bytes.fromhex(trace_id) if trace_id else None


def id_of(digits: str | None) -> str | None:
    """Return a trace's or span's id in lower case; all zero is none, as senders outside any trace write it (W3C Trace Context)."""
    return digits.lower() if digits and digits.strip("0") else None


def business_keys(given: Mapping[str, Any], attributes: Mapping[str, Any], keys: Keys) -> dict[str, str]:
    """Return the keys an item names itself, and those that rules find in its attributes."""
    found = keys(attributes)
    for name, value in list(given.items())[: clean.MOST_KEYS]:
        if (value_text := clean.key_value(value)) is not None:
            found[clean.text(name, 64)] = value_text
    return found


def body_bytes(body: str | None, body_base64: str | None) -> bytes | None:
    """Return the bytes of a body given as text or base64; raises Malformed when the base64 is none."""
    if body_base64 is not None:
        try:
            return base64.b64decode(body_base64, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Malformed(f"body_base64 is not base64: {error}") from error
    return body.encode() if body is not None else None


def payload_of(payload: Payload) -> NewPayload | None:
    body = body_bytes(payload.body, payload.body_base64)
    if body is None:
        return None
    headers: list[dict[str, object]] = [
        {"name": name, "type": "string", "value": value} for name, value in payload.headers.items()
    ]
    return NewPayload(clean.text(payload.content_type, 200), Content(body, headers))
