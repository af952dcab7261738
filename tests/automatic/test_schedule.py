"""When a letter is due, what a budget leaves, whether a flow is well: tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from console.core.errors import Invalid
from messages.automatic.schedule import (
    Health,
    budget_left,
    is_due,
    parse_waits,
    waits_words,
    why_unwell,
)

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "waits"),
    [("5, 15, 60", [5, 15, 60]), ("5", [5]), ("5 15;60", [5, 15, 60]), (" 60,60 ", [60, 60]), ("10080", [10080])],
)
def test_waits_are_read_as_people_write_them(text, waits):
    assert parse_waits(text) == waits


@pytest.mark.parametrize(
    "text", ["", ",", "0", "-5", "5 min", "1.5", "5,,x", "10081", "9" * 300, "٥", "1 " * 11, "\x00", "1e3", "²"]
)
def test_waits_that_cannot_be_are_refused_in_words(text):
    with pytest.raises(Invalid):
        parse_waits(text)


@pytest.mark.parametrize(
    ("tried", "minutes_ago", "due"),
    [
        (0, 4.99, False), (0, 5, True), (0, 50_000, True), (1, 5, False), (1, 15, True), (2, 59, False), (2, 60, True),
        (3, 50_000, False), (1000, 50_000, False), (0, -10, False),
    ],
)  # fmt: skip
def test_a_letter_is_due_when_the_wait_of_its_next_replay_is_over(tried, minutes_ago, due):
    since = NOW - timedelta(minutes=minutes_ago)

    assert is_due([5, 15, 60], tried=tried, since=since, now=NOW) is due


@pytest.mark.parametrize(
    ("hour", "day", "left"), [(0, 0, 10), (4, 4, 6), (10, 10, 0), (0, 95, 5), (0, 100, 0), (11, 11, 0), (0, 200, 0)]
)
def test_a_budget_is_what_neither_the_hour_nor_the_day_used_up(hour, day, left):
    assert budget_left(per_hour=10, per_day=100, last_hour=hour, last_day=day) == left


@pytest.mark.parametrize(
    ("succeeded", "failed", "why"),
    [
        (0, 0, "nothing was processed in the last 15 min"),
        (4, 0, "only 4 of 5 needed events were processed in the last 15 min"),
        (96, 4, ""),
        (95, 5, "95.0 % of 100 succeeded in the last 15 min, and it sends only above 95 %"),
        (0, 10, "0.0 % of 10 succeeded in the last 15 min, and it sends only above 95 %"),
        (5, 0, ""),
    ],
)
def test_a_flow_is_well_only_when_enough_was_seen_to_succeed(succeeded, failed, why):
    assert why_unwell(Health(succeeded=succeeded, failed=failed), 95) == why


def test_waits_in_words():
    assert [waits_words([5]), waits_words([5, 15]), waits_words([5, 15, 60])] == [
        "once, after 5 min", "2 times, after 5 and 15 min", "3 times, after 5, 15 and 60 min",
    ]  # fmt: skip
