"""What each kind takes on disk now, by environment, and what it would take under a policy. Measured at most every five minutes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db import connection
from django.db.models import Max

from messages.models import RetentionRun
from messages.retention.projection import RATE_DAYS, Projected, project, project_rows
from messages.retention.rules import LETTERS, METADATA, PAYLOADS, REJECTS, ROLLUPS, Policy
from messages.retention.tables import Part, find_parts, measured

FRESH_S = 300.0
_measured: tuple[float, datetime | None, list[Part]] | None = None  # when, after which run, what


def measured_parts() -> list[Part]:
    """Return every day's partition with its share of each environment, as measured in five minutes and since the last run."""
    global _measured  # noqa: PLW0603
    ran_at = RetentionRun.objects.aggregate(last=Max("finished_at"))["last"]
    if _measured is None or time.monotonic() - _measured[0] > FRESH_S or _measured[1] != ran_at:
        _measured = (time.monotonic(), ran_at, measured(find_parts()))
    return _measured[2]


def forget() -> None:
    """Measure anew when asked next."""
    global _measured  # noqa: PLW0603
    _measured = None


def bytes_by_day(parts: Sequence[Part], environment_id: int, kind: str) -> dict[date, int]:
    """Return what an environment's rows of a kind take, by day, indexes and TOAST counted in."""
    by_day: dict[date, int] = {}
    for part in parts:
        if part.table.kind == kind and environment_id in part.bytes_by_environment:
            by_day[part.day] = by_day.get(part.day, 0) + part.bytes_by_environment[environment_id]
    return by_day


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What rows that go one by one take: all, those that wait, and those that come in a day."""

    now_bytes: int
    waiting_bytes: int
    per_day_bytes: int


# The table's bytes, divided among environments by their rows' own sizes.
ROWS = """
WITH sizes AS (
    SELECT environment_id, sum({size}) AS own, sum({size}) FILTER (WHERE {waits}) AS waiting,
           sum({size}) FILTER (WHERE received_at > %s) AS lately
    FROM {table} t GROUP BY 1
)
SELECT pg_total_relation_size('{table}') * own / nullif(sum(own) OVER (), 0),
       pg_total_relation_size('{table}') * waiting / nullif(sum(own) OVER (), 0),
       pg_total_relation_size('{table}') * lately / nullif(sum(own) OVER (), 0), environment_id FROM sizes
"""
SPECS = {
    LETTERS: {
        "table": "messaging_deadletter",
        "size": "200 + coalesce(octet_length(error_stack), 0)",
        "waits": "state <> 'closed'",
    },
    REJECTS: {"table": "messaging_ingestreject", "size": "200 + octet_length(raw)", "waits": "settled_at IS NULL"},
}


def rows_by_environment(kind: str, *, now: datetime) -> dict[int, Rows]:
    with connection.cursor() as cursor:
        cursor.execute(ROWS.format(**SPECS[kind]), [now - timedelta(days=RATE_DAYS)])
        return {
            pk: Rows(
                now_bytes=int(own or 0), waiting_bytes=int(waiting or 0), per_day_bytes=int(lately or 0) // RATE_DAYS
            )
            for own, waiting, lately, pk in cursor.fetchall()
        }


NOTHING = Rows(now_bytes=0, waiting_bytes=0, per_day_bytes=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one environment has on disk, ready to be projected under any policy."""

    by_day: Mapping[str, Mapping[date, int]]
    rows: Mapping[str, Rows]
    today: date

    def under(self, policy: Policy) -> dict[str, Projected]:
        """Return {kind: what it takes now, a day, in 30 days, and in the long run}."""
        found = {
            kind: project(self.by_day[kind], days=policy.days(kind), today=self.today)
            for kind in (PAYLOADS, METADATA, ROLLUPS)
        }
        # Refused items that wait go after their days, too; most are settled, so those days decide.
        days = {LETTERS: policy.letter_days, REJECTS: policy.settled_reject_days}
        for kind, rows in self.rows.items():
            found[kind] = project_rows(
                now_bytes=rows.now_bytes,
                waiting_bytes=rows.waiting_bytes,
                per_day_bytes=rows.per_day_bytes,
                days=days[kind],
            )
        return found


def usage_of(environment_id: int, *, now: datetime) -> Usage:
    """Return what an environment has on disk; of payloads, those of dead letters are counted with their day."""
    parts = measured_parts()
    return Usage(
        by_day={kind: bytes_by_day(parts, environment_id, kind) for kind in (PAYLOADS, METADATA, ROLLUPS)},
        rows={kind: rows_by_environment(kind, now=now).get(environment_id, NOTHING) for kind in (LETTERS, REJECTS)},
        today=now.date(),
    )


def total(projected: Mapping[str, Projected]) -> Projected:
    """Return the sum over all kinds."""
    return Projected(
        now_bytes=sum(one.now_bytes for one in projected.values()),
        per_day_bytes=sum(one.per_day_bytes for one in projected.values()),
        in_30_days_bytes=sum(one.in_30_days_bytes for one in projected.values()),
        steady_bytes=sum(one.steady_bytes for one in projected.values()),
    )
