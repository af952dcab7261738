"""Who may see and do what with flows, messages, events, dead letters, replays, connections and changes.

This is the only way to fetch them for an actor: every queryset starts here, so permission is decided once per object.
A flow belongs to a team; one without a team is visible to every member of its environment, so that nothing is invisible.
What an actor may not see does not exist for them (NotFound); what they see and may not do is Forbidden.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, TypeVar
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Model, Q, QuerySet

from console.core.errors import Forbidden, NotFound
from console.identity.access import can_administer, visible_environments
from console.identity.actor import Actor
from console.identity.models import Environment, Role, Team
from messages.models import (
    Change,
    Connection,
    DeadLetter,
    Event,
    Flow,
    IngestReject,
    LegalHold,
    Mapping,
    MaskingRule,
    Message,
    Replay,
    RollupHour,
    Schema,
    System,
)

M = TypeVar("M", bound=Model)


def visible_flows(actor: Actor) -> QuerySet[Flow]:
    """Return the flows of the actor's teams, and those of no team, in the environments they belong to."""
    flows = Flow.objects.select_related("environment", "team")
    if actor.is_superuser:
        return flows
    own = Q(pk__in=[])
    for environment_id, teams in actor.grants.items():
        own |= Q(environment_id=environment_id) & (Q(team_id__isnull=True) | Q(team_id__in=list(teams)))
    return flows.filter(own)


def seen_flow_ids(actor: Actor, environment: Environment) -> list[int] | None:
    """Return the ids of the flows that the actor may see there, in order; None for all: for whoever keeps an answer for others."""
    if actor.is_superuser:
        return None
    return list(visible_flows(actor).filter(environment=environment).order_by("pk").values_list("pk", flat=True))


def _flows_of(actor: Actor, least: Role) -> QuerySet[Flow]:
    """Return the flows over which the actor holds this role or a higher one."""
    if actor.is_superuser:
        return Flow.objects.all()
    own = Q(pk__in=[])
    for environment_id, teams in actor.grants.items():
        held = [team for team, role in teams.items() if role >= least]
        if held:
            own |= Q(environment_id=environment_id) & (Q(team_id__isnull=True) | Q(team_id__in=held))
    return Flow.objects.filter(own)


def of_visible_flows(rows: QuerySet[M], actor: Actor) -> QuerySet[M]:
    """Return those of these rows, which have an environment and a flow, whose flow the actor may see."""
    if actor.is_superuser:
        return rows
    return rows.filter(environment_id__in=list(actor.grants), flow_id__in=visible_flows(actor).order_by().values("pk"))


def visible_messages(actor: Actor) -> QuerySet[Message]:
    return of_visible_flows(Message.objects.all(), actor)


def visible_events(actor: Actor) -> QuerySet[Event]:
    return of_visible_flows(Event.objects.all(), actor)


def visible_hours(actor: Actor) -> QuerySet[RollupHour]:
    """Return the counts by hour of the flows that the actor may see."""
    return of_visible_flows(RollupHour.objects.all(), actor)


def visible_dead_letters(actor: Actor) -> QuerySet[DeadLetter]:
    return of_visible_flows(DeadLetter.objects.select_related("flow__team", "system", "environment"), actor)


def operated_flows(actor: Actor, environment: Environment) -> QuerySet[Flow]:
    """Return the flows of an environment whose dead letters the actor may act on."""
    return _flows_of(actor, Role.OPERATOR).filter(environment=environment)


def visible_replays(actor: Actor) -> QuerySet[Replay]:
    """Return the replays of the dead letters that the actor may see."""
    replays = Replay.objects.select_related("dead_letter", "connection")
    if actor.is_superuser:
        return replays
    return replays.filter(dead_letter__in=visible_dead_letters(actor).order_by().values("pk"))


def visible_systems(actor: Actor) -> QuerySet[System]:
    """Return the systems of the actor's environments: names only, no traffic."""
    return System.objects.filter(environment__in=visible_environments(actor)).select_related("environment")


