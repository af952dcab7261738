"""A message of Artemis' dead-letter queues, as AMQP 1.0 shows it, as a native dead letter. Pure: it is read by attribute, as proton has it.

Source: messages killed on Artemis 2.40.0; AMQP 1.0, part 3 "Messaging". Artemis keeps the sender's sections as they are and adds
the annotations x-opt-ORIG-ADDRESS, -QUEUE and -MESSAGE-ID: no reason, no time, no count of deliveries.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from messages.connectors.activemq.names import queue_of
from messages.connectors.base import Header
from messages.connectors.body import body_fields
from messages.connectors.context import context_of
from messages.connectors.headers import Epoch, as_dicts, first_text, header_of, plain
from messages.connectors.reasons import reason_code

LONGEST = 256


def decode_amqp_message(message: Any, *, broker: str, queue: str, system: str = "") -> dict[str, object]:
    """Return the native dead letter; odd annotations and properties never raise. Pure.

    The body of a value section that is no text (a JMS map or list) is JSON; the property `message_type` says what it was.
    """
    notes = {str(name): value for name, value in _items(message.annotations)}
    headers = [_header(str(name), value) for name, value in _items(message.properties)]
    body, kind = _body(message.body)
    origin = _origin(notes, queue)
    expired = bool(first_text(headers, "_amq_actual_expiry")) or "x-opt-ACTUAL-EXPIRY" in notes
    moved = "moved here by Artemis or by a person: it does not tell failures from moves" if origin["origin"] else ""
    letter: dict[str, object] = {
        "id": f"{broker}/{queue}/{_identity(message, notes, headers, body)}"[-LONGEST:],
        "broker": broker,
        "family": "activemq",
        "queue": queue,
        **origin,
        "system": system,
        "reason": "expired" if expired else moved,
        "reason_code": "expired" if expired else reason_code(""),
        "message_id": _text(message.id)[:LONGEST],
        "correlation_id": (_text(message.correlation_id) or first_text(headers, "breadcrumbid") or "")[:LONGEST],
        "headers": as_dicts(headers + [_header(name, value) for name, value in notes.items()]),
        "properties": _properties(message, kind),
        "content_type": _text(message.content_type)[:200],
        "content_encoding": _text(message.content_encoding)[:100],
        "replay_id": (first_text(headers, "replay-id") or "")[:36],
        **body_fields(body),
    }
    if context := context_of(partial(first_text, headers)):
        letter["trace_id"], letter["span_id"] = context
    return letter


def _items(section: Any) -> list[tuple[Any, Any]]:
    return list(section.items()) if isinstance(section, Mapping) else []


def _header(name: str, value: Any) -> Header:
    return header_of(name, _own(value))


def _own(value: Any) -> Any:
    """Return a value of AMQP in a type of ours; it has more of them than JSON: what has no like is text."""
    if value is None or isinstance(value, bool | bytes):
        return value
    if isinstance(value, memoryview):
        return bytes(value)
    if type(value).__name__ == "timestamp":
        try:
            return datetime.fromtimestamp(int(value) / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            return Epoch(int(value) // 1000)
    for base in (int, float, str):
        if isinstance(value, base):
            return base(value)
    if isinstance(value, Mapping):
        return {str(k): _own(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_own(item) for item in value]
    return str(value)


def _text(value: Any) -> str:
    """Return an id or symbol as text: message ids may be numbers, UUIDs and bytes; proton writes an absent symbol as None."""
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(bytes(value)).decode()
    text = "" if value is None else str(value)
    return "" if text == "None" else text


def _body(body: Any) -> tuple[bytes, str]:
    if body is None:
        return b"", "none"
    if isinstance(body, bytes | memoryview):
        return bytes(body), "bytes"
    if isinstance(body, str):
        return body.encode("utf-8", "surrogatepass"), "text"
    return json.dumps(plain(_own(body)), ensure_ascii=False, default=str).encode("utf-8", "surrogatepass"), "value"


def _origin(notes: Mapping[str, Any], queue: str) -> dict[str, object]:
    address, died_in = _text(notes.get("x-opt-ORIG-ADDRESS")), _text(notes.get("x-opt-ORIG-QUEUE"))
    if not address or died_in == queue_of(queue):
        return {"origin": "", "route": {}}
    return {"origin": address, "route": {} if died_in in {"", address} else {"queue": f"{address}::{died_in}"}}


def has_identity(message: Any) -> bool:
    """Return whether the message can be told from another with the same content."""
    return message.id is not None or any(
        str(name) == "x-opt-ORIG-MESSAGE-ID" for name, _ in _items(message.annotations)
    )


def _identity(message: Any, notes: Mapping[str, Any], headers: list[Header], body: bytes) -> str:
    """Return what this death is called. Artemis numbers messages anew when its data was lost, so the content belongs to it."""
    content = [(h.name, h.type, h.value) for h in headers]
    facts = [
        _text(notes.get("x-opt-ORIG-MESSAGE-ID")),
        _text(notes.get("x-opt-ORIG-QUEUE")),
        _text(message.id),
        sorted(content, key=str),
        hashlib.sha256(body).hexdigest(),
    ]
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:40]


def _properties(message: Any, kind: str) -> dict[str, object]:
    names = {
        "subject": "type",
        "correlation_id": "correlation_id",
        "reply_to": "reply_to",
        "group_id": "group_id",
        "id": "message_id",
    }
    found: dict[str, object] = {to: _text(getattr(message, name)) for name, to in names.items()}
    found |= {"priority": int(message.priority), "message_type": kind}
    if isinstance(message.id, uuid.UUID | int):
        found["message_id_type"] = type(message.id).__name__
    return {name: value for name, value in found.items() if value not in {"", None}}
