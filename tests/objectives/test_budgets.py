"""Budgets: of what time and of what they are, when they are gone, and that they are the same wherever they are asked for."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from alerts.objectives import assess
from alerts.objectives.burn import cut_amount
from alerts.objectives.excluding import NewExclusion, add_exclusion
from alerts.objectives.present import verdict
from alerts.objectives.queries import (
    attained,
    budget_line,
    budgets_left,
    figures_of_flows,
    find_objectives,
    window_at,
)
from alerts.reports.saying import Says
from tests.factories import ROOT
from tests.objectives.stored import (
    DAY,
    HOUR,
    NOW,
    looked,
    promised,
    rolled,
    standing,
)

pytestmark = pytest.mark.django_db


def test_a_calendar_window_begins_anew():
    rolled(NOW - 26 * DAY, 0, 50)
    rolled(NOW - 20 * DAY, 9_000)
    promised(unit="month", time_zone="Europe/Berlin")

    looked()

    assert (standing().lost, standing().good) == (0, 9_000)  # 31 October, 12:30, is another month
    assert standing().since.isoformat() == "2026-10-31T23:00:00+00:00"


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "Pacific/Auckland"])
def test_the_chart_of_a_year_has_the_days_of_its_zone_and_all_that_was_spent(zone: str):
    there = ZoneInfo(zone)
    new_year, summer = datetime(2026, 1, 1, 0, 30, tzinfo=there), datetime(2026, 7, 4, 23, 30, tzinfo=there)
    rolled(NOW - DAY, 10_000)
    rolled(new_year - HOUR, 0, 50)  # of the year before
    rolled(new_year, 0, 5)
    rolled(summer, 0, 7)
    one = promised(unit="year", time_zone=zone)
    looked()

    line = budget_line(one, standing(), now=NOW)

    assert line.left[-1] == pytest.approx(standing().left)
    assert line.left[0] == pytest.approx(1 - 5 / standing().budget)
    assert {at.astimezone(there).hour for at in line.steps} == {0}
    [gone] = [number for number in range(1, len(line.left)) if line.left[number] < line.left[number - 1]]
    assert line.steps[gone] <= summer < line.steps[gone + 1]


def test_slices_without_events_are_good_where_the_objective_says_so():
    rolled(NOW - HOUR, 0, 5, minutes=30)
    promised(method="timeslices", slice_minutes=1, slice_target=0.9, empty_is_good=True, days=1)
    promised("Left out", method="timeslices", slice_minutes=1, slice_target=0.9, days=1)

    looked()

    whole = 24 * 60 + 31
    assert standing().adjusted == pytest.approx(1 - 30 / (whole - 1))  # without the slice that runs
    assert standing().spent == 30
    assert standing().budget == pytest.approx(whole / 100)
    assert standing("Left out").adjusted == 0


def test_no_more_is_left_than_a_plan_may_spend():
    rolled(NOW - HOUR, 2_150)
    one = promised(target="0.995")
    looked()

    said = verdict(one, standing(), now=NOW)

    assert budgets_left([one.flow_id or 0]) == [(one.flow_id, "Orders arrive", 10)]
    assert said["rest"] == ": 10 more failures in 30 days."
    assert Says("en-GB", "UTC").amount(standing().budget) == "10"


@pytest.mark.parametrize(
    ("amount", "shown"), [(10.75, 10), (9.96, 9.9), (0.04, 0), (-0.08, -0.1), (10 - 1e-9, 10), (-12.5, -13), (0.3, 0.3)]
)
def test_an_amount_is_never_shown_better_than_it_is(amount: float, shown: float):
    assert cut_amount(amount) == shown


def test_a_budget_that_grows_is_gone_when_it_says_so():
    began = datetime(2026, 11, 2, 0, 0, 20, tzinfo=NOW.tzinfo)
    rolled(began - DAY, 1000, minutes=23 * 60)
    rolled(began - HOUR, 980, 20, minutes=60)
    promised(unit="month", now=began)
    looked(began)
    gone_at = standing().gone_at
    assert gone_at is not None
    assert timedelta(hours=21) < gone_at - began < timedelta(hours=23)
    rolled(began, 980, 20, minutes=23 * 60)

    looked(gone_at - HOUR)
    before = standing().left
    looked(gone_at + HOUR)

    assert before > 0 > standing().left


def test_a_burn_rate_is_of_the_slices_that_it_looks_at():
    rolled(NOW - HOUR, 0, 5)  # in the slice in which the last hour begins
    promised(method="timeslices", slice_minutes=5, empty_is_good=True)

    looked()

    [rule] = [rule for rule in standing().rules if rule["rule"] == "1h-5m"]
    assert rule["long"] == pytest.approx(100 / (60 / 5), abs=1e-4)


@pytest.mark.parametrize("unit", ["rolling", "week", "month", "year"])
def test_a_budget_is_the_same_wherever_it_is_asked_for(unit: str):
    rolled(NOW - HOUR, 0, 5, minutes=30)
    one = promised(method="timeslices", slice_target=0.9, empty_is_good=True, unit=unit)
    add_exclusion(NewExclusion(starts_at=NOW - DAY, minutes=60, reason="moved"), objective=one, by=ROOT)
    looked()

    asked = attained(one, window_at(one, NOW), now=NOW)

    assert (asked.budget.total, asked.budget.spent) == (standing().budget, standing().spent)
    assert (asked.attained, asked.adjusted) == (standing().attained, standing().adjusted)


def test_a_promise_of_which_nothing_was_measured_is_not_called_kept():
    one = promised()

    held = looked()

    assert set(held.values()) == {"no"}  # what was open before, and is excluded now, is over
    assert (standing().state, standing().problem, standing().adjusted) == ("no_data", "", None)
    assert verdict(one, standing(), now=NOW)["lead"] == "Nothing was measured yet"
    assert figures_of_flows() == []
    assert not find_objectives(ROOT, environments=[one.environment], show="kept").rows


def test_a_breach_says_no_more_of_a_budget_than_there_is_left():
    rolled(NOW - 2 * DAY, 50_000 - 377, 377)  # of a budget of 500 are 24.6 % left
    promised()

    looked()
    [page, _] = assess.assess(NOW)

    assert page.summary == "24 % of the budget is left."