def visible_connections(actor: Actor) -> QuerySet[Connection]:
    return Connection.objects.filter(environment__in=visible_environments(actor)).select_related("environment", "agent")


def visible_rejects(actor: Actor) -> QuerySet[IngestReject]:
    """Return refused items: those of a known flow for its operators, the rest for every operator of the environment."""
    rejects = IngestReject.objects.select_related("environment", "agent", "flow__team")
    if actor.is_superuser:
        return rejects
    own = Q(pk__in=[])
    for environment_id, teams in actor.grants.items():
        operated = [team for team, role in teams.items() if role >= Role.OPERATOR]
        if operated:
            nobodys = Q(flow__isnull=True) | Q(flow__team_id__isnull=True)
            own |= Q(environment_id=environment_id) & (nobodys | Q(flow__team_id__in=operated))
    return rejects.filter(own)


def get_visible_reject(actor: Actor, pk: UUID) -> IngestReject:
    return get_one(visible_rejects(actor), "refused item", pk=pk)


def check_can_operate_rejects(actor: Actor, reject: IngestReject) -> None:
    """Who sees a refused item may read and mend it: it is looked up again, because the item may have been read long ago."""
    if not visible_rejects(actor).filter(pk=reject.pk).exists():
        raise Forbidden("only operators of its flow, or of its environment, may do this")


def visible_masking_rules(actor: Actor) -> QuerySet[MaskingRule]:
    """Return masking rules: of one's environments those of every flow and of visible flows, for they explain every •••; all to administrators."""
    rules = MaskingRule.objects.select_related("environment", "flow")
    if actor.is_superuser:
        return rules
    administered = [pk for pk in actor.grants if actor.has_role(pk, None, Role.ADMINISTRATOR)]
    seen = Q(flow=None) | Q(flow__in=visible_flows(actor).order_by().values("pk"))
    return rules.filter(Q(environment_id__in=administered) | Q(environment_id__in=list(actor.grants)) & seen)


def get_visible_masking_rule(actor: Actor, pk: int) -> MaskingRule:
    return get_one(visible_masking_rules(actor), "masking rule", pk=pk)


def visible_mappings(actor: Actor) -> QuerySet[Mapping]:
    """Return the mappings of the actor's environments."""
    mappings = Mapping.objects.select_related("environment")
    return mappings if actor.is_superuser else mappings.filter(environment_id__in=list(actor.grants))


def get_visible_mapping(actor: Actor, pk: int) -> Mapping:
    return get_one(visible_mappings(actor), "mapping", pk=pk)


def visible_schemas(actor: Actor) -> QuerySet[Schema]:
    """Return the schemas of the actor's environments."""
    schemas = Schema.objects.select_related("environment")
    return schemas if actor.is_superuser else schemas.filter(environment_id__in=list(actor.grants))


def get_visible_schema(actor: Actor, pk: int) -> Schema:
    return get_one(visible_schemas(actor), "schema", pk=pk)


def get_one(rows: QuerySet[M], what: str, **by: Any) -> M:
    found = rows.filter(**by).first()
    if found is None:
        raise NotFound(f"there is no such {what} that you may see")
    return found


def get_visible_flow(actor: Actor, pk: int) -> Flow:
    return get_one(visible_flows(actor), "flow", pk=pk)


def get_visible_flow_named(actor: Actor, environment: Environment, name: str) -> Flow:
    return get_one(visible_flows(actor), "flow", environment=environment, name=name.replace("\x00", ""))


def get_visible_event(actor: Actor, pk: UUID) -> Event:
    return get_one(visible_events(actor), "event", id=pk)


def get_visible_dead_letter(actor: Actor, pk: UUID) -> DeadLetter:
    return get_one(visible_dead_letters(actor), "dead letter", pk=pk)


