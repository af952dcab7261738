"""Reads of replay rules: which letters are due, how flows stand, what is left of a budget, what a rule did."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet, Sum

from console.core.paging import Page, decode_number_cursor, encode_cursor
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import operated_flows
from messages.automatic.access import visible_rules
from messages.automatic.schedule import LOOKED_BACK_MIN, Health, budget_left, is_due
from messages.models import AutomaticRule, FailureGroup, Flow, Plan, ReplayStop
from messages.plans.access import visible_plans
from messages.plans.freeze import WHY
from messages.plans.states import HOLDING

LOOKED_AT = 5_000  # open letters of one look: each costs 23 µs, measured; the next look goes on behind them
NIL = UUID(int=0)
UNRESOLVED = Q(merged_into=None) & ~Q(state="resolved") | Q(merged_into__isnull=False) & ~Q(
    merged_into__state="resolved"
)

# What a plan would leave out is never due, or a rule would make empty plans for ever: the same words decide (messages.plans.freeze).
DUE = f"""
WITH scanned AS MATERIALIZED (
    SELECT d.id FROM messaging_deadletter d
    WHERE d.group_id = ANY(%(groups)s) AND d.environment_id = %(environment)s AND d.state = 'open' AND d.closed_at IS NULL AND d.id > %(after)s
    ORDER BY d.id LIMIT %(most)s
)
SELECT d.id, d.flow_id, t.tried, greatest(d.failed_at, t.last), {WHY} AS why
FROM scanned JOIN messaging_deadletter d ON d.id = scanned.id
JOIN messaging_flow f ON f.id = d.flow_id
LEFT JOIN messaging_connection c ON c.environment_id = d.environment_id AND c.name = d.broker
CROSS JOIN LATERAL (
    WITH RECURSIVE deaths (id, previous_id, depth) AS (
        SELECT d.id, d.previous_id, 1
        UNION ALL SELECT o.id, o.previous_id, n.depth + 1 FROM deaths n JOIN messaging_deadletter o ON o.id = n.previous_id WHERE n.depth < 1000)
    SELECT count(*) AS tried, max(coalesce(r.finished_at, r.created_at)) FILTER (WHERE r.dead_letter_id = d.id) AS last
    FROM deaths JOIN messaging_replay r ON r.dead_letter_id = deaths.id AND r.state <> 'withdrawn'
) t
ORDER BY d.id
"""  # noqa: S608  constants of ours
HEALTH = """
SELECT flow_id, coalesce(sum(count) FILTER (WHERE outcome <> 2), 0), coalesce(sum(count) FILTER (WHERE outcome = 2), 0)
FROM messaging_rollup_minute WHERE flow_id = ANY(%s) AND minute > %s AND (operation = 4 OR operation = 5 AND outcome <> 0) GROUP BY flow_id
"""  # no settlement that gives its message back: it is unset, and says nothing of the receiver that its processing does not


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """letters: (letter, its flow) that go now, by id. looked_to: the last one looked at; None: there was no more behind it."""

    letters: list[tuple[UUID, int]]
    looked_to: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Messages that a rule has put into plans lately, and what is left."""

    last_hour: int
    last_day: int
    left: int


def groups_of(rule: AutomaticRule) -> QuerySet[FailureGroup]:
    """Return the groups whose letters a rule is for, with what was merged into them; none that people resolved."""
    groups = FailureGroup.objects.filter(UNRESOLVED, environment=rule.environment_id).order_by()
    if rule.group_id is not None:
        return groups.filter(Q(pk=rule.group_id) | Q(merged_into=rule.group_id))
    of_class = Q(merged_into=None, failure_class=rule.failure_class) | Q(merged_into__failure_class=rule.failure_class)
    return groups.filter(of_class)


