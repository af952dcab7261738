"""Which letters are like one, and the window in which they and what was delivered are compared."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import QuerySet

from console.identity.actor import Actor
from messages.access import visible_dead_letters
from messages.models import DeadLetter
from messages.search.window import Window

SPAN = timedelta(days=7)
AFTERWARDS = timedelta(hours=6)  # of an old letter: what was delivered soon after it counts too


def window_of(letter: DeadLetter, *, now: datetime) -> Window:
    """Return the seven days up to now, or up to a few hours after a letter that is older than them."""
    failed_at = letter.first_failed_at or letter.failed_at
    until = now if failed_at > now - SPAN + AFTERWARDS else failed_at + AFTERWARDS
    return Window(since=until - SPAN, until=until, text="7d")


def letters_like(actor: Actor, letter: DeadLetter, window: Window) -> QuerySet[DeadLetter]:
    """Return the letters of the same flow and root error that failed in the window, as far as the actor may see them."""
    return visible_dead_letters(actor).filter(
        environment=letter.environment_id, flow=letter.flow_id, error_root_type=letter.error_root_type,
        failed_at__gte=window.since, failed_at__lte=window.until,
    )  # fmt: skip
