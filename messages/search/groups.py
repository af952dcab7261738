"""`group:G-204`: what belongs to a failure group, with what was merged into it."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import CharField, Q
from django.db.models.functions import Cast

from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import flows_to_narrow_to, visible_messages
from messages.groups.access import visible_groups
from messages.groups.reference import number_of
from messages.models import FailureGroup
from messages.models.groups import FURTHEST_FIRST
from messages.search.conditions import Scope, value_of
from messages.search.query import Exists, Leaf, Prefix, Refused


def of_group(leaf: Leaf, scope: Scope) -> Q:
    """Return the condition over messages and dead letters, which know their group: one group is one place in an index."""
    if isinstance(leaf, Exists):
        narrowed = flows_to_narrow_to(scope.actor)
        seen = {} if narrowed is None else {"group_id__in": visible_groups(scope.actor).order_by().values("pk")}
        return Q(group__isnull=False, **seen)
    pks = groups_called(leaf, scope.actor, scope.environments)
    return Q(group_id=pks[0]) if len(pks) == 1 else Q(group_id__in=pks)


def groups_called(leaf: Leaf, actor: Actor, environments: Sequence[Environment]) -> list[int]:
    """Return the id of the group of this reference and of what was merged into it; raises Refused for one that the actor may not see, too."""
    value = value_of(leaf)
    number = number_of(value)
    if isinstance(leaf, Prefix) or number is None:
        raise Refused(leaf, f"a failure group is called by its reference, such as G-204, not “{value[:40]}”")
    groups = visible_groups(actor).filter(environment__in=environments).order_by()
    pks = sorted(groups.filter(Q(pk=number) | Q(merged_into=number)).values_list("pk", flat=True))
    if number not in pks:
        raise Refused(
            leaf,
            f"there is no failure group {value[:40]} here, or none that you may see: the list of failures has those there are",
        )
    return pks


def event_of_group(leaf: Leaf, scope: Scope) -> Q:
    """An event has no group of its own: it is one of a message that has."""
    messages = visible_messages(scope.actor).filter(of_group(leaf, scope), environment__in=scope.environments)
    return Q(message_uid__in=messages.order_by().values("id"))


def named_groups(actor: Actor, environments: Sequence[Environment], word: str, *, most: int) -> list[FailureGroup]:
    """Return groups to offer: those whose reference begins with what is written or whose heading has it, what reaches furthest first."""
    groups = visible_groups(actor).filter(environment__in=environments, merged_into=None).order_by(*FURTHEST_FIRST)
    number = number_of(word)
    if number is not None:
        groups = groups.annotate(number=Cast("pk", CharField())).filter(number__startswith=str(number))
    elif len(word) > 2:
        groups = groups.filter(Q(title__icontains=word) | Q(error_type__icontains=word) | Q(name__icontains=word))
    return list(groups[:most])
