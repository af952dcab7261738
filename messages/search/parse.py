"""Lucene syntax → a small typed tree. Pure; the parsing itself is luqum's."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import Any

from luqum import tree as lucene
from luqum.exceptions import IllegalCharacterError, ParseError, ParseSyntaxError
from luqum.parser import parser

from console.core.errors import Invalid

LONGEST = 2_000  # characters
DEEPEST = 30
_parsing = threading.Lock()  # ply's parser keeps state


class BadQuery(Invalid):
    """The query cannot be read; the sentence says where.

    column  from 1, when the parser can tell.
    """

    code = "bad_query"

    def __init__(self, detail: str, column: int | None = None) -> None:
        super().__init__(f"{detail} (at column {column})" if column else detail)
        self.column = column


@dataclass(frozen=True, slots=True)
class Term:
    """field:value; field None is free text. `prefix` for a trailing *, `phrase` for quotes, `op` for >, <, >=, <= and =."""

    field: str | None
    value: str
    op: str = "="
    prefix: bool = False
    phrase: bool = False


@dataclass(frozen=True, slots=True)
class Not:
    of: Node


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Node, ...]


Node = Term | Not | And | Or
EMPTY = And(())


def parse_query(text: str) -> Node:
    """Return the tree of a query, And(()) of an empty one; raises BadQuery."""
    text = text.replace("\x00", " ").strip()
    if not text:
        return EMPTY
    if len(text) > LONGEST:
        raise BadQuery(f"a query has at most {LONGEST:,} characters")
    try:
        with _parsing:
            parsed = parser.parse(text)
    except ParseSyntaxError as error:
        raise BadQuery(f"this query cannot be read: {_plain(str(error))}", _column(str(error))) from error
    except (IllegalCharacterError, ParseError, RecursionError, ArithmeticError) as error:  # ArithmeticError: a~1.5.
        raise BadQuery(f"this query cannot be read: {_plain(str(error))}", _column(str(error))) from error
    return _node(parsed, None, 0)


def _plain(words: str) -> str:
    return re.sub(r"\s+", " ", words.replace("Syntax error in input : ", "")).strip().rstrip("!")[:200]


def _column(words: str) -> int | None:
    found = re.search(r"position (\d+)", words)
    return int(found[1]) + 1 if found else None


def _node(item: Any, field: str | None, depth: int) -> Node:
    if depth > DEEPEST:
        raise BadQuery("this query is nested too deeply")
    deeper = depth + 1
    if isinstance(item, lucene.AndOperation | lucene.UnknownOperation):
        return And(tuple(_node(child, field, deeper) for child in item.children))
    if isinstance(item, lucene.OrOperation):
        return Or(tuple(_node(child, field, deeper) for child in item.children))
    if isinstance(item, lucene.Not | lucene.Prohibit):
        return Not(_node(item.children[0], field, deeper))
    if isinstance(item, lucene.Plus | lucene.Group | lucene.FieldGroup | lucene.Boost):
        return _node(item.children[0], field, deeper)
    if isinstance(item, lucene.SearchField):
        return _node(item.expr, item.name, deeper)
    return _leaf(item, field)


def _leaf(item: Any, field: str | None) -> Node:
    if isinstance(item, lucene.Phrase):
        return Term(field, _unescaped(item.value[1:-1]), phrase=True)
    if isinstance(item, lucene.From | lucene.To):
        sign = (">" if isinstance(item, lucene.From) else "<") + ("=" if item.include else "")
        return Term(field, str(item.children[0]).strip(), op=sign)
    if isinstance(item, lucene.Range):
        low, high = str(item.low).strip(), str(item.high).strip()
        parts = [Term(field, low, op=">=" if item.include_low else ">")] if low != "*" else []
        if high != "*":
            parts.append(Term(field, high, op="<=" if item.include_high else "<"))
        return And(tuple(parts))
    if isinstance(item, lucene.Word):
        value = item.value
        if value.endswith("*") and not value.endswith("\\*"):
            if "*" in value[:-1] or "?" in value:
                raise BadQuery("a * stands only at the end of a word")
            return Term(field, _unescaped(value[:-1]), prefix=True)
        return Term(field, _unescaped(value))
    raise BadQuery(f"“{str(item)[:40]}” is not supported here")


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
