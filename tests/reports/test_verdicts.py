"""The first sentences: golden tables."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from alerts.reports.content import Audience, Cadence, Content, Stands
from alerts.reports.face import face_of
from alerts.reports.history import remembered
from alerts.reports.periods import last_period
from alerts.reports.saying import Says
from alerts.reports.verdicts import change, compared, cost, subject, verdict
from tests.reports.samples import OCTOBER, earlier, example, promise

SAYS = Says("en-GB", "Europe/Berlin")
K, M, R, N = Stands.KEPT, Stands.MISSED, Stands.AT_RISK, Stands.NO_DATA
NAMES = ("Orders", "Invoices", "Stock", "Returns", "Prices")


def of(*stands: Stands, **changes: object) -> Content:
    promises = tuple(
        promise(objective=number, name=name, stands=one, left_ratio=0.125, **changes)
        for number, (name, one) in enumerate(zip(NAMES, stands, strict=False))
    )
    return example(promises=promises)


@pytest.mark.parametrize(
    ("stands", "said"),
    [
        ((), "Nothing was promised in this period."),
        ((K,), "The promise was kept."),
        ((K, K), "Both promises were kept."),
        ((K, K, K), "All three promises were kept."),
        ((R,), "The promise was kept. “Orders” is close: 12\u00a0% of its budget is left."),
        ((R, K, R), "All three promises were kept. “Orders” and “Stock” are close: little of their budgets is left."),
        ((M,), "The promise was missed."),
        ((M, K), "One of two promises was kept. “Orders” was missed."),
        ((M, R, K), "Two of three promises were kept. “Orders” was missed."),
        ((M, M, K), "One of three promises was kept. “Orders” and “Invoices” were missed."),
        ((M, M, M, K), "One of four promises was kept. “Orders”, “Invoices” and “Stock” were missed."),
        ((M, M, M, M, K), "One of five promises was kept. “Orders”, “Invoices” and two more were missed."),
        ((M, M), "None of the two promises was kept. “Orders” and “Invoices” were missed."),
        ((N,), "There are no data to judge by."),
        ((N, N), "There are no data to judge by."),
        ((N, K), "One of two promises was kept. “Orders” has no data."),
        ((M, N, N), "None of the three promises was kept. “Orders” was missed. “Invoices” and “Stock” have no data."),
    ],
)
def test_the_verdict_is_one_sentence_that_says_what_was_kept(stands, said):
    assert verdict(of(*stands), SAYS) == said


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ((), "“Orders” was missed."),
        ((K,), "“Orders” was missed."),
        ((K, K), "“Orders” was missed for the first time in three months."),
        ((M,), "“Orders” was missed for the second month in a row."),
        ((M, M, M, K), "“Orders” was missed for the fourth month in a row."),
        ((K, K, K, K, M), "“Orders” was missed for the first time since May."),
        ((K, R, N, M, M), "“Orders” was missed for the first time since June."),
        ((K,) * 10 + (M,), "“Orders” was missed for the first time since November 2025."),
    ],
)
def test_since_when_is_known_from_earlier_reports_alone(before, said):
    promises = remembered([promise(name="Orders", stands=M)], OCTOBER, earlier(*before))
    content = example(promises=(*promises, promise(objective=9, name="Stock")))

    assert verdict(content, SAYS) == f"One of two promises was kept. {said}"


def test_what_an_earlier_report_does_not_know_ends_what_is_known():
    reports = earlier(K, K, K, M)
    del reports[1]  # a month without a report

    (found,) = remembered([promise(stands=M)], OCTOBER, reports)

    assert (found.known, found.missed_before) == (1, None)


def test_of_two_revisions_of_a_month_the_last_counts():
    (first,) = earlier(M)
    second = msgspec.structs.replace(first, revision=2, promises=(promise(stands=K),))

    (found,) = remembered([promise(stands=M)], OCTOBER, [second, first])

    assert (found.known, found.missed_in_a_row, found.missed_before) == (1, 0, None)


def test_weeks_and_days_are_called_by_their_dates():
    now = datetime(2026, 11, 26, 5, tzinfo=UTC)
    week, day = (last_period(cadence, "Europe/Berlin", now) for cadence in (Cadence.WEEKLY, Cadence.DAILY))
    promises = [
        remembered([promise(name="Orders", stands=M)], one, earlier(K, K, M, period=one)) for one in (week, day)
    ]
    two = [
        example(period=one, promises=(*found, promise(objective=9)))
        for one, found in zip((week, day), promises, strict=True)
    ]

    assert [verdict(one, SAYS).partition(". ")[2] for one in two] == [
        "“Orders” was missed for the first time since the week of 26 October.",
        "“Orders” was missed for the first time since 22 November.",
    ]
    assert [subject(one, SAYS) for one in two] == [
        "Order team: one of two promises kept in the week of 16 November 2026",
        "Order team: one of two promises kept on 25 November 2026",
    ]


@pytest.mark.parametrize(
    ("now", "then", "said"),
    [
        (0.9956, 0.9961, "slightly worse"),
        (0.9961, 0.9956, "slightly better"),
        (0.9900, 0.9950, "much worse"),
        (0.9950, 0.9900, "much better"),
        (0.9930, 0.9950, "worse"),
        (0.9950, 0.9930, "better"),
        (1.0, 1.0, ""),
        (0.99999, 1.0, ""),
        (1.0, 0.9998, "slightly better"),
        (1.0, 0.99, "much better"),
    ],
)
def test_better_or_worse_is_told_by_how_many_more_were_bad(now, then, said):
    assert compared(now, then) == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "That is slightly worse than September (99.61\u00a0%)."),
        ({"attained": 0.9961}, "That is the same as September (99.61\u00a0%)."),
        ({"previous": None}, ""),
        ({"attained": None}, ""),
        ({"promises": (promise(good=3, late=1, lost=0),)}, "September had 99.61\u00a0%; these are too few to compare."),
    ],
)
def test_the_period_before_is_named(changes, said):
    assert change(example(**({"attained": 0.9956, "previous": 0.9961} | changes))) == said


@pytest.mark.parametrize(
    ("kinds", "counts", "said"),
    [
        (
            ["freshness"],
            (122_688, 402, 140),
            "Of 123,230 messages, 122,688 arrived in time, 402 late, 140 have not arrived.",
        ),
        (["freshness"], (9, 0, 1), "Of 10 messages, 9 arrived in time, 1 has not arrived."),
        (["freshness"], (10, 0, 0), "Of 10 messages, 10 arrived in time, none was late or lost."),
        (["success"], (98, 0, 2), "Of 100 attempts, 98 succeeded, 2 failed."),
        (["success"], (98, 0, 0), "Of 98 attempts, 98 succeeded, none failed."),
        (["latency"], (98, 2, 0), "Of 100 messages, 98 were processed in the promised time, 2 took longer."),
        (["latency", "success"], (49, 1, 0), "Of 100 messages and attempts, 98 were good, 2 late."),
        (["freshness"], (0, 0, 0), ""),
    ],
)
def test_what_failures_cost_is_said_in_the_words_of_what_is_counted(kinds, counts, said):
    good, late, lost = counts
    promises = tuple(promise(kind=kind, good=good, late=late, lost=lost) for kind in kinds)

    assert cost(example(promises=promises)) == said


def test_a_report_of_october_in_german_has_german_dates_and_numbers():
    audience = Audience(name="Auftragsteam", environment=1, language="de-DE", zone="Europe/Berlin")

    face = face_of(example(audience=audience))

    assert face.crumb == "Waybill · production · Auftragsteam · 1.–31. Okt. 2026, Europe/Berlin"
    assert face.lead.endswith("That is slightly worse than September (99,73\u00a0%).")
    assert [one.attained for one in face.promises] == ["99,80\u00a0%", "99,56\u00a0%", "99,91\u00a0%"]
    assert "12. Oktober 02:00 to 04:00" in " ".join(face.notes)
    assert "German (Germany), the words in English" in face.notes[-1]
