"""A message of ActiveMQ's dead-letter queues, as STOMP shows it, as a native dead letter. Pure.

Sources: messages killed on ActiveMQ 5.17.2 and Artemis 2.40.0 (tests/unit/test_activemq_decode.py keeps them as they came);
ActiveMQ documentation, "Message Redelivery and DLQ Handling"; Artemis documentation, "Message Redelivery and Undelivered Messages".
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial

from messages.connectors.activemq.names import plain_name, queue_of
from messages.connectors.body import body_fields
from messages.connectors.context import context_of
from messages.connectors.headers import as_dicts, first_text, header_of
from messages.connectors.reasons import reason_code
from messages.connectors.roots import root_type

# Of the frame and its sending, not of the message; what a replay carries of it is in the properties.
FRAME = frozenset(
    {
        "destination", "message-id", "ack", "subscription", "redelivered", "content-length", "content-type", "correlation-id", "type",
        "priority", "persistent", "expires", "reply-to", "timestamp", "receipt", "destination-type", "transaction", "transformation",
    }
)  # fmt: skip
DELIVERY = frozenset({"ack", "subscription", "redelivered"})  # differ from one delivery to the next
CAUSES = ("dlqDeliveryFailureCause", "__HDR_dlqDeliveryFailureCause")
DELIVERIES = re.compile(r"Delivery\[(\d{1,9})\] exceeds redelivery policy limit", re.ASCII)
EXPIRED = re.compile(r"Message Expired\. Expiration:(\d{1,15})", re.ASCII)
CLASS = re.compile(r"((?:[A-Za-z_$][\w$]{0,100}\.){0,20}[A-Z_$][\w$]{0,100})(?:: ?(.*))?", re.ASCII | re.S)
LONGEST = 256


def decode_message(
    headers: Mapping[str, str], body: bytes, *, broker: str, queue: str, artemis: bool, system: str = ""
) -> dict[str, object]:
    """Return the native dead letter of a MESSAGE frame; odd headers never raise. Pure.

    headers  unescaped, the first of a repeated one, in the order they came.
    Without a body when STOMP cannot carry it: `is_whole` tells.
    """
    kept = [header_of(name, value) for name, value in headers.items() if name.lower() not in FRAME]
    cause = next((headers[name] for name in CAUSES if headers.get(name)), "")
    reason = _reason(headers, cause, queue)
    letter: dict[str, object] = {
        "id": f"{broker}/{queue}/{_identity(headers, body, queue, artemis)}"[-LONGEST:],
        "broker": broker,
        "family": "activemq",
        "queue": _one_queue(headers, queue),
        **_origin(headers, queue),
        "system": system,
        "reason": reason,
        "reason_code": "delivery_limit" if DELIVERIES.search(cause) else reason_code(reason),
        "message_id": _message_id(headers, artemis)[:LONGEST],
        "correlation_id": (headers.get("correlation-id") or first_text(kept, "breadcrumbid") or "")[:LONGEST],
        "error": _error(cause),
        "headers": as_dicts(kept),
        "properties": _properties(headers, artemis),
        "content_type": headers.get("content-type", "")[:200],
        "content_encoding": (first_text(kept, "content-encoding") or "")[:100],
        "replay_id": (first_text(kept, "replay-id") or "")[:36],
        **(body_fields(body) if is_whole(headers, body) else {}),
    }
    if context := context_of(partial(first_text, kept)):
        letter["trace_id"], letter["span_id"] = context
    if (attempts := _attempts(headers, cause)) is not None:
        letter["attempts"] = attempts
    if failed_at := _failed_at(headers, cause):
        letter["failed_at"] = failed_at
    return letter


def _one_queue(headers: Mapping[str, str], queue: str) -> str:
    """Return the queue it waited in: on Classic the configured name may stand for many, as `DLQ.>` does."""
    return plain_name(headers.get("destination", queue)) if queue.endswith(">") or "*" in queue else queue


def is_whole(headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether the body is known. JMS map, object and stream messages come as an empty text does: with nothing, and no length."""
    return bool(body) or "content-length" in headers


def _identity(headers: Mapping[str, str], body: bytes, queue: str, artemis: bool) -> str:
    """Return what this death is called: the same after a redelivery.

    Classic keeps the message's own id, so two subscribers' deaths of one message differ by where they died. Artemis numbers the
    copy in the dead-letter queue (`message-id: {consumer},{number}`); a broker with new data counts anew, so the time of sending
    belongs to it. A copy that Artemis moved onto its own queue, after too many broken connections, is still the first one.
    """
    facts: list[object]
    number = headers.get("message-id", "").rpartition(",")[2]
    if not number:
        said = sorted(item for item in headers.items() if item[0] not in DELIVERY)
        facts = [said, hashlib.sha256(body).hexdigest()]
    elif artemis:
        first = headers.get("_AMQ_ORIG_MESSAGE_ID") if _moved_onto_itself(headers, queue) else None
        facts = [first or number, headers.get("timestamp", "")]
    else:
        facts = [headers["message-id"], headers.get("original-destination", "")]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:40]


