"""A report's lines as finished text: golden tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from alerts.reports.content import Cause, Excluded, Letters, Stands
from alerts.reports.face import became_words, exclusion_notes, face_of, letters_words, promise_line
from alerts.reports.saying import Says
from tests.reports.samples import example, promise

SAYS = Says("en-GB", "Europe/Berlin")
AT = datetime(2026, 10, 12, tzinfo=UTC)
NONE = dict.fromkeys(("replayed", "compensated", "discarded", "failed_again", "waiting"), 0)
M, N = Stands.MISSED, Stands.NO_DATA


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Budget 60\u00a0% left, 3 of 5 messages."),
        ({"left": 1.0, "budget": 1.0, "left_ratio": 1.0}, "Budget 100\u00a0% left, 1 of 1 message."),
        ({"left": 0.0, "left_ratio": 0.0, "budget": 10.0}, "Budget 0\u00a0% left, 0 of 10 messages."),
        ({"left": 0.01, "left_ratio": 0.002}, "Budget under 1\u00a0% left, 0 of 5 messages."),
        ({"stands": M, "left": -1.0, "budget": 0.4}, "Budget used up: 1 message more than the 0.4 allowed."),
        (
            {"stands": M, "left": -28.94, "budget": 31.06, "kind": "success"},
            "Budget used up: 29 failures more than the 31 allowed.",
        ),
        (
            {"left": 4.2, "budget": 5.4, "left_ratio": 0.8, "unit": "minutes"},
            "Budget 80\u00a0% left, 4.2 of 5.4 minutes.",
        ),
        (
            {"kind": "volume", "unit": "periods", "left": 1.0, "budget": 2.0, "left_ratio": 0.5},
            "Budget 50\u00a0% left, 1 of 2 missed periods.",
        ),
        ({"over": "30 days"}, "Budget 60\u00a0% left, 3 of 5 messages, over 30 days."),
        (
            {"replayed": 1, "waiting": 1},
            "Budget 60\u00a0% left, 3 of 5 messages. 1 was delivered by replay. 1 still waits.",
        ),
        (
            {"replayed": 371, "waiting": 29},
            "Budget 60\u00a0% left, 3 of 5 messages. 371 were delivered by replay. 29 still wait.",
        ),
        ({"attained": 0.99}, "Budget 60\u00a0% left, 3 of 5 messages. 99.00\u00a0% with what is excluded."),
        ({"stands": N, "adjusted": None, "attained": None}, "Nothing was measured."),
        ({"stands": N, "waiting": 2}, "Its data ended before the period did. 2 still wait."),
    ],
)
def test_a_promise_says_what_is_left_and_what_was_done(changes, said):
    assert promise_line(promise(**changes), example(), SAYS).detail == said


def test_a_promise_has_its_state_by_shape_its_target_and_the_figure_before():
    line = promise_line(promise(stands=Stands.AT_RISK, target_before=0.99), example(), SAYS)

    assert (line.mark, line.stands, line.look, line.left_percent) == ("▲", "at risk", "warn", 60)
    assert line.promised == "promised 99.5\u00a0%, was 99\u00a0%"
    assert (line.attained, line.before) == ("99.80\u00a0%", "September: 99.61\u00a0%")
    assert promise_line(promise(over="30 days"), example(), SAYS).before == "before: 99.61\u00a0%"
    silent = promise_line(promise(stands=N, adjusted=None), example(), SAYS)
    assert (silent.attained, silent.before, silent.left_percent) == ("no data", "", None)
    assert promise_line(promise(stands=M, left_ratio=-3.0), example(), SAYS).left_percent == 0


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"replayed": 371, "late_by_s": 2280.0}, "all delivered by replay, on average 38\u00a0min late"),
        ({"replayed": 1, "late_by_s": 60.0}, "delivered by replay, 1\u00a0min late"),
        ({"replayed": 31, "waiting": 29}, "31 delivered by replay, 29 still wait"),
        ({"discarded": 8, "compensated": 4}, "4 compensated, 8 discarded"),
        ({"failed_again": 2, "waiting": 1}, "2 failed again, 1 still waits"),
        ({"gone": 3}, "all taken from the queue elsewhere"),
        ({"without_letter": 1_200}, "all failed without a dead letter"),
        ({"waiting": 1}, "still waits"),
        ({}, ""),
    ],
)
def test_a_cause_says_what_became_of_its_letters(counts, said):
    whole = sum(count for name, count in counts.items() if name != "late_by_s")

    assert became_words(Cause(title="x", flow="", count=whole, **(NONE | counts)), SAYS) == said


@pytest.mark.parametrize(
    ("counts", "breaches", "said"),
    [
        ({"came": 0}, 0, "No dead letter came in."),
        (
            {"came": 1, "waiting": 1, "oldest": AT},
            1,
            "1 dead letter came in and still waits. The oldest that waits failed on 12 October 02:00. One alert fired.",
        ),
        ({"came": 2, "discarded": 2}, 20, "2 dead letters came in: all discarded. 20 alerts fired."),
        (
            {"came": 0, "older": 5, "oldest": AT},
            0,
            "No dead letter came in. 5 from before still wait. The oldest that waits failed on 12 October 02:00.",
        ),
    ],
)
def test_dead_letters_are_told_in_sentences(counts, breaches, said):
    assert letters_words(Letters(**(NONE | counts)), breaches, SAYS) == said


def test_exclusions_are_told_once_for_each_reason():
    def excluded(days: int, reason: str = "Nightly", **changes: object) -> Excluded:
        since = AT + timedelta(days=days)
        told = {
            "since": since,
            "until": since + timedelta(hours=2),
            "reason": reason,
            "by": "anna",
            "events": 10,
            "about": "orders",
        }
        return Excluded(**(told | changes))

    assert list(exclusion_notes((), SAYS)) == ["Nothing is excluded."]
    assert list(exclusion_notes((excluded(0, events=1),), SAYS)) == [
        "One time is excluded: Nightly (orders), 12 October 02:00 to 04:00, 1 event, by anna."
    ]
    assert list(exclusion_notes((excluded(0), excluded(1, "Partner", about="", by=""), excluded(2)), SAYS)) == [
        "Three times are excluded: Nightly (orders), two times, first 12 October 02:00 to 04:00, 20 events, by anna; "
        "Partner, 13 October 02:00 to 04:00, 10 events, by the console."
    ]
    many = tuple(excluded(number, f"reason {number}") for number in range(9))
    assert next(iter(exclusion_notes(many, SAYS))).endswith("; 3 more.")


def test_the_notes_say_how_it_is_counted_and_when_it_was_frozen():
    mixed = (promise(), promise(kind="volume", counted=False), promise(kind="success", over="30 days", name="Invoices"))
    notes = face_of(example(promises=mixed, quality=("An agent was silent.", "Traffic was low."))).notes

    assert (
        notes[1]
        == "Data are complete: every agent reported in 100\u00a0% of the period. An agent was silent. Traffic was low."
    )
    assert notes[2].startswith("How this is counted: in time is processed within the promised time")
    assert "success counts attempts" in notes[2]
    assert "volume counts periods" in notes[2]
    assert "“Invoices” over the promised window, for too little came to judge by." in notes[2]
    assert notes[3].startswith("Frozen on 1 November 06:00 as revision 1.")
    assert face_of(example(promises=())).notes[2] == ""


def test_a_report_of_nothing_says_nothing_of_its_data():
    assert face_of(example(promises=(), coverage=None)).notes[1] == ""


def test_one_is_one():
    few = {
        "good": 1,
        "late": 0,
        "lost": 0,
        "attained": 1.0,
        "adjusted": 1.0,
        "budget": 0.01,
        "left": 0.01,
        "left_ratio": 1.0,
    }
    lead = {kind: face_of(example(promises=(promise(kind=kind, **few),))).lead.partition(".")[0] for kind in ("success", "latency", "freshness")}  # fmt: skip

    assert lead == {
        "success": "Of 1 attempt, 1 succeeded, none failed",
        "latency": "Of 1 message, 1 was processed in the promised time, none took longer",
        "freshness": "Of 1 message, 1 arrived in time, none was late or lost",
    }
    assert face_of(example(promises=(promise(**few),))).promises[0].detail == "Of so few not one may be bad."
    spent = few | {
        "good": 0,
        "lost": 1,
        "adjusted": 0.0,
        "attained": 0.0,
        "left": -0.99,
        "left_ratio": -99.0,
        "stands": Stands.MISSED,
    }
    assert "Budget used up" in face_of(example(promises=(promise(**spent),))).promises[0].detail


def test_no_chart_adds_up_what_is_still_being_counted():
    face = face_of(example(promises=(promise(stands=N, counting=True),)))

    assert face.lead == "What came is still being counted, so nothing is added up yet."
    assert face.chart is None
