"""Counts that are an hour old, kept for a minute. A busy estate writes 400,000 rows of minutes a day, and its overview looks every few seconds.

What an agent reports that late is in within that minute; the present hour and the one before it are always read anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from console.core.kept import keep, kept

LATELY = timedelta(hours=1)
FOLDED = timedelta(hours=2)  # so long after its end an hour is read from the table of hours: a worker folds it
KEPT_S = 60


class Counted(msgspec.Struct, array_like=True):
    """Events of one step: those delivered, those that failed, and those processed at all, by latency bucket as far as these are known."""

    at: datetime
    delivered: int = 0
    failed: int = 0
    buckets: dict[int, int] = {}
    processed: int = 0


def counted_once(asked: Sequence[object], read: Callable[[], list[Counted]]) -> list[Counted]:
    """Return what `read` returned for the same question within the last minute, else what it returns now.

    asked  everything that the answer depends on, the reader's flows among it: rights are part of the question.
    """
    name = "figures:" + hashlib.sha256(msgspec.json.encode(asked)).hexdigest()
    if (known := kept(name)) is not None:
        return msgspec.msgpack.decode(known, type=list[Counted])
    counts = read()
    keep(name, msgspec.msgpack.encode(counts), KEPT_S)
    return counts
