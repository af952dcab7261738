"""What lies in an index: its mapping, and the documents of messages and dead letters. Pure.

One index holds both, told apart by `kind`; the mapping is strict and bounded: business keys are terms `<length>:<name>=<value>`, so that
no sender can add a field. Ids of the catalogue are keywords; names are looked up in PostgreSQL when a question is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

from messages.search.elastic.words import MICROSECOND, chunks, key_term, microseconds

MOST_TOUCHED = 1_000  # systems, destinations and agents of one message; a message of more is found by these
MOST_DIED = 100
MOST_TOLD = 1_000
MOST_TEXT = 32 * 1024  # characters of a body

_TERM: dict[str, Any] = {"type": "keyword"}
_LOOKED_FOR: dict[str, Any] = {"type": "keyword", "doc_values": False}  # never sorted, never counted
MAPPING: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {
        "kind": _TERM,
        "id": _TERM,
        "at": {"type": "long"},  # µs since 1970
        "duration_us": {"type": "long"},
        "flow": _LOOKED_FOR,
        "status": _LOOKED_FOR,
        "state": _LOOKED_FOR,
        "resolution": _LOOKED_FOR,
        "message_id": _LOOKED_FOR,
        "correlation": _LOOKED_FOR,
        "trace": _LOOKED_FOR,
        "group": _LOOKED_FOR,  # its own: what that was merged into is asked for with it
        "keys": _LOOKED_FOR,
        "key_names": _LOOKED_FOR,
        "system": _LOOKED_FOR,
        "agent": _LOOKED_FOR,
        "broker": _LOOKED_FOR,
        "error_message": _LOOKED_FOR,
        "error_type": _LOOKED_FOR,
        "error_root_type": _LOOKED_FOR,
        "reason": _LOOKED_FOR,
        "reason_code": _LOOKED_FOR,
        "queue": _LOOKED_FOR,
        "origin": _LOOKED_FOR,
        "touched": {
            "type": "nested",
            "properties": dict.fromkeys(("flow", "system", "agent", "destination"), _LOOKED_FOR),
        },
        "told": {  # what each flow told of a message that several told of
            "type": "nested",
            "properties": dict.fromkeys(("flow", "keys", "key_names", "error_message", "error_type"), _LOOKED_FOR),
        },
        "died": {"type": "nested", "properties": dict.fromkeys(("flow", "reason", "reason_code"), _LOOKED_FOR)},
        "payload": {
            "type": "nested",
            "properties": {"flow": _LOOKED_FOR, "on": _TERM, "text": {"type": "text", "norms": False}},
        },
    },
}
SETTINGS: dict[str, Any] = {
    "number_of_shards": 1,
    "auto_expand_replicas": "0-1",
    "refresh_interval": "1s",
    "gc_deletes": "1h",  # how long a deleted letter's version is known: longer than any lease
    "mapping.total_fields.limit": 60,
    "mapping.nested_objects.limit": 5_000,
}


@dataclass(frozen=True, slots=True)
class Touch:
    """One kind of event of a message: where it happened."""

    flow: int
    system: int
    agent: int | None
    destination: str | None


@dataclass(frozen=True, slots=True)
class Death:
    """One dead letter of a message."""

    flow: int
    reason: str
    reason_code: str


@dataclass(frozen=True, slots=True)
class Told:
    """What one event or dead letter told of a message of which several flows tell."""

    flow: int
    keys: Mapping[str, str]
    error_type: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True)
class Text:
    """One readable body, masked, of a flow that allows its search; `on` is the day of its payload, with which it goes."""

    flow: int
    on: date
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRow:
    id: UUID
    environment: int
    day: int  # its partition, as an ordinal
    flow: int
    message_id: str
    correlation: str | None
    trace: UUID | None
    first_seen_at: datetime
    began_at: datetime
    last_seen_at: datetime
    status: int
    group: int | None = None
    keys: Mapping[str, str]
    error_type: str | None
    error_message: str | None
    touched: list[Touch] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    died: list[Death] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterRow:
    id: UUID
    environment: int
    flow: int
    system: int | None
    agent: int | None
    state: str
    resolution: str | None
    failed_at: datetime
    broker: str
    queue: str
    origin: str
    reason: str
    reason_code: str
    error_type: str
    error_root_type: str
    error_message: str
    message_id: str
    correlation: str
    trace: UUID | None
    group: int | None = None
    keys: Mapping[str, str]
    texts: list[Text] = field(default_factory=list)


def document_of_message(row: MessageRow) -> dict[str, Any]:
    return _without_empty(
        {
            "kind": "message",
            "id": str(row.id),
            "at": microseconds(row.first_seen_at),
            "duration_us": (row.last_seen_at - row.began_at) // MICROSECOND,
            "flow": row.flow,
            "status": row.status,
            "group": row.group,
            "message_id": row.message_id,
            "correlation": row.correlation,
            "trace": str(row.trace) if row.trace else None,
            "error_type": chunks(row.error_type or ""),
            "error_message": chunks(row.error_message or ""),
            "touched": [_without_empty(_touch(one)) for one in row.touched[:MOST_TOUCHED]],
            "told": [_without_empty(_told(one)) for one in row.told[:MOST_TOLD]],
            "died": [_without_empty(_death(one)) for one in row.died[:MOST_DIED]],
            "payload": _texts(row.texts),
            **_keys(row.keys),
        }
    )


def document_of_letter(row: LetterRow) -> dict[str, Any]:
    texts = {name: chunks(getattr(row, name)) for name in ("queue", "origin", "reason", "reason_code", "error_type")}
    return _without_empty(
        {
            "kind": "letter",
            "id": str(row.id),
            "at": microseconds(row.failed_at),
            "flow": row.flow,
            "system": row.system,
            "agent": row.agent,
            "state": row.state,
            "group": row.group,
            "resolution": row.resolution,
            "broker": row.broker,
            "message_id": row.message_id,
            "correlation": row.correlation,
            "trace": str(row.trace) if row.trace else None,
            "error_root_type": chunks(row.error_root_type),
            "error_message": chunks(row.error_message),
            "payload": _texts(row.texts),
            **texts,
            **_keys(row.keys),
        }
    )


def _touch(one: Touch) -> dict[str, Any]:
    where = chunks(one.destination or "")
    return {"flow": one.flow, "system": one.system, "agent": one.agent, "destination": where}


def _told(one: Told) -> dict[str, Any]:
    error = {"error_type": chunks(one.error_type or ""), "error_message": chunks(one.error_message or "")}
    return {"flow": one.flow, **error, **_keys(one.keys)}


def _death(one: Death) -> dict[str, Any]:
    return {"flow": one.flow, "reason": chunks(one.reason), "reason_code": chunks(one.reason_code)}


def _texts(texts: Iterable[Text]) -> list[dict[str, Any]]:
    return [{"flow": one.flow, "on": one.on.isoformat(), "text": one.text[:MOST_TEXT]} for one in texts]


def _keys(keys: Mapping[str, str]) -> dict[str, list[str]]:
    return {"keys": [key_term(name, value) for name, value in keys.items()], "key_names": list(keys)}


def _without_empty(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None and value not in ("", [])}
