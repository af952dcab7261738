"""Reads of flows, systems, rules and what was refused."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Count, Min, Q, QuerySet, Sum

from console.core.errors import Forbidden, NotFound
from console.identity.access import can_administer, visible_agents, visible_environments
from console.identity.actor import Actor
from console.identity.models import Agent, Environment
from messages.access import visible_connections, visible_dead_letters, visible_flows, visible_hours, visible_systems
from messages.catalog.connections import harvested_families
from messages.groups.queries import failed_messages_of_flows
from messages.models import Connection, DeadLetter, Flow, FlowRule, KeyRule, RollupHour, System
from messages.models.stream import Operation, Outcome

DAY = timedelta(hours=24)


def _a_day_before(now: datetime) -> datetime:
    """Return the beginning of the hour, in UTC, that lay 24 hours ago: counts from it on are of 24 hours at least, as those of the map."""
    return now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - DAY


@dataclass(slots=True, kw_only=True)
class FlowLine:
    """A flow with what went through it in 24 hours and what waits now: dead letters, and failed messages without one.

    at_least  more of these may wait than were looked at.
    """

    flow: Flow
    delivered: int = 0
    failed: int = 0
    letters: int = 0
    failed_messages: int = 0
    at_least: bool = False
    oldest_at: datetime | None = None

    @property
    def waiting(self) -> int:
        return self.letters + self.failed_messages


def find_flows(
    actor: Actor, environment: Environment, *, q: str = "", after: str = "", limit: int = 100
) -> list[FlowLine]:
    """Return up to `limit` flows by name, those after a name, whose name contains `q`; four queries whatever their number."""
    flows = visible_flows(actor).filter(environment=environment)
    if q:
        flows = flows.filter(name__icontains=q)
    if after:
        flows = flows.filter(name__gt=after)
    lines = [FlowLine(flow=flow) for flow in flows.order_by("name")[:limit]]
    add_figures(actor, lines)
    return lines


def add_figures(actor: Actor, lines: Sequence[FlowLine], *, now: datetime | None = None) -> None:
    """Fill the figures of these flows from the hourly rollup, the letters that wait and what failure groups say of messages without one."""
    by_flow = {line.flow.pk: line for line in lines}
    counted = (
        RollupHour.objects.filter(hour__gte=_a_day_before(now or datetime.now(UTC)), flow_id__in=list(by_flow))
        .values_list("flow_id")
        .annotate(
            delivered=Sum("count", filter=Q(operation=Operation.PROCESS) & ~Q(outcome=Outcome.ERROR)),
            failed=Sum("count", filter=Q(outcome=Outcome.ERROR)),
        )
    )
    for flow_id, delivered, failed in counted:
        by_flow[flow_id].delivered, by_flow[flow_id].failed = delivered or 0, failed or 0
    waiting = (
        visible_dead_letters(actor)
        .filter(flow_id__in=list(by_flow), closed_at=None)
        .order_by()
        .values_list("flow_id")
        .annotate(Count("pk"), Min("failed_at"))
    )
    for flow_id, count, oldest_at in waiting:
        by_flow[flow_id].letters, by_flow[flow_id].oldest_at = count, oldest_at
    for flow_id, (count, oldest_at, is_least) in failed_messages_of_flows(list(by_flow)).items():
        line = by_flow[flow_id]
        line.at_least = is_least
        line.failed_messages = count
        line.oldest_at = min((at for at in (line.oldest_at, oldest_at) if at), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemLine:
    """What one system did in one flow at one destination in 24 hours."""

    system: System
    destination: str
    operation: str
    count: int
    failed: int


def systems_of_flow(flow: Flow, *, now: datetime) -> list[SystemLine]:
    """Return what the systems of a flow did in 24 hours, senders first; the caller has checked that the flow may be seen."""
    rows = list(
        RollupHour.objects.filter(flow=flow, hour__gte=_a_day_before(now))
        .values_list("system_id", "destination", "operation")
        .annotate(Sum("count"), failed=Sum("count", filter=Q(outcome=Outcome.ERROR)))
        .order_by("operation", "system_id")[:100]
    )
    systems = System.objects.in_bulk([row[0] for row in rows])
    return [
        SystemLine(
            system=systems[pk],
            destination=destination,
            operation=Operation(operation).label,
            count=count,
            failed=failed or 0,
        )
        for pk, destination, operation, count, failed in rows
        if pk in systems
    ]


def find_systems(actor: Actor, environment: Environment) -> QuerySet[System]:
    return visible_systems(actor).filter(environment=environment)


def system_names(actor: Actor, environment: Environment, flow: Flow | None = None) -> list[str]:
    """Return names of systems to choose from, at most 200: those that did something in the flow in 24 hours, else any."""
    of_flow = {line.system.name for line in systems_of_flow(flow, now=datetime.now(UTC))} if flow else set()
    return sorted(of_flow) or list(
        find_systems(actor, environment).order_by("name").values_list("name", flat=True)[:200]
    )


def flow_rules(environment: Environment) -> QuerySet[FlowRule]:
    return FlowRule.objects.filter(environment=environment).select_related("flow", "environment")


def key_rules(environment: Environment) -> QuerySet[KeyRule]:
    return KeyRule.objects.filter(environment=environment).select_related("environment")


def get_rule(actor: Actor, environment: Environment, kind: str, pk: int) -> FlowRule | KeyRule:
    """Return a rule ("flow" or "key") of this environment for someone who may change it; raises Forbidden or NotFound."""
    if not can_administer(actor, environment):
        raise Forbidden(f"only administrators of {environment.slug} change its rules")
    rules: QuerySet[FlowRule] | QuerySet[KeyRule] = (
        flow_rules(environment) if kind == "flow" else key_rules(environment)
    )
    found = rules.filter(pk=pk).first()
    if found is None:
        raise NotFound("this rule is gone")
    return found


def find_rule(actor: Actor, kind: str, pk: int) -> FlowRule | KeyRule:
    """Return a rule ("flows" or "keys") of any environment that the actor administers; raises Forbidden or NotFound."""
    model: type[FlowRule] | type[KeyRule] = FlowRule if kind == "flows" else KeyRule
    rule = model._default_manager.select_related("environment").filter(pk=pk).first()
    if rule is None or not visible_environments(actor).filter(pk=rule.environment_id).exists():
        raise NotFound("there is no such rule that you may see")
    return get_rule(actor, rule.environment, kind.removesuffix("s"), pk)


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A destination seen in 24 hours: the flow its messages went to and the rule that would decide now, None by its own name."""

    name: str
    count: int
    rule: FlowRule | None


