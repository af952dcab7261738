"""A search as one immutable object: what the search box, a saved search, a plan's selection, an objective and REST hold. Pure.

The nodes are ours: luqum only reads them (parse.py), a back end only visits them (postgres.py). A node is equal to another
when it means the same by its form; where it stood in the text (`place`) does not count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import Any

from console.core.errors import Invalid
from messages.search.quoting import quoted


class BadQuery(Invalid):
    """The query cannot be read or asked; the sentence says where.

    column      from 1, where the input goes wrong; None when that is no one place.
    suggestion  a whole query that can be sent in its stead; empty when there is none.
    """

    code = "bad_query"

    def __init__(self, detail: str, column: int | None = None, suggestion: str = "") -> None:
        super().__init__(f"{detail} (at column {column})" if column else detail)
        self.detail, self.column, self.suggestion = detail, column, suggestion

    @property
    def more(self) -> dict[str, Any]:
        found = {"column": self.column, "suggestion": self.suggestion}
        return {name: value for name, value in found.items() if value}


class SearchAway(BadQuery):
    """Only the back end that does not answer now can answer this query: it asks for words of payloads."""

    status = 503
    code = "search_away"
    again = "Yes, in a minute."


@dataclass(frozen=True, slots=True)
class Place:
    """Where a leaf stands in the reader's text: offsets from 0 of its value and of its field's name, -1 without a field."""

    start: int
    end: int
    field_start: int = -1
    field_end: int = -1


@dataclass(frozen=True, slots=True)
class Term:
    """field:value, a word or a phrase; without a field it is free text."""

    field: str | None
    value: str
    place: Place | None = dataclass_field(default=None, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Prefix:
    """field:value*"""

    field: str | None
    value: str
    place: Place | None = dataclass_field(default=None, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Exists:
    """field:*, any value at all."""

    field: str
    place: Place | None = dataclass_field(default=None, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Compare:
    """field:>value; op is one of >, >=, <, <=."""

    field: str
    op: str
    value: str
    place: Place | None = dataclass_field(default=None, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Range:
    """field:[low TO high], each end with ([]) or without ({}) its value. A range with an open end is a Compare."""

    field: str
    low: str
    high: str
    with_low: bool = True
    with_high: bool = True
    place: Place | None = dataclass_field(default=None, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Not:
    of: Node


@dataclass(frozen=True, slots=True)
class And:
    """All of these; none at all is everything."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Node, ...]


Leaf = Term | Prefix | Exists | Compare | Range
Node = Leaf | Not | And | Or
EVERYTHING = And(())


def all_of(*parts: Node) -> Node:
    """Return the conjunction in its one form: flat, and a single part is itself."""
    flat = [one for part in parts for one in (part.parts if isinstance(part, And) else (part,))]
    return flat[0] if len(flat) == 1 else And(tuple(flat))


def any_of(*parts: Node) -> Node:
    flat = [one for part in parts for one in (part.parts if isinstance(part, Or) else (part,))]
    return flat[0] if len(flat) == 1 else Or(tuple(flat))


def none_of(node: Node) -> Node:
    return node.of if isinstance(node, Not) else Not(node)


def leaves_of(node: Node) -> Iterator[Leaf]:
    """Yield the leaves, from left to right."""
    if isinstance(node, And | Or):
        for part in node.parts:
            yield from leaves_of(part)
    elif isinstance(node, Not):
        yield from leaves_of(node.of)
    else:
        yield node


def without(node: Node, unwanted: Callable[[Node], bool]) -> Node:
    """Return a tree in which everything stands for each unwanted leaf."""
    if isinstance(node, And):
        return all_of(*(without(part, unwanted) for part in node.parts))
    if isinstance(node, Or):
        return Or(tuple(without(part, unwanted) for part in node.parts))
    if isinstance(node, Not):
        return Not(without(node.of, unwanted))
    return EVERYTHING if unwanted(node) else node


def depth_of(node: Node) -> int:
    if isinstance(node, And | Or):
        return 1 + max((depth_of(part) for part in node.parts), default=0)
    return 1 + depth_of(node.of) if isinstance(node, Not) else 0


# text ----------------------------------------------------------------------------------------------------------------
RESERVED = {"AND", "OR", "NOT", "TO"}
PLAIN = re.compile(r"\w[\w.\-/@,;#→]*")  # needs no quotes
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?(\.\d+)?Z", re.ASCII)


