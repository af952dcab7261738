"""How far back a query asks by itself: its `at`, `age` and `failed`, and ids and keys, which look through everything. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from messages.search.conditions import bounds_of
from messages.search.of_events import A_DAY_OFF
from messages.search.postgres import Target, is_exact
from messages.search.query import And, Node, Not, Or, Query, Refused, all_of, any_of
from messages.search.window import EARLIEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What is around a part of a query.   usual: from when lists show rows at first."""

    query: Query
    target: Target
    now: datetime
    usual: datetime
    exact: bool = False
    low: datetime | None = None
    high: datetime | None = None


def reach_of(query: Query, target: Target, *, now: datetime, usual: datetime) -> datetime:
    """Return the time from which rows may be meant, EARLIEST when any may be. Raises BadQuery.

    Alternatives reach as far as the farthest of them, when each says how far; else as far as is usual.
    """
    around = Reach(query=query, target=target, now=now, usual=usual)
    return _since(_straight(query.root), around) or usual


def _straight(node: Node, negated: bool = False) -> Node:
    """Return the same with NOT beside leaves alone."""
    if isinstance(node, Not):
        return _straight(node.of, not negated)
    if isinstance(node, And | Or):
        joined = any_of if isinstance(node, Or) != negated else all_of
        return joined(*(_straight(part, negated) for part in node.parts))
    return Not(node) if negated else node


def _since(node: Node, around: Reach) -> datetime | None:
    """Return from when this part means rows, within what is around it; None where nothing says it."""
    if isinstance(node, Or):
        sinces = [_since(part, around) for part in node.parts]
        said = [one for one in sinces if one is not None]
        return min(said) if said and len(said) == len(sinces) else None
    low, high = around.low, around.high
    parts = node.parts if isinstance(node, And) else (node,)
    for part in parts:
        since, until = _times(part, around)
        low = max(filter(None, (low, since)), default=None)
        high = min(filter(None, (high, until)), default=None)
    within = replace(around, low=low, high=high, exact=around.exact or is_exact(node, around.target))
    alternatives = [_since(part, within) for part in parts if isinstance(part, Or)]
    return max(filter(None, alternatives), default=_own(within))


def _own(around: Reach) -> datetime | None:
    if around.low is not None:
        return around.low
    if around.exact or (around.high is not None and around.high <= around.usual):
        return EARLIEST
    return None if around.high is None else around.usual


def _times(part: Node, around: Reach) -> tuple[datetime | None, datetime | None]:
    leaf = part.of if isinstance(part, Not) else part
    if isinstance(leaf, And | Or | Not):
        return None, None
    name = (leaf.field or "").lower()
    failed = name == "failed" and name in around.target.fields
    if name not in ("at", "age") and (not failed or isinstance(part, Not)):
        return None, None
    try:
        (_, low), (_, high) = bounds_of(leaf, around.now)
    except Refused as refused:
        raise around.query.refusal(refused) from refused
    if isinstance(part, Not):  # what is not younger than a day is older; outside of two times is everywhere
        return (high, low) if low is None or high is None else (None, None)
    if failed and low is not None:  # it was first seen before it failed
        low = max(EARLIEST, low - A_DAY_OFF)
    return low, high
