"""Reads of masking rules, and the words of what they did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Sum

from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import get_visible_flow_named, visible_masking_rules
from messages.masking.hashes import key_of_environment, keyed_hash
from messages.masking.rules import Rule
from messages.models import Flow, MaskingHit, MaskingRule
from messages.payloads.master import master_keys

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
        found_as=row.found_as,
        hash_key=key_of_environment(master_keys()[0], row.environment_id) if row.found_as else b"",
    )


def hashes_of(environments: Sequence[Environment], name: str, value: str) -> list[str]:
    """Return what a value that was masked in these environments stands as among the business keys of this name.

    After a change of the master key those under the one before it as well, as long as that is kept.
    """
    if not environments:
        return []
    found = MaskingRule.objects.filter(environment__in=environments, found_as=name).order_by()
    where = sorted(set(found.values_list("environment_id", flat=True)))
    return [keyed_hash(key_of_environment(key, pk), name, value) for pk in where for key in master_keys()]


def masking_lines(actor: Actor, environment: Environment, *, now: datetime) -> list[RuleLine]:
    """Return the rules that the actor sees with what they did in 24 hours; two queries."""
    rules = list(visible_masking_rules(actor).filter(environment=environment))
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


def find_flow(actor: Actor, environment: Environment, name: str) -> Flow | None:
    """Return the flow of this name, None for an empty one; raises NotFound. Makes none: a typing error must not leave a hole."""
    name = name.replace("\x00", "").strip()
    return get_visible_flow_named(actor, environment, name) if name else None


def masked_words(masked: Mapping[str, int] | None) -> str:
    """Return "3 values masked by rules 4 and 7", "" for nothing."""
    if not masked:
        return ""
    count, rules = sum(masked.values()), sorted(masked, key=int)
    named = " and ".join([", ".join(rules[:-1]), rules[-1]] if len(rules) > 1 else rules)
    return f"{count:,} value{'' if count == 1 else 's'} masked by rule{'' if len(rules) == 1 else 's'} {named}"
