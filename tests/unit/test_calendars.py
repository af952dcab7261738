"""Working time: weekdays and hours in a time zone, over weekends and changes of summer time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.calendars import (
    WorkingTime,
    clock_text,
    day_words,
    next_at,
    parse_clock,
    working_time,
    zone_of,
)
from console.core.errors import Invalid

OFFICE = working_time((1, 2, 3, 4, 5), 8 * 60, 18 * 60, "Europe/Berlin")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "minutes", "back"),
    [
        ("2026-11-26T12:00", 60, "2026-11-26T11:00"),  # a Thursday
        ("2026-11-26T07:30", 60, "2026-11-25T16:30"),  # 08:30 in Berlin: half an hour of yesterday
        ("2026-11-23T07:10", 60, "2026-11-20T16:10"),  # Monday 08:10: fifty minutes of Friday
        ("2026-11-22T12:00", 60, "2026-11-20T16:00"),  # on a Sunday nothing is worked
        ("2026-11-26T12:00", 2 * 600, "2026-11-24T12:00"),
        ("2026-03-30T06:30", 60, "2026-03-27T16:30"),  # summer time began on Sunday
        ("2026-10-26T07:30", 60, "2026-10-23T15:30"),  # and ended
    ],
)
def test_minutes_are_counted_back_in_working_time_alone(at: str, minutes: int, back: str):
    assert OFFICE.back(utc(at), minutes) == utc(back)


@pytest.mark.parametrize(
    ("at", "opening"),
    [
        ("2026-11-26T12:00", "2026-11-26T12:00"),
        ("2026-11-26T06:59", "2026-11-26T07:00"),
        ("2026-11-26T17:00", "2026-11-27T07:00"),  # 18:00 is not worked any more
        ("2026-11-27T17:00", "2026-11-30T07:00"),
        ("2026-10-24T12:00", "2026-10-26T07:00"),
    ],
)
def test_the_next_opening_is_now_or_when_work_begins(at: str, opening: str):
    assert OFFICE.next_opening(utc(at)) == utc(opening)
    assert OFFICE.is_open(utc(at)) == (at == opening)


@given(
    at=st.datetimes(min_value=datetime(2025, 1, 1), max_value=datetime(2030, 1, 1)),
    minutes=st.integers(1, 3000),
    days=st.sets(st.integers(1, 7), min_size=1),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe"]),
)
def test_between_the_time_back_and_now_lie_exactly_so_many_working_minutes(
    at: datetime, minutes: int, days: set[int], zone: str
):
    calendar, at = working_time(days, 5 * 60, 21 * 60, zone), at.replace(tzinfo=UTC, second=0, microsecond=0)

    since = calendar.back(at, minutes)

    worked = sum(
        calendar.is_open(since + timedelta(minutes=number)) for number in range((at - since) // timedelta(minutes=1))
    )
    assert worked == minutes


@pytest.mark.parametrize("text", ["", "8", "24:01", "25:00", "08:60", "8.30", "٠٨:٣٠", "08:30:00", "-1:00"])
def test_what_is_no_time_of_day_is_refused(text: str):
    with pytest.raises(Invalid):
        parse_clock(text)


@pytest.mark.parametrize(
    ("text", "minute"), [("00:00", 0), ("8:05", 485), ("08:05", 485), ("23:59", 1439), ("24:00", 1440)]
)
def test_times_of_day_are_minutes(text: str, minute: int):
    assert parse_clock(text) == minute
    assert parse_clock(clock_text(minute)) == minute


@pytest.mark.parametrize(
    "name",
    ["", "Nowhere", "../../etc/passwd", "/etc/passwd", "Europe", "Europe/", "a" * 70, "UTC\x00", "posixrules/..", "é"],
)
def test_what_is_no_time_zone_is_refused(name: str):
    with pytest.raises(Invalid):
        zone_of(name)


@pytest.mark.parametrize(
    ("days", "first", "last"),
    [((), 0, 1440), ((0,), 0, 1440), ((8,), 0, 1440), ((1,), 60, 60), ((1,), -1, 60), ((1,), 0, 1441)],
)
def test_a_calendar_that_cannot_be_is_refused(days: tuple[int, ...], first: int, last: int):
    with pytest.raises(Invalid):
        working_time(days, first, last, "UTC")


def test_a_calendar_says_what_it_is():
    assert OFFICE.words() == "Mon to Fri, 08:00 to 18:00, Europe/Berlin"
    assert [day_words(days) for days in ((1,), (1, 2), (1, 3), (2, 3, 4), range(1, 8))] == [
        "Mon", "Mon, Tue", "Mon, Wed", "Tue to Thu", "every day",
    ]  # fmt: skip
    assert isinstance(OFFICE, WorkingTime)


@pytest.mark.parametrize(
    ("at", "minute", "zone", "found"),
    [
        ("2026-11-26T12:00", 9 * 60, "UTC", "2026-11-27T09:00"),
        ("2026-11-26T08:59", 9 * 60, "UTC", "2026-11-26T09:00"),
        ("2026-11-26T09:00", 9 * 60, "UTC", "2026-11-27T09:00"),
        ("2026-10-24T12:00", 9 * 60, "Europe/Berlin", "2026-10-25T08:00"),
        ("2026-11-26T23:30", 30, "Pacific/Kiritimati", "2026-11-27T10:30"),
        ("2026-11-26T00:30", 23 * 60, "Pacific/Niue", "2026-11-26T10:00"),
    ],
)
def test_the_next_time_of_day_is_that_of_the_zone(at: str, minute: int, zone: str, found: str):
    assert next_at(utc(at), minute, zone_of(zone)) == utc(found)
