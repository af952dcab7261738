"""Where a sender's time ends: five minutes ahead of ours, and where retention begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from messages.ingest import clean

NOW, DAYS = datetime(2026, 11, 24, 12, tzinfo=UTC), timedelta(days=30)


@pytest.mark.parametrize("off", [timedelta(0), timedelta(minutes=4, seconds=59), -DAYS], ids=["now", "ahead", "oldest"])
def test_a_time_inside_the_bounds_is_kept(off: timedelta):
    assert clean.moment(NOW + off, now=NOW, retention=DAYS) == (NOW + off, None)


@pytest.mark.parametrize(
    ("off", "stored"),
    [(timedelta(minutes=5, seconds=1), timedelta(0)), (-DAYS - timedelta(seconds=1), -DAYS)],
    ids=["too far ahead", "too old"],
)
def test_a_time_outside_is_clamped_and_the_senders_own_is_kept_beside_it(off: timedelta, stored: timedelta):
    assert clean.moment(NOW + off, now=NOW, retention=DAYS) == (NOW + stored, NOW + off)
