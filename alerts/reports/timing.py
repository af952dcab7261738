"""When a schedule's next report is due: local hours of its zone, whatever the clocks do. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from alerts.reports.content import Cadence
from console.core.calendars import clock_text

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
FARTHEST = 63  # days: two months and a day


def next_time(cadence: str, *, hour: int, weekday: int, zone: ZoneInfo, after: datetime) -> datetime:
    """Return the first moment after `after`, in UTC, at which the zone's clocks show that hour on a day that fits.

    weekday  1 is Monday; of a weekly schedule alone. A monthly one is due on the first of the month.
    An hour that the clocks leave out is due when they are past it, one that they show twice at its first time.
    """
    day = after.astimezone(zone).date() - timedelta(days=1)
    for number in range(FARTHEST):
        one = day + timedelta(days=number)
        if fits(cadence, weekday, one) and (found := _at(one, hour, zone)) > after:
            return found
    raise AssertionError("every cadence has a day within two months")


def fits(cadence: str, weekday: int, day: date) -> bool:
    """Whether a report is due on this local day."""
    if cadence == Cadence.WEEKLY:
        return day.isoweekday() == weekday
    return cadence == Cadence.DAILY or day.day == 1


def _at(day: date, hour: int, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=zone).astimezone(UTC)


def when_words(cadence: str, *, hour: int, weekday: int, zone: str) -> str:
    """Return when it goes: "every Monday at 07:00, Europe/Berlin"."""
    day = {"daily": "every day", "weekly": f"every {WEEKDAYS[weekday - 1]}", "monthly": "on the first of each month"}
    return f"{day[cadence]} at {clock_text(hour * 60)}, {zone}"
