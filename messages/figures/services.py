"""Latency buckets of minutes, folded into hours by a task: a month of one flow is a few thousand rows instead of a million.

Nothing is added to the transaction of ingest. A count only grows, and what is written is the larger of what was known and what is
counted now: so runs may overlap, repeat and die, and none undoes another's.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import connection, transaction

from messages.models.stream import Operation

HOUR = timedelta(hours=1)
FRESH = 3 * HOUR  # still being written, or written late by an agent that was away for a moment: folded anew by each run
CATCHES_UP = 24 * HOUR  # after the task did not run for a while
LOOKS_BACK_HOURS = (
    7 * 24
)  # each run folds one of these hours again, so that what came days late is in within a day and a bit
RUNS_EVERY = timedelta(minutes=10)

FOLD = """
INSERT INTO messaging_rollup_latency AS r (hour, environment_id, flow_id, bucket, count)
SELECT date_bin('1 hour', minute, '2000-01-01Z') AS hour, min(environment_id), flow_id, bucket, sum(count)
FROM messaging_rollup_minute WHERE minute >= %s AND minute < %s AND operation = %s
GROUP BY 1, flow_id, bucket ORDER BY 1, flow_id, bucket
ON CONFLICT (hour, flow_id, bucket) DO UPDATE SET count = excluded.count WHERE r.count < excluded.count
"""
FOLDED_TO = "SELECT hour FROM messaging_rollup_latency ORDER BY hour DESC LIMIT 1"


def fold_latency(now: datetime | None = None) -> None:
    """Fold the last hours, those of a day that the task has missed, and one hour of the week; rows are written in key order."""
    now = now or datetime.now(UTC)
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    _fold(_start(this_hour), this_hour + HOUR)
    # The last hour of the turn's number: in as many turns as there are numbers each hour of the week comes once.
    turn, number = now.timestamp() // RUNS_EVERY.total_seconds(), now.timestamp() // HOUR.total_seconds()
    again = this_hour - int((number - turn) % LOOKS_BACK_HOURS) * HOUR
    _fold(again, again + HOUR)


def _start(this_hour: datetime) -> datetime:
    """Return the last hour that was folded, but the fresh ones are folded in any case, and nothing older than a day."""
    with connection.cursor() as cursor:
        cursor.execute(FOLDED_TO)
        row = cursor.fetchone()
    folded_to: datetime = row[0] if row else this_hour - CATCHES_UP
    return max(min(folded_to, this_hour - FRESH), this_hour - CATCHES_UP)


def _fold(since: datetime, until: datetime) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '50s'")
        cursor.execute(FOLD, [since, until, Operation.PROCESS])
