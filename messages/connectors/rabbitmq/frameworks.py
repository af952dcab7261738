"""What the frameworks that put messages into error queues of RabbitMQ say in headers. Pure; odd values never raise.

Sources: wire-facts (Spring AMQP's RepublishMessageRecoverer, NServiceBus' message headers, MassTransit's transport headers and envelope,
Celery's message protocol 2).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from messages.connectors.reasons import reason_code
from messages.connectors.suffixes import MOST, moment, whole_number

ENVELOPE_BYTES = 4 * 1024 * 1024
Texts = Mapping[str, str]  # lower-case header name → text


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a framework says; empty when it does not. failed: it put the message here itself, so older deaths are not the reason."""

    failed: bool = True
    origin: str = ""
    exchange: str = ""
    key: str = ""
    reason: str = ""
    code: str = ""
    type: str = ""
    inner_type: str = ""
    message: str = ""
    stack: str = ""
    message_id: str = ""
    correlation_id: str = ""
    attempts: int | None = None
    failed_at: str | None = None


def told_by_framework(texts: Texts, body: bytes, content_type: str, queue: str) -> Told | None:
    """Return what the first framework says that knows its own headers here; None when none does."""
    readers: tuple[Callable[[], Told | None], ...] = (
        lambda: _nservicebus(texts),
        lambda: _masstransit(texts, body, content_type, queue),
        lambda: _spring(texts),
        lambda: _celery(texts),
    )
    return next((told for read in readers if (told := read()) is not None), None)


def _spring(texts: Texts) -> Told | None:
    stack, message = texts.get("x-exception-stacktrace", ""), texts.get("x-exception-message", "")
    key = texts.get("x-original-routingkey")
    if key is None and not stack and not message:
        return None
    return Told(
        failed=bool(stack or message),
        exchange=texts.get("x-original-exchange", "") if key is not None else "",
        key=key or "",
        message=message,
        stack=stack,
        attempts=_after(texts.get("retry-count")),
    )


def _nservicebus(texts: Texts) -> Told | None:
    failed_queue = texts.get("nservicebus.failedq", "")
    kind = texts.get("nservicebus.exceptioninfo.exceptiontype", "")
    if not failed_queue and not kind:
        return None
    return Told(
        origin=failed_queue or texts.get("nservicebus.processingendpoint", ""),
        type=kind,
        inner_type=texts.get("nservicebus.exceptioninfo.innerexceptiontype", ""),
        message=texts.get("nservicebus.exceptioninfo.message", ""),
        stack=texts.get("nservicebus.exceptioninfo.stacktrace", ""),
        message_id=texts.get("nservicebus.messageid", ""),
        correlation_id=texts.get("nservicebus.conversationid", "") or texts.get("nservicebus.correlationid", ""),
        attempts=_after(texts.get("nservicebus.retries", texts.get("nservicebus.flretries"))),
        failed_at=moment(texts.get("nservicebus.timeoffailure")),
    )


def _masstransit(texts: Texts, body: bytes, content_type: str, queue: str) -> Told | None:
    reason = texts.get("mt-reason", "")
    if not reason and not texts.get("mt-fault-exceptiontype"):
        return None
    envelope = _envelope(body) if "masstransit" in content_type or body[:1] == b"{" else {}
    skipped = queue.endswith("_skipped") or reason == "dead-letter"
    return Told(
        origin=_queue_of(texts.get("mt-fault-inputaddress", "")) or queue.removesuffix("_error").removesuffix("_skipped"),
        reason=reason or "fault",
        code="rejected" if skipped else "",
        type=texts.get("mt-fault-exceptiontype", ""),
        message=texts.get("mt-fault-message", "") or ("no consumer takes this type of message" if skipped else ""),
        stack=texts.get("mt-fault-stacktrace", ""),
        message_id=_word(envelope, "messageId"),
        correlation_id=_word(envelope, "conversationId") or _word(envelope, "correlationId"),
        attempts=_after(texts.get("mt-fault-retrycount")),
        failed_at=moment(texts.get("mt-fault-timestamp")),
    )  # fmt: skip


def _celery(texts: Texts) -> Told | None:
    """Protocol 2. Its tasks come here only by x-death: what fails in a worker is reported by the task's own reporter."""
    if not all(name in texts for name in ("task", "id", "lang")):
        return None
    return Told(
        failed=False,
        message_id=texts["id"],
        correlation_id=texts.get("root_id", "") or texts["id"],
        attempts=_after(texts.get("retries")),
    )


def code_of(told: Told) -> str:
    """Return the small reason: what the framework says, else what its exception's name says, else that the receiver failed."""
    if told.code:
        return told.code
    return "deserialization" if reason_code(told.type) == "deserialization" else "target_error"


def _after(retries: object) -> int | None:
    """Return the attempts that this many retries make: one more."""
    count = whole_number(retries)
    return None if count is None else min(count + 1, MOST)


def _queue_of(address: str) -> str:
    """Return the queue of `rabbitmq://host/vhost/queue?durable=true`."""
    try:
        return unquote(urlsplit(address[:2000]).path.rstrip("/").rpartition("/")[2])
    except ValueError:
        return ""


def _envelope(body: bytes) -> Mapping[str, Any]:
    if len(body) > ENVELOPE_BYTES:
        return {}
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _word(envelope: Mapping[str, Any], name: str) -> str:
    value = envelope.get(name)
    return value if isinstance(value, str) else ""
