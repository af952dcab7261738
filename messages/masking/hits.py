"""How often rules acted: counted in the transaction of what they masked, by rule and hour, and for Prometheus."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from django.db import connection
from prometheus_client import Counter as Metric

from messages.ingest.messages_sql import run_set_based
from messages.masking.rules import Work

SHARDS = 8
KEPT_DAYS = 30
VALUES = Metric("waybill_masked_values_total", "Values replaced by masking rules before they were stored.", ["rule"])
DROPPED = Metric(
    "waybill_masking_not_stored_total",
    "Bodies and texts not stored because a masking rule could not be applied.",
    ["rule"],
)
ADD = """
INSERT INTO messaging_maskinghit AS h (rule_id, hour, shard, masked, dropped)
SELECT * FROM unnest(%b::int8[], %b::timestamptz[], %b::int2[], %b::int8[], %b::int8[])
ON CONFLICT (rule_id, hour, shard) DO UPDATE SET masked = h.masked + excluded.masked, dropped = h.dropped + excluded.dropped
"""


def add_hits(works: Iterable[Work | None], now: datetime) -> None:
    """Add what these rules did to the hour's counts, last in the transaction and in order of rules."""
    masked, dropped = _totals(works)
    hour, shard = now.replace(minute=0, second=0, microsecond=0), os.getpid() % SHARDS
    if masked:
        run_set_based(ADD, [(rule, hour, shard, masked[rule], dropped[rule]) for rule in sorted(masked)])


def tell_metrics(works: Iterable[Work | None]) -> None:
    """Count the same for Prometheus; call it after the commit."""
    masked, dropped = _totals(works)
    for rule, count in masked.items():
        VALUES.labels(rule).inc(count)
    for rule, count in dropped.items():
        DROPPED.labels(rule).inc(count)


def _totals(works: Iterable[Work | None]) -> tuple[Counter[int], Counter[int]]:
    masked: Counter[int] = Counter()
    dropped: Counter[int] = Counter()
    for work in works:
        if work is not None:
            masked.update(work.counts)
            dropped.update(work.dropped)
    return masked, dropped


def expire_hits() -> None:
    """Forget counts older than 30 days."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM messaging_maskinghit WHERE hour < now() - make_interval(days => %s)", [KEPT_DAYS])
