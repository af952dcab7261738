"""Leaves → Django conditions, one maker a kind of field. Each is right under NOT: Django guards the columns that may be null."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import F, Q
from django.db.models.expressions import Combinable
from django.db.models.lookups import GreaterThan, GreaterThanOrEqual, LessThan, LessThanOrEqual

from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_flows
from messages.models import Flow
from messages.search import lookups  # noqa: F401  registers `holds`
from messages.search.fields import nearest
from messages.search.query import Compare, Exists, Leaf, Prefix, Range, Refused, Term
from messages.search.times import NotATime, moment_of, span_of

NOTHING = Q(environment_id__in=[])  # Django knows both, under NOT and OR as well: an empty Q would vanish there
ALL = ~NOTHING
LOOKUPS = {">": GreaterThan, ">=": GreaterThanOrEqual, "<": LessThan, "<=": LessThanOrEqual}
SUFFIX = {">": "__gt", ">=": "__gte", "<": "__lt", "<=": "__lte"}
TURNED = {">": "<", ">=": "<=", "<": ">", "<=": ">="}
MOST_NAMED = 10_000  # rows of the catalogue that one word names


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Who asks, where, and of what time: rows before `since` need not be looked at.

    by_days    whether the days that may have the words of an error are looked for first: a statement for each of them.
    names_of   names mean what was in the catalogue by then; None: what is there now.
    """

    actor: Actor
    environments: Sequence[Environment]
    now: datetime
    since: datetime
    by_days: bool = True
    names_of: datetime | None = None


Condition = Callable[[Leaf, Scope], Q]


def value_of(leaf: Leaf) -> str:
    """Return what is compared; raises Refused for a leaf that compares by order or has no value."""
    if isinstance(leaf, Term | Prefix):
        return leaf.value
    raise Refused(leaf, f"{leaf.field} has no order: write {leaf.field}:value")


def words_in(*columns: str) -> Condition:
    """Return a condition: any of these columns contains the value, whatever the case."""

    def condition(leaf: Leaf, scope: Scope) -> Q:
        if isinstance(leaf, Exists):
            return any_true(Q(**{f"{column}__gt": ""}) for column in columns)
        value = value_of(leaf)
        return any_true(Q(**{f"{column}__holds": value}) for column in columns)

    return condition


def whole(column: str) -> Condition:
    def condition(leaf: Leaf, scope: Scope) -> Q:
        if isinstance(leaf, Exists):
            return Q(**{f"{column}__gt": ""})
        return Q(**{f"{column}__startswith" if isinstance(leaf, Prefix) else column: value_of(leaf)})

    return condition


def one_of(meanings: Mapping[str, Q]) -> Condition:
    """Return a condition over a fixed vocabulary; a word outside of it is refused with the words there are."""

    return lambda leaf, scope: meaning_of(leaf, meanings)


def meaning_of(leaf: Leaf, meanings: Mapping[str, Q]) -> Q:
    """Return what one word of a fixed vocabulary means; raises Refused."""
    if isinstance(leaf, Exists):
        return ALL
    word = value_of(leaf).lower()
    if isinstance(leaf, Term) and word in meanings:
        return meanings[word]
    words = f"{leaf.field} is one of {', '.join(meanings)}, not “{word[:40]}”"
    raise Refused(leaf, words, instead=nearest(word, meanings))


def uuid_of(column: str) -> Condition:
    def condition(leaf: Leaf, scope: Scope) -> Q:
        if isinstance(leaf, Exists):
            return Q(**{f"{column}__isnull": False})
        found = trace_of(value_of(leaf)) if isinstance(leaf, Term) else None
        if isinstance(leaf, Prefix):
            raise Refused(leaf, f"{leaf.field} is compared whole")
        return Q(**{column: found}) if found is not None else NOTHING

    return condition


def trace_of(text: str) -> UUID | None:
    try:
        return UUID(hex=text) if len(text.replace("-", "")) == 32 else None
    except ValueError:
        return None


def time_of(column: str) -> Condition:
    """Return a condition over a time that every row has."""

    def condition(leaf: Leaf, scope: Scope) -> Q:
        low, high = bounds_of(leaf, scope.now)
        found = ALL
        for op, at in (low, high):
            if at is not None:
                found &= Q(**{column + SUFFIX[op]: at})
        return found

    return condition


Bound = tuple[str, datetime | None]
ENDS = {">": (1, ">="), ">=": (0, ">="), "<": (0, "<"), "<=": (1, "<")}