def recent_destinations(
    actor: Actor, environment: Environment, rules: Sequence[FlowRule], *, now: datetime
) -> list[Destination]:
    """Return the 50 busiest destinations of 24 hours with the rule that matches each first."""
    since = _a_day_before(now)
    rows = visible_hours(actor).filter(environment=environment, hour__gte=since).exclude(destination="")
    busiest = rows.values_list("destination").annotate(total=Sum("count")).order_by("-total", "destination")[:50]
    return [Destination(name=name, count=total, rule=_first_match(rules, name)) for name, total in busiest]


def _first_match(rules: Sequence[FlowRule], destination: str) -> FlowRule | None:
    return next((rule for rule in rules if fnmatch.fnmatchcase(destination, rule.pattern)), None)


def find_connections(actor: Actor, environment: Environment) -> QuerySet[Connection]:
    return visible_connections(actor).filter(environment=environment)


def find_sourced_connections(connections: QuerySet[Connection]) -> list[Connection]:
    """Return those of these connections whose brokers a harvester can read."""
    kinds = {family.kind for family in harvested_families()}
    return [one for one in connections if one.kind in kinds]


def has_connection(actor: Actor, environment: Environment, name: str) -> bool:
    """Whether replays to a broker of this name have a connection there, approved or not."""
    return find_connections(actor, environment).filter(name=name).exists()


def find_agent(actor: Actor, environment: Environment, name: str) -> Agent | None:
    """Return the agent of this name there, if there is one yet."""
    return visible_agents(actor).filter(environment=environment, name=name).first()


def flow_names(actor: Actor, environment: Environment, *, most: int = 500) -> list[str]:
    """Return the names of the flows that this actor sees there, for a filter."""
    return list(
        visible_flows(actor).filter(environment=environment).order_by("name").values_list("name", flat=True)[:most]
    )


MOST_COUNTED = 10_000


def count_open_letters(connection: Connection, queue: str) -> int:
    """Return how many letters of this queue are open or on their way here, at most 10,000: whoever may see them, so a number only."""
    letters = DeadLetter.objects.filter(
        environment_id=connection.environment_id, closed_at=None, broker=connection.name, queue=queue
    )
    return letters[:MOST_COUNTED].count()
