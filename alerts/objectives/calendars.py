"""A business calendar: working time with holidays, and the periods in which messages are expected. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from alerts.objectives.windows import DAY, MINUTE, UTC_ZONE, Span, merge
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
        for day in self.open_spans(Span(since=within.since, until=within.until + 2 * DAY)):  # a day may have 25 hours
            for period in _parted(day, minutes):
                if within.since < period.until <= within.until:
                    yield period

    def widened(self, spans: Iterable[Span], *, minutes: int) -> list[Span]:
        """Return this time, of whole minutes, with the whole of each period that it touches, merged."""
        found: list[Span] = []
        for span in spans:
            ends = [self._period_at(at, minutes) for at in (span.since, span.until - MINUTE)]
            found += [span, *filter(None, ends)]
        return merge(found)

    def _period_at(self, at: datetime, minutes: int) -> Span | None:
        days = self.open_spans(Span(since=at, until=at + 2 * DAY))
        return next((one for day in days for one in _parted(day, minutes) if one.holds(at)), None)

    def words(self) -> str:
        """Return it as people say it: "Mon to Fri, 08:00 to 18:00, Europe/Berlin, 3 holidays"."""
        out = f", {len(self.holidays)} holiday{'s' if len(self.holidays) != 1 else ''}" if self.holidays else ""
        whole = (self.from_minute, self.until_minute) == (0, DAY_MINUTES)
        hours = "all day" if whole else f"{clock_text(self.from_minute)} to {clock_text(self.until_minute)}"
        return f"{day_words(self.days)}, {hours}, {self.zone.key}{out}"


def _parted(day: Span, minutes: int) -> Iterator[Span]:
    step = timedelta(minutes=minutes) if minutes else day.length
    last = day.until - step * 3 / 2  # a period that begins behind it would leave less than half of one
    at = day.since
    while at <= last:
        yield Span(since=at, until=at + step)
        at += step
    yield Span(since=at, until=day.until)


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
