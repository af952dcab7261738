"""A RabbitMQ delivery as a native dead letter: x-death in all its shapes, Spring AMQP's republished letters. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from messages.connectors.base import Header
from messages.connectors.body import body_fields
from messages.connectors.context import context_of
from messages.connectors.headers import as_dicts, first_text, header_of
from messages.connectors.roots import root_type

PROPERTIES = (
    "content_type",
    "content_encoding",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "message_id",
    "type",
    "app_id",
)
KNOWN_REASONS = {"rejected": "rejected", "expired": "expired", "maxlen": "overflow", "delivery_limit": "delivery_limit"}


def decode_delivery(properties: Any, body: bytes, *, broker: str, queue: str, system: str = "") -> dict[str, object]:
    """Return the native dead letter of a delivery; odd headers never raise. Pure.

    x-death is newest first and compressed per queue and reason; its `time` is that of the first such death and its `count`
    counts deaths, not attempts. Spring AMQP's republished letters carry x-exception-* and x-original-* instead.
    """
    raw: Mapping[str, Any] = properties.headers or {}
    headers = [header_of(str(name), value) for name, value in raw.items()]
    deaths = _deaths(raw)
    newest = deaths[0] if deaths else {}
    exchange, key = _origin(newest, headers, queue)
    reason = str(newest.get("reason") or first_text(headers, "x-first-death-reason") or "")
    error = _error(headers)
    message_id = str(properties.message_id or first_text(headers, "message-id") or "")
    return {
        "id": _identity(broker, queue, message_id, deaths, headers, body),
        "broker": broker,
        "family": "rabbitmq",
        "queue": queue,
        "origin": str(newest.get("queue") or first_text(headers, "x-first-death-queue") or key or queue),
        "route": {"exchange": exchange, "routing_key": key},
        "system": system,
        "reason": reason,
        "reason_code": KNOWN_REASONS.get(reason, "target_error" if error["stack"] else "unknown"),
        "message_id": message_id[:256],
        "correlation_id": str(properties.correlation_id or "")[:256],
        "error": error,
        "headers": as_dicts(headers),
        "properties": {name: getattr(properties, name) for name in PROPERTIES if getattr(properties, name) is not None},
        "content_type": str(properties.content_type or ""),
        "content_encoding": str(properties.content_encoding or ""),
        "replay_id": (first_text(headers, "replay-id") or "")[:36],
        **body_fields(body),
        **_when_known(raw, newest, headers),
    }


def _deaths(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    deaths = raw.get("x-death")
    return [death for death in deaths if isinstance(death, Mapping)] if isinstance(deaths, list) else []


def _error(headers: Sequence[Header]) -> dict[str, str]:
    stack = first_text(headers, "x-exception-stacktrace") or first_text(headers, "error-stack") or ""
    kind = first_text(headers, "error-type") or root_type(stack)
    message = first_text(headers, "x-exception-message") or first_text(headers, "error-message") or ""
    return {"type": kind, "root_type": root_type(stack) or kind, "message": message, "stack": stack}


def _when_known(raw: Mapping[str, Any], newest: Mapping[str, Any], headers: Sequence[Header]) -> dict[str, object]:
    """Return the fields that are left out when nothing tells them: trace, attempts, the first death."""
    found: dict[str, object] = {}
    if context := context_of(partial(first_text, headers)):
        found["trace_id"], found["span_id"] = context
    attempts = raw.get("x-delivery-count") or first_text(headers, "attempts")
    if isinstance(attempts, int) or (isinstance(attempts, str) and attempts.isascii() and attempts.isdigit()):
        found["attempts"] = min(int(attempts), 2**31 - 1)
    if isinstance(newest.get("time"), datetime):
        found["first_failed_at"] = newest["time"].replace(tzinfo=newest["time"].tzinfo or UTC).isoformat()
    return found


def _origin(newest: Mapping[str, Any], headers: Sequence[Header], queue: str) -> tuple[str, str]:
    """Return (exchange, routing key) that bring the message back to where it died."""
    spring_key = first_text(headers, "x-original-routingkey")
    if spring_key is not None:
        return first_text(headers, "x-original-exchange") or "", spring_key
    died_in = newest.get("queue")
    if died_in:
        # Straight into the queue it died in: its exchange may fan out to consumers that were fine.
        return "", str(died_in)
    first = first_text(headers, "x-first-death-queue") or first_text(headers, "original-queue")
    return "", first or queue.removesuffix(".dlq").removesuffix("_error")


def _identity(
    broker: str,
    queue: str,
    message_id: str,
    deaths: Sequence[Mapping[str, Any]],
    headers: Sequence[Header],
    body: bytes,
) -> str:
    """Return what this death is called: the same after a redelivery, another one after the next death."""
    facts = [[str(d.get(name)) for name in ("queue", "reason", "count", "time")] for d in deaths]
    others = sorted(
        (h.name, h.type, json.dumps(h.value, sort_keys=True, default=str))
        for h in headers
        if h.name != "x-delivery-count"
    )
    digest = hashlib.sha256(json.dumps([message_id, facts, others], sort_keys=True).encode() + b"\0" + body).hexdigest()
    return f"{broker}/{queue}/{digest[:40]}"[-256:]