def text_of(node: Node) -> str:
    """Return the normal text of a tree: parse_query(text_of(node)).root == node for every tree in its one form."""
    return "" if node == EVERYTHING else _text(node, None)


def _text(node: Node, inside: str | None) -> str:
    """inside: the field whose brackets are open, as in flow:(a OR b)."""
    if isinstance(node, And | Or):
        if inside is None and (shared := _shared_field(node)):
            return f"{_name(shared)}:({_text(node, shared)})"
        joint = " OR " if isinstance(node, Or) else " "
        return joint.join(_operand(part, inside) for part in node.parts) or "*"
    if isinstance(node, Not):
        return f"-{_operand(node.of, inside)}"
    named = "" if node.field is None or node.field == inside else f"{_name(node.field)}:"
    return named + _leaf(node)


def _operand(node: Node, inside: str | None) -> str:
    text = _text(node, inside)
    several = isinstance(node, And | Or) and node.parts and (inside is not None or not _shared_field(node))
    return f"({text})" if several else text


def _shared_field(node: And | Or) -> str | None:
    """Return the one field that every leaf has; EVERYTHING, which has none, keeps its place outside of brackets."""
    if _has_everything(node):
        return None
    names = {leaf.field for leaf in leaves_of(node)}
    return names.pop() if len(names) == 1 else None


def _has_everything(node: Node) -> bool:
    if isinstance(node, And | Or):
        return not node.parts or any(_has_everything(part) for part in node.parts)
    return isinstance(node, Not) and _has_everything(node.of)


def _leaf(leaf: Leaf) -> str:
    match leaf:
        case Term():
            return value_text(leaf.value)
        case Prefix():
            return f"{_escaped(leaf.value)}*"
        case Exists():
            return "*"
        case Compare():
            return f"{leaf.op}{value_text(leaf.value)}"
        case Range():
            low, high = "{["[leaf.with_low], "}]"[leaf.with_high]
            return f"{low}{value_text(leaf.low)} TO {value_text(leaf.high)}{high}"


def value_text(value: str) -> str:
    """Return a value as it is written in a query: in quotes where it needs them."""
    plain = (PLAIN.fullmatch(value) and value not in RESERVED) or INSTANT.fullmatch(value)
    return value if plain else quoted(value)


def _name(name: str) -> str:
    return f"\\{name}" if name in RESERVED else _escaped(name)


def _escaped(text: str) -> str:
    return "".join(
        one if PLAIN.fullmatch("a" + one) and (at or one not in "-/") else f"\\{one}" for at, one in enumerate(text)
    )


# the query -------------------------------------------------------------------------------------------------------------
class Refused(Exception):
    """A leaf that a back end or a field cannot be asked: `Query.refusal` says it of the reader's own text.

    part     value or field: what of the leaf is wrong.   instead  what to write there; empty when nothing is near.
    """

    def __init__(self, leaf: Leaf, words: str, *, part: str = "value", instead: str = "") -> None:
        super().__init__(words)
        self.leaf, self.part, self.instead = leaf, part, instead


@dataclass(frozen=True, slots=True)
class Query:
    """root: what is asked.   source: what the reader wrote of it, for what is said about it; parts that a page added are not in it."""

    root: Node = EVERYTHING
    source: str = dataclass_field(default="", compare=False, repr=False)

    @property
    def text(self) -> str:
        """Return the normal text, which reads as an equal query."""
        return text_of(self.root)

    @property
    def fields(self) -> frozenset[str]:
        """Return the names of the fields and business keys that it asks for, as written."""
        return frozenset(leaf.field for leaf in leaves_of(self.root) if leaf.field is not None)

    def also(self, *nodes: Node) -> Query:
        """Return this query narrowed to what fits these as well."""
        return replace(self, root=all_of(self.root, *nodes))

    def refusal(self, refused: Refused) -> BadQuery:
        """Return the refusal of a leaf with its column in the reader's text and a whole query to send in its stead."""
        place = refused.leaf.place
        if place is None:
            return BadQuery(str(refused))
        on_field = refused.part == "field" and place.field_start >= 0
        start, end = (place.field_start, place.field_end) if on_field else (place.start, place.end)
        suggestion = f"{self.source[:start]}{refused.instead}{self.source[end:]}" if refused.instead else ""
        return BadQuery(str(refused), start + 1, suggestion)
