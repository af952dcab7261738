"""A RabbitMQ delivery as a native dead letter: x-death in all its shapes, what frameworks say, names of headers as the last resort. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from messages.connectors.base import Header
from messages.connectors.body import body_fields
from messages.connectors.context import context_of
from messages.connectors.headers import as_dicts, header_of
from messages.connectors.rabbitmq.frameworks import Told, code_of, told_by_framework
from messages.connectors.reasons import reason_code
from messages.connectors.roots import first_type, root_type
from messages.connectors.suffixes import MOST, moment, told_by_suffixes, whole_number

PROPERTIES = (
    "content_type", "content_encoding", "delivery_mode", "priority", "correlation_id", "reply_to", "message_id", "timestamp", "type", "app_id",
)  # fmt: skip
KNOWN_REASONS = {"rejected": "rejected", "expired": "expired", "maxlen": "overflow", "delivery_limit": "delivery_limit"}
ENDINGS = (".dlq", ".dead", ".error", "_error", "_skipped", "-dlq", ".dlx")
OF_THIS_QUEUE = ("x-delivery-count", "x-acquired-count")
Death = Mapping[str, Any]
NOBODY = Told(failed=False)


def decode_delivery(properties: Any, body: bytes, *, broker: str, queue: str, system: str = "") -> dict[str, object]:
    """Return the native dead letter of a delivery; odd headers never raise. Pure.

    x-death is newest first and compressed per queue and reason; its `time` is that of the first such death and its `count`
    counts deaths, not attempts. A framework that put the message here itself knows better than x-death, which then tells of its
    retries; names of headers are asked last.
    """
    raw: Mapping[str, Any] = properties.headers or {}
    headers = [header_of(str(name), value) for name, value in raw.items()]
    texts = _texts(raw)
    deaths = _deaths(raw)
    told = told_by_framework(texts, body, _text(properties.content_type), queue) or NOBODY
    guessed = told_by_suffixes({name: text for name, text in texts.items() if name not in OF_THIS_QUEUE})
    death: Death = deaths[0] if deaths and not told.failed else {}
    message_id = _text(properties.message_id) or texts.get("message-id", "") or told.message_id
    error = _error(told, guessed)
    exchange, key = _route(told, death, texts, guessed, queue)
    return {
        "id": _identity(broker, queue, message_id, deaths, headers, body),
        "broker": broker,
        "family": "rabbitmq",
        "queue": queue,
        "origin": _died_in(told, death, texts) or guessed.get("origin") or key or queue,
        "route": {"exchange": exchange, "routing_key": key},
        "system": system,
        **_reason(told, death, texts, guessed, error),
        "message_id": message_id[:256],
        "correlation_id": (told.correlation_id or _text(properties.correlation_id))[:256],
        "error": error,
        "headers": as_dicts(headers),
        "properties": _properties(properties, deaths),
        "content_type": _text(properties.content_type),
        "content_encoding": _text(properties.content_encoding),
        "replay_id": texts.get("replay-id", "")[:36],
        **body_fields(body),
        **_when_known(told, guessed, texts, deaths),
    }


def _text(value: object) -> str:
    """Return a value as text; tables and lists have none."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None or isinstance(value, dict | list) else str(value)


def _texts(raw: Mapping[str, Any]) -> dict[str, str]:
    """Return lower-case name → text, of the first header of a name."""
    texts: dict[str, str] = {}
    for name, value in raw.items():
        if value is not None and not isinstance(value, dict | list):
            texts.setdefault(str(name).lower(), _text(value))
    return texts


def _deaths(raw: Mapping[str, Any]) -> list[Death]:
    deaths = raw.get("x-death")
    return [death for death in deaths if isinstance(death, Mapping)] if isinstance(deaths, list) else []


def _error(told: Told, guessed: Mapping[str, str]) -> dict[str, str]:
    stack = told.stack or guessed.get("stack", "")
    root = root_type(stack)
    outer = first_type(stack)
    kind = told.type or guessed.get("type", "") or outer or root
    # a stack whose innermost is its first line names no cause: then the header that does knows more
    inner = told.inner_type or guessed.get("root_type", "")
    return {
        "type": kind,
        "root_type": (inner if inner and root in ("", outer) else root) or kind,
        "message": told.message or guessed.get("message", ""),
        "stack": stack,
    }


