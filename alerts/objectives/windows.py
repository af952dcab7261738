"""The time that a promise is about: the last N days, or a calendar's week, month, quarter or year in a time zone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

ROLLING = "rolling"
NOMINAL_DAYS = {
    "week": 7,
    "month": 30,
    "quarter": 91,
    "year": 365,
}  # what burn rates of a calendar window are reckoned with
UNITS = (ROLLING, *NOMINAL_DAYS)
UTC_ZONE = ZoneInfo("UTC")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """since <= time < until, UTC."""

    since: datetime
    until: datetime

    @property
    def length(self) -> timedelta:
        return self.until - self.since

    def holds(self, at: datetime) -> bool:
        return self.since <= at < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """unit: rolling (of so many days) or week, month, quarter, year, which begin at midnight in the zone."""

    unit: str = ROLLING
    days: int = 30
    zone: ZoneInfo = UTC_ZONE

    @property
    def period(self) -> timedelta:
        """Return the length that burn rates are reckoned with; a calendar's months are all 30 days there."""
        return timedelta(days=self.days if self.unit == ROLLING else NOMINAL_DAYS[self.unit])

    def span_at(self, now: datetime) -> Span:
        """Return the whole window that `now` falls into: a rolling one ends after this minute and begins at a full hour.

        A calendar's lasts until its end, which lies ahead; a day of it has 23 or 25 hours where the clocks change.
        """
        if self.unit == ROLLING:
            until = _minute(now) + MINUTE
            return Span(since=_hour(until - self.period), until=until)
        first = _first_day(now.astimezone(self.zone).date(), self.unit)
        return Span(since=self._midnight(first), until=self._midnight(_next(first, self.unit)))

    def before(self, span: Span) -> Span:
        """Return the window before this one."""
        if self.unit == ROLLING:
            return Span(since=span.since - self.period, until=span.since)
        first = _first_day((span.since - HOUR).astimezone(self.zone).date(), self.unit)
        return Span(since=self._midnight(first), until=span.since)

    def words(self) -> str:
        """Return it as people say it: "over 30 days", "a calendar month, Europe/Berlin"."""
        if self.unit == ROLLING:
            return f"over {self.days} day{'s' if self.days != 1 else ''}"
        return f"a calendar {self.unit}, {self.zone.key}"

    def _midnight(self, day: date) -> datetime:
        return datetime(day.year, day.month, day.day, tzinfo=self.zone).astimezone(UTC)


def _first_day(day: date, unit: str) -> date:
    match unit:
        case "week":
            return day - timedelta(days=day.isoweekday() - 1)
        case "month":
            return day.replace(day=1)
        case "quarter":
            return date(day.year, (day.month - 1) // 3 * 3 + 1, 1)
        case "year":
            return date(day.year, 1, 1)
    raise ValueError(f"no calendar window is a {unit}")


def _next(first: date, unit: str) -> date:
    if unit == "week":
        return first + timedelta(days=7)
    months = {"month": 1, "quarter": 3, "year": 12}[unit]
    month = first.month - 1 + months
    return date(first.year + month // 12, month % 12 + 1, 1)


def _minute(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(second=0, microsecond=0)


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def merge(spans: Iterable[Span]) -> list[Span]:
    """Return spans that neither touch nor overlap and hold the same time, oldest first; empty ones are left out."""
    merged: list[Span] = []
    for span in sorted((one for one in spans if one.since < one.until), key=lambda one: one.since):
        if merged and span.since <= merged[-1].until:
            merged[-1] = Span(since=merged[-1].since, until=max(merged[-1].until, span.until))
        else:
            merged.append(span)
    return merged


def clipped(spans: Iterable[Span], to: Span) -> list[Span]:
    """Return what of these spans lies inside of another one."""
    cut = (Span(since=max(one.since, to.since), until=min(one.until, to.until)) for one in spans)
    return [one for one in cut if one.since < one.until]


def length_of(spans: Iterable[Span]) -> timedelta:
    return sum((one.length for one in spans), timedelta())


def portions(spans: Iterable[Span], *, most: int) -> Iterator[list[Span]]:
    """Yield spans of whole minutes in portions of one UTC day and at most so many minutes, the newest first; longer ones are parted."""
    portion: list[Span] = []
    room = most
    for piece in reversed([piece for span in merge(spans) for piece in _pieces(span, most * MINUTE)]):
        if portion and (piece.length > room * MINUTE or piece.since.date() != portion[0].since.date()):
            yield portion
            portion, room = [], most
        portion.append(piece)
        room -= piece.length // MINUTE
    if portion:
        yield portion


def _pieces(span: Span, longest: timedelta) -> Iterator[Span]:
    since = span.since
    while since < span.until:
        midnight = _hour(since).replace(hour=0) + DAY
        until = min(since + longest, midnight, span.until)
        yield Span(since=since, until=until)
        since = until
