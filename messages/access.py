"""Who may see and do what with flows, messages, events, dead letters, replays and connections.

This is the only way to fetch them for an actor: every queryset starts here, so permission is decided once per object.
A flow belongs to a team; one without a team is visible to every member of its environment, so that nothing is invisible.
What an actor may not see does not exist for them (NotFound); what they see and may not do is Forbidden.
"""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet

from console.core.errors import Forbidden, NotFound
from console.identity.access import visible_environments
from console.identity.actor import Actor
from console.identity.models import Environment, Role, Team
from messages.models import Connection, DeadLetter, Event, Flow, IngestReject, Message, Replay, System

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


def _of_visible_flows(rows: QuerySet[M], actor: Actor) -> QuerySet[M]:
    if actor.is_superuser:
        return rows
    return rows.filter(environment_id__in=list(actor.grants), flow_id__in=visible_flows(actor).order_by().values("pk"))


def visible_messages(actor: Actor) -> QuerySet[Message]:
    return _of_visible_flows(Message.objects.all(), actor)


def visible_events(actor: Actor) -> QuerySet[Event]:
    return _of_visible_flows(Event.objects.all(), actor)


def visible_dead_letters(actor: Actor) -> QuerySet[DeadLetter]:
    return _of_visible_flows(DeadLetter.objects.select_related("flow__team", "system", "environment"), actor)


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
    return Connection.objects.filter(environment__in=visible_environments(actor)).select_related("environment")


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
    return _get(visible_rejects(actor), "refused item", pk=pk)


def check_can_operate_rejects(actor: Actor, reject: IngestReject) -> None:
    """Who sees a refused item may read and mend it: it is looked up again, because the item may have been read long ago."""
    if not visible_rejects(actor).filter(pk=reject.pk).exists():
        raise Forbidden("only operators of its flow, or of its environment, may do this")


def _get(rows: QuerySet[M], what: str, **by: Any) -> M:
    found = rows.filter(**by).first()
    if found is None:
        raise NotFound(f"there is no such {what} that you may see")
    return found


def get_visible_flow(actor: Actor, pk: int) -> Flow:
    return _get(visible_flows(actor), "flow", pk=pk)


def get_visible_message(actor: Actor, pk: UUID) -> Message:
    return _get(visible_messages(actor), "message", id=pk)


def get_visible_event(actor: Actor, pk: UUID) -> Event:
    return _get(visible_events(actor), "event", id=pk)


def get_visible_dead_letter(actor: Actor, pk: UUID) -> DeadLetter:
    return _get(visible_dead_letters(actor), "dead letter", pk=pk)


def get_visible_system(actor: Actor, pk: int) -> System:
    return _get(visible_systems(actor), "system", pk=pk)


def get_visible_connection(actor: Actor, pk: int) -> Connection:
    return _get(visible_connections(actor), "connection", pk=pk)


def can_operate(actor: Actor, flow: Flow) -> bool:
    """Whether the actor may replay, discard and restore dead letters of this flow."""
    return actor.has_role(flow.environment_id, flow.team_id, Role.OPERATOR)


def check_can_operate(actor: Actor, flow: Flow) -> None:
    if not can_operate(actor, flow):
        raise Forbidden(f"only operators of {flow.team or flow.environment} may do this to {flow.name}; you may look")


def can_read_payload(actor: Actor, flow: Flow) -> bool:
    """Whether the actor may read bodies and headers of this flow: operators may, viewers see metadata only."""
    return actor.has_role(flow.environment_id, flow.team_id, Role.OPERATOR)


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
