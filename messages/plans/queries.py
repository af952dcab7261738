"""Reads of plans: how many of each wave have which outcome, and the items. Who may see the plan was decided before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from django.db import connection

from messages.models import Plan

# width_bucket of the ordinal among the waves' first items: 1 for the first wave.
COUNTS = """
SELECT width_bucket(i.ordinal, %s::int4[]) AS wave,
       CASE WHEN i.left_out <> '' THEN 'left_out' ELSE coalesce(r.state, 'waiting') END AS outcome, count(*)
FROM messaging_planitem i LEFT JOIN messaging_replay r ON r.id = i.replay_id
WHERE i.plan_id = %s AND i.ordinal <= %s GROUP BY 1, 2
"""
WaveCounts = Mapping[int, Mapping[str, int]]


def counts_of(plan: Plan) -> dict[int, Counter[str]]:
    """Return {wave: {outcome: items}} of everything that is to be sent; the sum is items_count, always."""
    counts: dict[int, Counter[str]] = {wave: Counter() for wave in range(1, len(plan.wave_ends) + 1)}
    if plan.wave_ends:
        firsts = [1, *(end + 1 for end in plan.wave_ends[:-1])]
        with connection.cursor() as cursor:
            cursor.execute(COUNTS, [firsts, plan.pk, plan.items_count])
            for wave, outcome, items in cursor.fetchall():
                counts[wave][outcome] += items
    return counts


def total_of(counts: WaveCounts) -> Counter[str]:
    """Return the counts of all waves together."""
    total: Counter[str] = Counter()
    for one in counts.values():
        total.update(one)
    return total
