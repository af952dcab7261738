"""When Python looks for cyclic garbage. What is in no cycle goes at once all the same."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


def collect_less_often() -> None:
    """Walk through what is loaded by now never again, and through the rest less often.

    For a process whose work, a batch or a page, makes tens of thousands of objects that all die with it (measured: 15 to 30 % of ingest's CPU).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Look for none meanwhile: for work that makes many objects and no cycle (measured: half of sending a window, two thirds of
    a journey of 20,000 events).
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