def visible_holds(actor: Actor) -> QuerySet[LegalHold]:
    """Return the legal holds on the actor's environments and on the flows that the actor may see."""
    holds = LegalHold.objects.select_related("environment", "flow__team", "flow__environment")
    if actor.is_superuser:
        return holds
    flows = visible_flows(actor).order_by().values("pk")
    return holds.filter(environment_id__in=list(actor.grants)).filter(Q(flow__isnull=True) | Q(flow_id__in=flows))


def get_visible_hold(actor: Actor, pk: int) -> LegalHold:
    return get_one(visible_holds(actor), "legal hold", pk=pk)


def get_visible_system(actor: Actor, pk: int) -> System:
    return get_one(visible_systems(actor), "system", pk=pk)


def get_visible_connection(actor: Actor, pk: int) -> Connection:
    return get_one(visible_connections(actor), "connection", pk=pk)


def can_redrive(actor: Actor, connection: Connection) -> bool:
    """Whether the actor may have the broker send a whole queue back: administrators only, for its messages may be of any flow."""
    return can_administer(actor, connection.environment)


def check_can_redrive(actor: Actor, connection: Connection) -> None:
    if not can_redrive(actor, connection):
        raise Forbidden(
            f"only administrators of {connection.environment.slug} may send a whole queue back: its messages may be of any flow"
        )


def can_operate(actor: Actor, flow: Flow) -> bool:
    """Whether the actor may replay, discard and restore dead letters of this flow."""
    return actor.has_role(flow.environment_id, flow.team_id, Role.OPERATOR)


def check_can_operate(actor: Actor, flow: Flow) -> None:
    if not can_operate(actor, flow):
        raise Forbidden(f"only operators of {flow.team or flow.environment} may do this to {flow.name}; you may look")


def can_read_payload(actor: Actor, flow: Flow) -> bool:
    """Whether the actor may read bodies and headers of this flow: operators may, viewers see metadata only."""
    return actor.has_role(flow.environment_id, flow.team_id, Role.OPERATOR)


def rights_in(actor: Actor, environment_id: int) -> list[tuple[int, int]] | None:
    """Return what decides which flows and payloads an actor may see there, None for all: who has the same may share a kept answer."""
    if actor.is_superuser:
        return None
    return sorted((team, int(role)) for team, role in actor.grants.get(environment_id, {}).items())


def can_find_by_hash(actor: Actor, environment_id: int) -> bool:
    """Whether the actor may find by the hash of a masked value there, and see it: operators of the environment may."""
    return actor.has_role(environment_id, None, Role.OPERATOR)


def where_hashes_are_tried(actor: Actor, environments: Collection[Environment]) -> list[Environment]:
    """Return the environments in which the actor may find messages by the hash of a masked value."""
    return [one for one in environments if can_find_by_hash(actor, one.pk)]


def flows_to_narrow_to(actor: Actor) -> QuerySet[Flow] | None:
    """Return the flows that a question of many rows is narrowed to; None for who sees every one."""
    return None if actor.is_superuser else visible_flows(actor)


def readable_flows(actor: Actor) -> QuerySet[Flow]:
    """Return the flows whose bodies and headers the actor may read."""
    return _flows_of(actor, Role.OPERATOR)


def teams_to_give_to(actor: Actor, environment: Environment) -> QuerySet[Team]:
    """Return the teams that this actor may make the owner of a flow there."""
    teams = Team.objects.all()
    if actor.is_superuser:
        return teams
    held = actor.grants.get(environment.pk, {})
    return teams.filter(pk__in=[pk for pk, role in held.items() if role >= Role.ADMINISTRATOR])


def can_give_flow_to(actor: Actor, flow: Flow, team: Team) -> bool:
    return actor.has_role(flow.environment_id, team.pk, Role.ADMINISTRATOR)


def can_change_flow(actor: Actor, flow: Flow) -> bool:
    """Whether the actor may change the flow itself: its team's administrators there."""
    return actor.has_role(flow.environment_id, flow.team_id, Role.ADMINISTRATOR)


