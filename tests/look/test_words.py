"""Figures as an operator says them."""

from datetime import UTC, datetime, timedelta

import pytest

from console.core import words
from console.core.templatetags.look import of_one
from messages.templatetags.families import kind

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "short", "long"),
    [
        (-5, "0 s", "0 s"),
        (4, "4 s", "4 s"),
        (59.9, "59 s", "59 s"),
        (60, "1 min", "1 min"),
        (42 * 60 + 59, "42 min", "42 min"),
        (3 * 3600, "3 h", "3 h"),
        (3 * 3600 + 5 * 60, "3 h 05", "3 h 05 min"),
        (26 * 3600, "1 d 2 h", "1 day 2 h"),
        (72 * 3600, "3 d", "3 days"),
        (15 * 86400 + 7200, "15 d", "15 days"),
    ],
)
def test_an_age_has_one_or_two_units(seconds, short, long):
    span = timedelta(seconds=seconds)

    assert (words.age_words(span), words.age_words(span, long=True)) == (short, long)


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [
        (0, "0 ms"),
        (-3, "0 ms"),
        (0.42, "0.4 ms"),
        (3, "3 ms"),
        (43.2, "43 ms"),
        (999.4, "999 ms"),
        (999.6, "1.0 s"),
        (30_000, "30.0 s"),
        (59_960, "1 min 00 s"),
        (92_000, "1 min 32 s"),
        (7_500_000, "2 h 05"),
    ],
)
def test_a_duration_keeps_the_digits_that_matter(milliseconds, said):
    assert words.duration_words(milliseconds) == said


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 B"), (812, "812 B"), (1024, "1 KB"), (1130, "1.1 KB"), (20 * 1024**2, "20 MB"), (3 * 1024**4, "3,072 GB")],
)
def test_a_size_has_one_unit(size, said):
    assert words.size_words(size) == said


def test_a_count_stops_at_the_cap():
    assert [words.count_words(n) for n in (0, 9312, 10_000, 10_001)] == ["0", "9,312", "10,000", "10,000+"]


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (NOW - timedelta(hours=1, minutes=46), "10:14:00"),
        (NOW - timedelta(days=1), "23 Nov 12:00"),
        (NOW - timedelta(days=400), "20 Oct 2025"),
    ],
)
def test_an_instant_says_as_much_as_its_distance_needs(at, said):
    assert words.clock_words(at, now=NOW) == said


def test_machine_names_and_details_are_said_in_plain_words():
    assert [kind(name) for name in ("redis-streams", "rabbitmq", "betamq")] == ["Redis Streams", "RabbitMQ", "betamq"]
    assert words.action_words("agent_key.created") == "agent key created"
    assert [words.sentence(text) for text in ("it died again: no answer", "Sent. ", "")] == [
        "It died again: no answer.",
        "Sent.",
        "",
    ]


def test_a_state_that_nobody_declared_is_refused():
    with pytest.raises(KeyError):
        words.chip_of("replay", "almost")


@pytest.mark.parametrize(
    ("plural", "one"),
    [("breaches", "breach"), ("causes", "cause"), ("saved searches", "saved search"), ("messages", "message"), ("plans", "plan")],
)  # fmt: skip
def test_a_list_of_one_row_says_so(plural: str, one: str):
    assert (of_one(plural, 0), of_one(plural, 1), of_one(plural, 2)) == (plural, one, plural)
