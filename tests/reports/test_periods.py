"""The last whole day, week or month, where the clocks change, where midnight is skipped or comes twice, and where a day was left out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.reports.content import Cadence, Period
from alerts.reports.periods import before, days_before, days_of, first_day, last_day, last_period

HOUR = timedelta(hours=1)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "America/Havana",
    "Pacific/Apia",
)


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("cadence", "zone", "now", "since", "until", "hours"),
    [
        ("daily", "UTC", "2026-11-26 00:00", "2026-11-25 00:00", "2026-11-26 00:00", 24),
        ("daily", "UTC", "2026-11-25 23:59", "2026-11-24 00:00", "2026-11-25 00:00", 24),
        ("daily", "Europe/Berlin", "2026-10-26 06:00", "2026-10-25 00:00", "2026-10-26 00:00", 25),
        ("daily", "Europe/Berlin", "2026-03-30 06:00", "2026-03-29 00:00", "2026-03-30 00:00", 23),
        ("weekly", "Europe/Berlin", "2026-11-26 06:00", "2026-11-16 00:00", "2026-11-23 00:00", 168),
        ("weekly", "Europe/Berlin", "2026-11-23 00:00", "2026-11-16 00:00", "2026-11-23 00:00", 168),
        ("weekly", "Europe/Berlin", "2026-11-01 06:00", "2026-10-19 00:00", "2026-10-26 00:00", 169),
        ("monthly", "Europe/Berlin", "2026-11-01 00:00", "2026-10-01 00:00", "2026-11-01 00:00", 31 * 24 + 1),
        ("monthly", "Europe/Berlin", "2026-10-31 23:59", "2026-09-01 00:00", "2026-10-01 00:00", 30 * 24),
        ("monthly", "America/New_York", "2026-04-15 12:00", "2026-03-01 00:00", "2026-04-01 00:00", 31 * 24 - 1),
        ("monthly", "UTC", "2027-01-01 06:00", "2026-12-01 00:00", "2027-01-01 00:00", 31 * 24),
        ("monthly", "UTC", "2028-03-01 06:00", "2028-02-01 00:00", "2028-03-01 00:00", 29 * 24),
        # clocks go forward at midnight: the day begins at 01:00, an hour of it is missing
        ("daily", "Africa/Cairo", "2026-04-25 06:00", "2026-04-24 01:00", "2026-04-25 00:00", 23),
        # clocks go back at one to midnight: midnight comes twice, and the day begins the first time
        ("daily", "America/Havana", "2026-11-02 06:00", "2026-11-01 00:00", "2026-11-02 00:00", 25),
        ("daily", "Asia/Kolkata", "2026-11-26 06:00", "2026-11-25 00:00", "2026-11-26 00:00", 24),
        # half an hour of summer time
        ("daily", "Australia/Lord_Howe", "2026-10-05 06:00", "2026-10-04 00:00", "2026-10-05 00:00", 23.5),
        # Apia left out 30 December 2011: the day before the 31st is the 29th
        ("daily", "Pacific/Apia", "2011-12-31 12:00", "2011-12-29 00:00", "2011-12-30 00:00", 24),
    ],
)
def test_the_last_period_is_whole_local_days(cadence, zone, now, since, until, hours):
    found = last_period(Cadence(cadence), zone, at(now, zone))

    assert (found.since, found.until) == (at(since, zone), at(until, zone))
    assert (found.until - found.since) / HOUR == hours
    assert (found.cadence, found.zone) == (Cadence(cadence), zone)


@given(
    cadence=st.sampled_from(list(Cadence)),
    zone=st.sampled_from(ZONES),
    now=st.datetimes(datetime(2012, 2, 1), datetime(2037, 1, 1), timezones=st.just(UTC)),
)
def test_periods_lie_beside_one_another_and_so_do_their_days(cadence, zone, now):
    found = last_period(cadence, zone, now)
    one_before = before(found)

    assert found.since < found.until <= now
    assert last_period(cadence, zone, found.until) == found
    assert one_before.until == found.since
    assert last_period(cadence, zone, found.until - timedelta(microseconds=1)) == one_before
    days = days_of(found)
    assert (days[0][1], days[-1][2]) == (found.since, found.until)
    assert all(one[2] == other[1] for one, other in pairwise(days))
    assert days[0][1] == days_before(found, 3)[-1][2]
    assert (first_day(found), last_day(found)) == (days[0][0], days[-1][0])


def test_a_week_begins_on_monday_and_a_month_on_its_first():
    week = last_period(Cadence.WEEKLY, "Europe/Berlin", at("2026-11-26 06:00"))
    month = last_period(Cadence.MONTHLY, "Europe/Berlin", at("2026-11-26 06:00"))

    assert (first_day(week), last_day(week)) == (date(2026, 11, 16), date(2026, 11, 22))
    assert (first_day(month), last_day(month)) == (date(2026, 10, 1), date(2026, 10, 31))
    assert before(week) == Period(
        cadence=Cadence.WEEKLY, since=at("2026-11-09 00:00", "Europe/Berlin"), until=week.since, zone="Europe/Berlin"
    )
    assert len(days_of(month)) == 31
