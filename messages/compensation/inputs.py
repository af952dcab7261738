"""The values that an undo needs, read from bodies, keys and attributes of the journey. Pure; bounded in time by the size of the body."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from messages.compensation.book import MESSAGE, Input
from messages.mappings.select import select_json, select_xml
from messages.masking.hashes import is_hash
from messages.masking.paths import parse_json_path, parse_xpath
from messages.masking.rules import MARK
from messages.masking.trees import Unreadable, read_json, read_xml

LONGEST = 4_096
READ_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A step's event, or the message that failed, as inputs are read from it. body: None when none is stored; why in `no_body`.

    flows  ids of those whose body, keys and attributes these are.
    """

    body: bytes | None
    keys: Mapping[str, str]
    attributes: Mapping[str, Any]
    no_body: str = "its body is not stored"
    flows: tuple[int, ...] = ()


class Missing(Exception):
    """An input has no value, in words."""


def read_inputs(inputs: Mapping[str, Input], own: Part, parts: Mapping[str, Part]) -> tuple[dict[str, Any], list[str]]:
    """Return ({input: its value, a text, number, true, false or null}, what is missing, a sentence each).

    own    of the step itself; parts: those of the other steps that completed, by name, and `message`.
    """
    values: dict[str, Any] = {}
    missing: list[str] = []
    tree_of = lru_cache(maxsize=None)(_tree)  # each body is read once, however many inputs lead into it
    for name, one in inputs.items():
        try:
            values[name] = _value(one, own, parts, tree_of)
        except Missing as error:
            if one.default is None:
                missing.append(f"{name}: {error}")
            else:
                values[name] = one.default
    return values, missing


def flows_of(inputs: Mapping[str, Input], own: Part, parts: Mapping[str, Part]) -> tuple[int, ...]:
    """Return the ids of the flows that these inputs are read from."""
    read = [parts.get(one.of) if one.of else own for one in inputs.values()]
    return tuple(sorted({flow for part in read if part is not None for flow in part.flows}))


def _value(one: Input, own: Part, parts: Mapping[str, Part], tree_of: Callable[[bytes, bool], Any]) -> Any:
    part = parts.get(one.of) if one.of else own
    if part is None:
        raise Missing(f"{one.of} did not complete" if one.of != MESSAGE else "the message that failed is not known")
    if one.key:
        return _whole(_there(part.keys.get(one.key), f"there is no key {one.key}"))
    if one.attribute:
        return _whole(_scalar(_there(part.attributes.get(one.attribute), f"there is no attribute {one.attribute}")))
    if part.body is None:
        raise Missing(part.no_body)
    return _in_body(one, part.body, tree_of)


def _tree(body: bytes, is_json: bool) -> Any:
    return read_json(body) if is_json else read_xml(body)


def _in_body(one: Input, body: bytes, tree_of: Callable[[bytes, bool], Any]) -> Any:
    check = _clock()
    try:
        tree = tree_of(body, bool(one.json))
        if one.json:
            return _only(select_json(tree, parse_json_path(one.json), check), one.json)
        found = select_xml(tree, parse_xpath(one.xml), check)
        return _only(["".join(node.itertext()) if hasattr(node, "itertext") else node for node in found], one.xml)
    except Unreadable as error:
        raise Missing(f"its body cannot be read: {error}") from error


def _only(found: list[Any], path: str) -> Any:
    if not found:
        raise Missing(f"{path} leads to nothing")
    values = [_scalar(_plain(one)) for one in found]
    if any(value != values[0] for value in values):
        raise Missing(f"{path} leads to {len(values)} different values")
    return _whole(values[0])


def _whole(value: Any) -> Any:
    """Return a value as it was sent; a masked one is none: what it was is not stored, and must not be sent in its place."""
    if isinstance(value, str) and (MARK in value or is_hash(value)):
        raise Missing("it was masked before it was stored")
    return value


def _plain(value: Any) -> Any:
    """Return what a JSON value is; numbers come as the text they were written in, and stay exact."""
    return Number(bytes(value).decode()) if not isinstance(value, str | bool | dict | list | type(None)) else value


class Number(str):
    """A number of a JSON body, as it was written: 1284.50 stays 1284.50."""

    __slots__ = ()


def _scalar(value: Any) -> Any:
    if isinstance(value, dict | list):
        raise Missing("that is no single value")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Number(json.dumps(value))
    if isinstance(value, str) and len(value) > LONGEST:
        raise Missing(f"that is longer than {LONGEST:,} characters")
    return value


def _there(value: Any, words: str) -> Any:
    if value is None:
        raise Missing(words)
    return value


def _clock() -> Callable[[], None]:
    until = time.monotonic() + READ_S

    def check() -> None:
        if time.monotonic() > until:
            raise Missing("its body took too long to read")

    return check
