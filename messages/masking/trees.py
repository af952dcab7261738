"""One walk over a JSON or XML tree that follows every path at once. Pure; iterative, so depth costs no stack.

Each container carries the (path, step) pairs that are still alive below it, at most the sum of all steps: the walk is linear in
the size of the body, whatever the expressions are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import msgspec
from lxml import etree

from messages.masking.paths import Path, Step

Alive = list[tuple[int, int]]  # (path, step to be matched next)
Hit = Callable[[int, object], object]  # (path, value) → what stands there instead
Leaf = Callable[[str], str | None]  # text → the text masked, None when nothing in it is


Check = Callable[[], None]  # raises when the time is used up
OFTEN = 512  # places between two looks at the clock


class Unreadable(Exception):
    """This is not what the rule needs; the message says why, without a word of the body."""


class Ambiguous(Unreadable):
    """It is, but readers may see something else in it than we do: no rule can vouch for it."""


def read_json(body: bytes) -> Any:
    """Return the tree of a JSON text, numbers as msgspec.Raw so that 1284.50 stays 1284.50; raises Unreadable."""
    try:
        return json.loads(
            body.decode("utf-8-sig"),
            parse_int=_raw,
            parse_float=_raw,
            parse_constant=_no_constant,
            object_pairs_hook=_no_twins,
        )
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise Unreadable("it is not JSON") from error


def write_json(tree: Any) -> bytes:
    try:
        return msgspec.json.encode(tree)
    except (UnicodeError, RecursionError) as error:
        raise Unreadable("it is JSON that cannot be written again") from error


def _raw(digits: str) -> msgspec.Raw:
    return msgspec.Raw(digits.encode())


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse {"card": "4111…", "card": 1}: which of the two a receiver reads is not known, so neither may stay."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Ambiguous("one of its objects has two members of the same name")
    return found


def mask_json(tree: Any, paths: Sequence[Path], hit: Hit, check: Check) -> None:
    """Replace in place the values that paths lead to; null stays null."""
    waiting: list[tuple[Any, Alive]] = [(tree, [(number, 0) for number in range(len(paths))])]
    while waiting:
        holder, alive = waiting.pop()
        for count, place in enumerate(_places(holder)):
            if count % OFTEN == 0:
                check()
            ends, below = _follow(paths, alive, leads_to, holder, place)
            value = holder[place]
            if ends is not None:
                if value is not None:
                    holder[place] = hit(ends, value)
            elif below and isinstance(value, dict | list):
                waiting.append((value, below))


def mask_json_texts(tree: Any, leaf: Leaf, check: Check) -> Any:
    """Return the tree with every text, number and member name replaced in which `leaf` finds something."""
    top = [tree]
    waiting: list[Any] = [top]
    while waiting:
        holder = waiting.pop()
        for count, place in enumerate(_places(holder)):
            if count % OFTEN == 0:
                check()
            value = holder[place]
            if isinstance(value, dict | list):
                waiting.append(value)
            else:
                text = bytes(value).decode() if isinstance(value, msgspec.Raw) else value
                if isinstance(text, str) and (masked := leaf(text)) is not None:
                    holder[place] = masked
            if isinstance(place, str) and (name := leaf(place)) is not None:
                holder[name] = holder.pop(place)
    return top[0]


def _places(holder: Any) -> Iterable[Any]:
    return list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()


def _follow(paths: Sequence[Path], alive: Alive, matches: Callable[..., bool], *here: Any) -> tuple[int | None, Alive]:
    """Return (the path that ends here, the first in order of rules, or None; what is alive below)."""
    ends: int | None = None
    below: dict[tuple[int, int], None] = {}
    for number, at in alive:
        step = paths[number][at]
        if step.deep:
            below[(number, at)] = None
        if matches(step, *here):
            if at + 1 == len(paths[number]):
                ends = number if ends is None else min(ends, number)
            else:
                below[(number, at + 1)] = None
    return ends, list(below)


def leads_to(step: Step, holder: Any, place: Any) -> bool:
    if isinstance(holder, dict):
        if step.index is not None or (step.name is not None and step.name != place):
            return False
    elif step.name is not None or (step.index is not None and place not in (step.index, step.index + len(holder))):
        return False
    return not step.where or _has(holder[place], step.where)


def _has(value: Any, where: Iterable[tuple[str, object]]) -> bool:
    return isinstance(value, dict) and all(
        name in value and _plain(value[name]) == wanted and type(_plain(value[name])) is type(wanted)
        for name, wanted in where
    )


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, msgspec.Raw) else value


def read_xml(body: bytes) -> Any:
    """Return the root of an XML document; no entities, no DTD, no network, no depth over 256. Raises Unreadable."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=False)
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError, LookupError) as error:
        raise Unreadable("it is not XML") from error
    if root.getroottree().docinfo.internalDTD is not None and (DECLARED.search(body) or not reads_as_ascii(body)):
        raise Ambiguous("it is XML with a DTD inside, which may define text of its own")
    return root