def visible_changes(actor: Actor) -> QuerySet[Change]:
    """Return the changes that the actor may see, withdrawn ones too; read them through `without_hidden_flows`.

    Systems are names that every member of their environment sees, so a change to a system, or to no one in particular, is for
    every member. One that names only flows is for those who see one of them, or, where a name belongs to no flow yet, for all.
    """
    return _changes_of(actor, Role.VIEWER)


def _changes_of(actor: Actor, least: Role) -> QuerySet[Change]:
    changes = Change.objects.select_related("environment", "agent")
    if actor.is_superuser:
        return changes
    seen = _flows_of(actor, least).order_by()
    own = Q(pk__in=[])
    for environment_id, teams in actor.grants.items():
        if max(teams.values(), default=0) >= least:
            hidden = Flow.objects.filter(environment_id=environment_id).exclude(pk__in=seen.values("pk")).order_by()
            # one array an environment, made once: as a condition on each row it took 0.2 ms a row with 2,000 flows
            foreign = Q(flows__contained_by=ArraySubquery(hidden.values("name")))
            own |= Q(environment_id=environment_id) & (~Q(systems=[]) | Q(flows=[]) | ~foreign)
    return changes.filter(own)


def hidden_flow_names(actor: Actor, names: Collection[str], environment_ids: Collection[int]) -> set[tuple[int, str]]:
    """Return the (environment, name) among these that are flows which the actor may not see: their names are not for them."""
    if actor.is_superuser or not names:
        return set()
    flows = Flow.objects.filter(name__in=names, environment_id__in=environment_ids).order_by()
    return set(flows.exclude(pk__in=visible_flows(actor).order_by().values("pk")).values_list("environment_id", "name"))


def without_hidden_flows(actor: Actor, changes: Iterable[Change]) -> list[Change]:
    """Return changes for reading, without the names of flows that the actor may not see: one query, none without flows."""
    found = list(changes)
    names = {name for change in found for name in change.flows}
    hidden = hidden_flow_names(actor, names, {change.environment_id for change in found})
    for change in found:
        change.flows = [name for name in change.flows if (change.environment_id, name) not in hidden]
    return found


def get_visible_change(actor: Actor, pk: UUID) -> Change:
    return without_hidden_flows(actor, [get_one(visible_changes(actor), "change", pk=pk)])[0]


def can_operate_change(actor: Actor, change: Change) -> bool:
    """Whether the actor may end or withdraw a change: operators of its flows; of the environment when it names a system or nobody's flow."""
    return _changes_of(actor, Role.OPERATOR).filter(pk=change.pk).exists()


def check_can_operate_change(actor: Actor, change: Change) -> None:
    if not can_operate_change(actor, change):
        raise Forbidden(f"only operators of {change.environment.slug}, or of its flows, may do this; you may look")


def can_announce(actor: Actor, environment: Environment) -> bool:
    """Whether the actor may say by hand that something changes there."""
    return actor.has_role(environment.pk, None, Role.OPERATOR)


def check_can_announce(actor: Actor, environment: Environment, flows: Collection[str]) -> None:
    """Raise Forbidden below operator, and NotFound for a flow that is not there for this actor: another team's is as if it were not."""
    if not can_announce(actor, environment):
        raise Forbidden(f"only operators of {environment.slug} announce changes; you may look")
    seen = {flow.name: flow for flow in visible_flows(actor).filter(environment=environment, name__in=flows)}
    for name in flows:
        if name not in seen:
            raise NotFound(f"there is no flow {name[:200]} that you may see")
        check_can_operate(actor, seen[name])


def owner_of_change(change: Change) -> int | None:
    """Return the team whose members alone see this change, None when every member of the environment does; for the audit list."""
    if change.systems or not change.flows:
        return None
    teams = list(
        Flow.objects.filter(environment_id=change.environment_id, name__in=change.flows).values_list(
            "team_id", flat=True
        )
    )
    return None if len(teams) < len(change.flows) or None in teams else min(teams)
