"""What may be wrong in messages, and whose it is: what the watchers of breaches read, through messages/queries.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.db.models import Q

from console.core.words import age_words
from console.identity.actor import Actor
from console.identity.models import Agent, Environment
from messages.access import visible_flows
from messages.changes.queries import changes_between
from messages.compensation.queries import stuck_compensations
from messages.ingest.gate import disk_words
from messages.models import Change, FailureGroup, Flow, Plan, ReconciliationCheck
from messages.models.groups import FURTHEST_FIRST
from messages.plans.access import visible_plans
from messages.plans.overdue import LOOKED_BACK, PLANS, UNPROVED, overdue_of

MOST_TROUBLED = 500  # of one kind: more than that is one trouble, not many


def teams_of_flows(flow_ids: Collection[int]) -> dict[int, int | None]:
    """Return {flow: its team} of those that exist."""
    return dict(Flow.objects.filter(pk__in=flow_ids).values_list("pk", "team_id")) if flow_ids else {}


def names_of_flows(flow_ids: Collection[int]) -> dict[int, str]:
    """Return {flow: its name}."""
    return dict(Flow.objects.filter(pk__in=flow_ids).values_list("pk", "name")) if flow_ids else {}


# Which systems an agent reports is known from the readings of their clocks, of which each pair makes one an hour, that of their coming.
FLOWS_OF_AGENTS = """
SELECT DISTINCT c.agent_id, r.flow_id FROM messaging_clockreading c JOIN identity_agent a ON a.id = c.agent_id
JOIN messaging_rollup_hour r ON r.system_id = c.system_id AND r.hour BETWEEN c.hour - interval '1 hour' AND c.hour
WHERE c.agent_id = ANY(%s) AND c.hour > greatest(a.last_seen_at, a.heartbeat_at) - interval '25 hours'
"""


def flows_of_agents(agent_ids: Collection[int]) -> dict[int, set[int]]:
    """Return {agent: flows of which it reported in the day before it was last heard}."""
    found: dict[int, set[int]] = defaultdict(set)
    with connection.cursor() as cursor:
        cursor.execute(FLOWS_OF_AGENTS, [sorted(agent_ids)])
        for agent_id, flow_id in cursor.fetchall():
            found[agent_id].add(flow_id)
    return dict(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Troubled:
    """Something of messages that may need a person. key names it for ever; failure_class: of a group."""

    environment_id: int
    key: str
    title: str
    summary: str
    url: str
    flow_ids: tuple[int, ...] = ()
    severity: str = "ticket"
    labels: Mapping[str, str]


def troubled_groups(watched: Mapping[int, Mapping[str, tuple[str, datetime]]]) -> list[Troubled]:
    """Return failure groups with something that waits which are new, came back or grow, and which nobody has taken.

    watched  {environment: {class: (severity, since)}}: what was there and stood so before counts not.
    """
    wanted = Q(pk__in=[])
    for environment_id, classes in watched.items():
        for failure_class, (_, since) in classes.items():
            new = Q(state="open", first_seen_at__gte=since) | Q(
                state__in=["regressed", "escalating"], state_at__gte=since
            )
            wanted |= Q(environment=environment_id, failure_class=failure_class) & new
    rows = FailureGroup.objects.filter(wanted, merged_into=None).filter(blast__gt=0)
    return [_of_group(row, watched) for row in rows.select_related("flow").order_by(*FURTHEST_FIRST)[:MOST_TROUBLED]]


def _of_group(row: FailureGroup, watched: Mapping[int, Mapping[str, tuple[str, datetime]]]) -> Troubled:
    how = {"open": "is new", "regressed": "came back after it was resolved", "escalating": "grows fast"}[row.state]
    waits = "1 waits" if row.waiting == 1 else f"{row.waiting:,} wait" if row.waiting else "how many wait is not known"
    return Troubled(
        environment_id=row.environment_id,
        key=str(row.pk),
        severity=watched[row.environment_id][row.failure_class][0],
        title=f"{row.reference} {row.heading}"[:200],
        summary=f"A cause in {row.flow.name} {how}, and nobody has taken it: {waits}.",
        url=f"/groups/{row.reference}/",
        flow_ids=(row.flow_id,),
        labels={"flow": row.flow.name, "class": row.failure_class, "group": row.reference},
    )


OVERDUE_ALONE = f"""
WITH reporting AS MATERIALIZED (
    SELECT DISTINCT h.flow_id FROM messaging_rollup_hour h WHERE h.hour > %s AND h.operation IN (4, 5)
), unproved AS MATERIALIZED (
    SELECT r.environment_id, r.dead_letter_id FROM messaging_replay r
    WHERE {UNPROVED} AND r.plan_id IS NULL AND r.created_at > %s ORDER BY r.id DESC LIMIT 10000
)
SELECT u.environment_id, d.flow_id, f.name, count(*) FROM unproved u JOIN messaging_deadletter d ON d.id = u.dead_letter_id
JOIN messaging_flow f ON f.id = d.flow_id WHERE d.flow_id IN (SELECT flow_id FROM reporting)
GROUP BY 1, 2, 3 ORDER BY 1, 2 LIMIT {MOST_TROUBLED}
"""  # noqa: S608  constants of ours


def overdue_replays(now: datetime) -> list[Troubled]:
    """Return plans, and flows where persons sent single letters again, with what was sent and is not proved for too long."""
    before = now - timedelta(minutes=settings.REPLAY_OVERDUE_MINUTES)
    with connection.cursor() as cursor:
        cursor.execute(PLANS, [before, now - LOOKED_BACK])
        plans = [row[0] for row in cursor.fetchall()]
        cursor.execute(OVERDUE_ALONE, [now - timedelta(days=1), before, now - LOOKED_BACK])
        alone = cursor.fetchall()
    found = [_of_flow(*row) for row in alone]
    rows = Plan.objects.filter(pk__in=plans, waits_for="processed").defer("edits").order_by("-pk")
    return found + [one for plan in rows[:MOST_TROUBLED] if (one := _of_plan(plan, now))]


def _overdue_words(count: int) -> str:
    words = "1 message was" if count == 1 else f"{count:,} messages were"
    minutes = age_words(timedelta(minutes=settings.REPLAY_OVERDUE_MINUTES))
    return f"{words} sent again and no receiver has reported to have processed {'it' if count == 1 else 'them'} for {minutes}."


def _of_plan(plan: Plan, now: datetime) -> Troubled | None:
    overdue = overdue_of(plan, now=now)
    if not overdue.count:
        return None
    return Troubled(
        environment_id=plan.environment_id,
        key=plan.reference,
        title=f"{plan.reference}: sent, not proved",
        summary=_overdue_words(overdue.count),
        url=f"/plans/{plan.reference}/",
        flow_ids=tuple(plan.flow_ids),
        labels={"plan": plan.reference},
    )


def _of_flow(environment_id: int, flow_id: int, flow: str, count: int) -> Troubled:
    return Troubled(
        environment_id=environment_id,
        key=f"flow-{flow_id}",
        title=f"{flow[:150]}: sent again, not proved",
        summary=_overdue_words(count),
        url=f"/flows/{flow_id}/",
        flow_ids=(flow_id,),
        labels={"flow": flow},
    )


def troubled_compensations(now: datetime) -> list[Troubled]:
    """Return the compensations that have needed a person for as long as a replay may be unproved, each with why."""
    patience = timedelta(minutes=settings.REPLAY_OVERDUE_MINUTES)
    found = [one for one in stuck_compensations(now) if one.age > patience][:MOST_TROUBLED]
    names = names_of_flows({one.flow_id for one in found})
    return [
        Troubled(
            environment_id=one.environment_id,
            key=one.reference,
            title=f"{one.reference} needs a person",
            summary=f"It has needed one for {age_words(one.age)}: {one.why}"[:1000],
            url=f"/compensations/{one.reference}/",
            flow_ids=(one.flow_id,),
            labels={"compensation": one.reference, "flow": names.get(one.flow_id, "")},
        )
        for one in found
    ]


def raised_checks() -> list[Troubled]:
    """Return the scheduled checks whose last occurrence was not well, and those that have stopped: they prove nothing any more."""
    states = ReconciliationCheck.State
    rows = ReconciliationCheck.objects.filter(state__in=[states.RAISED, states.STOPPED]).select_related("flow")
    return [
        Troubled(
            environment_id=row.environment_id,
            key=str(row.pk),
            title=f"Check “{row.name}”",
            summary=f"{'It has stopped: ' if row.state == states.STOPPED else ''}{row.problem}.",
            url=f"/reconciliations/checks/{row.pk}/",
            flow_ids=(row.flow_id,),
            labels={"check": row.name, "flow": row.flow.name},
        )
        for row in rows.order_by("-state_since", "-pk")[:MOST_TROUBLED]
    ]


def silent_agents(now: datetime, after: timedelta) -> list[Troubled]:
    """Return agents with a key that holds which were heard once, and not for so long."""
    before = now - after
    rows = Agent.objects.filter(Q(last_seen_at__isnull=False) | Q(heartbeat_at__isnull=False))
    rows = rows.filter(
        Q(last_seen_at=None) | Q(last_seen_at__lt=before), Q(heartbeat_at=None) | Q(heartbeat_at__lt=before)
    )
    holds = Q(keys__revoked_at=None) & (Q(keys__expires_at=None) | Q(keys__expires_at__gt=now))
    return [_of_agent(row, now) for row in rows.filter(holds).distinct().order_by("pk")[:MOST_TROUBLED]]


def _of_agent(agent: Agent, now: datetime) -> Troubled:
    heard = max(at for at in (agent.last_seen_at, agent.heartbeat_at) if at)
    return Troubled(
        environment_id=agent.environment_id,
        key=str(agent.pk),
        severity="page",
        title=f"Agent {agent.name} is silent",
        summary=f"Nothing came from {agent.name} for {age_words(now - heard)}: what its flows show is not what is.",
        url=f"/agents/{agent.pk}/",
        labels={"agent": agent.name},
    )


def full_disks() -> list[Troubled]:
    """Return, for each environment, that the disk of this machine is nearly full or that ingest takes nothing for it."""
    words = disk_words()
    severity = "page" if words.startswith("Only") else "ticket"
    return [
        Troubled(
            environment_id=pk, key="disk", severity=severity, title="The console’s disk is full", summary=words, url="/ingest/", labels={}
        )
        for pk in (Environment.objects.values_list("pk", flat=True) if words else ())
    ]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was done to flows while something was wrong with them: a plan that began, or a change."""

    at: datetime
    words: str
    url: str


