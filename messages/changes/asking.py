"""A query → conditions over changes: words, kind, system, flow, version, author, outcome, id."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import Q

from messages.models import Change
from messages.search.conditions import NOTHING, meaning_of, value_of
from messages.search.fields import fields_of, nearest
from messages.search.postgres import asked
from messages.search.query import Leaf, Prefix, Query, Refused

TEXTS = ("title", "version", "author", "external_id")
KINDS = {kind: Q(kind=kind) for kind in Change.Kind.values}
OUTCOMES = {outcome: Q(outcome=outcome) for outcome in Change.Outcome.values[1:]}
HiddenFlow = Callable[[str], bool]


def condition_of(query: Query, *, is_hidden: HiddenFlow) -> Q:
    """Return the condition of a query; raises BadQuery. is_hidden: whether a name is a flow that the reader may not see."""
    return asked(query, lambda leaf: _leaf(leaf, is_hidden))


def _leaf(leaf: Leaf, is_hidden: HiddenFlow) -> Q:
    name = (leaf.field or "").lower()
    if name and name not in fields_of("changes"):
        near = nearest(name, fields_of("changes"))
        known = ", ".join(fields_of("changes"))
        raise Refused(leaf, f"a change has no {name[:40]}: ask for {known}", part="field", instead=near)
    value = _value(leaf)
    match name:
        case "":
            condition = Q(systems__contains=[value])
            for text in TEXTS:
                condition |= Q(**{f"{text}__icontains": value})
            return condition
        case "kind" | "outcome":
            return meaning_of(leaf, KINDS if name == "kind" else OUTCOMES)
        case "system":
            return Q(systems__contains=[value])
        case "flow":
            return NOTHING if is_hidden(value) else Q(flows__contains=[value])
        case "version":
            return Q(version__istartswith=value) if isinstance(leaf, Prefix) else Q(version__iexact=value)
        case "author":
            return Q(author__istartswith=value) if isinstance(leaf, Prefix) else Q(author__iexact=value)
    return Q(external_id__startswith=value) if isinstance(leaf, Prefix) else Q(external_id=value)


def _value(leaf: Leaf) -> str:
    try:
        return value_of(leaf)
    except Refused as refused:
        raise Refused(
            leaf, "changes are bounded in time by the window, not by < and >, and every field has a value"
        ) from refused
