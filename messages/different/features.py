"""A body as places with values: `customer.vat`, `lines[].sku`; and how often each place could have been there. Pure and bounded."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from console.core.tables import rows_of_csv
from messages.compare.canonical import canonical
from messages.compare.changes import joined, type_of
from messages.masking.rules import MARK

MOST_PLACES = 400  # of one body
MOST_ITEMS = 30  # of one array, and rows of a CSV
MOST_VALUES = 30  # of one place
LONGEST = 200  # characters of a value that are looked at
MASKED = "masked"


@dataclass(frozen=True, slots=True)
class Value:
    """kind: object, array, number, text, true or false, null, or masked. text: as people read it. length: of a text or array."""

    kind: str
    text: str = ""
    number: float | None = None
    length: int | None = None


@dataclass(slots=True)
class Features:
    """times: how often each place was there; values: what stood there. Parents are in it too, so that what is missing can be told.

    A place whose parent is None is of a kind that one side has by what it is: that it is missing says nothing.
    """

    times: dict[str, int] = field(default_factory=dict)
    values: dict[str, list[Value]] = field(default_factory=dict)
    parents: dict[str, str | None] = field(default_factory=dict)

    def add(self, path: str, parent: str | None, value: Value) -> bool:
        """Add one value; whether there was room for its place."""
        if path not in self.times and len(self.times) >= MOST_PLACES:
            return False
        self.times[path] = self.times.get(path, 0) + 1
        self.parents[path] = parent
        known = self.values.setdefault(path, [])
        if len(known) < MOST_VALUES:
            known.append(value)
        return True

    def is_missing(self, path: str, parent: str) -> bool:
        """Whether a place is not there, or not in every item of the array that it belongs to."""
        return self.times.get(path, 0) < max(1, self.times.get(parent, 0))


def features_of(body: bytes, content_type: str, *, cut: bool = False) -> Features:
    """Return the places of a body: of JSON and XML by path, of CSV by column; of anything else what kind it is and how many lines."""
    read = canonical(body, content_type, cut=cut, lines=False)
    found = Features()
    found.add("the body", "", Value("text", read.kind))
    if read.kind == "json":
        _tree(found, read.tree)
    elif read.kind == "xml":
        _xml(found, read.tree)
    elif read.kind == "csv":
        _csv(found, body)
    elif read.kind == "text":
        found.add("lines of the body", "", _number(body.count(b"\n") + 1))
    return found


def scalar_value(value: Any) -> Value:
    """Return a value of JSON as it is compared: a text with a mask in it is masked, whatever else it says."""
    kind = type_of(value)
    if kind in ("object", "array"):
        return Value(kind, length=len(value))
    if kind == "text":
        return text_value(str(value))
    if kind == "number":
        return _number(value)
    return Value(kind, json.dumps(value))


def text_value(text: str) -> Value:
    if MARK in text:
        return Value(MASKED)
    shown = text[:LONGEST].encode("utf-8", "replace").decode()
    return Value("text", shown, length=len(text))


def _number(value: Any) -> Value:
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return Value("number", str(value)[:LONGEST])
    return Value("number", str(value)[:LONGEST], number=number if isfinite(number) else None)


def _tree(found: Features, tree: Any) -> None:
    """Walk breadth first, so that what is deep costs what is above it no room."""
    waiting: list[tuple[Any, str]] = [(tree, "")]
    if isinstance(tree, list):
        found.add("the body's array", "", scalar_value(tree))
    for value, path in waiting:
        for below, child in _children(value, path):
            if not found.add(below, path, scalar_value(child)):
                return
            if isinstance(child, dict | list):
                waiting.append((child, below))


def _children(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, child in value.items():
            yield joined(path, name[:LONGEST]), child
    elif isinstance(value, list):
        for child in value[:MOST_ITEMS]:
            yield f"{path}[]", child


def _xml(found: Features, root: Any) -> None:
    """Walk an XML document: `order.item.sku`, attributes as `order.item.@id`; names without their namespaces."""
    waiting: list[tuple[Any, str]] = [(root, _local(root.tag))]
    found.add(_local(root.tag), "", _xml_value(root))
    for element, path in waiting:
        for name, value in element.attrib.items():
            if not found.add(f"{path}.@{_local(name)}", path, text_value(value)):
                return
        children = [child for child in element if isinstance(child.tag, str)]
        seen: dict[str, int] = {}
        for child in children:
            name = _local(child.tag)
            seen[name] = seen.get(name, 0) + 1
            if seen[name] > MOST_ITEMS:
                continue
            if not found.add(f"{path}.{name}", path, _xml_value(child)):
                return
            waiting.append((child, f"{path}.{name}"))


def _xml_value(element: Any) -> Value:
    if len(element):
        return Value("object", length=len(element))
    text = (element.text or "").strip()
    value = text_value(text)
    return _number(text) if value.kind == "text" and _is_number(text) else value


def _is_number(text: str) -> bool:
    plain = text.removeprefix("-")
    return bool(plain) and len(plain) <= 20 and plain.replace(".", "", 1).isdigit() and plain.isascii()


def _local(tag: str) -> str:
    return tag.rpartition("}")[2][:LONGEST]


def _csv(found: Features, body: bytes) -> None:
    whole = body.decode("utf-8-sig", "replace")
    rows = rows_of_csv(whole)
    try:
        names = next(rows, [])
        found.add("columns", "", _number(len(names)))
        for count, row in enumerate(rows):
            if count == MOST_ITEMS:
                return
            for name, cell in zip(names, row, strict=False):
                if text := cell.strip():
                    value = _number(text) if _is_number(text) else text_value(text)
                    found.add(f"column {name.strip()[:60]}", "", value)
    except csv.Error:
        return
