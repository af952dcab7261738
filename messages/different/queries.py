"""Which letters are like one or of one group, and the window in which they and what was delivered are compared."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import QuerySet

from console.identity.actor import Actor
from messages.access import visible_dead_letters, visible_messages
from messages.groups.queries import whole_of
from messages.models import DeadLetter, FailureGroup, Message, MessageStatus
from messages.search.window import Window

SPAN = timedelta(days=7)
LATE = timedelta(days=4)  # between a message's day and its first event
AFTERWARDS = timedelta(hours=6)  # of an old letter: what was delivered soon after it counts too


def window_of(letter: DeadLetter, *, now: datetime) -> Window:
    """Return the seven days up to now, or up to a few hours after a letter that is older than them."""
    return _week_with(letter.first_failed_at or letter.failed_at, now)


def window_of_group(group: FailureGroup, *, now: datetime) -> Window:
    """Return the seven days up to now, or up to a few hours after the last failure of a group that is older than them."""
    return _week_with(group.last_seen_at, now)


def _week_with(failed_at: datetime, now: datetime) -> Window:
    until = now if failed_at > now - SPAN + AFTERWARDS else failed_at + AFTERWARDS
    return Window(since=until - SPAN, until=until, text="7d")


def letters_like(actor: Actor, letter: DeadLetter, window: Window) -> QuerySet[DeadLetter]:
    """Return the letters of the same flow, system and root error that failed in the window, as far as the actor may see them."""
    return visible_dead_letters(actor).filter(
        environment=letter.environment_id, flow=letter.flow_id, system=letter.system_id, error_root_type=letter.error_root_type,
        failed_at__gte=window.since, failed_at__lte=window.until,
    )  # fmt: skip


def letters_of_group(actor: Actor, group: FailureGroup, window: Window) -> QuerySet[DeadLetter]:
    """Return the letters of a group, and of what was merged into it, that failed in the window."""
    return visible_dead_letters(actor).filter(
        group__in=_whole(group), failed_at__gte=window.since, failed_at__lte=window.until
    )


def messages_of_group(actor: Actor, group: FailureGroup, window: Window) -> QuerySet[Message]:
    """Return the messages of a group, and of what was merged into it, that failed in the window and have no dead letter."""
    return visible_messages(actor).filter(
        group__in=_whole(group), status=MessageStatus.FAILED, flow=group.flow_id, failed_at__isnull=False,
        first_seen_on__gte=(window.since - LATE).date(), first_seen_on__lte=(window.until + LATE).date(),
        first_seen_at__gte=window.since, first_seen_at__lte=window.until,
    )  # fmt: skip


def _whole(group: FailureGroup) -> list[int]:
    return [group.pk, *(part.pk for part in whole_of(group))]
