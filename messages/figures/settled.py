"""Counts that are hours old, kept for a minute. A busy estate writes 400,000 rows of minutes a day, and its overview looks every few seconds.

What an agent reports hours late is in within that minute; the last two hours are always read anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from console.core.kept import keep, kept

SETTLED = timedelta(hours=2)
KEPT_S = 60


class Counted(msgspec.Struct, array_like=True):
    """Events of one step and latency bucket: those delivered, failed, processed at all."""

    at: datetime
    bucket: int
    delivered: int
    failed: int
    processed: int


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
