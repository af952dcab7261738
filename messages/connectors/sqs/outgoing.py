"""A message as an entry of SQS' and SNS' batches: what both take, and what neither does. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from messages.connectors.base import Outgoing
from messages.connectors.context import parse_traceparent
from messages.connectors.headers import first_text
from messages.connectors.sqs.attributes import FORBIDDEN, OURS, Unsendable, attributes_of, size_of

BATCH = 10  # entries of one request
QUEUE_BYTES, TOPIC_BYTES = 1_048_576, 262_144  # of a message, and of a request; a queue may allow less and then says so


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a message goes: a queue by name or ARN, or a topic by ARN.

    wrapped  as SNS wraps it for a subscription without raw delivery. via: words about how the target was found.
    """

    service: str
    name: str
    wrapped: bool = False
    via: str = ""

    @property
    def words(self) -> str:
        return f"{'topic' if self.service == 'sns' else 'queue'} {self.name.rpartition(':')[2]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """One message, ready to be sent; `dropped`: our own marks for which it has no room."""

    id: str
    entry: dict[str, Any]
    size: int
    dropped: list[str]


def make_ready(item: Outgoing, target: Target) -> Ready:
    """Return the entry of this message for a batch to that target; raises Unsendable with the reason."""
    body = text_of(item.body)
    types = item.properties.get("attribute_types")
    attributes, dropped = attributes_of(item.headers, types if isinstance(types, Mapping) else {})
    if target.wrapped:
        body = wrap(body, attributes, item.properties)
        attributes, dropped = {name: one for name, one in attributes.items() if name in OURS}, []
    size, most = size_of(body, attributes), TOPIC_BYTES if target.service == "sns" else QUEUE_BYTES
    if size > most:
        raise Unsendable(f"it has {size:,} bytes with its attributes, and {target.words} takes at most {most:,}")
    entry: dict[str, Any] = {("Message" if target.service == "sns" else "MessageBody"): body}
    if attributes:
        entry["MessageAttributes"] = attributes
    _keep_order(entry, item, target)
    if target.service == "sns":
        if subject := _envelope(item.properties).get("Subject"):
            entry["Subject"] = subject
    elif trace := xray_of(first_text(item.headers, "traceparent")):
        entry["MessageSystemAttributes"] = {"AWSTraceHeader": {"DataType": "String", "StringValue": trace}}
    return Ready(id=item.id, entry=entry, size=size, dropped=dropped)


def text_of(body: bytes) -> str:
    """Return the body as SQS and SNS carry it; raises Unsendable."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise Unsendable("its body is not text, and SQS and SNS carry text only") from None
    if not text:
        raise Unsendable("its body is empty, and SQS and SNS take no empty body")
    if found := FORBIDDEN.search(text):
        raise Unsendable(f"its body has the character U+{ord(found[0]):04X}, which SQS and SNS do not take")
    return text


def _keep_order(entry: dict[str, Any], item: Outgoing, target: Target) -> None:
    """FIFO: the group it had, and an id of its own replay, so that the window of five minutes swallows a second copy of this replay
    and not the replay itself. A standard queue takes a group too: it shares out fairly by it.
    """
    group = item.properties.get("MessageGroupId")
    if target.name.endswith(".fifo"):
        entry["MessageGroupId"] = str(group or item.id)
        entry["MessageDeduplicationId"] = item.id
    elif group and target.service == "sqs":
        entry["MessageGroupId"] = str(group)


def wrap(body: str, attributes: Mapping[str, Mapping[str, Any]], properties: Mapping[str, object]) -> str:
    """Return the notification that SNS would have put into the subscription's queue; its signature fits only an unchanged message."""
    notification: dict[str, Any] = {**_envelope(properties), "Message": body}
    if attributes:
        notification["MessageAttributes"] = {name: _notified(one) for name, one in attributes.items()}
    return json.dumps(notification, ensure_ascii=False)


def _notified(attribute: Mapping[str, Any]) -> dict[str, str]:
    binary = attribute.get("BinaryValue")
    value = str(attribute.get("StringValue", "")) if binary is None else base64.b64encode(binary).decode()
    return {"Type": str(attribute["DataType"]), "Value": value}


def _envelope(properties: Mapping[str, object]) -> dict[str, str]:
    kept = properties.get("sns")
    return {str(name): str(value) for name, value in kept.items()} if isinstance(kept, Mapping) else {}


def xray_of(traceparent: str | None) -> str:
    """Return X-Ray's header of this context; it is a system attribute, so it takes no place from the ten."""
    context = parse_traceparent(traceparent)
    return f"Root=1-{context[0][:8]}-{context[0][8:]};Parent={context[1]};Sampled=1" if context else ""


def batches(ready: list[Ready], most_bytes: int) -> list[list[Ready]]:
    """Return the messages in runs that one request takes: ten, and no more bytes than one message may have."""
    runs: list[list[Ready]] = []
    size = 0
    for one in ready:
        if not runs or len(runs[-1]) == BATCH or size + one.size > most_bytes:
            runs.append([])
            size = 0
        runs[-1].append(one)
        size += one.size
    return runs
