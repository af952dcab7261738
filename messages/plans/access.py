"""Who may see plans and act on them: whoever sees, or operates, every flow of theirs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from django.db.models import Q, QuerySet

from console.core.errors import Forbidden
from console.identity.access import visible_environments
from console.identity.actor import Actor, actor_of
from console.identity.models import Environment, Role, User
from messages.access import get_one, operated_flows, readable_flows, visible_flows
from messages.models import Flow, Plan, ReplayStop

REFERENCE = re.compile(r"(?:p-?)?([1-9]\d{0,17})", re.ASCII | re.IGNORECASE)


def number_of(text: str) -> int | None:
    """Return the plan's number in `P-12`, `p12` or `12`, None for what is no reference."""
    match = REFERENCE.fullmatch(text.strip())
    return int(match[1]) if match else None


def visible_plans(actor: Actor) -> QuerySet[Plan]:
    """Return the plans all of whose flows the actor may see."""
    plans = Plan.objects.select_related("environment", "group", "connection", "created_by_user")
    plans = plans.defer("edits")  # up to 1 MiB each, for few
    if actor.is_superuser:
        return plans
    seen = list(visible_flows(actor).order_by().values_list("pk", flat=True))
    return plans.filter(environment_id__in=list(actor.grants), flow_ids__contained_by=seen)


def get_visible_plan(actor: Actor, reference: str) -> Plan:
    return get_one(visible_plans(actor), "plan", pk=number_of(reference) or 0)


def check_can_plan(actor: Actor, environment: Environment) -> None:
    """Plans are made by operators: a viewer's would send nothing."""
    if not actor.has_role(environment.pk, None, Role.OPERATOR):
        raise Forbidden(f"only operators of {environment.slug} make plans; you may look")


def can_operate_plan(actor: Actor, plan: Plan) -> bool:
    """Whether the actor operates the flow of everything that the plan sends."""
    if actor.is_superuser:
        return True
    operated = operated_flows(actor, plan.environment).order_by().values_list("pk", flat=True)
    return actor.has_role(plan.environment_id, None, Role.OPERATOR) and set(plan.sent_flow_ids) <= set(operated)


def check_can_operate_plan(actor: Actor, plan: Plan) -> None:
    if not can_operate_plan(actor, plan):
        raise Forbidden("only operators of every flow in this plan may do this")


def can_read_plan_payloads(actor: Actor, plan: Plan) -> bool:
    """Whether the actor may read the bodies and headers of every flow in the plan: its edits may hold values of them."""
    readable = readable_flows(actor).filter(environment=plan.environment).order_by().values_list("pk", flat=True)
    return actor.is_superuser or set(plan.flow_ids) <= set(readable)


def check_can_read_plan_payloads(actor: Actor, plan: Plan) -> None:
    if not can_read_plan_payloads(actor, plan):
        raise Forbidden("only those who may read the payloads of every flow in this plan may do this")


def visible_stops(actor: Actor, environments: Iterable[Environment]) -> QuerySet[ReplayStop]:
    """Return what stops replays there: every member should know, so that nothing stands still unexplained; not of flows they may not see."""
    stops = ReplayStop.objects.filter(environment__in=environments).select_related("flow", "environment")
    if actor.is_superuser:
        return stops
    seen = Q(flow=None) | Q(flow__in=visible_flows(actor).order_by().values("pk"))
    return stops.filter(seen, environment_id__in=list(actor.grants))


def get_visible_stop(actor: Actor, pk: int) -> ReplayStop:
    return get_one(visible_stops(actor, visible_environments(actor)), "stop of replays", pk=pk)


def stoppable_environments(actor: Actor) -> list[Environment]:
    """Return the environments all of whose replays the actor may stop."""
    return [one for one in visible_environments(actor) if actor.has_role(one.pk, None, Role.OPERATOR)]


def check_can_stop(actor: Actor, environment: Environment, flow: Flow | None) -> None:
    """A flow is stopped by its operators, an environment by any of its operators: stopping must be easy at three in the morning."""
    if not actor.has_role(environment.pk, flow.team_id if flow else None, Role.OPERATOR):
        raise Forbidden(f"only operators of {flow or environment.slug} may do this")


def can_see_plan_now(user: User, plan: Plan) -> bool:
    """Whether a person may be told of a plan at this moment: their rights may have changed since they made it."""
    return user.is_active and visible_plans(actor_of(user, via="system")).filter(pk=plan.pk).exists()


def can_plan_in(actor: Actor, environment: Environment) -> bool:
    """Whether the actor may make plans there, and stop all replays: whoever operates something in this environment."""
    return actor.has_role(environment.pk, None, Role.OPERATOR)


def can_stop(actor: Actor, environment: Environment, flow: Flow | None) -> bool:
    return actor.has_role(environment.pk, flow.team_id if flow else None, Role.OPERATOR)
