"""When a check is due: a time of day on some weekdays, in a time zone. Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from console.core.calendars import next_at, zone_of

LONGEST = timedelta(days=9)  # between two occurrences: a week, and a day of more hours


def due_after(at: datetime, *, minute: int, days: Collection[int], time_zone: str) -> datetime:
    """Return the next time after `at` at this minute of a local day that is one of these ISO weekdays."""
    zone = zone_of(time_zone)
    for _ in range(8):
        at = next_at(at, minute, zone)
        if at.astimezone(zone).isoweekday() in days:
            break
    return at


def due_before(at: datetime, *, minute: int, days: Collection[int], time_zone: str) -> datetime:
    """Return the last such time before `at`."""
    found = due_after(at - LONGEST, minute=minute, days=days, time_zone=time_zone)
    while (later := due_after(found, minute=minute, days=days, time_zone=time_zone)) < at:
        found = later
    return found


def period_begins(due_at: datetime, *, hours: int, minute: int, time_zone: str) -> datetime:
    """Return when the period of a list begins: whole days before by the clock, so that each ends where the next begins when clocks change."""
    if hours % 24:
        return due_at - timedelta(hours=hours)
    zone = zone_of(time_zone)
    day = due_at.astimezone(zone).date() - timedelta(hours=hours)
    return datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=zone).astimezone(UTC)
