"""A clock that nobody sets and that goes on while the machine sleeps: what an order's end is measured with."""

from __future__ import annotations

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_s() -> float:
    """Return seconds since the machine started; Linux counts those in which it slept."""
    return time.clock_gettime(_CLOCK)