def find_due(rule: AutomaticRule, actor: Actor, now: datetime, *, after: UUID | None = None) -> Due:
    """Return what is due among the next letters that wait: of flows that the actor operates, and that a plan would not leave out."""
    asked: dict[str, Any] = {
        "groups": list(groups_of(rule).values_list("pk", flat=True)),
        "environment": rule.environment_id,
        "after": after or NIL,
        "most": LOOKED_AT,
        "operated": list(operated_flows(actor, rule.environment).values_list("pk", flat=True)),
        "holding": sorted(HOLDING),
        "plan": 0,
        "destination": "",
    }
    with connection.cursor() as cursor:
        cursor.execute(DUE, asked)
        rows = cursor.fetchall()
    due = [
        (pk, flow)
        for pk, flow, tried, since, why in rows
        if not why and is_due(rule.waits, tried=tried, since=since, now=now)
    ]
    return Due(letters=due, looked_to=rows[-1][0] if len(rows) == LOOKED_AT else None)


def health_of(flow_ids: Collection[int], now: datetime) -> dict[int, Health]:
    """Return how the receivers of these flows did in the last minutes; from the counts by minute."""
    found = dict.fromkeys(flow_ids, Health())
    with connection.cursor() as cursor:
        cursor.execute(HEALTH, [list(flow_ids), now - timedelta(minutes=LOOKED_BACK_MIN)])
        for flow, succeeded, failed in cursor.fetchall():
            found[flow] = Health(succeeded=int(succeeded), failed=int(failed))
    return found


def stopped_flows(environment: Environment) -> dict[int | None, str]:
    """Return {flow, None for all: why} of what stops replays there."""
    return dict(ReplayStop.objects.filter(environment=environment).values_list("flow_id", "reason"))


def flow_names(pks: Collection[int]) -> dict[int, str]:
    return dict(Flow.objects.filter(pk__in=pks).values_list("pk", "name"))


def budgets_of(rules: Sequence[AutomaticRule], now: datetime) -> dict[int, Budget]:
    """Return {rule: how its budget stands}; plans that were given up before anything was sent cost nothing. One query."""
    made = Plan.objects.filter(automatic__in=rules, created_at__gt=now - timedelta(days=1)).order_by()
    made = made.exclude(state__in=("cancelled", "expired"))
    hour = Sum("items_count", filter=Q(created_at__gt=now - timedelta(hours=1)), default=0)
    used = {
        pk: (h, d) for pk, h, d in made.values_list("automatic").annotate(hour=hour, day=Sum("items_count", default=0))
    }
    return {rule.pk: _budget(rule, *used.get(rule.pk, (0, 0))) for rule in rules}


def _budget(rule: AutomaticRule, hour: int, day: int) -> Budget:
    left = budget_left(per_hour=rule.per_hour, per_day=rule.per_day, last_hour=hour, last_day=day)
    return Budget(last_hour=hour, last_day=day, left=left)


def budget_of(rule: AutomaticRule, now: datetime) -> Budget:
    return budgets_of([rule], now)[rule.pk]


def find_rules(
    actor: Actor, *, environments: Sequence[Environment], limit: int = 50, cursor: str | None = None
) -> Page[AutomaticRule]:
    """Return replay rules, the newest first."""
    rows = visible_rules(actor).filter(environment__in=environments)
    if cursor:
        rows = rows.filter(pk__lt=decode_number_cursor(cursor))
    found = list(rows.order_by("-pk")[: limit + 1])
    return Page(found[:limit], encode_cursor(found[limit - 1].pk) if len(found) > limit else None)


def plans_of_rule(actor: Actor, rule: AutomaticRule, *, most: int = 20) -> list[Plan]:
    """Return the newest plans of a rule that the actor may see."""
    return list(visible_plans(actor).filter(automatic=rule).order_by("-pk")[:most])


def rules_of_group(actor: Actor, group: FailureGroup) -> list[AutomaticRule]:
    """Return the rules that replay the letters of a group by themselves: that are on."""
    of_it = Q(group=group) | Q(group=None, failure_class=group.failure_class)
    return list(visible_rules(actor).filter(of_it, environment=group.environment_id, is_on=True).order_by("name")[:10])
