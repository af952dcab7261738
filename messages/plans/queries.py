"""Reads of plans: how many of each wave have which outcome, and the items. Who may see the plan was decided before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection

from messages.models import Plan, PlanItem
from messages.plans.doing import rows_of
from messages.plans.waves import OUTCOME, SETTLED

# width_bucket of the ordinal among the waves' first items: 1 for the first wave.
COUNTS = """
SELECT width_bucket(i.ordinal, %s::int4[]) AS wave,
       CASE WHEN i.left_out <> '' THEN 'left_out' ELSE coalesce(r.state, 'waiting') END AS outcome, count(*)
FROM messaging_planitem i LEFT JOIN {rows} r ON r.id = i.replay_id
WHERE i.plan_id = %s AND i.ordinal <= %s GROUP BY 1, 2
"""
WaveCounts = Mapping[int, Mapping[str, int]]


def counts_of(plan: Plan) -> dict[int, Counter[str]]:
    """Return {wave: {outcome: items}} of everything that is to be sent; the sum is items_count, always."""
    counts: dict[int, Counter[str]] = {wave: Counter() for wave in range(1, len(plan.wave_ends) + 1)}
    if plan.wave_ends:
        firsts = [1, *(end + 1 for end in plan.wave_ends[:-1])]
        with connection.cursor() as cursor:
            cursor.execute(rows_of(plan.does, COUNTS), [firsts, plan.pk, plan.items_count])
            for wave, outcome, items in cursor.fetchall():
                counts[wave][outcome] += items
    return counts


def total_of(counts: WaveCounts) -> Counter[str]:
    """Return the counts of all waves together."""
    total: Counter[str] = Counter()
    for one in counts.values():
        total.update(one)
    return total


# The first before it of its key that is sent at all and of which what is waited for has not become.
BEHIND = f"""
SELECT i.id, e.id FROM messaging_planitem i
CROSS JOIN LATERAL (
    SELECT e.id FROM messaging_planitem e LEFT JOIN messaging_replay er ON er.id = e.replay_id
    WHERE e.plan_id = i.plan_id AND e.key = i.key AND e.key <> '' AND e.ordinal < i.ordinal AND e.left_out = ''
      AND coalesce({OUTCOME.format(r="er")}, 'waiting') <> ALL(%s)
    ORDER BY e.ordinal LIMIT 1) e
WHERE i.id = ANY(%s) AND i.plan_id = %s AND i.key <> '' AND i.left_out = ''
  AND NOT EXISTS (SELECT 1 FROM messaging_replay r WHERE r.id = i.replay_id)
"""  # noqa: S608  constants of ours


def held_behind(plan: Plan, items: Sequence[int]) -> dict[int, PlanItem]:
    """Return {id of an item that is held back: the earliest item of its key that it waits for}, with its dead letter.

    items  ids of items of this plan, one page of them: each costs one look at its key. Those that nothing holds back are not in the answer.
    """
    if not plan.order_key:
        return {}
    asked: list[Any] = [SETTLED[plan.waits_for], list(items), plan.pk]
    with connection.cursor() as cursor:
        cursor.execute(BEHIND, asked)
        behind = dict(cursor.fetchall())
    earlier = PlanItem.objects.select_related("dead_letter").in_bulk(set(behind.values()))
    return {item: earlier[its] for item, its in behind.items()}
