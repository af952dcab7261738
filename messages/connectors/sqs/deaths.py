"""The ways in which a message comes into an SQS dead-letter queue, and what each tells of it. Pure; odd input never raises.

Sources: Amazon SQS Developer Guide, "Using dead-letter queues"; Amazon SNS Developer Guide, "Amazon SNS dead-letter queues"; AWS
Lambda Developer Guide, "Dead-letter queues"; Amazon EventBridge User Guide, "Using dead-letter queues to process undelivered events",
"Retry policies and dead-letter queues" (of custom event buses) and that of its Scheduler.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from messages.connectors.roots import first_type, root_type

LAMBDA = ("RequestID", "ErrorCode", "ErrorMessage")
EVENTBRIDGE = (
    "RULE_ARN", "SCHEDULE_ARN", "TARGET_ARN", "ERROR_CODE", "ERROR_MESSAGE", "EXHAUSTED_RETRY_CONDITION", "RETRY_ATTEMPTS",
    "EXECUTION_ID", "SCHEDULED_TIME", "IS_PAYLOAD_TRUNCATED",
)  # fmt: skip
CODES = {
    "ACCESS_DENIED": "auth", "FAILED_TO_ASSUME_ROLE": "auth", "NO_PERMISSIONS": "auth", "TRANSIENT_ASSUME_ROLE": "auth",
    "THROTTLING": "throttled", "RESOURCE_LIMIT_EXCEEDED": "throttled",
    "THIRD_ACCOUNT_HOP_DETECTED": "hop_limit", "THIRD_REGION_HOP_DETECTED": "hop_limit",
    "INVALID_JSON": "deserialization",
    "INVALID_PARAMETER": "rejected", "EVENTS_IN_BATCH_REQUEST_REJECTED": "rejected", "RESOURCE_ALREADY_EXISTS": "rejected",
    "CONNECTION_FAILURE": "target_error", "CROSS_ACCOUNT_INGESTION_FAILED": "target_error", "CROSS_REGION_INGESTION_FAILED": "target_error",
    "ERROR_FROM_TARGET": "target_error", "INTERNAL_ERROR": "target_error", "NO_RESOURCE": "target_error",
    "RESOURCE_MODIFICATION_COLLISION": "target_error", "SDK_CLIENT_ERROR": "target_error", "TIMEOUT": "target_error",
}  # fmt: skip
CONDITIONS = {"MaximumRetryAttempts": "delivery_limit", "MaximumEventAgeInSeconds": "expired"}
LAMBDA_CODES = {"429": "throttled", "403": "auth"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """What is known of how a message died.

    body, attributes  the message's own, where it came wrapped; None: as they are.
    envelope          what the way itself added, by its name in the letter's properties; its attributes are not the message's own.
    at_sent           whether it was put into this queue when it died, so that its SentTimestamp is that moment.
    """

    origin: str = ""
    route: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    reason_code: str = "unknown"
    error: dict[str, str] = field(default_factory=dict)
    attempts: int | None = None
    message_id: str = ""
    body: str | None = None
    attributes: dict[str, dict[str, Any]] | None = None
    envelope: dict[str, dict[str, str]] = field(default_factory=dict)
    at_sent: bool = True


def resource_of(arn: str) -> str:
    """Return the last part of an ARN, which is the name of a queue, a topic, a rule or a function."""
    return arn.rpartition(":")[2].rpartition("/")[2]


def service_of(arn: str) -> str:
    parts = arn.split(":", 5)
    return parts[2] if len(parts) == 6 and parts[0] == "arn" else ""


def region_at(arn: str) -> str:
    parts = arn.split(":", 5)
    return parts[3] if len(parts) == 6 else ""


def by_redrive(system: Mapping[str, str], queue: str) -> Death | None:
    """A consumer did not delete it: SQS moved it, and says from where. Its receive count counts our receipt too."""
    source = system.get("DeadLetterQueueSourceArn", "")
    if (
        service_of(source) != "sqs" or resource_of(source) == queue
    ):  # a redriven message keeps the mark in its source queue
        return None
    received = number_of(system.get("ApproximateReceiveCount"))
    return Death(
        origin=resource_of(source),
        route={"queue": source},
        reason="maxReceiveCount",
        reason_code="delivery_limit",
        attempts=received - 1 if received else None,
        at_sent=False,
    )


def by_sns(body: str) -> Death | None:
    """A topic could not deliver it to one subscription: the body is the notification, which names both and gives no reason."""
    notification = object_of(body, '"TopicArn"')
    topic, message = text_at(notification, "TopicArn"), notification.get("Message")
    if notification.get("Type") != "Notification" or service_of(topic) != "sns" or not isinstance(message, str):
        return None
    subscription = parse_qs(_query(text_at(notification, "UnsubscribeURL"))).get("SubscriptionArn", [""])[0]
    route = {"topic": topic, "subscription": subscription if service_of(subscription) == "sns" else ""}
    return Death(
        origin=resource_of(topic),
        route=route,
        message_id=text_at(notification, "MessageId"),
        body=message,
        attributes=notified_attributes(notification),
        envelope={"sns": {name: v for name, v in notification.items() if isinstance(v, str) and name != "Message"}},
    )


def notified_attributes(notification: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a notification's attributes in the shape of SQS."""
    found: dict[str, dict[str, Any]] = {}
    attributes = notification.get("MessageAttributes")
    for name, attribute in attributes.items() if isinstance(attributes, dict) else ():
        if isinstance(attribute, dict):
            kind, value = text_at(attribute, "Type") or "String", text_at(attribute, "Value")
            found[name] = {"DataType": kind, "StringValue": value}
            if kind.partition(".")[0] == "Binary":
                try:
                    found[name] = {"DataType": kind, "BinaryValue": base64.b64decode(value, validate=True)}
                except (binascii.Error, ValueError):
                    continue
    return found


