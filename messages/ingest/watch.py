"""How ingest does: what came lately, how late, from whom, what was refused. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Count

from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_rejects
from messages.ingest.partitions import TABLES
from messages.models import IngestReject

LATELY = timedelta(minutes=15)
SAMPLE = 2_000  # events whose lag is looked at
CAP = 1_001


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Of one environment in the last 15 minutes. Lags in ms between a thing happening and its being stored; None without events."""

    accepted: int
    duplicates: int
    rejected: int
    batches: int
    lag_ms: float | None
    worst_lag_ms: float | None
    newest_at: datetime | None
    agents: list[dict[str, Any]]


def intake_of(environment: Environment, *, now: datetime) -> Intake:
    """Return what the ledger and the newest events tell; dead letters and events count alike."""
    agents = _agents(environment, now)
    lag_ms, worst_lag_ms, newest_at = _lag(environment, now)
    return Intake(
        accepted=sum(agent["accepted"] for agent in agents),
        duplicates=sum(agent["duplicates"] for agent in agents),
        rejected=sum(agent["rejected"] for agent in agents),
        batches=sum(agent["batches"] for agent in agents),
        lag_ms=lag_ms,
        worst_lag_ms=worst_lag_ms,
        newest_at=newest_at,
        agents=agents,
    )


AGENTS = """
SELECT a.id, a.name, a.last_seen_at, a.events_per_s, count(l.id),
       coalesce(sum((l.answer->>'accepted')::bigint), 0), coalesce(sum((l.answer->>'duplicates')::bigint), 0),
       coalesce(sum(jsonb_array_length(coalesce(l.answer->'rejected', '[]'))), 0)
FROM identity_agent a LEFT JOIN messaging_ledgerentry l ON l.agent_id = a.id AND l.created_at > %s
WHERE a.environment_id = %s GROUP BY a.id ORDER BY 6 DESC, a.name LIMIT 500
"""
FIELDS = ("id", "name", "last_seen_at", "events_per_s", "batches", "accepted", "duplicates", "rejected")


def _agents(environment: Environment, now: datetime) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(AGENTS, [now - LATELY, environment.pk])
        return [dict(zip(FIELDS, row, strict=True)) for row in cursor.fetchall()]


LAG = """
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY lag), percentile_cont(0.95) WITHIN GROUP (ORDER BY lag), max(received_at)
FROM (SELECT received_at, 1000 * extract(epoch FROM received_at - coalesce(clamped_from, occurred_at))::float8 - duration_us / 1000.0 AS lag
      FROM messaging_event WHERE environment_id = %s AND occurred_at > %s AND occurred_at <= %s AND agent_id IS NOT NULL
      ORDER BY occurred_at DESC, id DESC LIMIT %s) newest
"""


def _lag(environment: Environment, now: datetime) -> tuple[float | None, float | None, datetime | None]:
    with connection.cursor() as cursor:
        cursor.execute(LAG, [environment.pk, now - LATELY, now + timedelta(minutes=5), SAMPLE])
        row = cursor.fetchone()
    return (None, None, None) if row is None or row[0] is None else (max(0.0, row[0]), max(0.0, row[1]), row[2])


def rows_in_default() -> dict[str, int]:
    """Return the tables whose DEFAULT partition is not empty, with how many rows it holds, counted up to 1,001."""
    counted = (
        f"SELECT '{table}', (SELECT count(*) FROM (SELECT 1 FROM {table}_default LIMIT {CAP}) rows)"  # noqa: S608  constants
        for table in TABLES
    )
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(counted))
        return {table: count for table, count in cursor.fetchall() if count}


def find_rejects(
    actor: Actor,
    environments: list[Environment],
    *,
    waiting: bool,
    code: str = "",
    before: UUID | None = None,
    limit: int = 50,
) -> list[IngestReject]:
    """Return refused items, newest first; `waiting` for those that nobody settled."""
    rejects = visible_rejects(actor).filter(environment__in=environments).defer("raw").order_by("-id")
    if waiting:
        rejects = rejects.filter(settled_at=None)
    if code:
        rejects = rejects.filter(code=code)
    if before:
        rejects = rejects.filter(id__lt=before)
    return list(rejects[:limit])


def reject_counts(actor: Actor, environment: Environment) -> list[tuple[str, str, int]]:
    """Return (endpoint, code, how many wait) of the refused items that the actor may see, most first."""
    waiting = visible_rejects(actor).filter(environment=environment, settled_at=None).order_by()
    rows = waiting.values_list("endpoint", "code").annotate(count=Count("id")).order_by("-count", "endpoint", "code")
    return list(rows[:50])
