"""docs/reports.md says the states, numbers and languages that the code has."""

from __future__ import annotations

from pathlib import Path

from babel import Locale

from alerts.reports import mailing, making, states
from alerts.reports.timing import WEEKDAYS
from alerts.reports.wishes import LANGUAGES, MOST_RECEIVERS, NewSchedule

PAGE = (Path(__file__).resolve().parents[2] / "docs/reports.md").read_text()


def test_the_state_diagrams_are_drawn_from_the_transitions_and_each_state_is_explained():
    for machine, words, first in (
        (states.REPORT, states.REPORT_WORDS, "asked"),
        (states.MAIL, states.MAIL_WORDS, "queued"),
    ):
        assert states.diagram(machine, first) in PAGE
        assert all(f"| {state} | {said} |" in PAGE for state, said in words.items())


def test_numbers_on_the_page_are_those_of_the_code():
    assert f"up to {MOST_RECEIVERS} addresses" in PAGE
    assert f"after {mailing.MOST_TRIES} such ends" in PAGE
    assert f"after the days that the schedule says ({NewSchedule(name='x', cadence='daily').link_days})" in PAGE
    assert [one.total_seconds() / 60 for one in making.BACKOFF] == [1, 5]
    assert "after 1 and 5 minutes" in PAGE
    assert (mailing.MOST_THREADS, "in four threads" in PAGE) == (4, True)


def test_dates_and_numbers_of_every_language_that_is_offered_are_known():
    assert {str(Locale.parse(tag, sep="-")) for tag in LANGUAGES} == {tag.replace("-", "_") for tag in LANGUAGES}
    assert len(WEEKDAYS) == 7