def by_lambda(texts: Mapping[str, str]) -> Death | None:
    """An asynchronous invocation failed; the body is the event. Which function it was, Lambda does not say."""
    if not all(name in texts for name in LAMBDA):
        return None
    code, message = texts["ErrorCode"], texts["ErrorMessage"]
    return Death(
        reason=code,
        reason_code=LAMBDA_CODES.get(code, "target_error"),
        error=error_of(message),
        message_id=texts["RequestID"],
        envelope={"lambda": {name: texts[name] for name in LAMBDA}},
    )


def by_eventbridge(texts: Mapping[str, str]) -> Death | None:
    """A rule or a schedule could not reach its target; the body is the event."""
    target, code = texts.get("TARGET_ARN", ""), texts.get("ERROR_CODE", "")
    if not target or not code or not ("RULE_ARN" in texts or "SCHEDULE_ARN" in texts):
        return None
    route = _route_to(target)
    if texts.get("IS_PAYLOAD_TRUNCATED", "").lower() == "true":
        route = {"holds": "a payload that EventBridge cut off, not the whole of it"}
    return Death(
        origin=resource_of(target),
        route=route,
        reason=code,
        reason_code=_eventbridge_code(code, texts.get("EXHAUSTED_RETRY_CONDITION", "")),
        error=error_of(texts.get("ERROR_MESSAGE", ""), code),
        attempts=_tried(number_of(texts.get("RETRY_ATTEMPTS"))),
        envelope={"eventbridge": {name: texts[name] for name in EVENTBRIDGE if name in texts}},
    )


def by_eventbridge_record(body: str) -> Death | None:
    """A subscriber of a custom event bus could not be reached: the body is a record that names the events, it does not hold them."""
    record = object_of(body, '"failedMessages"')
    target, code, failed = text_at(record, "targetArn"), text_at(record, "errorCode"), record.get("failedMessages")
    if not code or not text_at(record, "subscriberArn") or not isinstance(failed, list):
        return None
    first = failed[0] if failed and isinstance(failed[0], dict) else {}
    return Death(
        origin=resource_of(target),
        route={
            "holds": "EventBridge's record of a failed delivery, not the event: replay the event from the bus or its archive"
        },
        reason=code,
        reason_code=_eventbridge_code(code, text_at(record, "exhaustedRetryCondition")),
        error=error_of(text_at(record, "errorMessage"), code),
        attempts=_tried(number_of(record.get("retryAttempts"))),
        message_id=text_at(first, "eventId"),
    )


def _route_to(target: str) -> dict[str, str]:
    kind = {"sqs": "queue", "sns": "topic"}.get(service_of(target), "target")
    return {kind: target}


def _eventbridge_code(code: str, condition: str) -> str:
    return CODES.get(code) or CONDITIONS.get(condition, "unknown")


def _tried(retries: int | None) -> int | None:
    return None if retries is None else retries + 1


def error_of(message: str, kind: str = "") -> dict[str, str]:
    """Return the error that a text tells: of a text of several lines, its root too."""
    named = first_type(message)
    return {"type": named or kind, "root_type": root_type(message) or kind, "message": message, "stack": ""}


def number_of(value: object) -> int | None:
    """Return a count; None when it is none, or when nothing could have counted so far."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None


def object_of(body: str, mark: str) -> dict[str, Any]:
    """Return the JSON object that this text is, {} when it is none or does not hold the mark; nothing else of it is parsed."""
    if mark not in body or not body.lstrip().startswith("{"):
        return {}
    try:
        found = json.loads(body)
        json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair goes nowhere from here
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def text_at(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    return value if isinstance(value, str) else ""


def _query(url: str) -> str:
    try:
        return urlsplit(url).query
    except ValueError:
        return ""
