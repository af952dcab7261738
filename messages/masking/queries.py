"""Reads of masking rules. Every member of an environment sees its rules and those of flows they see: they explain every •••."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet, Sum

from console.core.errors import NotFound
from console.identity.access import can_administer, check_can_administer, visible_environments
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_flows
from messages.masking.rules import Rule
from messages.models import Flow, MaskingHit, MaskingRule

DAY = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleLine:
    """A rule with what it did in 24 hours: values replaced, and of them bodies and texts not stored because it could not be applied."""

    rule: MaskingRule
    masked: int
    dropped: int


def as_rule(row: MaskingRule) -> Rule:
    return Rule(
        id=row.pk,
        flow_id=row.flow_id,
        kind=row.kind,
        expression=row.expression,
        keep_last=row.keep_last,
        drop=row.drop_unreadable,
    )


def visible_masking_rules(actor: Actor, environment: Environment) -> QuerySet[MaskingRule]:
    """Return the rules in their order: all of them for administrators, else those of every flow and of flows the actor sees."""
    rules = MaskingRule.objects.filter(environment=environment).select_related("flow", "environment")
    if can_administer(actor, environment):
        return rules
    return rules.filter(Q(flow=None) | Q(flow__in=visible_flows(actor).order_by().values("pk")))


def masking_lines(actor: Actor, environment: Environment, *, now: datetime) -> list[RuleLine]:
    """Return the rules that the actor sees with what they did in 24 hours; two queries."""
    rules = list(visible_masking_rules(actor, environment))
    hits = {
        rule: (masked, dropped)
        for rule, masked, dropped in MaskingHit.objects.filter(rule__in=rules, hour__gt=now - DAY)
        .order_by()
        .values_list("rule_id")
        .annotate(Sum("masked"), Sum("dropped"))
    }
    return [
        RuleLine(rule=rule, masked=hits.get(rule.pk, (0, 0))[0], dropped=hits.get(rule.pk, (0, 0))[1]) for rule in rules
    ]


def find_masking_rule(actor: Actor, pk: int) -> MaskingRule:
    """Return a rule for someone who may change it; raises NotFound, or Forbidden when they may only look."""
    rule = MaskingRule.objects.select_related("environment", "flow").filter(pk=pk).first()
    if rule is None or not visible_environments(actor).filter(pk=rule.environment_id).exists():
        raise NotFound("there is no such masking rule that you may see")
    if not visible_masking_rules(actor, rule.environment).filter(pk=pk).exists():
        raise NotFound("there is no such masking rule that you may see")
    check_can_administer(actor, rule.environment)
    return rule


def find_flow(actor: Actor, environment: Environment, name: str) -> Flow | None:
    """Return the flow of this name, None for an empty one; raises NotFound. Makes none: a typing error must not leave a hole."""
    name = name.replace("\x00", "").strip()
    if not name:
        return None
    found = visible_flows(actor).filter(environment=environment, name=name).first()
    if found is None:
        raise NotFound(f"there is no flow “{name[:80]}” in {environment.slug} that you may see")
    return found


def masked_words(masked: Mapping[str, int] | None) -> str:
    """Return "3 values masked by rules 4 and 7", "" for nothing."""
    if not masked:
        return ""
    count, rules = sum(masked.values()), sorted(masked, key=int)
    named = " and ".join([", ".join(rules[:-1]), rules[-1]] if len(rules) > 1 else rules)
    return f"{count:,} value{'' if count == 1 else 's'} masked by rule{'' if len(rules) == 1 else 's'} {named}"
