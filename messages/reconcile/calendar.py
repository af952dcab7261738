"""When a check is due: a time of day on some weekdays, in a time zone. Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from console.core.calendars import next_at, zone_of


def due_after(at: datetime, *, minute: int, days: Collection[int], time_zone: str) -> datetime:
    """Return the next time after `at` at this minute of a local day that is one of these ISO weekdays."""
    zone = zone_of(time_zone)
    for _ in range(8):
        at = next_at(at, minute, zone)
        if at.astimezone(zone).isoweekday() in days:
            break
    return at
