"""Counts per minute and hour, upserted in the transaction of the events they count, last and in key order."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from messages.ingest.messages_sql import run_set_based
from messages.ingest.model import NewEvent

SHARDS = 8
FIRST_SHARD = 8  # those before are of versions that did not count messages
MINUTE = timedelta(minutes=1)
LARGEST_BUCKET = 24  # 2**24 ms: four and a half hours and more

Cell = tuple[datetime, int, int, int, int, int, str]  # minute, flow, operation, outcome, bucket, system, destination


def bucket_of(duration_us: int) -> int:
    """Return the smallest n with duration < 2**n ms, from 0 (under 1 ms) to 24."""
    return min(LARGEST_BUCKET, (duration_us // 1000).bit_length())


def add_events(events: Sequence[tuple[NewEvent, int, int]], environment_id: int) -> None:
    """Add these (event, flow id, system id) to the rollups: events, and the messages that they are about."""
    cells: dict[Cell, list[int]] = defaultdict(lambda: [0, 0, 0])
    minute = next_minute = datetime.min.replace(tzinfo=UTC)
    for event, flow_id, system_id in events:
        if not minute <= event.occurred_at < next_minute:  # mostly it is that of the event before
            minute = event.occurred_at.replace(second=0, microsecond=0)
            next_minute = minute + MINUTE
        took_us = event.duration_us
        sums = cells[
            (minute, flow_id, event.operation, event.outcome, bucket_of(took_us), system_id, event.destination or "")
        ]
        sums[0] += 1
        sums[1] += took_us
        if event.batch:
            sums[2] += len(event.batch) - 1
    minutes: dict[tuple[datetime, int, int, int, int], list[int]] = defaultdict(lambda: [0, 0, 0])
    hours: dict[tuple[datetime, int, int, str, int, int], list[int]] = defaultdict(lambda: [0, 0])
    for cell, (count, duration_us, more) in cells.items():
        minute, flow_id, operation, outcome, bucket, system_id, destination = cell
        sums = minutes[(minute, flow_id, operation, outcome, bucket)]
        sums[0] += count
        sums[1] += duration_us
        sums[2] += count + more
        of_hour = hours[(minute.replace(minute=0), flow_id, system_id, destination, operation, outcome)]
        of_hour[0] += count
        of_hour[1] += count + more
    shard = FIRST_SHARD + os.getpid() % SHARDS
    _upsert_minutes([(*key, environment_id, shard, *sums) for key, sums in sorted(minutes.items())])
    _upsert_hours([(*key, environment_id, shard, *sums) for key, sums in sorted(hours.items())])


def _upsert_minutes(rows: list[tuple[object, ...]]) -> None:
    if rows:
        run_set_based(
            "INSERT INTO messaging_rollup_minute AS r (minute, flow_id, operation, outcome, bucket, environment_id, shard, count, duration_us, messages) "
            "SELECT * FROM unnest(%b::timestamptz[], %b::int8[], %b::int2[], %b::int2[], %b::int2[], %b::int8[], %b::int2[], %b::int8[], %b::int8[], "
            "%b::int8[]) "
            "ON CONFLICT (minute, flow_id, operation, outcome, bucket, shard) DO UPDATE "
            "SET count = r.count + excluded.count, duration_us = r.duration_us + excluded.duration_us, messages = r.messages + excluded.messages",
            rows,
        )


def _upsert_hours(rows: list[tuple[object, ...]]) -> None:
    if rows:
        run_set_based(
            "INSERT INTO messaging_rollup_hour AS r (hour, flow_id, system_id, destination, operation, outcome, environment_id, shard, count, messages) "
            "SELECT * FROM unnest(%b::timestamptz[], %b::int8[], %b::int8[], %b::text[], %b::int2[], %b::int2[], %b::int8[], %b::int2[], %b::int8[], "
            "%b::int8[]) "
            "ON CONFLICT (hour, flow_id, system_id, destination, operation, outcome, shard) DO UPDATE "
            "SET count = r.count + excluded.count, messages = r.messages + excluded.messages",
            rows,
        )
