"""The query tree → conditions over changes: words, kind, system, flow, version, author, outcome, id."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import Q

from messages.models import Change
from messages.search.parse import And, BadQuery, Node, Not, Or, Term

TEXTS = ("title", "version", "author", "external_id")
HiddenFlow = Callable[[str], bool]


def condition_of(node: Node, *, is_hidden: HiddenFlow) -> Q:
    """Return the condition of a query; raises BadQuery. is_hidden: whether a name is a flow that the reader may not see."""
    if isinstance(node, And):
        condition = Q()
        for part in node.parts:
            condition &= condition_of(part, is_hidden=is_hidden)
        return condition
    if isinstance(node, Or):
        condition = condition_of(node.parts[0], is_hidden=is_hidden)
        for part in node.parts[1:]:
            condition |= condition_of(part, is_hidden=is_hidden)
        return condition
    if isinstance(node, Not):
        return ~condition_of(node.of, is_hidden=is_hidden)
    return _term(node, is_hidden)


def _term(term: Term, is_hidden: HiddenFlow) -> Q:
    if term.op != "=":
        raise BadQuery("changes are bounded in time by the window, not by < and >")
    value = term.value
    match (term.field or "").lower():
        case "":
            condition = Q(systems__contains=[value])
            for text in TEXTS:
                condition |= Q(**{f"{text}__icontains": value})
            return condition
        case "kind":
            return Q(kind=_one_of(value, Change.Kind.values, "kind"))
        case "outcome":
            return Q(outcome=_one_of(value, Change.Outcome.values[1:], "outcome"))
        case "system":
            return Q(systems__contains=[value])
        case "flow":
            return Q(pk__in=[]) if is_hidden(value) else Q(flows__contains=[value])
        case "version":
            return Q(version__istartswith=value) if term.prefix else Q(version__iexact=value)
        case "author":
            return Q(author__iexact=value)
        case "id":
            return Q(external_id=value)
    raise BadQuery(
        f"a change has no {(term.field or '')[:40]}: ask for kind, system, flow, version, author, outcome or id"
    )


def _one_of(value: str, known: list[str], what: str) -> str:
    if value.lower() not in known:
        raise BadQuery(f"{what} is one of {', '.join(known)}")
    return value.lower()
