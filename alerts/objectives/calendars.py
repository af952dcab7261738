"""A business calendar: working time with holidays, and the periods in which messages are expected. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from alerts.objectives.windows import DAY, UTC_ZONE, Span
from console.core.calendars import DAY_MINUTES, WorkingTime, check_working_time, clock_text, day_words
from console.core.errors import Invalid

MOST_HOLIDAYS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar(WorkingTime):
    """Working time, but not on holidays. Raises Invalid for one that cannot be."""

    days: frozenset[int] = frozenset(range(1, 8))
    from_minute: int = 0
    until_minute: int = DAY_MINUTES
    zone: ZoneInfo = UTC_ZONE
    holidays: frozenset[date] = frozenset()

    def __post_init__(self) -> None:
        check_working_time(self.days, self.from_minute, self.until_minute)
        if len(self.holidays) > MOST_HOLIDAYS:
            raise Invalid(f"a calendar has at most {MOST_HOLIDAYS} holidays")

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
        for day in self.open_spans(Span(since=within.since, until=within.until + 2 * DAY)):  # a day may have 25 hours
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
        whole = (self.from_minute, self.until_minute) == (0, DAY_MINUTES)
        hours = "all day" if whole else f"{clock_text(self.from_minute)} to {clock_text(self.until_minute)}"
        return f"{day_words(self.days)}, {hours}, {self.zone.key}{out}"


def parse_holidays(text: str) -> list[date]:
    """Return the dates of a list, one a line or by commas, sorted and once each; raises Invalid."""
    found = set()
    for word in re.split(r"[\s,;]+", text.strip()):
        if word:
            try:
                found.add(date.fromisoformat(word[:10] if re.fullmatch(r"\d{4}-\d\d-\d\d", word) else "no"))
            except ValueError as error:
                raise Invalid(f"a holiday is written 2026-12-25, not “{word[:20]}”") from error
    if len(found) > MOST_HOLIDAYS:
        raise Invalid(f"a calendar has at most {MOST_HOLIDAYS} holidays")
    return sorted(found)
