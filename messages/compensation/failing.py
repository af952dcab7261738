"""Whether what would be compensated failed at all: what was delivered in full is not taken back here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from console.core.errors import Conflict
from messages.compensation.journey import Target
from messages.journeys.seen import PROCESS, SETTLE
from messages.models import DeadLetter, Event, MessageStatus
from messages.models.stream import Outcome

A_DAY = timedelta(days=1)


class DidNotFail(Conflict):
    """The message was delivered, or processed since it failed: a compensation undoes what a failed message did."""

    code = "message_did_not_fail"


def check_failed(target: Target) -> None:
    """Raise DidNotFail for a message of which nothing failed, or nothing any more."""
    if words := why_not_failed(target):
        raise DidNotFail(words)


def why_not_failed(target: Target) -> str:
    """Return what says that it did not fail, or not any more, in words; "" when it did, or when nobody has told of its end."""
    letter, message = target.letter, target.message
    if letter is not None:
        return _why_processed_since(letter) if letter.state == DeadLetter.State.OPEN else ""
    if message is not None and message.status == MessageStatus.DELIVERED:
        return "it was delivered, and no system that took it failed it last: only what failed is compensated"
    return ""


def is_on_its_way(target: Target) -> bool:
    """Whether nobody has told of a failure, nor of its end: what it still does is no part of what is seen now."""
    return target.letter is None and target.message is not None and target.message.status == MessageStatus.MOVING


def _why_processed_since(letter: DeadLetter) -> str:
    """By the system that failed with it: others go on with theirs, which is what is undone."""
    if letter.message_uid is None or letter.system is None or letter.system_id is None:
        return ""
    rows = Event.objects.filter(
        environment_id=letter.environment_id, message_uid=letter.message_uid, system_id=letter.system_id, agent_id__isnull=False,
        operation__in=(PROCESS, SETTLE), outcome=Outcome.OK,
        occurred_at__gt=letter.failed_at, occurred_at__lt=datetime.now(UTC) + A_DAY,
    )  # fmt: skip
    at = rows.order_by("occurred_at").values_list("occurred_at", flat=True).first()
    if at is None:
        return ""
    return (
        f"{letter.system.name} has processed it since, at {at:%Y-%m-%d %H:%M:%S} UTC: it did not fail after all. "
        "Close its dead letter"
    )
