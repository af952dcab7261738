"""A stream's entry as a native dead letter: the field `body` is the body, every other field a header. Layout: docs/brokers/redis.md. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from messages.connectors.base import Header
from messages.connectors.body import body_fields
from messages.connectors.context import context_of
from messages.connectors.headers import as_dicts, first_text, header_of
from messages.connectors.reasons import reason_code
from messages.connectors.roots import root_type


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


def decode_entry(
    entry_id: str, fields: Mapping[bytes, bytes], *, broker: str, queue: str, system: str = ""
) -> dict[str, object]:
    """Return the native dead letter of a stream entry; odd fields never raise, they become headers. Pure."""
    known = {_text(name): value for name, value in fields.items()}
    headers: list[Header] = []
    for name, value in known.items():
        if name != "body":
            try:
                headers.append(header_of(name, value.decode()))
            except UnicodeDecodeError:
                headers.append(header_of(name, value))
    stack = _text(known.get("error-stack"))
    kind = _text(known.get("error-type"))
    context = context_of(partial(first_text, headers))
    origin = _text(known.get("original-stream")) or queue.removesuffix(".dlq")
    letter: dict[str, object] = {
        "id": f"{broker}/{queue}/{entry_id}",
        "broker": broker,
        "family": "redis-streams",
        "queue": queue,
        "origin": origin,
        "route": {"stream": origin},
        "system": _text(known.get("failed-system")) or system,
        "reason": _text(known.get("dead-reason")),
        "reason_code": reason_code(_text(known.get("dead-reason"))),
        "message_id": _text(known.get("message-id"))[:256],
        "correlation_id": _text(known.get("correlation-id"))[:256],
        "error": {
            "type": kind,
            "root_type": root_type(stack) or kind,
            "message": _text(known.get("error-message")),
            "stack": stack,
        },
        "headers": as_dicts(headers),
        "content_type": _text(known.get("content-type")),
        "replay_id": _text(known.get("replay-id"))[:36],
        **body_fields(known.get("body", b"")),
    }
    if context:
        letter["trace_id"], letter["span_id"] = context
    attempts = _text(known.get("attempts"))
    if attempts.isascii() and attempts.isdigit() and len(attempts) < 9:
        letter["attempts"] = int(attempts)
    for name in ("first-failed-at", "failed-at"):
        if known.get(name):
            letter[name.replace("-", "_")] = _text(known[name])
    return letter
