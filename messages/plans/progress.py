"""How far a plan is, counted at most once a second however many look: many readers of a plan of 100,000 items cost what one does."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.db import connection

from console.core.kept import keep, kept
from messages.models import Plan
from messages.plans.doing import rows_of
from messages.plans.overdue import overdue_of
from messages.plans.queries import counts_of, total_of

KEPT_S, ITEMS_A_SECOND = 1, 50_000  # counting 100,000 takes 0.15 s: kept three seconds
RATE_S = 10  # the rate now is that of the last ten seconds
PACE = """
SELECT count(*) FILTER (WHERE sent_at > now() - make_interval(secs => %s)),
       extract(epoch FROM avg(proof_event_at - sent_at) FILTER (WHERE state = 'processed' AND finished_at > now() - interval '1 minute'))::float8
FROM {rows} r WHERE plan_id = %s
"""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """waves: {wave: {outcome: items}}. rate_per_s: of the last ten seconds. overdue: items that wait too long for
    a proof (overdue.py); oldest_s: how long the first of them does. latency_s: from sending to proof, in the last minute."""

    waves: dict[int, dict[str, int]]
    rate_per_s: float
    overdue: int
    oldest_s: float | None
    latency_s: float | None

    @property
    def total(self) -> Counter[str]:
        return total_of(self.waves)


_decode = msgspec.json.Decoder(Progress).decode


def progress_of(plan: Plan) -> Progress:
    """Return how far the plan is, at most a second old, of 100,000 items three. Whoever may see the plan may see it."""
    name = f"plan:{plan.pk}:{plan.state}:{plan.wave}"
    if known := kept(name):
        return _decode(known)
    found = _counted(plan)
    keep(name, msgspec.json.encode(found), KEPT_S + plan.items_count // ITEMS_A_SECOND)
    return found


def _counted(plan: Plan) -> Progress:
    waves = {wave: dict(counts) for wave, counts in counts_of(plan).items()}
    with connection.cursor() as cursor:
        cursor.execute(rows_of(plan.does, PACE), [RATE_S, plan.pk])
        row: Any = cursor.fetchone()
    lately, latency_s = row
    now = datetime.now(UTC)
    overdue = overdue_of(plan, now=now)
    return Progress(
        waves=waves,
        rate_per_s=lately / RATE_S,
        overdue=overdue.count,
        oldest_s=(now - overdue.since).total_seconds() if overdue.since else None,
        latency_s=latency_s,
    )
