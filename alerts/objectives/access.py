"""Who may see and change objectives: whoever sees the flow sees its promises, its operators make and change them.

One on a saved search is seen by the person who made it and by the team that the search was shared with; they alone change it.
"""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet

from alerts.models import Exclusion, Objective
from console.core.errors import Forbidden
from console.identity.access import visible_environments
from console.identity.actor import Actor
from console.identity.models import Role
from messages.access import can_operate, get_one, visible_flows


def visible_objectives(actor: Actor) -> QuerySet[Objective]:
    """Return the objectives of the flows that the actor may see, and those of searches that are theirs or their teams'."""
    rows = Objective.objects.select_related(
        "environment", "flow__team", "flow__environment", "standing", "owner", "team", "search"
    )
    if actor.is_superuser:
        return rows
    flows = visible_flows(actor).order_by().values("pk")
    own = Q(flow__in=flows)
    for environment_id, teams in actor.grants.items():
        mine = Q(team_id__in=list(teams))
        if actor.user_id is not None:
            mine |= Q(owner_id=actor.user_id)
        own |= Q(flow__isnull=True, environment_id=environment_id) & mine
    return rows.filter(own, environment__in=visible_environments(actor).values("pk"))


def get_visible_objective(actor: Actor, pk: int) -> Objective:
    return get_one(visible_objectives(actor), "objective", pk=pk)


def can_change_objective(actor: Actor, one: Objective) -> bool:
    """Whether the actor may change the promise and what does not count for it: operators of its flow, or of the search's team, and its maker."""
    if one.flow is not None:
        return can_operate(actor, one.flow)
    if actor.is_superuser or (
        one.owner_id is not None and one.owner_id == actor.user_id and one.environment_id in actor.grants
    ):
        return True
    return one.team_id is not None and actor.has_role(one.environment_id, one.team_id, Role.OPERATOR)


def check_can_change_objective(actor: Actor, one: Objective) -> None:
    if not can_change_objective(actor, one):
        whose = (one.flow.team or one.environment) if one.flow else (one.team or one.owner or one.environment)
        raise Forbidden(f"only operators of {whose} may change the objective {one.name}; you may look")


def check_can_promise(actor: Actor) -> int:
    """Return whose an objective on a saved search is: a person's, with whose rights it is counted; raises Forbidden."""
    if actor.user_id is None:
        raise Forbidden(
            "an objective on a saved search is counted with a person's rights: sign in, or use a person's key"
        )
    return actor.user_id


def visible_exclusions(actor: Actor) -> QuerySet[Exclusion]:
    """Return the exclusions of the objectives and flows that the actor may see."""
    rows = Exclusion.objects.select_related(
        "environment", "objective__flow__team", "objective__environment", "flow__team", "flow__environment"
    )
    if actor.is_superuser:
        return rows
    flows = visible_flows(actor).order_by().values("pk")
    return rows.filter(Q(flow__in=flows) | Q(objective__in=visible_objectives(actor).order_by().values("pk")))


def get_visible_exclusion(actor: Actor, pk: UUID) -> Exclusion:
    return get_one(visible_exclusions(actor), "exclusion", pk=pk)


def check_can_withdraw(actor: Actor, one: Exclusion) -> None:
    if one.flow is not None:
        if not can_operate(actor, one.flow):
            raise Forbidden(
                f"only operators of {one.flow.team or one.environment} may do this to {one.flow.name}; you may look"
            )
    elif one.objective is not None:
        check_can_change_objective(actor, one.objective)