def _reason(
    told: Told, death: Death, texts: Mapping[str, str], guessed: Mapping[str, str], error: Mapping[str, str]
) -> dict[str, object]:
    if told.failed:
        return {"reason": told.reason, "reason_code": code_of(told)}
    reason = _text(death.get("reason")) or texts.get("x-first-death-reason", "") or guessed.get("reason", "")
    code = KNOWN_REASONS.get(reason) or reason_code(reason)
    if code == "unknown" and (error["stack"] or error["type"]):
        code = "target_error"
    return {"reason": reason, "reason_code": code}


def _route(
    told: Told, death: Death, texts: Mapping[str, str], guessed: Mapping[str, str], queue: str
) -> tuple[str, str]:
    """Return (exchange, routing key) that bring the message back to where it died."""
    if told.key:
        return told.exchange, told.key
    # Straight into the queue it died in: its exchange may fan out to consumers that were fine.
    return "", _died_in(told, death, texts) or guessed.get("origin") or _without_ending(queue)


def _died_in(told: Told, death: Death, texts: Mapping[str, str]) -> str:
    return told.origin or _text(death.get("queue")) or texts.get("x-first-death-queue", "")


def _without_ending(queue: str) -> str:
    """Return what a dead-letter queue's name says of its origin, by convention."""
    for ending in ENDINGS:
        if queue.lower().endswith(ending) and len(queue) > len(ending):
            return queue[: -len(ending)]
    return queue


def _properties(properties: Any, deaths: Sequence[Death]) -> dict[str, object]:
    """Return the properties that a replay sends again. What the message's time to live was is kept under a name that is not sent."""
    kept: dict[str, object] = {}
    for name in PROPERTIES:
        value = getattr(properties, name, None)
        if value is not None:
            kept[name] = _text(value) if isinstance(value, bytes) else value
    expiration = _text(getattr(properties, "expiration", None)) or next(
        (text for death in deaths if (text := _text(death.get("original-expiration")))), ""
    )
    return kept | ({"original_expiration": expiration} if expiration else {})


def _when_known(
    told: Told, guessed: Mapping[str, str], texts: Mapping[str, str], deaths: Sequence[Death]
) -> dict[str, object]:
    """Return the fields that are left out when nothing tells them: trace, attempts, the first death and the last."""
    found: dict[str, object] = {}
    if context := context_of(texts.get):
        found["trace_id"], found["span_id"] = context
    if (attempts := _attempts(told, guessed)) is not None:
        found["attempts"] = attempts
    times = [time for death in deaths if isinstance(time := death.get("time"), datetime)]
    once = bool(deaths) and whole_number(deaths[0].get("count")) == 1 and isinstance(deaths[0].get("time"), datetime)
    first = moment(guessed.get("first_failed_at")) or (_zoned(min(times, key=_aware)) if times else None)
    last = told.failed_at or moment(guessed.get("failed_at")) or (_zoned(deaths[0]["time"]) if once else None)
    return found | {k: v for k, v in (("first_failed_at", first), ("failed_at", last)) if v}


def _attempts(told: Told, guessed: Mapping[str, str]) -> int | None:
    """Return how often it was tried, from who knows best.

    Never from x-delivery-count or x-acquired-count: the queue that delivers writes them, and this is the dead-letter queue.
    """
    if told.attempts is not None:
        return told.attempts
    if (attempts := whole_number(guessed.get("attempts"))) is not None:
        return attempts or None
    retries = whole_number(guessed.get("retries"))
    return None if retries is None else min(retries + 1, MOST)


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _zoned(time: datetime) -> str:
    return _aware(time).isoformat()


def _identity(
    broker: str, queue: str, message_id: str, deaths: Sequence[Death], headers: Iterable[Header], body: bytes
) -> str:
    """Return what this death is called: the same after a redelivery, another one after the next death."""
    facts = [[str(d.get(name)) for name in ("queue", "reason", "count", "time")] for d in deaths]
    others = sorted(
        (h.name, h.type, json.dumps(h.value, sort_keys=True, default=str))
        for h in headers
        if h.name not in OF_THIS_QUEUE
    )
    digest = hashlib.sha256(json.dumps([message_id, facts, others], sort_keys=True).encode() + b"\0" + body).hexdigest()
    return f"{broker}/{queue}/{digest[:40]}"[-256:]
