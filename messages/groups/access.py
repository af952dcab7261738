"""Who may see failure groups and say which failures belong together: whoever sees the flow, and the operators."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, QuerySet

from console.core.errors import Forbidden
from console.identity.actor import Actor
from console.identity.models import Environment, Role, User
from messages.access import get_one, of_visible_flows, visible_flows
from messages.groups.reference import number_of
from messages.models import FailureGroup, Flow, GroupRule


def visible_groups(actor: Actor) -> QuerySet[FailureGroup]:
    """Return the failure groups of the flows that the actor may see: a group is of one flow."""
    return of_visible_flows(FailureGroup.objects.select_related("flow__team", "environment", "owner"), actor)


def get_visible_group(actor: Actor, reference: str) -> FailureGroup:
    return get_one(visible_groups(actor), "failure group", pk=number_of(reference) or 0)


def visible_group_rules(actor: Actor) -> QuerySet[GroupRule]:
    """Return the grouping rules of the actor's environments, but those of one flow that they may not see: its failures are told in it."""
    rules = GroupRule.objects.select_related("environment")
    if actor.is_superuser:
        return rules
    named = Flow.objects.filter(environment=OuterRef("environment_id"), name__iexact=OuterRef("flow"))
    seen = visible_flows(actor).filter(environment=OuterRef("environment_id"), name__iexact=OuterRef("flow"))
    return rules.filter(Exists(seen) | ~Exists(named), environment_id__in=list(actor.grants))


def get_visible_group_rule(actor: Actor, pk: int) -> GroupRule:
    return get_one(visible_group_rules(actor), "grouping rule", pk=pk)


def can_group(actor: Actor, environment: Environment) -> bool:
    """Whether the actor may say which failures belong together there: its operators."""
    return actor.has_role(environment.pk, None, Role.OPERATOR)


def check_can_group(actor: Actor, environment: Environment) -> None:
    if not can_group(actor, environment):
        raise Forbidden(f"only operators of {environment.slug} change its grouping rules; you may look")


def possible_owners(flow: Flow) -> QuerySet[User]:
    """Return who may own a failure of this flow: its operators, by name."""
    held = Q(memberships__environment=flow.environment_id, memberships__role__gte=Role.OPERATOR)
    if flow.team_id is not None:
        held &= Q(memberships__team=flow.team_id)
    return User.objects.filter(Q(is_superuser=True) | held, is_active=True).order_by("username").distinct()
