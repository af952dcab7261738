"""What differs between two JSON trees, place by place: added, removed, changed, of another type. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from messages.compare.canonical import Number, scalar

MOST_CHANGES = 200
LONGEST = 200
PLAIN = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
ADDED, REMOVED, CHANGED, TYPED = "added", "removed", "changed", "type changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """path: `customer.lines[3].price`; left, right: the values as JSON, cut at 200 characters, "" where there is none."""

    path: str
    kind: str
    left: str
    right: str


def changes_between_trees(left: Any, right: Any) -> tuple[list[Change], bool]:
    """Return (the first 200 changes in order of the document, whether there are more)."""
    found = list(islice(_walk(left, right, ""), MOST_CHANGES + 1))
    return found[:MOST_CHANGES], len(found) > MOST_CHANGES


def _walk(left: Any, right: Any, path: str) -> Iterator[Change]:
    if isinstance(left, dict) and isinstance(right, dict):
        for name in sorted(left.keys() | right.keys()):
            below = joined(path, name)
            if name not in right:
                yield _change(below, REMOVED, left[name], None)
            elif name not in left:
                yield _change(below, ADDED, None, right[name])
            else:
                yield from _walk(left[name], right[name], below)
    elif isinstance(left, list) and isinstance(right, list):
        yield from _walk_lists(left, right, path)
    elif type_of(left) != type_of(right):
        yield _change(path, TYPED, left, right)
    elif left != right:
        yield _change(path, CHANGED, left, right)


def _walk_lists(left: list[Any], right: list[Any], path: str) -> Iterator[Change]:
    """Compare what stands between the equal beginning and the equal end: one item put in front does not change all that follow."""
    begin, end = 0, 0
    shorter = min(len(left), len(right))
    while begin < shorter and left[begin] == right[begin]:
        begin += 1
    while end < shorter - begin and left[-1 - end] == right[-1 - end]:
        end += 1
    middle_left, middle_right = left[begin : len(left) - end], right[begin : len(right) - end]
    for at in range(max(len(middle_left), len(middle_right))):
        below = f"{path}[{begin + at}]"
        if at >= len(middle_left):
            yield _change(below, ADDED, None, middle_right[at])
        elif at >= len(middle_right):
            yield _change(below, REMOVED, middle_left[at], None)
        else:
            yield from _walk(middle_left[at], middle_right[at], below)


def joined(path: str, name: str) -> str:
    """Return the path of a member: a dot before a plain name, brackets around any other."""
    if PLAIN.fullmatch(name):
        return f"{path}.{name}" if path else name
    return f"{path}[{scalar(name[:LONGEST])}]"


def type_of(value: Any) -> str:
    """Return object, array, number, text, true or false, or null."""
    if isinstance(value, Number):
        return "number"
    kinds = {dict: "object", list: "array", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "number")


def _change(path: str, kind: str, left: Any, right: Any) -> Change:
    return Change(
        path=path or "the whole",
        kind=kind,
        left="" if kind == ADDED else short(left),
        right="" if kind == REMOVED else short(right),
    )


def short(value: Any) -> str:
    """Return a value in a line; of one that holds others how many."""
    if isinstance(value, dict | list) and value:
        held = "member" if isinstance(value, dict) else "item"
        return f"{type_of(value)} of {len(value):,} {held}{'' if len(value) == 1 else 's'}"
    text = scalar(value if not isinstance(value, str) or isinstance(value, Number) else value[:LONGEST])
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
