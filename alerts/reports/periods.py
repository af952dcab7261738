"""The period of a report: the last whole local day, week or month. Pure; a day has 23 or 25 hours where the clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from alerts.reports.content import Cadence, Period

ONE_DAY = timedelta(days=1)


def last_period(cadence: Cadence, zone: str, now: datetime) -> Period:
    """Return the newest period that is over at `now`.

    cadence  daily: a day; weekly: Monday to Sunday; monthly: a calendar month.   zone  an IANA name.   now  aware.
    """
    until = _first(now.astimezone(ZoneInfo(zone)).date(), cadence)
    since = _first(until - ONE_DAY, cadence)
    while _midnight(since, zone) == _midnight(until, zone):  # a day that a zone left out: Apia, 30 December 2011
        since = _first(since - ONE_DAY, cadence)
    return Period(cadence=cadence, since=_midnight(since, zone), until=_midnight(until, zone), zone=zone)


def before(period: Period) -> Period:
    """Return the period before this one."""
    return last_period(period.cadence, period.zone, period.since)


def days_of(period: Period) -> list[tuple[date, datetime, datetime]]:
    """Return (local day, since, until) of each day of the period, oldest first, in UTC."""
    return days_between(first_day(period), last_day(period), period.zone)


def days_before(period: Period, count: int) -> list[tuple[date, datetime, datetime]]:
    """Return the same of so many days before the period."""
    first = first_day(period)
    return days_between(first - count * ONE_DAY, first - ONE_DAY, period.zone)


def days_between(first: date, last: date, zone: str) -> list[tuple[date, datetime, datetime]]:
    """Return (local day, since, until) from one day to another, both of them, in UTC."""
    found = []
    while first <= last:
        found.append((first, _midnight(first, zone), _midnight(first + ONE_DAY, zone)))
        first += ONE_DAY
    return found


def first_day(period: Period) -> date:
    return period.since.astimezone(ZoneInfo(period.zone)).date()


def last_day(period: Period) -> date:
    return period.until.astimezone(ZoneInfo(period.zone)).date() - ONE_DAY


def _first(day: date, cadence: Cadence) -> date:
    """Return the day on which the period begins that this day is in."""
    match cadence:
        case Cadence.DAILY:
            return day
        case Cadence.WEEKLY:
            return day - timedelta(days=day.isoweekday() - 1)
        case Cadence.MONTHLY:
            return day.replace(day=1)


def _midnight(day: date, zone: str) -> datetime:
    """Return when a local day begins: where the clocks skip midnight, when they do; where it comes twice, the first time."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