def _moved_onto_itself(headers: Mapping[str, str], queue: str) -> bool:
    return headers.get("_AMQ_ORIG_QUEUE") == queue_of(queue)


def _origin(headers: Mapping[str, str], queue: str) -> dict[str, object]:
    """Return the destination to send it to again, and for Artemis the one queue it died in: its address may have others."""
    if classic := headers.get("original-destination"):
        return {"origin": plain_name(classic), "route": {}}
    address, died_in = headers.get("_AMQ_ORIG_ADDRESS"), headers.get("_AMQ_ORIG_QUEUE")
    if address and not _moved_onto_itself(headers, queue):
        if not died_in or died_in == address:
            return {"origin": address, "route": {}}
        multicast = {"type": "MULTICAST"} if headers.get("_AMQ_ORIG_ROUTING_TYPE") == "0" else {}
        return {"origin": address, "route": {"queue": f"{address}::{died_in}", **multicast}}
    name = queue_of(_one_queue(headers, queue))
    return {"origin": name.removeprefix("DLQ.") if name.startswith("DLQ.") else "", "route": {}}


def _reason(headers: Mapping[str, str], cause: str, queue: str) -> str:
    if EXPIRED.search(cause) or headers.get("_AMQ_ACTUAL_EXPIRY"):
        return "expired"
    if limit := DELIVERIES.search(cause):
        return limit[0]
    if cause:
        kind = CLASS.fullmatch(cause)
        return (kind[2] or cause if kind else cause)[:1000]
    if _moved_onto_itself(headers, queue):
        return "moved onto this queue again by Artemis, after the line to its reader had broken too often"
    if headers.get("_AMQ_ORIG_ADDRESS"):
        return "moved here by Artemis or by a person: it does not tell failures from moves"
    return ""


def _error(cause: str) -> dict[str, str]:
    """Return the consumer's exception, which Classic's clients name behind the redelivery policy: `…, cause:{class}: {message}`."""
    if EXPIRED.search(cause):
        return {"type": "", "root_type": "", "message": "", "stack": ""}
    exception = cause.partition("}, cause:")[2] if DELIVERIES.search(cause) else cause
    first, _, _ = exception.partition("\n")
    kind = CLASS.fullmatch(first.strip())
    name, message = (kind[1], kind[2] or "") if kind else ("", "" if first == "null" else first)
    return {
        "type": name,
        "root_type": root_type(exception) or name,
        "message": message,
        "stack": exception if "\n" in exception else "",
    }


def _message_id(headers: Mapping[str, str], artemis: bool) -> str:
    """Return the sender's id. Artemis shows only its own number, unless the sender spoke OpenWire or AMQP."""
    if artemis:
        return headers.get("__HDR_MESSAGE_ID") or headers.get("NATIVE_MESSAGE_ID") or ""
    return headers.get("message-id", "")


def _properties(headers: Mapping[str, str], artemis: bool) -> dict[str, object]:
    """Return what a replay restores, and beside it what is only shown: `sent_at` and `expired_at`, both RFC 3339."""
    names = ("type", "priority", "persistent", "correlation-id", "reply-to")
    found: dict[str, object] = {name.replace("-", "_"): headers[name] for name in names if headers.get(name)}
    found["message_type"] = "bytes" if _is_bytes(list(headers), artemis) else "text"
    for name, millis in (
        ("sent_at", "timestamp"),
        ("expired_at", "originalExpiration"),
        ("expired_at", "_AMQ_ACTUAL_EXPIRY"),
    ):
        if moment := _moment(headers.get(millis, "")):
            found[name] = moment
    return found


def _is_bytes(names: list[str], artemis: bool) -> bool:
    """Return whether it is a JMS BytesMessage. Only those have a length on Classic; Artemis writes that of a text last."""
    if "content-length" not in names:
        return False
    return not artemis or "ack" not in names or names.index("content-length") < names.index("ack")


def _attempts(headers: Mapping[str, str], cause: str) -> int | None:
    limit = DELIVERIES.search(cause)
    count = limit[1] if limit else headers.get("JMSXDeliveryCount", "")
    return int(count) if count.isascii() and count.isdigit() and len(count) < 10 else None


def _failed_at(headers: Mapping[str, str], cause: str) -> str:
    expired = EXPIRED.search(cause)
    return _moment(expired[1] if expired else headers.get("_AMQ_ACTUAL_EXPIRY", ""))


def _moment(millis: str) -> str:
    """Return milliseconds since 1970 as RFC 3339; "" for 0 and what is no time."""
    if not (millis.isascii() and millis.isdigit() and len(millis) < 15) or not int(millis):
        return ""
    try:
        return datetime.fromtimestamp(int(millis) / 1000, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return ""
