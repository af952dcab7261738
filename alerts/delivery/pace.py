"""When a failed telling is tried again, when it is given up, when a channel is left alone. Pure.

All in all 11 tries within some two hours, and none later than a day after it was queued.
"""

from __future__ import annotations

from datetime import timedelta

BACKOFF_S = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
MOST_TRIES = len(BACKOFF_S) + 1
MOST_AGE = timedelta(days=1)
MOST_PAUSE_S = 3_600.0
OPENS_AT = 5  # failures in a row
REST_S, MOST_REST_S = 30.0, 300.0


def next_try_s(tries: int, *, asked_s: float | None, chance: float) -> float | None:
    """Return seconds until the try after this one, None when it was the last.

    tries   so many were made.   asked_s  what the receiver asked for, heeded up to an hour.
    chance  0 to 1: spreads them by a fifth to either side, so that a thousand that failed together do not come back together.
    """
    if tries >= MOST_TRIES:
        return None
    wait = BACKOFF_S[tries - 1] * (0.8 + 0.4 * chance)
    return max(wait, min(asked_s or 0.0, MOST_PAUSE_S))


def rest_s(failures: int) -> float | None:
    """Return how long a channel rests after so many failures in a row, None when it does not."""
    if failures < OPENS_AT:
        return None
    return min(MOST_REST_S, REST_S * 2.0 ** min(failures - OPENS_AT, 10))
