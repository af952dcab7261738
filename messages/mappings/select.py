"""What a path of messages/masking/paths.py leads to, for reading. Pure; no recursion, and linear in the tree for each step of the path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from messages.masking.paths import Path, Step
from messages.masking.trees import OFTEN, is_element_of, leads_to, local_name

Check = Callable[[], None]  # raises when the time is used up


def select_json(tree: Any, path: Path, check: Check) -> list[Any]:
    """Return the values that a path leads to, outer ones first; numbers are msgspec.Raw, as read_json has them."""
    found = [tree]
    for step in path:
        found = _down_json(found, step, check)
    return found


def _down_json(nodes: list[Any], step: Step, check: Check) -> list[Any]:
    found: list[Any] = []
    seen: set[int] = set()
    waiting = nodes[::-1]
    while waiting:
        holder = waiting.pop()
        if not isinstance(holder, dict | list) or id(holder) in seen:
            continue
        seen.add(id(holder))
        for count, place in enumerate(list(holder) if isinstance(holder, dict) else range(len(holder))):
            if count % OFTEN == 0:
                check()
            if leads_to(step, holder, place):
                found.append(holder[place])
        if step.deep:
            waiting += list(holder.values() if isinstance(holder, dict) else holder)[::-1]
    return found


def select_xml(root: Any, path: Path, check: Check) -> list[Any]:
    """Return the elements, or texts of attributes and text(), that a path from above this element leads to."""
    found: list[Any] = [None]  # what is above the root
    for step in path:
        found = _down_xml(root, found, step, check)
    return found


def _down_xml(root: Any, nodes: list[Any], step: Step, check: Check) -> list[Any]:
    found: list[Any] = []
    seen: set[Any] = set()  # of elements, not of their ids: lxml makes a new one for an element that nobody holds
    for node in nodes:
        for count, element in enumerate(_elements(root, node, step)):
            if count % OFTEN == 0:
                check()
            if element in seen:
                continue
            seen.add(element)
            found += _of_element(step, element)
    return found


def _elements(root: Any, node: Any, step: Step) -> Iterable[Any]:
    """Return the elements that a step may mean, or whose attributes or text it may mean."""
    if step.kind == "child":
        if node is None:
            return root.iter("*") if step.deep else [root]
        return node.iterdescendants("*") if step.deep else node.iterchildren("*")
    if node is None:
        return root.iter("*") if step.deep else []
    return node.iter("*") if step.deep else [node]


def _of_element(step: Step, element: Any) -> list[Any]:
    if step.kind == "child":
        return [element] if is_element_of(step, element) else []
    if step.kind == "attribute":
        return [value for name, value in element.attrib.items() if step.name in (None, local_name(name))]
    own = "".join([element.text or "", *(child.tail or "" for child in element)])
    return [own] if own.strip() else []