def done_to_flows(
    actor: Actor,
    environment: Environment,
    flow_ids: Collection[int],
    *,
    since: datetime,
    until: datetime,
    most: int = 20,
) -> list[Done]:
    """Return the replays and changes of these flows that the actor may see, oldest first, at most so many of each."""
    plans = visible_plans(actor).filter(environment=environment, flow_ids__overlap=list(flow_ids), started_at__range=(since, until))  # fmt: skip
    names = list(visible_flows(actor).filter(pk__in=flow_ids).values_list("name", flat=True))
    changes = (
        changes_between(actor, [environment], since=since, until=until, systems=[], flows=names, most=most)
        if names
        else []
    )
    found = [_of_replay(plan) for plan in plans.order_by("-pk")[:most] if flow_ids] + [
        _of_change(one) for one in changes
    ]
    return sorted(found, key=lambda one: one.at)


def _of_replay(plan: Plan) -> Done:
    assert plan.started_at is not None
    words = f"{plan.created_by} had {plan.items_count:,} sent again by {plan.reference}"
    return Done(at=plan.started_at, words=words, url=f"/plans/{plan.reference}/")


def _of_change(change: Change) -> Done:
    return Done(at=change.started_at, words=f"{change.kind}: {change.title}", url=f"/changes/{change.pk}/")


def names_of_visible_flows(actor: Actor, environment: Environment, *, most: int = 500) -> list[str]:
    """Return the names of the flows there which the actor may see, for a list to choose from."""
    return list(visible_flows(actor).filter(environment=environment).order_by("name").values_list("name", flat=True)[:most])  # fmt: skip
