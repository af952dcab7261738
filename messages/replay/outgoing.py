"""The message that a replay sends: the body as it was, the dead letter's headers stripped, ours stamped."""

from __future__ import annotations

from typing import Any, cast

from django.conf import settings

from console.core.errors import Invalid
from messages.connectors import UnknownFamily, get_family
from messages.connectors.base import Outgoing
from messages.connectors.context import make_traceparent
from messages.connectors.headers import from_dicts, value_of
from messages.connectors.hygiene import stamp_headers, strip_headers
from messages.models import DeadLetter, Replay
from messages.payloads.seal import Content
from messages.replay.window import Claimed


def outgoing(replay: Replay | Claimed, content: Content, attempt: int, *, edits: str = "") -> Outgoing:
    """Return the message as it goes out: dead-letter headers stripped, ours stamped, the rest as it was.

    edits  mark of the edits that made this content, "" when it is the stored one.
    """
    letter = replay.dead_letter
    headers = stamp_headers(
        strip_headers(from_dicts(content.headers)),
        replay_id=str(replay.pk),
        replay_of=letter.message_id or str(letter.pk),
        attempt=attempt,
        by=replay.requested_by,
        traceparent=make_traceparent(replay.trace_id.hex, replay.span_id),
        edited=edits,
    )
    same = replay.destination == letter.origin
    return Outgoing(
        id=str(replay.pk),
        destination=replay.destination,
        route=letter.route if same else {},
        body=content.body,
        headers=headers,
        properties=content.properties,
        content_type=letter.content_type,
        expiry=cast(Any, replay.expiry),
    )


def check_expiry(choice: str) -> str:
    """Return what may be done about an expiry; raises Invalid for anything but "", drop and keep."""
    if choice and choice not in Replay.Expiry.values:
        raise Invalid("an expiry is dropped or kept: say drop, keep, or nothing")
    return choice


def may_expire(letter: DeadLetter) -> bool:
    """Whether messages of this letter's kind may carry an expiry, so that there is something to choose."""
    try:
        return get_family(letter.family, settings.CONSOLE_FAMILIES).expires
    except UnknownFamily:
        return False


def header_without_value(message: Outgoing) -> str | None:
    """Return the name of a header whose value cannot be made from what was stored: found before anything is sent."""
    for header in message.headers:
        if header.type == "string":
            continue
        try:
            value_of(header)
        except (ValueError, TypeError, ArithmeticError):
            return header.name
    return None