def bounds_of(leaf: Leaf, now: datetime) -> tuple[Bound, Bound]:
    """Return ((op, lower bound), (op, upper bound)) that a leaf of `at` or `age` gives; None where it is open."""
    reading = _aged if (leaf.field or "").lower() == "age" else _timed
    if isinstance(leaf, Exists):
        return (">=", None), ("<", None)
    if isinstance(leaf, Prefix):
        raise Refused(leaf, f"{leaf.field} is compared whole")
    if isinstance(leaf, Range):
        one = reading(leaf, ">=" if leaf.with_low else ">", leaf.low, now)
        other = reading(leaf, "<=" if leaf.with_high else "<", leaf.high, now)
        return (one, other) if one[0].startswith(">") else (other, one)
    if isinstance(leaf, Compare):
        bound = reading(leaf, leaf.op, leaf.value, now)
        return (bound, ("<", None)) if bound[0].startswith(">") else ((">=", None), bound)
    if reading is _aged:  # age:1h, at least so old
        return (">=", None), reading(leaf, ">=", leaf.value, now)
    return reading(leaf, ">=", leaf.value, now), reading(leaf, "<=", leaf.value, now)


def _timed(leaf: Leaf, op: str, text: str, now: datetime) -> Bound:
    try:
        moments = moment_of(text, now=now)
    except NotATime as error:
        raise _unreadable(leaf, error) from error
    if moments[0] == moments[1]:
        return op, moments[0]
    end, op = ENDS[op]
    return op, moments[end]


def _aged(leaf: Leaf, op: str, text: str, now: datetime) -> Bound:
    """Return the time of an age: older than an hour is an earlier time."""
    return TURNED[op], now - _span(leaf, text)


def _span(leaf: Leaf, text: str) -> timedelta:
    try:
        return span_of(text)
    except NotATime as error:
        raise _unreadable(leaf, error) from error


def _unreadable(leaf: Leaf, error: NotATime) -> Refused:
    """Of a range nobody knows which end to write instead: its place is that of both."""
    return Refused(leaf, str(error), instead="" if isinstance(leaf, Range) else error.instead)


def lasting(length: str | Combinable, unit: Callable[[timedelta], Any]) -> Condition:
    """Return a condition over a length of time that every row has. unit: how the database holds it."""
    measured = F(length) if isinstance(length, str) else length

    def condition(leaf: Leaf, scope: Scope) -> Q:
        if isinstance(leaf, Exists):
            return ALL
        if isinstance(leaf, Compare):
            bounds = [(leaf.op, leaf.value)]
        elif isinstance(leaf, Range):
            bounds = [(">=" if leaf.with_low else ">", leaf.low), ("<=" if leaf.with_high else "<", leaf.high)]
        else:
            bounds = [
                (">=", value_of(leaf))
            ]  # duration:2s, at least so long: nothing lasts two seconds to the microsecond
        found = Q()
        for op, text in bounds:
            found &= Q(LOOKUPS[op](measured, unit(_span(leaf, text))))
        return found

    return condition


def named(column: str, model: Any) -> Condition:
    """Return a condition over a row of the catalogue, by its name or, when none has that name, by a word of it."""

    def condition(leaf: Leaf, scope: Scope) -> Q:
        if isinstance(leaf, Exists):
            return Q(**{f"{column}__isnull": False})
        return Q(**{f"{column}__in": ids_named(model, leaf, scope.actor, scope.environments, names_of=scope.names_of)})

    return condition


def ids_named(
    model: Any, leaf: Leaf, actor: Actor, environments: Sequence[Environment], *, names_of: datetime | None = None
) -> list[int]:
    """Return the ids of a catalogue's rows that a leaf names, of those that were there by `names_of`; raises Refused beyond 10,000.

    Each environment by itself: where none of its rows has the name, a word of it is enough, whatever another one has.
    A flow that the actor may not see has no name for them: its like, which they do see, is found by a word of it.
    """
    value, known = value_of(leaf), visible_flows(actor) if model is Flow else model.objects
    rows = known.filter(environment__in=environments).order_by()
    if names_of is not None:
        rows = rows.filter(created_at__lte=names_of)
    lookup = "name__istartswith" if isinstance(leaf, Prefix) else "name__iexact"
    exact = list(rows.filter(**{lookup: value}).values_list("pk", "environment_id")[: MOST_NAMED + 1])
    ids, known_in = [pk for pk, _ in exact], {environment_id for _, environment_id in exact}
    others = [one for one in environments if one.pk not in known_in]
    if others and isinstance(leaf, Term):  # flow:orders finds "orders: shop → erp"
        like = rows.filter(environment__in=others, name__icontains=value)
        ids += like.values_list("pk", flat=True)[: MOST_NAMED + 1 - len(ids)]
    if len(ids) > MOST_NAMED:
        raise Refused(leaf, f"more than {MOST_NAMED:,} are called like “{value[:40]}”: write more of the name")
    return ids


def later(words: str) -> Condition:
    def condition(leaf: Leaf, scope: Scope) -> Q:
        raise Refused(leaf, words, part="field")

    return condition


def any_true(conditions: Any) -> Q:
    found = NOTHING
    for condition in conditions:
        found |= condition
    return found
