"""Causes of a report and what became of their letters: that everything adds up, whatever there was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.reports.causes import causes_of, largest, letters_of
from alerts.reports.content import Cadence
from alerts.reports.face import cause_line
from alerts.reports.periods import last_period
from alerts.reports.saying import Says
from messages.queries import MOST_FAILED, Became, Failed
from tests.objectives.stored import HOUR, MINUTE, looked, promised
from tests.reports.samples import HOSTILE
from tests.reports.stored import DAY, cause, failed, gathered, letters

pytestmark = pytest.mark.django_db
MONTH = last_period(Cadence.MONTHLY, "Europe/Berlin", datetime(2026, 11, 1, 5, tzinfo=UTC))


def test_causes_say_what_became_of_their_letters_and_add_up():
    promised()
    timeout, vat, odd = (
        cause("ERP did not answer"),
        cause("VAT missing"),
        cause("", message="", failure_class="contract"),
    )
    merged = cause("ERP timed out", merged_into=timeout)
    letters(timeout, 3, "processed")
    letters(merged, 1, "processed", after=timedelta(minutes=78))
    letters(timeout, 1, "failed_again")
    letters(vat, 2, "discarded")
    letters(vat, 1, "compensated")
    letters(vat, 2)
    letters(odd, 1, "gone")
    letters(None, 1)
    letters(vat, 9, at=DAY.since - MINUTE)  # before the period, and waits
    letters(vat, 4, at=DAY.until)  # after it
    failed(cause("Retried in vain"), 3)
    failed(timeout, 7, letters=4)
    looked()

    content = gathered()

    names = (
        "title",
        "count",
        "replayed",
        "compensated",
        "discarded",
        "failed_again",
        "gone",
        "waiting",
        "without_letter",
    )
    told = [tuple(getattr(one, name) for name in names) for one in content.causes]
    assert told == [
        ("ERP did not answer", 5, 4, 0, 0, 1, 0, 0, 0),
        ("VAT missing", 5, 0, 1, 2, 0, 0, 2, 0),
        ("Retried in vain", 3, 0, 0, 0, 0, 0, 0, 3),
        ("No cause is known", 1, 0, 0, 0, 0, 0, 1, 0),
        ("the message could not be read: its form is not the one that was agreed", 1, 0, 0, 0, 0, 1, 0, 0),
    ]
    assert content.causes[0].late_by_s == pytest.approx((3 * 38 + 78) / 4 * 60)
    assert content.causes[1].late_by_s is None
    assert content.causes[0].path == f"/groups/{timeout.reference}/"
    found = content.letters
    assert (
        found.came,
        found.replayed,
        found.failed_again,
        found.compensated,
        found.discarded,
        found.gone,
        found.waiting,
    ) == (12, 4, 1, 1, 2, 1, 3)
    assert (found.older, found.oldest) == (9, DAY.since - MINUTE)
    assert (content.promises[0].waiting, content.promises[0].replayed) == (9 + 3, 4)


def test_more_causes_than_are_shown_are_one_row():
    promised()
    for number in range(7):
        letters(cause(f"cause {number}"), 10 - number)
    looked()

    content = gathered()

    assert [one.count for one in content.causes] == [10, 9, 8, 7, 6, 9]
    assert (content.causes[-1].title, content.causes[-1].groups) == ("2 other causes", 2)
    assert sum(one.count for one in content.causes) == content.letters.came == 49


BECAME = st.builds(
    Became,
    st.integers(1, 3),
    st.one_of(st.none(), st.integers(1, 9)),
    *[st.integers(0, 20)] * 6,
    st.one_of(st.none(), st.just(60.0)),
)
FAILED = st.builds(Failed, st.integers(1, 3), st.integers(10, 19), st.integers(5, 9), st.integers(0, 5))


@given(st.lists(BECAME, max_size=12), st.lists(FAILED, max_size=6))
def test_every_row_and_the_whole_add_up(became, without):
    causes, found = causes_of(became, without, {}, {1: "orders"}), letters_of(became, [])

    for one in causes:
        assert (
            one.count
            == one.replayed
            + one.compensated
            + one.discarded
            + one.failed_again
            + one.gone
            + one.waiting
            + one.later
            + one.without_letter
        )
    assert (
        found.came
        == found.replayed + found.failed_again + found.compensated + found.discarded + found.gone + found.waiting
    )
    assert sum(one.count for one in causes) == found.came + sum(one.count for one in without)
    assert sum(one.waiting for one in causes) == found.waiting
    assert sum(one.groups for one in causes) == len(became) + len(without)
    assert len(causes) <= 6
    assert len(largest(became, without)) <= 5


def test_texts_that_programs_wrote_are_one_line_without_control_characters():
    promised(HOSTILE.replace("\x00", "")[:110])
    letters(cause(HOSTILE.replace("\x00", "")), 1)
    looked()

    content = gathered()

    for text in (content.promises[0].name, content.causes[0].title):
        assert text.isprintable()
        assert "\u202e" not in text


def test_a_cause_whose_only_letter_came_after_the_period_is_told_there_and_what_became_of_it_in_the_next():
    promised()
    slow, both, purged = cause("ERP did not answer"), cause("VAT missing"), cause("Closed and gone since")
    letters(slow, 2, at=DAY.until + MINUTE, failed_at=DAY.until - MINUTE)
    failed(slow, 0, letters=2, at=DAY.until - HOUR)
    letters(both, 1, at=DAY.until + MINUTE, failed_at=DAY.until - MINUTE)
    failed(both, 2, letters=1, at=DAY.until - HOUR)  # a third has a letter by now, which counts in its place
    failed(purged, 0, letters=5)  # its letters were closed, and their days are over
    looked()

    content = gathered()

    told = {one.title: (one.count, one.later, one.without_letter, one.waiting) for one in content.causes}
    assert told == {"VAT missing": (3, 1, 2, 0), "ERP did not answer": (2, 2, 0, 0)}
    assert [cause_line(one, Says("en-GB", "UTC")).became for one in content.causes] == [
        "1 came as a dead letter after the period, 2 failed without a dead letter",
        "all came as a dead letter after the period",
    ]
    assert content.letters.came == 0
    after = gathered(msgspec.structs.replace(DAY, since=DAY.until, until=DAY.until + 24 * HOUR))
    assert [(one.title, one.waiting) for one in after.causes] == [("ERP did not answer", 2), ("VAT missing", 1)]


def test_it_is_said_when_not_all_causes_are_counted():
    promised()
    failed(cause("one too many"), 3)
    for number in range(MOST_FAILED):
        failed(cause(f"cause {number}"), 5)

    content = gathered()

    assert sum(one.count for one in content.causes) == 5 * MOST_FAILED
    assert "There were so many causes that only those with most failures are counted here." in content.quality
