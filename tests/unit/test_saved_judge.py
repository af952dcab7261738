"""When a subscriber is told: a change of state once, news at most once in the digest interval, no storm."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest

from messages.saved.judge import BROKEN, CALM, DIGEST, RAISED, STOPPED, Known, judge

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "minutes_ago", "digest", "state", "seen", "telling"),
    [
        ("", None, None, CALM, "a", ""),  # nobody needs to hear that nothing has happened yet
        ("", None, None, RAISED, "a", RAISED),
        (RAISED, 60, None, RAISED, "b", ""),
        (RAISED, 60, 30, RAISED, "b", DIGEST),
        (RAISED, 60, 30, RAISED, "a", ""),  # nothing new since
        (RAISED, 20, 30, RAISED, "b", ""),  # not yet
        (RAISED, 60, None, CALM, "b", CALM),
        (RAISED, 4, None, CALM, "b", ""),  # it may come back: told when it stays away
        (CALM, 4, None, RAISED, "b", ""),
        (CALM, 5, None, RAISED, "b", RAISED),
        (RAISED, 60, None, BROKEN, "", BROKEN),
        (BROKEN, 60, None, BROKEN, "", ""),
        (BROKEN, 60, None, CALM, "", CALM),
        (RAISED, 1, None, STOPPED, "", STOPPED),  # the last word is said at once
        ("", None, None, STOPPED, "", STOPPED),
        (STOPPED, 9, None, STOPPED, "", ""),
    ],
)
def test_what_is_told(told: str, minutes_ago: int | None, digest: int | None, state: str, seen: str, telling: str):
    told_at = NOW - timedelta(minutes=minutes_ago) if minutes_ago is not None else None
    known = Known(state=told or "new", told=told, told_at=told_at, fingerprint="a", digest_minutes=digest)

    verdict = judge(known, state, seen, now=NOW)

    assert (verdict.state, verdict.telling) == (state, telling)


def test_a_state_that_flaps_all_day_makes_one_mail_in_five_minutes_at_most():
    chance, told, told_at, mails = random.Random(4711), "", None, []
    for minute in range(24 * 60):
        now = NOW + timedelta(minutes=minute)
        known = Known(state="calm", told=told, told_at=told_at, fingerprint="", digest_minutes=5)
        state = chance.choice((CALM, RAISED))
        if judge(known, state, str(minute), now=now).telling:
            told, told_at = state, now
            mails.append(now)

    gaps = [later - before for before, later in itertools.pairwise(mails)]
    assert min(gaps) >= timedelta(minutes=5)
    assert len(mails) > 100
