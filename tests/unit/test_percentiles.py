"""Percentiles from buckets: in the bucket of the true value, whatever was counted."""

from __future__ import annotations

from collections import Counter
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as some

from messages.figures.percentiles import bounds_of, merged, percentile
from messages.ingest.rollups import bucket_of

COUNTS = some.dictionaries(some.integers(0, 24), some.integers(0, 10_000), max_size=25)


@pytest.mark.parametrize(
    ("counts", "share", "found"),
    [
        ({}, 0.5, None),
        ({3: 0}, 0.5, None),
        ({0: 10}, 0.5, 0.5),
        ({3: 100}, 0.5, 6.0),  # 4 to 8 ms, in the middle
        ({3: 100, 10: 1}, 0.5, 6.02),
        ({3: 50, 4: 50}, 0.5, 7.996),  # the largest of the lower half, not yet the next bucket
        ({3: 95, 10: 5}, 0.99, 512 + 512 * 4 / 5),
        ({1: 1}, 1.0, 1.999),
        ({24: 1}, 0.5, 2**23 * 1.5),
    ],
)
def test_percentiles_are_interpolated_in_their_bucket(counts, share, found):
    assert percentile(counts, share) == (found if found is None else pytest.approx(found, rel=1e-3))


@given(some.lists(some.integers(0, 2**23 * 1000), min_size=1, max_size=60), some.floats(0.01, 1.0))
def test_a_percentile_lies_in_the_bucket_of_the_true_one(durations_us, share):
    true_us = sorted(durations_us)[ceil(share * len(durations_us)) - 1]

    found = percentile(Counter(bucket_of(one) for one in durations_us), share)

    low, high = bounds_of(bucket_of(true_us))
    assert found is not None
    assert low <= found < high


@given(COUNTS, some.floats(0.01, 1.0), some.floats(0.01, 1.0))
def test_a_larger_share_is_never_a_shorter_time(counts, one, other):
    low, high = (percentile(counts, share) for share in sorted((one, other)))

    assert (low is None) == (high is None) == (not sum(counts.values()))
    assert low is None or high is None or low <= high


@given(some.lists(COUNTS, max_size=5))
def test_merged_counts_are_all_of_them(many):
    assert sum(merged(many).values()) == sum(sum(counts.values()) for counts in many)
