"""Windows, exclusions and calendars where the clocks change; merging as a property."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import assume, given
from hypothesis import strategies as st

from alerts.objectives.calendars import Calendar, parse_holidays
from alerts.objectives.exclusions import BadRule, Excluded, check_rule, excluded_time, flags, occurrences
from alerts.objectives.windows import MINUTE, Span, Window, clipped, length_of, merge
from console.core.calendars import parse_clock
from console.core.errors import Invalid

BERLIN, NEPAL, SAO = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu"), ZoneInfo("America/Sao_Paulo")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def at(text: str, zone: ZoneInfo | None = None) -> datetime:
    found = datetime.fromisoformat(text)
    return (found.replace(tzinfo=zone) if zone else found.replace(tzinfo=UTC)).astimezone(UTC)


def test_a_rolling_window_begins_at_a_full_hour_and_holds_this_minute():
    span = Window(days=30).span_at(at("2026-11-26T12:34:56"))

    assert span == Span(since=at("2026-10-27T12:00"), until=at("2026-11-26T12:35"))


@pytest.mark.parametrize(
    ("unit", "zone", "now", "since", "until", "hours"),
    [
        ("month", BERLIN, "2026-10-15T10:00", "2026-10-01T00:00", "2026-11-01T00:00", 31 * 24 + 1),  # clocks go back
        ("month", BERLIN, "2026-03-15T10:00", "2026-03-01T00:00", "2026-04-01T00:00", 31 * 24 - 1),
        (
            "month",
            BERLIN,
            "2026-09-30T22:30",
            "2026-10-01T00:00",
            "2026-11-01T00:00",
            31 * 24 + 1,
        ),  # it is October there
        ("month", NEPAL, "2026-02-10T00:00", "2026-02-01T00:00", "2026-03-01T00:00", 28 * 24),
        ("week", BERLIN, "2026-11-26T12:00", "2026-11-23T00:00", "2026-11-30T00:00", 7 * 24),
        ("quarter", BERLIN, "2026-11-26T12:00", "2026-10-01T00:00", "2027-01-01T00:00", 92 * 24 + 1),
        ("year", BERLIN, "2026-11-26T12:00", "2026-01-01T00:00", "2027-01-01T00:00", 365 * 24),
    ],
)
def test_a_calendar_window_begins_at_midnight_where_it_is(
    unit: str, zone: ZoneInfo, now: str, since: str, until: str, hours: int
):
    span = Window(unit=unit, zone=zone).span_at(at(now))

    assert span == Span(since=at(since, zone), until=at(until, zone))
    assert span.length == hours * HOUR


def test_the_window_before():
    month = Window(unit="month", zone=BERLIN)

    assert month.before(month.span_at(at("2026-11-15T00:00"))) == month.span_at(at("2026-10-15T00:00"))
    assert Window(days=7).before(Span(since=at("2026-11-08T00:00"), until=at("2026-11-15T00:00"))).length == 7 * DAY


def test_a_weekly_maintenance_stays_at_its_local_hour_when_the_clocks_change():
    sundays = Excluded(starts_at=at("2026-10-18T02:30", BERLIN), length=HOUR, rule="FREQ=WEEKLY;BYDAY=SU", zone=BERLIN)

    found = occurrences(sundays, Span(since=at("2026-10-01T00:00"), until=at("2026-11-10T00:00")))

    assert [one.since for one in found] == [
        at("2026-10-18T00:30"), at("2026-10-25T00:30"), at("2026-11-01T01:30"), at("2026-11-08T01:30"),
    ]  # fmt: skip
    assert {one.length for one in found} == {HOUR}


def test_an_occurrence_in_the_hour_that_is_left_out_is_still_there():
    sundays = Excluded(starts_at=at("2026-03-22T02:30", BERLIN), length=HOUR, rule="FREQ=WEEKLY", zone=BERLIN)

    found = occurrences(sundays, Span(since=at("2026-03-28T00:00"), until=at("2026-03-30T00:00")))

    assert found == [Span(since=at("2026-03-29T01:30"), until=at("2026-03-29T02:30"))]


@pytest.mark.parametrize(
    ("rule", "starts"),
    [
        ("FREQ=DAILY;COUNT=2", ["2026-11-02T10:00", "2026-11-03T10:00"]),
        ("FREQ=DAILY;UNTIL=20261103", ["2026-11-02T10:00", "2026-11-03T10:00"]),
        ("FREQ=DAILY;UNTIL=20261103T095959Z", ["2026-11-02T10:00"]),
        (
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE",
            ["2026-11-02T10:00", "2026-11-04T10:00", "2026-11-16T10:00", "2026-11-18T10:00", "2026-11-30T10:00"],
        ),
        ("FREQ=MONTHLY;BYDAY=-1FR", ["2026-11-27T10:00"]),
        ("FREQ=MONTHLY;BYMONTHDAY=31", []),
    ],
)
def test_recurrence_rules(rule: str, starts: list[str]):
    one = Excluded(
        starts_at=at("2026-11-02T10:00"),
        length=HOUR,
        rule=check_rule(rule, starts_at=at("2026-11-02T10:00"), zone=ZoneInfo("UTC")),
    )

    found = occurrences(one, Span(since=at("2026-11-01T00:00"), until=at("2026-12-01T00:00")))

    assert [span.since for span in found] == [at(text) for text in starts]


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=SECONDLY", "FREQ=YEARLY", "BYDAY=MO", "FREQ=DAILY;INTERVAL=0", "FREQ=DAILY;INTERVAL=99999999999", "FREQ=DAILY;BYDAY=XX",
        "FREQ=DAILY;UNTIL=never", "FREQ=DAILY;BYSETPOS=1", "FREQ=WEEKLY;BYDAY=" + "MO," * 80 + "MO", "nonsense", "FREQ=DAILY\nDTSTART:20260101",
        "FREQ=DAILY;COUNT=２", "FREQ=DAILY;UNTIL=20261399", "FREQ=MONTHLY;BYMONTHDAY=99999", "=", "FREQ=DAILY;COUNT=-1",
        "FREQ=MONTHLY;BYDAY=100SU", "FREQ=MONTHLY;BYDAY=-7SU", "FREQ=WEEKLY;BYDAY=1SU", "FREQ=MONTHLY;BYMONTHDAY=1;BYDAY=2MO",
        "FREQ=DAILY;FREQ=WEEKLY", "FREQ=DAILY;INTERVAL=7;BYDAY=TU", "FREQ=DAILY;UNTIL=20261101T000000Z", "FREQ=DAILY;COUNT=2;UNTIL=20261231",
        "FREQ=DAILY;UNTIL=2027", "FREQ=DAILY;UNTIL=2027-01-05", "FREQ=DAILY;UNTIL=20270105T10", "FREQ=DAILY;INTERVAL=000019999",
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_is_refused(rule: str):
    with pytest.raises(BadRule):
        check_rule(rule, starts_at=at("2026-11-02T10:00"), zone=BERLIN)


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2026, 11, 1)),
    st.sampled_from(["DAILY", "WEEKLY", "MONTHLY"]),
    st.integers(1, 9),
    st.sampled_from(["", ";BYDAY=MO,TH", ";BYDAY=SU;WKST=SU", ";UNTIL=20261120", ";COUNT=900", ";BYMONTHDAY=1,15,-1"]),
)
def test_a_rule_that_began_long_ago_has_the_occurrences_that_it_had(began: datetime, often: str, every: int, more: str):
    rule = f"FREQ={often};INTERVAL={every}{more}"
    assume(often != "WEEKLY" or "MONTHDAY" not in more)
    one = Excluded(starts_at=began.replace(tzinfo=BERLIN).astimezone(UTC), length=HOUR, rule=rule, zone=BERLIN)
    within = Span(since=at("2026-10-20T00:00"), until=at("2026-12-01T00:00"))

    from_the_first = rrulestr(
        rule.replace("20261120", "20261120T235959"), dtstart=one.starts_at.astimezone(BERLIN).replace(tzinfo=None)
    )
    expected = [
        local.replace(tzinfo=BERLIN).astimezone(UTC)
        for local in from_the_first.between(datetime(2026, 10, 19), datetime(2026, 12, 2))
    ]

    found = occurrences(one, within)
    inside = [begin for begin in expected if begin + HOUR > within.since and begin < within.until]
    assert [span.until for span in found if span.until < within.until] == [
        min(_up(begin + HOUR), within.until) for begin in inside if _up(begin + HOUR) < within.until
    ]


def _up(moment: datetime) -> datetime:
    whole = moment.replace(second=0, microsecond=0)
    return whole if whole == moment else whole + MINUTE


def test_a_minute_that_is_touched_is_out():
    spans = excluded_time(
        [
            Excluded(starts_at=at("2026-11-02T10:10:30"), length=timedelta(minutes=2)),
            Excluded(starts_at=at("2026-11-02T10:12:10"), length=timedelta(minutes=1)),
        ],
        Span(since=at("2026-11-02T00:00"), until=at("2026-11-03T00:00")),
    )

    assert spans == [Span(since=at("2026-11-02T10:10"), until=at("2026-11-02T10:14"))]
    marked = flags(spans, at("2026-11-02T10:00"))
    assert marked is not None
    assert [number for number, out in enumerate(marked) if out] == [10, 11, 12, 13]
    assert flags(spans, at("2026-11-02T11:00")) is None


SPANS = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 60)).map(
        lambda one: Span(
            since=at("2026-01-01T00:00") + one[0] * MINUTE, until=at("2026-01-01T00:00") + (one[0] + one[1]) * MINUTE
        )
    ),
    max_size=30,
)


@given(SPANS)
def test_merging_keeps_the_time_and_parts_it(spans: list[Span]):
    merged = merge(spans)

    covered = {span.since + n * MINUTE for span in spans for n in range(span.length // MINUTE)}
    assert length_of(merged) == len(covered) * MINUTE
    assert all(one.until < other.since for one, other in pairwise(merged))
    assert merge(merged) == merged
    assert merge(reversed(spans)) == merged


@given(SPANS, SPANS, st.integers(0, 500), st.integers(1, 200))
def test_more_exclusions_never_leave_more(some: list[Span], more: list[Span], since: int, length: int):
    within = Span(
        since=at("2026-01-01T00:00") + since * MINUTE, until=at("2026-01-01T00:00") + (since + length) * MINUTE
    )

    assert length_of(clipped(merge(some), within)) <= length_of(clipped(merge(some + more), within)) <= within.length


def test_a_working_day_has_its_hours_on_both_sides_of_a_change():
    shop = Calendar(days=frozenset({1, 2, 3, 4, 5, 6, 7}), from_minute=0, until_minute=1440, zone=BERLIN)

    days = list(shop.open_spans(Span(since=at("2026-10-23T22:00"), until=at("2026-10-26T23:00"))))

    assert [one.length for one in days] == [24 * HOUR, 25 * HOUR, 24 * HOUR]


def test_the_first_period_of_a_day_of_25_hours_is_found_when_it_ends():
    shop = Calendar(from_minute=0, until_minute=1440, zone=BERLIN)
    ends = at("2026-10-25T00:15", BERLIN)

    assert list(shop.periods(Span(since=ends - MINUTE, until=ends + MINUTE), minutes=15)) == [
        Span(since=ends - 15 * MINUTE, until=ends)
    ]


def test_nothing_is_expected_on_holidays_and_weekends():
    office = Calendar(
        days=frozenset(range(1, 6)),
        from_minute=480,
        until_minute=1080,
        holidays=frozenset({date(2026, 12, 25)}),
        zone=BERLIN,
    )

    days = list(office.periods(Span(since=at("2026-12-24T00:00"), until=at("2026-12-29T00:00")), minutes=0))

    assert days == [
        Span(since=at("2026-12-24T08:00", BERLIN), until=at("2026-12-24T18:00", BERLIN)),
        Span(since=at("2026-12-28T08:00", BERLIN), until=at("2026-12-28T18:00", BERLIN)),
    ]
    assert office.words() == "Mon to Fri, 08:00 to 18:00, Europe/Berlin, 1 holiday"


def test_a_day_is_parted_and_its_short_end_belongs_to_the_last_part():
    office = Calendar(from_minute=480, until_minute=480 + 250)
    day = Span(since=at("2026-12-24T00:00"), until=at("2026-12-25T00:00"))

    assert [one.length // MINUTE for one in office.periods(day, minutes=120)] == [120, 130]
    assert [one.length // MINUTE for one in office.periods(day, minutes=100)] == [100, 100, 50]
    assert list(office.periods(Span(since=at("2026-12-24T10:00"), until=at("2026-12-24T10:01")), minutes=120)) == []
    assert len(list(office.periods(Span(since=at("2026-12-24T09:59"), until=at("2026-12-24T10:00")), minutes=120))) == 1


def test_time_is_widened_to_the_whole_periods_that_it_touches_and_no_further():
    office = Calendar(
        days=frozenset({4}), from_minute=480, until_minute=480 + 250
    )  # Thursdays, parted into 120 and 130 minutes

    def widened(since: str, until: str, minutes: int = 120) -> list[tuple[str, str]]:
        spans = [Span(since=at(f"2026-12-24T{since}"), until=at(f"2026-12-24T{until}"))]
        return [(f"{one.since:%H:%M}", f"{one.until:%H:%M}") for one in office.widened(spans, minutes=minutes)]

    assert widened("08:30", "08:31") == [("08:00", "10:00")]
    assert widened("09:59", "10:01") == [("08:00", "12:10")]
    assert widened("10:00", "10:01") == [("10:00", "12:10")]
    assert widened("12:09", "13:00") == [("10:00", "13:00")]
    assert widened("07:00", "08:00") == [("07:00", "08:00")]
    assert widened("12:10", "13:00") == [("12:10", "13:00")]
    assert widened("11:00", "11:30", 0) == [("08:00", "12:10")]
    assert widened("12:05", "12:06", 100) == [("11:20", "12:10")]


def test_what_is_no_calendar_is_refused():
    assert (parse_clock("24:00"), parse_clock("8:05")) == (1440, 485)
    assert parse_holidays("2026-12-26, 2026-12-25\n2026-12-25") == [date(2026, 12, 25), date(2026, 12, 26)]
    for text in ("8", "25:00", "08:60", "٠٨:00"):
        with pytest.raises(Invalid):
            parse_clock(text)
    for text in ("25.12.2026", "2026-02-30", "x", "20261225"):
        with pytest.raises(Invalid):
            parse_holidays(text)
    with pytest.raises(Invalid):
        Calendar(days=frozenset())
    with pytest.raises(Invalid):
        Calendar(from_minute=10, until_minute=10)
