"""Working time: weekdays and hours in a time zone. Pure.

The simple calendar of a subscription, a scheduled check and an alert policy: the same hours on each working day, no holidays.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from console.core.errors import Invalid

DAY_MINUTES = 1440
DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
FARTHEST = 400  # days looked through: a calendar with one working day a week has 57 of them
CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)|24:00", re.ASCII)
ZONE = re.compile(
    r"(?!right/|posix|localtime$|Factory$)[A-Za-z][A-Za-z0-9_+/-]{0,59}", re.ASCII
)  # none of the machine's own, none with leap seconds


def parse_clock(text: str) -> int:
    """Return the minute of the day of `08:30`, 1440 for `24:00`; raises Invalid."""
    match = CLOCK.fullmatch(text.strip())
    if not match:
        raise Invalid(f"a time of day is written 08:30, not “{text[:20]}”")
    return int(match[1]) * 60 + int(match[2]) if match[1] else DAY_MINUTES


def clock_text(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its name in the IANA database; raises Invalid."""
    try:
        if ZONE.fullmatch(name):
            return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # a folder of the database, or no such zone
        pass
    raise Invalid(f"there is no time zone “{name[:40]}”: write one such as Europe/Berlin or UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingTime:
    """days: ISO weekdays, 1 is Monday. from_minute ≤ local minute of the day < until_minute is working time."""

    days: frozenset[int]
    from_minute: int
    until_minute: int
    zone: ZoneInfo

    def is_working_day(self, day: date) -> bool:
        return day.isoweekday() in self.days

    def is_open(self, at: datetime) -> bool:
        return any(start <= at < end for start, end in self._days_from(at, 1, most=2))

    def next_opening(self, at: datetime) -> datetime:
        """Return `at` in working time, else when it begins next."""
        for start, end in self._days_from(at, 1):
            if at < end:
                return max(at, start)
        return at  # no working day within a year: cannot be with a checked calendar

    def back(self, at: datetime, minutes: int) -> datetime:
        """Return the time so many working minutes before `at`."""
        left = timedelta(minutes=minutes)
        for start, end in self._days_from(at, -1):
            if start >= at:
                continue
            worked = min(end, at) - start
            if worked >= left:
                return min(end, at) - left
            left -= worked
        return at - timedelta(days=FARTHEST)

    def words(self) -> str:
        """Return the calendar as people say it: "Mon to Fri, 08:00 to 18:00, Europe/Berlin"."""
        return f"{day_words(self.days)}, {clock_text(self.from_minute)} to {clock_text(self.until_minute)}, {self.zone.key}"

    def _days_from(self, at: datetime, step: int, *, most: int = FARTHEST) -> Iterator[tuple[datetime, datetime]]:
        """Yield (start, end) in UTC of working days, from the local day before, or after, `at` on."""
        day = at.astimezone(self.zone).date() - timedelta(days=step)
        for number in range(most + 2):
            one = day + timedelta(days=number * step)
            if self.is_working_day(one):
                start, end = self._at(one, self.from_minute), self._at(one, self.until_minute)
                if start < end:  # a change of summer time may swallow a short day
                    yield start, end

    def _at(self, day: date, minute: int) -> datetime:
        whole, minute = divmod(minute, DAY_MINUTES)
        local = datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=self.zone)
        return (local + timedelta(days=whole)).astimezone(UTC)


def day_words(days: Collection[int]) -> str:
    """Return weekdays in words: "Mon to Fri", "Mon, Wed", "every day"."""
    ordered = sorted(days)
    if len(ordered) == 7:
        return "every day"
    if len(ordered) > 2 and ordered[-1] - ordered[0] == len(ordered) - 1:
        return f"{DAY_NAMES[ordered[0] - 1]} to {DAY_NAMES[ordered[-1] - 1]}"
    return ", ".join(DAY_NAMES[one - 1] for one in ordered)


def check_working_time(days: Collection[int], from_minute: int, until_minute: int) -> None:
    """Raise Invalid for working time that cannot be."""
    if not days or not set(days) <= set(range(1, 8)):
        raise Invalid("choose at least one working day, 1 (Monday) to 7")
    if not 0 <= from_minute < until_minute <= DAY_MINUTES:
        raise Invalid("working time ends after it begins, on the same day")


def working_time(days: Collection[int], from_minute: int, until_minute: int, time_zone: str) -> WorkingTime:
    """Return a checked calendar; raises Invalid."""
    check_working_time(days, from_minute, until_minute)
    return WorkingTime(
        days=frozenset(days), from_minute=from_minute, until_minute=until_minute, zone=zone_of(time_zone)
    )


def next_at(at: datetime, minute: int, zone: ZoneInfo) -> datetime:
    """Return the next time after `at` when the clocks of the zone show this minute of the day."""
    day = at.astimezone(zone).date() - timedelta(days=1)
    for number in range(4):
        one = day + timedelta(days=number)
        local = datetime(one.year, one.month, one.day, minute // 60, minute % 60, tzinfo=zone)
        found = local.astimezone(UTC)
        if found > at:
            return found
    return at + timedelta(days=1)
