"""A business calendar: working days, hours, holidays, in a time zone; and the periods in which messages are expected. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from alerts.objectives.windows import DAY, UTC_ZONE, Span

DAY_MINUTES = 1440
CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)|24:00", re.ASCII)
DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MOST_HOLIDAYS = 400


class BadCalendar(ValueError):
    """A calendar that cannot be; the sentence says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """days: ISO weekdays. from_minute <= local minute of the day < until_minute is working time, but not on holidays."""

    days: frozenset[int] = frozenset(range(1, 8))
    from_minute: int = 0
    until_minute: int = DAY_MINUTES
    holidays: frozenset[date] = frozenset()
    zone: ZoneInfo = UTC_ZONE

    def __post_init__(self) -> None:
        if not self.days or not self.days <= set(range(1, 8)):
            raise BadCalendar("choose at least one working day, 1 (Monday) to 7")
        if not 0 <= self.from_minute < self.until_minute <= DAY_MINUTES:
            raise BadCalendar("working time ends after it begins, on the same day")
        if len(self.holidays) > MOST_HOLIDAYS:
            raise BadCalendar(f"a calendar has at most {MOST_HOLIDAYS} holidays")

    def is_working_day(self, day: date) -> bool:
        return day.isoweekday() in self.days and day not in self.holidays

    def open_spans(self, within: Span) -> Iterator[Span]:
        """Yield the working time of each day that ends inside of a span, oldest first, UTC: 23 or 25 hours where the clocks change."""
        day = within.since.astimezone(self.zone).date() - DAY
        last = within.until.astimezone(self.zone).date()
        while day <= last:
            if self.is_working_day(day):
                span = Span(since=self._at(day, self.from_minute), until=self._at(day, self.until_minute))
                if span.since < span.until and within.since < span.until <= within.until:
                    yield span
            day += DAY

    def periods(self, within: Span, *, minutes: int) -> Iterator[Span]:
        """Yield the periods that end inside of a span: each working day is parted from its beginning into so many minutes; 0: not at all.

        What is left at the end of a day and shorter than half of a period belongs to the one before it.
        """
        step = timedelta(minutes=minutes)
        for day in self.open_spans(Span(since=within.since, until=within.until + DAY)):
            at = day.since
            while at < day.until:
                until = at + step if minutes else day.until
                if until > day.until or day.until - until < step / 2:
                    until = day.until
                if within.since < until <= within.until:
                    yield Span(since=at, until=until)
                at = until

    def words(self) -> str:
        """Return it as people say it: "Mon to Fri, 08:00 to 18:00, Europe/Berlin, 3 holidays"."""
        out = f", {len(self.holidays)} holiday{'s' if len(self.holidays) != 1 else ''}" if self.holidays else ""
        hours = (
            "all day"
            if (self.from_minute, self.until_minute) == (0, DAY_MINUTES)
            else f"{clock(self.from_minute)} to {clock(self.until_minute)}"
        )
        return f"{_day_words(sorted(self.days))}, {hours}, {self.zone.key}{out}"

    def _at(self, day: date, minute: int) -> datetime:
        whole, minute = divmod(minute, DAY_MINUTES)
        local = datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=self.zone)
        return (local + timedelta(days=whole)).astimezone(UTC)


def clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def parse_clock(text: str) -> int:
    """Return the minute of the day of `08:30`, 1440 for `24:00`; raises BadCalendar."""
    match = CLOCK.fullmatch(text.strip())
    if not match:
        raise BadCalendar(f"a time of day is written 08:30, not “{text[:20]}”")
    return int(match[1]) * 60 + int(match[2]) if match[1] else DAY_MINUTES


def parse_holidays(text: str) -> list[date]:
    """Return the dates of a list, one a line or by commas, sorted and once each; raises BadCalendar."""
    found = set()
    for word in re.split(r"[\s,;]+", text.strip()):
        if word:
            try:
                found.add(date.fromisoformat(word[:10] if re.fullmatch(r"\d{4}-\d\d-\d\d", word) else "no"))
            except ValueError as error:
                raise BadCalendar(f"a holiday is written 2026-12-25, not “{word[:20]}”") from error
    if len(found) > MOST_HOLIDAYS:
        raise BadCalendar(f"a calendar has at most {MOST_HOLIDAYS} holidays")
    return sorted(found)


def _day_words(days: Sequence[int]) -> str:
    if len(days) == 7:
        return "every day"
    if len(days) > 2 and days[-1] - days[0] == len(days) - 1:
        return f"{DAY_NAMES[days[0] - 1]} to {DAY_NAMES[days[-1] - 1]}"
    return ", ".join(DAY_NAMES[one - 1] for one in days)
