"""History replayed at other targets."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from alerts.objectives.budgeting import Method
from alerts.objectives.burn import PAIRS, is_sustained
from alerts.objectives.whatif import _Sums, _windowed, series_of, targets_around, what_if

MONTH = timedelta(days=30)
MINUTE = timedelta(minutes=1)


def month(*outages: tuple[int, int, float], a_minute: int = 100) -> tuple[list[float], list[float]]:
    """A month of a steady flow with outages: (first minute, minutes, share of failures)."""
    bad = [0.0] * (30 * 1440)
    for first, minutes, share in outages:
        bad[first : first + minutes] = [share * a_minute] * minutes
    return bad, [float(a_minute)] * len(bad)


def test_a_stricter_target_would_have_paged_more_and_sooner():
    bad, total = month((5_000, 30, 1.0), (20_000, 60, 0.03), (30_000, 600, 0.002))

    loose, mine, strict = what_if(bad, total, targets=[0.99, 0.995, 0.999], current=0.995, period=MONTH)

    assert [one.pages for one in (loose, mine, strict)] == [1, 1, 2]
    assert [one.tickets for one in (loose, mine, strict)] == [0, 1, 1]
    assert (loose.now, mine.now, strict.now) == (False, True, False)
    assert loose.found_after == 9 * MINUTE  # 2 % of 1 % of a month is 8.64 min of nothing but failures
    assert mine.found_after == 5 * MINUTE
    assert what_if(bad[:10_000], total[:10_000], targets=[0.999], current=0.995, period=MONTH)[0].found_after == MINUTE


def test_what_burns_exactly_as_fast_as_a_pair_allows_would_have_told_nobody():
    bad, total = month((5_000, 6_000, 0.3))

    found = what_if(bad, total, targets=[0.9], current=0.9, period=MONTH, chosen=PAIRS[2:3])[0]

    assert (found.pages, found.tickets) == (0, 0)


def test_one_failure_of_a_trickle_pages_nobody_and_would_unguarded():
    bad, total = [0.0] * 43_200, [0.0] * 43_200
    for minute in range(0, 43_200, 60):
        total[minute] = 1.0
    bad[6_000] = 1.0

    guarded = what_if(bad, total, targets=[0.999], current=0.999, period=MONTH)
    open_ = what_if(bad, total, targets=[0.999], current=0.999, period=MONTH, guarded=False)

    assert (guarded[0].pages, open_[0].pages) == (0, 1)


def test_who_chose_no_pairs_would_have_been_told_by_none():
    bad, total = month((5_000, 60, 1.0))

    mine, strict = what_if(bad, total, targets=[0.99, 0.999], current=0.99, period=MONTH, chosen=())

    assert [(one.pages, one.tickets) for one in (mine, strict)] == [(0, 0), (0, 0)]


def test_missed_periods_of_a_volume_page_whatever_the_target_and_those_that_follow_each_other_once():
    ends = {600: 0.0, 1_200: 1.0, 1_800: 1.0, 2_400: 0.0, 3_000: 1.0}  # each the last minute of a period: 1 is missed
    bad = [ends.get(minute, 0.0) for minute in range(43_200)]
    total = [float(minute in ends) for minute in range(43_200)]

    found = what_if(bad, total, targets=[0.5, 0.99], current=0.99, period=MONTH, chosen=(), missed=True)

    assert [(one.pages, one.tickets) for one in found] == [(2, 0), (2, 0)]


def test_nothing_happened():
    assert [one.pages for one in what_if(*month(), targets=[0.9, 0.999], current=0.9, period=MONTH, chosen=PAIRS)] == [
        0,
        0,
    ]
    assert what_if([], [], targets=[0.9], current=0.9, period=MONTH)[0].found_after is None


def test_slices_count_in_their_last_minute():
    bad, total = series_of(
        [9, 9, 0, 0, 5], [0] * 5, [1, 1, 0, 0, 5], Method(name="timeslices", slice_minutes=2, slice_target=0.9)
    )

    assert bad == [0, 0, 0, 0, 1]
    assert total == [0, 1, 0, 0, 1]


def test_what_is_excluded_is_no_good_slice():
    """As in an assessment: else a long exclusion would thin out the failures beside it."""
    method = Method(name="timeslices", slice_minutes=2, slice_target=0.9, empty_is_good=True)
    out = [False, False, True, True, True, False]

    bad, total = series_of([0] * 6, [0] * 6, [1, 0, 0, 0, 0, 0], method, out)

    assert bad == [0, 1, 0, 0, 0, 0]
    assert total == [0, 1, 0, 0, 0, 0.5]


def test_which_targets_are_compared():
    assert targets_around(0.995) == [0.99, 0.995, 0.998]
    assert targets_around(0.9993) == [0.999, 0.9993, 0.9995]
    assert targets_around(0.4) == [0.4, 0.5]


def test_a_trickle_that_no_pair_sees_would_have_been_a_ticket():
    bad, total = month()
    for minute in range(6_000, 6_480, 40):
        bad[minute] = 3.0
    total = [one / 100 for one in total]

    mine, without = (
        what_if(bad, total, targets=[0.95], current=0.95, period=MONTH, chosen=(), sustained=sustained)[0]
        for sustained in (True, False)
    )

    assert [(one.pages, one.tickets) for one in (mine, without)] == [(0, 1), (0, 0)]


@given(st.lists(st.tuples(st.integers(0, 719), st.integers(1, 4)), max_size=20), st.sampled_from([0.9, 0.98, 0.995]))
def test_failures_that_go_on_are_judged_as_an_assessment_does(failures: list[tuple[int, int]], target: float):
    bad, total = [0.0] * 720, [1.0] * 720
    for minute, count in failures:
        bad[minute] = float(count)
        total[minute] += count
    padded_bad, padded_total = [0.0] * 360 + bad, [0.0] * 360 + total

    found = _Sums(bad, total).sustained(target)

    for at in range(0, 720, 7):
        hours = [slice(361 + at - 60 * back - 60, 361 + at - 60 * back) for back in range(6)]
        sums = [sum(padded_bad[one]) for one in hours], [sum(padded_total[one]) for one in hours]
        assert found[at] == is_sustained(*sums, target=target), at


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 50))
def test_a_window_is_the_sum_of_its_minutes(counts: list[int], minutes: int):
    sums = [float(sum(counts[:at])) for at in range(len(counts) + 1)]

    assert _windowed(sums, minutes) == [sum(counts[max(0, at + 1 - minutes) : at + 1]) for at in range(len(counts))]
