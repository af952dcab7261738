"""The names of business keys that a reader can ask for: those that rules give, and those on the latest rows they may see."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_flows
from messages.models import DeadLetter, KeyRule, Message
from messages.search.fields import fields_of
from messages.search.query import Query

LATEST = 300  # rows looked at, of each kind, whoever may see them: the newest in an index, so that the time is bounded
WITHIN = timedelta(days=7)


def known_keys(actor: Actor, environments: Sequence[Environment]) -> set[str]:
    """Return names of business keys; two queries, and two an environment. Only names leave this function."""
    rules = KeyRule.objects.filter(environment__in=environments).values_list("attribute", "key_name")
    names = {name or attribute for attribute, name in rules if name or "*" not in attribute}
    latest = [row for environment in environments for row in _latest(environment)]
    seen = visible_flows(actor).filter(pk__in={flow for flows, _ in latest for flow in flows}).order_by()
    visible = set(seen.values_list("pk", flat=True)) if latest else set()
    return names | {name for flows, keys in latest if visible >= flows for name in keys}


def unseen_keys(actor: Actor, environments: Sequence[Environment], query: Query, target: str) -> list[str]:
    """Return the names in a query that were taken for business keys and that no rule and none of the latest rows has: perhaps slips."""
    named = sorted(name for name in query.fields if name.lower() not in fields_of(target))
    known = known_keys(actor, environments) if named else set()
    return [name for name in named if name.removeprefix("key.") not in known]


def _latest(environment: Environment) -> list[tuple[set[int], dict[str, str]]]:
    """Return (the flows that told of them, business keys) of the latest rows."""
    now = datetime.now(UTC)
    messages = Message.objects.filter(
        environment=environment, first_seen_on__gte=(now - WITHIN).date(), first_seen_at__gte=now - WITHIN
    ).order_by("-first_seen_at", "-id")
    letters = DeadLetter.objects.filter(environment=environment).order_by("-id")
    told = messages.values_list("flow_id", "told_by", "keys")[:LATEST]
    return [({flow, *(others or ())}, keys) for flow, others, keys in told] + [
        ({flow}, keys) for flow, keys in letters.values_list("flow_id", "keys")[:LATEST]
    ]
