"""Events and dead letters as the console's native formats have them, made from what a program knows. Pure but for clock and random ids."""

from __future__ import annotations

import base64
import json
import os
import time
import traceback
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

MOST_STACK = 32_000  # characters; the console keeps 64 KiB


class Step:
    """One thing that a system does with a message, measured from `with` to its end.

    What is known only on the way may be set on it: `keys`, `attributes`, `message_id`, `payload`; `fail()` says that it failed without
    an exception. `traceparent` goes into the headers of what is sent from here.
    """

    def __init__(
        self, system: str, operation: str, given: dict[str, Any], traceparent: str | None, above: Step | None
    ) -> None:
        self.system, self.operation = system, operation
        self.destination: str = given.get("destination") or ""
        self.message_id: str = given.get("message_id") or ""
        self.correlation_id: str = given.get("correlation_id") or ""
        self.keys: dict[str, Any] = dict(given.get("keys") or {})
        self.attributes: dict[str, Any] = dict(given.get("attributes") or {})
        self.payload: Any = given.get("payload")
        self.content_type: str = given.get("content_type") or ""
        self.error: dict[str, str] | None = None
        self.id = uuid.uuid4().hex
        self.span_id = os.urandom(8).hex()
        self.trace_id, self.parent_span_id = _context(traceparent, above)
        self.started_at, self._started = datetime.now(UTC), time.perf_counter()

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-01"

    def fail(self, message: str, *, error_type: str = "_OTHER") -> None:
        """Say that the step failed, for a program that handles its errors without raising."""
        self.error = {"type": error_type, "message": message}

    def raised(self, error: BaseException) -> None:
        """Take the type, the words and the stack of what was raised."""
        stack = "".join(traceback.format_exception(error))
        self.error = {"type": _name_of(type(error)), "message": words_of(error), "stack": stack[-MOST_STACK:]}

    def as_event(self) -> dict[str, Any]:
        """Return the event of this step, ended now."""
        event: dict[str, Any] = {
            "id": self.id,
            "system": self.system,
            "operation": self.operation,
            "occurred_at": self.started_at.isoformat(),
            "duration_ms": round((time.perf_counter() - self._started) * 1000, 3),
            "outcome": "error" if self.error else "ok",
            "destination": self.destination,
            "message_id": self.message_id,
            "correlation_id": self.correlation_id,
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "parent_span_id": self.parent_span_id,
            "keys": {str(name): _key(value) for name, value in self.keys.items()},
            "attributes": self.attributes,
            "error": self.error,
        }
        if self.payload is not None:
            event["payload"] = payload_of(self.payload, self.content_type)
        return event


def _context(traceparent: str | None, above: Step | None) -> tuple[str, str | None]:
    """Return (trace id, parent span id): of the message's own context, else of the step around this one, else a new trace."""
    if given := context_of(traceparent):
        return given
    if above is not None:
        return above.trace_id, above.span_id
    return os.urandom(16).hex(), None


def context_of(traceparent: str | None) -> tuple[str, str] | None:
    """Return (trace id, span id) of a W3C traceparent."""
    parts = (traceparent or "").lower().split("-")
    if len(parts) >= 4 and _is_hex(parts[1], 32) and _is_hex(parts[2], 16):
        return parts[1], parts[2]
    return None


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and set(text) <= set("0123456789abcdef") and set(text) != {"0"}


def words_of(error: BaseException) -> str:
    """Return what an error says of itself; it must not raise in the middle of somebody's own handling of it."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001
        return "(an error that cannot say what it is)"


def _name_of(kind: type[BaseException]) -> str:
    return (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )


def _key(value: object) -> str | int:
    return value if isinstance(value, int) and not isinstance(value, bool) else str(value)


def payload_of(payload: Any, content_type: str) -> dict[str, Any]:
    """Return a payload as the native format has it: bytes and text as they are, everything else as JSON."""
    if isinstance(payload, bytes | bytearray):
        return {"content_type": content_type or "application/octet-stream", **body_of(bytes(payload))}
    if isinstance(payload, str):
        return {"content_type": content_type or "text/plain", "body": payload}
    try:
        return {"content_type": content_type or "application/json", "body": json.dumps(payload, default=str)}
    except (ValueError, TypeError, RecursionError):
        return {"content_type": "text/plain", "body": repr(payload)[:MOST_STACK]}


def body_of(body: bytes) -> dict[str, str]:
    """Return {"body"} when these bytes are text, else {"body_base64"}."""
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}


def headers_of(headers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a dead letter's headers with the types that the native format knows."""
    found: list[dict[str, Any]] = []
    for name, value in headers.items():
        kind = {bool: "bool", int: "int", float: "float", type(None): "null"}.get(type(value), "string")
        if isinstance(value, bytes | bytearray):
            kind, value = "bytes", base64.b64encode(value).decode()  # noqa: PLW2901
        elif isinstance(value, datetime) and value.tzinfo is not None:
            kind, value = "timestamp", value.isoformat()  # noqa: PLW2901
        elif kind == "string":
            value = str(value)  # noqa: PLW2901
        found.append({"name": str(name), "type": kind, "value": value})
    return found


def encoded(item: dict[str, Any]) -> bytes:
    """Return an item as JSON that the console can read, whatever was given: what cannot be said in JSON is said as text."""
    try:
        text = json.dumps(item, ensure_ascii=False, allow_nan=False, default=str)
    except (ValueError, TypeError, RecursionError):  # NaN, a key that is no text, a circle
        text = json.dumps(
            item | {"attributes": {"unreadable": repr(item.get("attributes"))[:2000]}}, ensure_ascii=False, default=str
        )
    return text.encode("utf-8", "replace")  # a lone surrogate becomes "?"
