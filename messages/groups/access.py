"""Who may see failure groups and say which failures belong together: whoever sees the flow, and the operators."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, QuerySet

from console.core.errors import Forbidden
from console.identity.actor import Actor
from console.identity.models import Environment, Role, Team, User
from messages.access import get_one, of_visible_flows, operated_flows, visible_flows
from messages.groups.reference import number_of
from messages.models import FailureGroup, Flow, GroupRule


def visible_groups(actor: Actor) -> QuerySet[FailureGroup]:
    """Return the failure groups of the flows that the actor may see: a group is of one flow."""
    return of_visible_flows(FailureGroup.objects.select_related("flow__team", "environment", "owner"), actor)


def get_visible_group(actor: Actor, reference: str) -> FailureGroup:
    return get_one(visible_groups(actor), "failure group", pk=number_of(reference) or 0)


def visible_group_rules(actor: Actor) -> QuerySet[GroupRule]:
    """Return the grouping rules that tell nothing of flows hidden from the actor: those for the actor's teams alone, whatever they name;
    others, of the actor's teams or of all, unless they name one flow that the actor may not see.
    """
    rules = GroupRule.objects.select_related("environment")
    if actor.is_superuser:
        return rules
    own = shared = Q(pk__in=[])
    for environment_id, teams in actor.grants.items():
        here = Q(environment_id=environment_id)
        own |= here & Q(teams__contained_by=list(teams))
        shared |= here & (Q(teams=None) | Q(teams__overlap=list(teams)))
    named = Flow.objects.filter(environment=OuterRef("environment_id"), name__iexact=OuterRef("flow"))
    seen = visible_flows(actor).filter(environment=OuterRef("environment_id"), name__iexact=OuterRef("flow"))
    return rules.filter(own | shared & (Exists(seen) | ~Exists(named)))


def get_visible_group_rule(actor: Actor, pk: int) -> GroupRule:
    return get_one(visible_group_rules(actor), "grouping rule", pk=pk)


def can_group(actor: Actor, environment: Environment) -> bool:
    """Whether the actor may say which failures belong together there: its operators."""
    return actor.has_role(environment.pk, None, Role.OPERATOR)


def check_can_group(actor: Actor, environment: Environment) -> None:
    if not can_group(actor, environment):
        raise Forbidden(f"only operators of {environment.slug} change its grouping rules; you may look")


def teams_to_group(actor: Actor, environment: Environment) -> list[int] | None:
    """Return the teams on whose flows a rule of this actor acts: those that they operate there; None for every flow."""
    if actor.is_superuser:
        return None
    held = actor.grants.get(environment.pk, {})
    return sorted(team for team, role in held.items() if role >= Role.OPERATOR)


def teams_of_rule(actor: Actor, environment: Environment, rule: GroupRule | None) -> list[str] | None:
    """Return the names of the actor's teams on whose flows the rule acts, None: a new one; None for every flow."""
    pks = rule.teams if rule else teams_to_group(actor, environment)
    if pks is None:
        return None
    own = pks if actor.is_superuser else [pk for pk in pks if pk in actor.grants.get(environment.pk, {})]
    return list(Team.objects.filter(pk__in=own).order_by("name").values_list("name", flat=True))


def can_change_group_rule(actor: Actor, rule: GroupRule) -> bool:
    """Whether the actor operates all that the rule acts on: its teams; of a rule for every flow, the one flow that it names, or all there."""
    if actor.is_superuser:
        return True
    if not can_group(actor, rule.environment):
        return False
    if rule.teams is not None:
        return all(actor.has_role(rule.environment_id, team, Role.OPERATOR) for team in rule.teams)
    flows = Flow.objects.filter(environment=rule.environment_id)
    others = flows.exclude(pk__in=operated_flows(actor, rule.environment).values("pk"))
    named = flows.filter(name__iexact=rule.flow)
    return not (others.filter(name__iexact=rule.flow) if named.exists() else others).exists()


def check_can_change_group_rule(actor: Actor, rule: GroupRule) -> None:
    check_can_group(actor, rule.environment)
    if not can_change_group_rule(actor, rule):
        raise Forbidden(f"“{rule.name}” acts on flows of teams that you do not operate; you may look")


def possible_owners(flow: Flow) -> QuerySet[User]:
    """Return who may own a failure of this flow: its operators, by name."""
    held = Q(memberships__environment=flow.environment_id, memberships__role__gte=Role.OPERATOR)
    if flow.team_id is not None:
        held &= Q(memberships__team=flow.team_id)
    return User.objects.filter(Q(is_superuser=True) | held, is_active=True).order_by("username").distinct()
