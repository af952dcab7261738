"""Why a query may have found nothing: keys and names that nobody has, and words that were meant as operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from console.identity.access import visible_agents
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_flows, visible_systems
from messages.search.fields import fields_of
from messages.search.keys import unseen_keys
from messages.search.query import Leaf, Prefix, Query, Term, leaves_of

NO_KEY = "is no field: taken for a business key, and nothing among the latest 300 that you may see carries it"
VISIBLE: dict[str, Callable[[Actor], Any]] = {
    "flow": visible_flows,
    "via": visible_flows,
    "system": visible_systems,
    "agent": visible_agents,
}
OPERATORS = {"and", "or", "not"}
MOST_NAMES = 5  # that are looked for: a query each, of the catalogue


def slips_of(actor: Actor, environments: Sequence[Environment], query: Query, target: str) -> list[str]:
    """Return clauses for a reader whose query found nothing; [] where nothing in it looks like a slip."""
    keys = [f"{name[:64]} {NO_KEY}" for name in unseen_keys(actor, environments, query, target)]
    leaves = list(leaves_of(query.root))
    return [*keys, *_unknown_names(actor, environments, leaves, target), *_small_operators(query, leaves)]


def _unknown_names(
    actor: Actor, environments: Sequence[Environment], leaves: Sequence[Leaf], target: str
) -> Iterator[str]:
    named = dict.fromkeys((_name(leaf, target), leaf) for leaf in leaves if isinstance(leaf, Term | Prefix))
    for name, leaf in [one for one in named if one[0] in VISIBLE][:MOST_NAMES]:
        lookup = "name__istartswith" if isinstance(leaf, Prefix) else "name__icontains"
        kind = "flow" if name == "via" else name
        if not VISIBLE[name](actor).filter(environment__in=environments, **{lookup: leaf.value}).order_by().exists():
            yield f"{leaf.value[:64]} names no {kind} that you may see"


def _name(leaf: Leaf, target: str) -> str:
    field = fields_of(target).get((leaf.field or "").lower())
    return field.name if field else ""


def _small_operators(query: Query, leaves: Sequence[Leaf]) -> Iterator[str]:
    for leaf in leaves:
        written = query.source[leaf.place.start : leaf.place.end] if leaf.field is None and leaf.place else ""
        if written.lower() in OPERATORS:
            yield f"{written} was looked for as a word: between terms {written.upper()} is written in capitals"
