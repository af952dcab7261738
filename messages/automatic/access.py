"""Who may see rules that replay by themselves, and who may make them: the operators of the environment, as with grouping rules."""

from __future__ import annotations

from dataclasses import replace

from django.db.models import Q, QuerySet

from console.core.errors import Forbidden
from console.identity.actor import Actor, actor_of
from console.identity.models import Environment, Role
from messages.access import can_operate, check_can_operate, get_one, visible_flows
from messages.models import AutomaticRule, FailureGroup


def visible_rules(actor: Actor) -> QuerySet[AutomaticRule]:
    """Return the rules of the actor's environments; one of a group only to who sees the group's flow."""
    rules = AutomaticRule.objects.select_related("environment", "group__flow__team", "author")
    if actor.is_superuser:
        return rules
    seen = Q(group=None) | Q(group__flow__in=visible_flows(actor).order_by().values("pk"))
    return rules.filter(seen, environment_id__in=list(actor.grants))


def get_visible_rule(actor: Actor, pk: int) -> AutomaticRule:
    return get_one(visible_rules(actor), "replay rule", pk=pk)


def can_rule(actor: Actor, environment: Environment) -> bool:
    """Whether the actor may have failures replayed by themselves there."""
    return actor.has_role(environment.pk, None, Role.OPERATOR)


def check_can_rule(actor: Actor, environment: Environment, group: FailureGroup | None = None) -> None:
    """Raise Forbidden for who does not operate in the environment, or not the flow of the rule's group."""
    if not can_rule(actor, environment):
        raise Forbidden(f"only operators of {environment.slug} make its replay rules; you may look")
    if group is not None:
        check_can_operate(actor, group.flow)


def check_can_answer(actor: Actor) -> int:
    """Return who answers for a rule: a person, under whose rights it acts. Raises Forbidden for a command or the system."""
    if actor.user_id is None:
        raise Forbidden("a replay rule acts under the rights of a person: sign in, or use a person's key")
    return actor.user_id


def actor_of_rule(rule: AutomaticRule) -> Actor | None:
    """Return as whom a rule acts: with the rights that its author has at this moment; None without an author who may sign in."""
    if rule.author is None or not rule.author.is_active:
        return None
    return replace(actor_of(rule.author, via="system"), name=name_of_rule(rule))


def name_of_rule(rule: AutomaticRule) -> str:
    """Return what plans, replays and the audit list call a rule."""
    return f"automatic: {rule.name}"


def why_lost(rule: AutomaticRule, actor: Actor | None) -> str:
    """Return why a rule may not act any more, in words; "" while its author has the rights to."""
    if actor is None:
        return "its author's account is switched off" if rule.author else "its author is gone"
    author = rule.author.username if rule.author else ""
    if not can_rule(actor, rule.environment):
        return f"{author}, its author, is no operator of {rule.environment.slug} any more"
    if rule.group is not None and not can_operate(actor, rule.group.flow):
        return f"{author}, its author, may not operate {rule.group.flow.name} any more"
    return ""
