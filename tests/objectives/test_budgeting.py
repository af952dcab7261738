"""The three methods of counting against OpenSLO's worked examples."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.objectives.budgeting import Counted, Method, Minutes, Sums, counted, fold
from alerts.objectives.burn import budget_of

TIME = Method(name="timeslices", slice_minutes=1, slice_target=0.95)
RATIO = Method(name="ratio_timeslices", slice_minutes=1)


def minutes(good: list[int], lost: list[int], late: list[int] | None = None) -> Minutes:
    return Minutes(good=good, late=late or [0] * len(good), lost=lost)


def two_weeks(attacked_hours: float, method: Method) -> Counted:
    """OpenSLO's example: 1,000 requests an hour (here 6,000, so that every minute has 100), 99 % succeed; under attack 1 % do."""
    calm, attack = minutes([99] * 60, [1] * 60), minutes([1] * 60, [99] * 60)
    whole, rest = divmod(round(attacked_hours * 60), 60)
    mixed = minutes([1] * rest + [99] * (60 - rest), [99] * rest + [1] * (60 - rest))
    sums = Sums()
    for number in range(14 * 24):
        sums += fold(attack if number < whole else mixed if number == whole else calm, method)
    return counted(sums, method)


# OpenSLO, examples/budgeting-method: two weeks rolling, 95 %, slices of a minute, an attack that leaves 1 % of requests.
def test_an_attack_spends_slices_after_16_hours_and_48_minutes():
    before, after = two_weeks(16.8, TIME), two_weeks(16.8 + 1 / 60, TIME)

    assert after.total == 20_160
    assert budget_of(before.bad, before.total, target=0.95).left == pytest.approx(0)
    assert budget_of(after.bad, after.total, target=0.95).left == pytest.approx(-1)


def test_an_attack_spends_the_mean_ratio_after_about_13_hours_and_45_minutes():
    """Exactly: T · 0.01 + (336 h - T) · 0.99 = 0.95 · 336 h, so T = 13.44 h ÷ 0.98 = 13 h 43 min."""
    exact = 13.44 / 0.98
    before, after = two_weeks(exact - 1 / 60, RATIO), two_weeks(exact + 1 / 60, RATIO)

    assert (
        budget_of(before.bad, before.total, target=0.95).left > 0 > budget_of(after.bad, after.total, target=0.95).left
    )
    assert timedelta(hours=exact) == pytest.approx(timedelta(hours=13, minutes=45), abs=timedelta(minutes=3))


def test_an_attack_spends_events_at_once():
    """16,632 failed of 336,000 and those of the attack spend it: here as many requests again in one hour."""
    flood = Sums(good=332_640, lost=3_360) + Sums(lost=16_632)

    found = counted(flood, Method())

    assert budget_of(found.bad, found.total, target=0.95).left < 0


# OpenSLO, examples/treat-low-traffic-as-equally-important: a week of 10,080 minutes at 99.95 % may have 5 min 2.4 s of bad ones.
def test_a_week_at_99_95_has_five_bad_minutes():
    assert budget_of(0, 7 * 1440, target=0.9995).total * 60 == pytest.approx(302.4)
    assert fold(minutes([94], [6]), TIME).slices_good == 0
    assert fold(minutes([95], [5]), TIME).slices_good == 1


def test_a_late_message_is_bad_and_not_lost():
    sums = fold(minutes([7], [1], [2]), Method())

    assert (sums.good, sums.late, sums.lost, sums.bad, sums.total) == (7, 2, 1, 3, 10)
    assert counted(sums, Method()) == Counted(bad=3, total=10)


def test_an_empty_slice_is_good_or_left_out_as_the_objective_says():
    sums = fold(minutes([1, 0, 0, 0], [1, 0, 0, 1]), TIME)
    good = Method(name="timeslices", slice_minutes=1, slice_target=0.95, empty_is_good=True)

    assert counted(sums, TIME, slices_in_time=4) == Counted(bad=2, total=2)
    assert counted(sums, good, slices_in_time=4) == Counted(bad=2, total=4)
    assert counted(Sums(), TIME).attained is None
    assert counted(Sums(), good, slices_in_time=4).attained == 1


def test_what_is_excluded_is_as_if_it_had_not_been():
    out = [True, True, False, False]
    two = Method(name="timeslices", slice_minutes=2, slice_target=0.5)

    assert fold(minutes([5, 5, 5, 5], [9, 0, 0, 1]), Method(), excluded=out) == Sums(good=10, lost=1)
    assert fold(minutes([5, 5, 5, 5], [9, 9, 0, 1]), two, excluded=out) == Sums(
        good=10, lost=1, slices=1, slices_good=1
    )
    assert fold(minutes([0, 5], [9, 1]), two, excluded=[True, False]).slices_good == 1


HOURS = st.lists(st.tuples(*[st.integers(0, 50)] * 3), min_size=60, max_size=60)


@given(HOURS, st.lists(st.booleans(), min_size=60, max_size=60), st.sampled_from([TIME, RATIO, Method()]))
def test_an_hour_is_the_sum_of_its_halves(counts: list[tuple[int, int, int]], out: list[bool], method: Method):
    good, late, lost = (list(column) for column in zip(*counts, strict=True))
    whole = fold(Minutes(good=good, late=late, lost=lost), method, excluded=out)

    halves = [
        fold(Minutes(good=good[part], late=late[part], lost=lost[part]), method, excluded=out[part])
        for part in (slice(0, 30), slice(30, 60))
    ]

    both = halves[0] + halves[1]
    assert (both.good, both.late, both.lost, both.slices) == (whole.good, whole.late, whole.lost, whole.slices)
    assert both.slices_good == pytest.approx(whole.slices_good)


@given(HOURS, st.integers(0, 59), st.sampled_from([TIME, RATIO, Method()]))
def test_one_more_lost_message_never_raises_what_is_attained(
    counts: list[tuple[int, int, int]], at: int, method: Method
):
    good, late, lost = (list(column) for column in zip(*counts, strict=True))
    good[at] += 1
    before = counted(fold(Minutes(good=good, late=late, lost=lost), method), method).attained
    lost[at] += 1

    after = counted(fold(Minutes(good=good, late=late, lost=lost), method), method).attained

    assert before is not None
    assert after is not None
    assert after <= before + 1e-12
