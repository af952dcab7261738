"""Who is pushed back, on a clock of the test's own."""

from __future__ import annotations

from messages.ingest.shares import Bucket, Shares

NOISY, QUIET = 1, 2


def test_alone_an_agent_may_take_everything():
    shares = Shares(threads=4)
    for tick in range(100):
        shares.took(NOISY, 1.0, now=tick / 10)

    assert not shares.is_over(NOISY, now=10.0)


def test_of_two_in_a_busy_process_the_one_over_its_half_is_pushed_back():
    shares = Shares(threads=2)
    for tick in range(20):
        shares.took(NOISY, 0.19, now=tick / 10)
    shares.took(QUIET, 0.01, now=1.95)

    assert shares.is_over(NOISY, now=2.0)
    assert not shares.is_over(QUIET, now=2.0)


def test_while_there_is_room_nobody_is_pushed_back():
    shares = Shares(threads=4)
    shares.took(NOISY, 6.0, now=1.0)
    shares.took(QUIET, 0.3, now=1.0)

    assert not shares.is_over(NOISY, now=1.5)  # 6.3 s of the 8 s that four threads have in two


def test_what_was_taken_is_forgotten_after_the_window():
    shares = Shares(threads=1)
    shares.took(NOISY, 2.0, now=1.0)
    shares.took(QUIET, 0.1, now=1.0)
    assert shares.is_over(NOISY, now=1.1)

    assert not shares.is_over(NOISY, now=3.5)
    assert (shares.sums, len(shares.taken)) == ({}, 0)


def test_a_bucket_gives_its_burst_then_its_rate_and_a_large_batch_is_paid_for_afterwards():
    bucket = Bucket(rate=100, tokens=1000, at=0.0)

    assert bucket.take(1000, now=0.0) == 0
    assert bucket.take(500, now=0.0) == 5.0
    assert bucket.take(0, now=4.0) == 1.0
    assert bucket.take(0, now=5.0) == 0
    assert bucket.take(0, now=1.0) == 0  # a clock that runs backwards gives nothing and takes nothing
    assert bucket.take(0, now=1000.0) == 0
    assert bucket.tokens == 1000  # never more than the burst
