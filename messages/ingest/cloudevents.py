"""CloudEvents 1.0 over HTTP → events: binary, structured and batched. Pure but for the caller's clock.

Sources: CloudEvents specification 1.0.2, its HTTP protocol binding and JSON event format, and the distributed tracing extension
(`traceparent` names the trace that the event started in). A CloudEvent becomes one event: its source sent a message called `id`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import UNSET, Meta, UnsetType

from console.core.ids import derived_id
from messages.connectors.context import parse_traceparent
from messages.ingest import clean, jsontext
from messages.ingest.bodies import Keys, keys_of_body
from messages.ingest.http import MOST_ITEMS, Malformed, TooLarge, WrongType
from messages.ingest.identity import message_uid
from messages.ingest.model import NewEvent, NewPayload, Refused
from messages.ingest.semconv import SEND
from messages.payloads.seal import Content

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
OK = 1
MOST_EXTENSIONS = 64


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The attributes that the specification names; every other member of the object is an extension."""

    id: Annotated[str, Meta(min_length=1, max_length=256)]
    source: Annotated[str, Meta(min_length=1, max_length=1024)]
    specversion: Literal["1.0"]
    type: Annotated[str, Meta(min_length=1, max_length=300)]
    datacontenttype: Annotated[str, Meta(max_length=200)] = ""
    dataschema: str = ""
    subject: str = ""
    time: Annotated[datetime, Meta(tz=True)] | None = None
    data: msgspec.Raw | UnsetType = UNSET
    data_base64: str | None = None


NAMED = frozenset(CloudEvent.__struct_fields__)


def split_items(data: bytes, media_type: str, headers: Mapping[str, str]) -> list[bytes]:
    """Return each CloudEvent as JSON; one in binary mode is put together from its headers and body.

    headers  of the request, lower-case: `ce-…` in binary mode. Raises Malformed, WrongType or TooLarge.
    """
    if media_type == STRUCTURED:
        jsontext.check_nesting(data)
        return [data]
    if media_type == BATCHED:
        try:
            items = jsontext.decode_around(data, list[msgspec.Raw])
        except jsontext.UNREADABLE as error:
            raise Malformed(f"a batch is a JSON array of CloudEvents: {error}") from error
        if len(items) > MOST_ITEMS:
            raise TooLarge(
                f"a request carries at most {MOST_ITEMS:,} items, this one {len(items):,}; send smaller batches"
            )
        return [bytes(item) for item in items]
    attributes = {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
    if "specversion" not in attributes:
        words = f"send {STRUCTURED}, {BATCHED}, or the headers ce-id, ce-source, ce-specversion and ce-type"
        # JSON may be meant as an event whose headers were forgotten; of anything else the type is what is wrong.
        raise Malformed(words) if media_type == "application/json" else WrongType(words)
    attributes["datacontenttype"] = headers.get("content-type", "")
    if data:
        attributes["data_base64"] = base64.b64encode(data).decode()
    return [msgspec.json.encode(attributes)]


def events_of(
    items: list[bytes], *, environment_id: int, now: datetime, retention: timedelta, keys: Keys
) -> tuple[list[NewEvent], list[Refused]]:
    """Return (events, refused items)."""
    events: list[NewEvent] = []
    refused: list[Refused] = []
    for index, raw in enumerate(items):
        try:
            events.append(_event(raw, index, environment_id, now, retention, keys))
        except Malformed as error:
            refused.append(Refused(index=index, code="invalid_item", detail=str(error), raw=raw))
    return events, refused


def _event(raw: bytes, index: int, environment_id: int, now: datetime, retention: timedelta, keys: Keys) -> NewEvent:
    event, extensions = _decode(raw)
    occurred_at, clamped_from = clean.moment(event.time or now, now=now, retention=retention)
    destination, message_id = clean.text(event.type, clean.NAME_BYTES), clean.text(event.id, clean.ID_BYTES)
    context = parse_traceparent(str(extensions.get("traceparent") or ""))
    body = _body(event)
    searched = {**extensions, "subject": event.subject}
    found = keys_of_body(body, keys) | keys(searched)
    named = {
        "cloudevents.event_source": event.source,
        "cloudevents.event_type": event.type,
        "cloudevents.event_subject": event.subject,
        "cloudevents.event_spec_version": event.specversion,
        "dataschema": event.dataschema,
    }
    content_type = event.datacontenttype or "application/json"
    return NewEvent(
        index=index,
        id=derived_id("cloudevent", environment_id, event.source, event.id),
        occurred_at=occurred_at,
        clamped_from=clamped_from,
        time_is_ours=event.time is None,
        system=clean.text(system_of(event.source), 120),
        operation=SEND,
        outcome=OK,
        name=destination,
        destination=destination,
        message_id=message_id,
        message_uid=message_uid(environment_id, message_id, destination),
        trace_id=bytes.fromhex(context[0]) if context else None,
        parent_span_id=context[1] if context else None,
        keys=dict(list(found.items())[: clean.MOST_KEYS]),
        attributes=clean.attributes({name: value for name, value in named.items() if value} | extensions),
        payload=NewPayload(clean.text(content_type, 200), Content(body)) if body is not None else None,
        found_in=searched,
        keys_in_body=True,
        raw=raw,
    )


def _decode(raw: bytes) -> tuple[CloudEvent, dict[str, Any]]:
    try:
        jsontext.check_item(raw)
        event = jsontext.decode(raw, CloudEvent)
        members = jsontext.decode(raw, dict[str, msgspec.Raw])
        extra = [name for name in members if name not in NAMED][:MOST_EXTENSIONS]
        return event, {name: jsontext.decode(members[name], object) for name in extra}
    except jsontext.UNREADABLE as error:
        raise Malformed(str(error)[:500]) from error


def _body(event: CloudEvent) -> bytes | None:
    """Return the data: JSON as it stands in the event, text as text when the content type is not JSON, base64 as bytes."""
    if event.data_base64 is not None:
        try:
            return base64.b64decode(event.data_base64, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Malformed(f"data_base64 is not base64: {error}") from error
    if event.data is UNSET:
        return None
    raw = bytes(event.data)  # type: ignore[arg-type]
    if raw[:1] == b'"' and not _is_json(event.datacontenttype):
        return msgspec.json.decode(raw, type=str).encode()
    return raw


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return not media_type or media_type.endswith(("/json", "+json"))


def system_of(source: str) -> str:
    """Return the system that a source names: the host of a URL, else the first step of a path, else the last part of a URN."""
    try:
        parts = urlsplit(source)
    except ValueError:
        return source
    if parts.hostname:
        return parts.hostname
    if parts.scheme == "urn":
        return next(_steps(parts.path.rpartition(":")[2], "/"), source)
    return next(_steps(parts.path or source, "/"), source)


def _steps(path: str, separator: str) -> Iterator[str]:
    return (step for step in path.split(separator) if step)