DECLARED = re.compile(rb"<!(?:ENTITY|ATTLIST|ELEMENT|NOTATION)")
NOT_ASCII = re.compile(rb"encoding\s*=\s*.(?!utf-8|us-ascii|iso-8859|windows-125)", re.I)


def reads_as_ascii(body: bytes) -> bool:
    """Whether ASCII stands in these bytes of XML as it is: not in UTF-16 or UTF-7."""
    return b"\x00" not in body and not NOT_ASCII.search(body[:500])


def write_xml(root: Any, *, declaration: bool) -> bytes:
    written: bytes = etree.tostring(root.getroottree(), encoding="UTF-8", xml_declaration=declaration)
    return written


def mask_xml(root: Any, paths: Sequence[Path], hit: Hit, check: Check) -> None:
    """Replace in place what paths lead to: an element's whole content, an attribute's value, an element's own text."""
    waiting: list[tuple[Any, Alive, bool]] = []
    _enter(root, *_follow(paths, [(number, 0) for number in range(len(paths))], is_element_of, root), hit, waiting)
    inside = any(path[-1].kind != "child" for path in paths)
    while waiting:
        element, alive, blank = waiting.pop()
        if inside:
            _mask_own(element, paths, alive, hit, blank=blank)
        for count, child in enumerate(element.iterchildren("*")):
            if count % OFTEN == 0:
                check()
            _enter(child, *_follow(paths, alive, is_element_of, child), hit, waiting)


def _enter(element: Any, ends: int | None, below: Alive, hit: Hit, waiting: list[tuple[Any, Alive, bool]]) -> None:
    """Blank an element in which a path ends; what is alive below goes on, for its attributes may be other rules' business."""
    if ends is not None:
        text = "".join(element.itertext())
        if text or len(element):
            for child in list(element):
                element.remove(child)
            element.text = str(hit(ends, text))
    if below and (len(element) or element.attrib or element.text):
        waiting.append((element, below, ends is not None))


def is_element_of(step: Step, element: Any) -> bool:
    return (
        step.kind == "child"
        and (step.name is None or local_name(element.tag) == step.name)
        and all(value in _values_of(element, name) for name, value in step.where)
    )


def local_name(tag: str) -> str:
    return tag.rpartition("}")[2]


def _values_of(element: Any, name: str) -> list[str | None]:
    if name.startswith("@"):
        return [value for key, value in element.attrib.items() if local_name(key) == name[1:]]
    return [child.text for child in element if isinstance(child.tag, str) and local_name(child.tag) == name]


def _mask_own(element: Any, paths: Sequence[Path], alive: Alive, hit: Hit, *, blank: bool) -> None:
    """Replace attributes and own text of an element where a path ends in them; the first rule that does wins."""
    for key, value in element.attrib.items():
        ends = (n for n, at in alive if (s := paths[n][at]).kind == "attribute" and s.name in (None, local_name(key)))
        if value and (number := next(ends, None)) is not None:
            element.attrib[key] = str(hit(number, value))
    number = next((n for n, at in alive if paths[n][at].kind == "text"), None)
    if number is None or blank:
        return
    if element.text and element.text.strip():
        element.text = str(hit(number, element.text))
    for child in element:
        if child.tail and child.tail.strip():
            child.tail = str(hit(number, child.tail))


def mask_xml_texts(root: Any, leaf: Leaf, check: Check) -> None:
    """Replace by `leaf` in every text, attribute and comment of the document."""
    nodes = chain(root.itersiblings(preceding=True), root.iter(), root.itersiblings())
    for count, node in enumerate(nodes):
        if count % OFTEN == 0:
            check()
        if node.text and (masked := leaf(node.text)) is not None:
            node.text = masked
        if node.tail and (masked := leaf(node.tail)) is not None:
            node.tail = masked
        if isinstance(node.tag, str):
            for key, value in node.attrib.items():
                if (masked := leaf(value)) is not None:
                    node.attrib[key] = masked
