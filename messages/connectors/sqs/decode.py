"""A message of an SQS dead-letter queue as a native dead letter. Pure; odd input never raises."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from messages.connectors.base import Header
from messages.connectors.body import body_fields
from messages.connectors.context import context_of
from messages.connectors.headers import as_dicts, first_text
from messages.connectors.roots import root_type
from messages.connectors.sqs import deaths
from messages.connectors.sqs.attributes import headers_of, whole
from messages.connectors.sqs.deaths import Death, resource_of, service_of

ENDINGS = ("-dead-letter-queue", "-dead-letter", "-deadletter", "-dlq", "_dlq", ".dlq", "-DLQ", "_DLQ", "DLQ")
LATEST_MS = 253_402_300_799_000  # the end of year 9999


def decode_message(
    message: Mapping[str, Any], *, broker: str, queue: str, system: str = "", origin: str = ""
) -> dict[str, object]:
    """Return the native dead letter of a message as ReceiveMessage gives it, with all its attributes.

    origin  where messages of this queue come from that do not say it themselves: a queue's name, or the ARN of a queue or topic.
    """
    told = _mapping(message.get("Attributes"))
    facts = {whole(str(name)): whole(str(value)) for name, value in told.items()}
    body = message.get("Body")
    text = body if isinstance(body, str) else "" if body is None else str(body)
    death = _death_of(facts, text, _texts(message.get("MessageAttributes")), queue)
    own = death.attributes if death.attributes is not None else _own(message.get("MessageAttributes"), death)
    headers, types = headers_of(own)
    tells = _teller(headers, facts, text)
    came_from, route = _origin(death, queue, origin)
    letter: dict[str, object] = {
        "id": identity_of(message, facts, broker=broker, queue=queue),
        "broker": broker,
        "family": "sqs",
        "queue": queue,
        "origin": came_from[:300],
        "route": route,
        "system": system,
        "reason": death.reason,
        "reason_code": death.reason_code,
        "message_id": (death.message_id or whole(str(message.get("MessageId") or "")))[:256],
        "correlation_id": (tells("correlation-id") or tells("correlationid") or tells("correlation_id") or "")[:256],
        "error": death.error or _told_error(tells),
        "headers": as_dicts(headers),
        "properties": {**facts, **_when_any("attribute_types", types), **death.envelope},
        "content_type": (tells("content-type") or tells("contenttype") or "")[:200],
        "content_encoding": (tells("content-encoding") or "")[:100],
        "replay_id": (tells("replay-id") or "")[:36],
        **body_fields((text if death.body is None else death.body).encode("utf-8", "surrogatepass")),
    }
    if context := context_of(tells):
        letter["trace_id"], letter["span_id"] = context
    if death.attempts is not None:
        letter["attempts"] = death.attempts
    return letter | _moments(facts, death)


def _death_of(facts: Mapping[str, str], body: str, texts: Mapping[str, str], queue: str) -> Death:
    return (
        deaths.by_redrive(facts, queue)
        or deaths.by_lambda(texts)
        or deaths.by_eventbridge(texts)
        or deaths.by_sns(body)
        or deaths.by_eventbridge_record(body)
        or Death()
    )


def _own(attributes: object, death: Death) -> dict[str, Any]:
    """Return the attributes without those that the way into this queue added."""
    added = {name for names in death.envelope.values() for name in names}
    return {str(name): value for name, value in _mapping(attributes).items() if name not in added}


def _origin(death: Death, queue: str, told: str) -> tuple[str, dict[str, str]]:
    """Return where it came from and the way back; "" when nothing tells: a letter never goes back into its own queue by a guess."""
    if death.origin:
        return death.origin, death.route
    if told:
        kind = {"sns": "topic"}.get(service_of(told), "queue")
        return resource_of(told), {kind: told}
    if death.envelope:  # of Lambda: its event belongs to a function, not to a queue
        return "", {}
    bare = queue.removesuffix(".fifo")
    for ending in ENDINGS:
        if bare.endswith(ending) and bare != ending:
            name = bare.removesuffix(ending) + (".fifo" if bare != queue else "")
            return name, {"queue": name}
    return "", {}


def identity_of(message: Mapping[str, Any], facts: Mapping[str, str], *, broker: str, queue: str) -> str:
    """Return what this death is called: the same when it is delivered again, another one after the next death.

    AWS gives a message that a move task has redriven a new id and a new time of sending; LocalStack 4.9 keeps both, and so does a
    policy of the dead-letter queue that leads back. What does change there with every stay in a queue is the sequence number of a
    FIFO message and the time of its first receipt from this queue, and both stay for all later receipts from it.
    """
    message_id = whole(str(message.get("MessageId") or ""))[:100] or _digest(message)
    stay = facts.get("SequenceNumber") or facts.get("ApproximateFirstReceiveTimestamp") or ""
    return f"{broker}/{queue}/{message_id}/{facts.get('SentTimestamp', '')[:20]}/{stay[:40]}"[-256:]


def _digest(message: Mapping[str, Any]) -> str:
    told = json.dumps([message.get("Body"), message.get("MessageAttributes")], sort_keys=True, default=repr)
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _teller(headers: list[Header], facts: Mapping[str, str], body: str) -> Callable[[str], str | None]:
    """Return what tells a header by its lower-case name: an attribute, X-Ray's of SQS, one of a notification that is the body."""
    wrapped = headers_of(deaths.notified_attributes(deaths.object_of(body, '"TopicArn"')))[0]

    def tells(name: str) -> str | None:
        if name == "awstraceheader" and facts.get("AWSTraceHeader"):
            return facts["AWSTraceHeader"]
        return first_text(headers, name) or first_text(wrapped, name)

    return tells


def _told_error(tells: Callable[[str], str | None]) -> dict[str, str]:
    """Return the error that a consumer wrote into attributes of the message, by the names that are usual."""

    def first(*names: str) -> str:
        return next((found for name in names if (found := tells(name))), "")

    stack = first("error-stack", "x-exception-stacktrace", "exception-stacktrace", "stacktrace", "stack-trace")
    kind = first("error-type", "x-exception-fqcn", "exception-fqcn", "exception-type", "errortype")
    message = first("error-message", "x-exception-message", "exception-message", "errormessage", "exception")
    told = deaths.error_of(message)
    named = kind or root_type(stack) or told["type"]
    return {
        "type": named,
        "root_type": root_type(stack) or told["root_type"] or named,
        "message": message,
        "stack": stack,
    }


def _moments(facts: Mapping[str, str], death: Death) -> dict[str, object]:
    """Return when it died, as far as it is told: the way into the queue is a moment, a redrive keeps the time of the first sending."""
    if death.at_sent:
        sent = _moment(facts.get("SentTimestamp"))
        return {"failed_at": sent} if sent else {}
    first = _moment(facts.get("ApproximateFirstReceiveTimestamp"))
    return {"first_failed_at": first} if first else {}


def _moment(text: str | None) -> str | None:
    if not text or not text.isascii() or not text.isdigit() or len(text) > 15 or int(text) > LATEST_MS:
        return None
    return datetime.fromtimestamp(int(text) / 1000, UTC).isoformat()


def _texts(attributes: object) -> dict[str, str]:
    return {
        str(name): whole(str(attribute.get("StringValue") or ""))
        for name, attribute in _mapping(attributes).items()
        if isinstance(attribute, Mapping) and attribute.get("StringValue") is not None
    }


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _when_any(name: str, values: dict[str, str]) -> dict[str, object]:
    return {name: values} if values else {}
