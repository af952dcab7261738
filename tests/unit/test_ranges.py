"""Windows → steps of a chart: never more than 400, always in order, by the rollup that has few rows for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from messages.figures.ranges import LONGEST, MOST_STEPS, range_of
from messages.search.window import BadWindow, Window, parse_window

NOW = datetime(2026, 11, 26, 10, 14, 30, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
TIMES = some.datetimes(datetime(2024, 1, 1), datetime(2027, 1, 1), timezones=some.just(UTC))


@pytest.mark.parametrize(
    ("text", "step", "count", "by_hour"),
    [
        ("1h", MINUTE, 60, False),
        ("24h", 5 * MINUTE, 288, False),
        ("7d", HOUR, 168, True),
        ("30d", 2 * HOUR, 360, True),
        ("400d", timedelta(days=1), 400, True),
        ("700d", timedelta(days=2), 350, True),
    ],
)
def test_presets_have_the_shortest_steps_that_fit(text, step, count, by_hour):
    span = range_of(parse_window(text, now=NOW), now=NOW)

    assert (span.step, span.by_hour) == (step, by_hour)
    assert len(span.steps) in (count, count + 1)
    assert span.until <= NOW < span.until + step


def test_an_end_in_the_past_lies_in_its_step():
    window = Window(since=NOW - timedelta(hours=5), until=NOW - timedelta(hours=4))

    span = range_of(window, now=NOW)

    assert span.since <= window.since < span.since + span.step
    assert span.until - span.step < window.until <= span.until


@given(TIMES, TIMES)
def test_every_range_is_drawn_in_1_to_400_steps_or_refused_in_words(since, until):
    window = Window(since=since, until=until)
    try:
        span = range_of(window, now=NOW)
    except BadWindow:
        assert since >= min(until, NOW) or min(until, NOW) - since > LONGEST
        return

    steps = span.steps
    assert 1 <= len(steps) <= MOST_STEPS
    assert steps[0] == span.since
    assert steps[-1] + span.step == span.until
    assert [span.position(at) for at in steps] == list(range(len(steps)))
    assert span.by_hour or span.until - span.since <= timedelta(hours=49)


@pytest.mark.parametrize("text", ["0h", "0d", "00s"])
def test_a_window_of_no_time_is_refused_in_words(text):
    with pytest.raises(BadWindow, match="no time at all"):
        parse_window(text, now=NOW)


def test_an_end_without_a_beginning_is_the_end_of_the_span():
    at = NOW - timedelta(days=9)

    assert parse_window("2h", now=NOW, until=at.isoformat()) == Window(since=at - 2 * HOUR, until=at, text="2h")
    assert parse_window(None, now=NOW, until=at.isoformat()).since == at - 24 * HOUR


def test_times_the_wrong_way_round_are_refused_in_words():
    with pytest.raises(BadWindow, match="before the second"):
        parse_window(None, now=NOW, since=NOW.isoformat(), until=(NOW - MINUTE).isoformat())
