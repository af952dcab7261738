"""A body through a mapping: events and dead letters in the native shapes, refused items with the reason, items left out. Pure.

What is made is JSON of docs/schemas/event.json and dead-letter.json: the native decoders judge, mask and store it as if its sender
had sent that. An item of which it cannot be made is refused alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from lxml import etree

from messages.ingest.http import MOST_ITEMS, Malformed, TooLarge
from messages.ingest.jsontext import check_nesting, without_lone_surrogates
from messages.mappings.definition import Compiled, Getter, Plan, Test, scalar_text
from messages.mappings.select import Check, select_json, select_xml
from messages.masking.paths import Path
from messages.masking.rules import Budget, Overrun
from messages.masking.trees import Unreadable, read_json, read_xml, write_json

LARGEST_BODY = 4 * 1024 * 1024
LARGEST_LINE = 64 * 1024
LARGEST_MADE = 8 * 1024 * 1024  # of one item
LARGEST_ANSWER = 20 * 1024 * 1024  # of all items of a body
CODE = "not_mapped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """JSON in a native shape, made of one item. kind: event or dead_letter. source: the item as it came, or written again."""

    index: int
    kind: str
    item: bytes
    source: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An item that the mapping could not make what it should of."""

    index: int
    detail: str
    source: bytes


@dataclass(slots=True, kw_only=True)
class Mapped:
    """What became of a body. ignored: items that are skipped, that no condition wants, or lines that the pattern does not match."""

    made: list[Made] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    ignored: int = 0

    @property
    def items(self) -> int:
        """How many items the body held; of one several things may have been made."""
        return len({one.index for one in self.made} | {one.index for one in self.problems}) + self.ignored


class _Unmappable(Exception):
    """The reason why an item cannot be made, in words."""


class _Item:
    """One item to be read by paths: a JSON tree or an XML element."""

    def __init__(self, tree: Any, source: bytes, check: Check) -> None:
        self.tree, self.source, self.check = tree, source, check
        self.is_xml = etree.iselement(tree)

    def find(self, path: Path) -> Any:
        """Return the first value there that is not null: text, true, false, msgspec.Raw, dict or list; None without one."""
        if not path:
            return str(etree.tostring(self.tree, encoding="unicode", with_tail=False)) if self.is_xml else self.tree
        select = select_xml if self.is_xml else select_json
        found = next((one for one in select(self.tree, path, self.check) if one is not None), None)
        return "".join(map(str, found.itertext())).strip() if etree.iselement(found) else found


def map_body(mapping: Compiled, data: bytes, *, alone: bool = False, budget: Budget | None = None) -> Mapped:
    """Return what a mapping makes of a body; raises Malformed, TooLarge for one that cannot be told into items.

    alone  the body is one item, as a refused one is kept.
    """
    if len(data) > LARGEST_BODY:
        raise TooLarge(
            f"a mapped body has at most {LARGEST_BODY:,} bytes, this one {len(data):,}; send smaller batches"
        )
    check = (budget or Budget()).check
    done, size = Mapped(), 0
    try:
        for index, read in enumerate(_items(mapping, data, check, alone=alone)):
            if index >= MOST_ITEMS:
                raise TooLarge(f"a request carries at most {MOST_ITEMS:,} items; send smaller batches")
            check()
            if read is None:
                done.ignored += 1
            elif isinstance(read, Problem):
                done.problems.append(read)
            else:
                size += _map_item(mapping, index, read, done)
            if size > LARGEST_ANSWER:
                raise TooLarge(
                    f"the mapping makes more than {LARGEST_ANSWER:,} bytes of this body; send smaller batches"
                )
    except Overrun as error:
        raise TooLarge("the mapping takes too long for this body; send smaller batches") from error
    except Unreadable as error:
        raise Malformed(f"the body is not what the mapping says: {error}") from error
    return done


def _map_item(mapping: Compiled, index: int, item: _Item, done: Mapped) -> int:
    """Add what becomes of one item; return its size in bytes."""
    wanted = [] if any(_holds(test, item) for test in mapping.skip) else [
        plan for plan in mapping.plans if all(_holds(test, item) for test in plan.when)
    ]  # fmt: skip
    if not wanted:
        done.ignored += 1
        return len(item.source)
    try:
        made = [Made(index=index, kind=plan.kind, item=_make(plan, item), source=item.source) for plan in wanted]
    except _Unmappable as error:
        done.problems.append(Problem(index=index, detail=str(error)[:500], source=item.source))
        return len(item.source)
    done.made += made
    return len(item.source) + sum(len(one.item) for one in made)  # items may lie in one another


def _items(mapping: Compiled, data: bytes, check: Check, *, alone: bool) -> Iterator[_Item | Problem | None]:
    if mapping.body == "xml":
        yield from _xml_items(mapping, data, check, alone=alone)
    elif mapping.body == "json":
        yield from _json_items(mapping, data, check, alone=alone)
    else:
        lines = (line.rstrip(b"\r") for line in data.split(b"\n"))
        for index, line in enumerate(one for one in lines if one.strip()):
            yield _line(mapping, index, line, check)


def _tree(data: bytes) -> Any:
    check_nesting(data)
    return read_json(without_lone_surrogates(data) if b"\\u" in data else data)


def _json_items(mapping: Compiled, data: bytes, check: Check, *, alone: bool) -> Iterator[_Item]:
    tree = _tree(data)
    if alone or (not mapping.items and not isinstance(tree, list)):
        yield _Item(tree, data, check)
        return
    found = select_json(tree, mapping.items, check) if mapping.items else tree
    if mapping.items and not found:
        raise Malformed("the mapping finds no items in this body: its 'items' leads to nothing")
    for one in found:
        yield _Item(one, write_json(one), check)


def _xml_items(mapping: Compiled, data: bytes, check: Check, *, alone: bool) -> Iterator[_Item]:
    root = read_xml(data)
    if alone or not mapping.items:
        yield _Item(root, etree.tostring(root, encoding="UTF-8", xml_declaration=False), check)
        return
    found = [one for one in select_xml(root, mapping.items, check) if etree.iselement(one)]
    if not found:
        raise Malformed("the mapping finds no items in this body: its 'items' leads to no element")
    for one in found:
        source = etree.tostring(one, encoding="UTF-8", xml_declaration=False, with_tail=False)
        yield _Item(read_xml(source), source, check)


def _line(mapping: Compiled, index: int, line: bytes, check: Check) -> _Item | Problem | None:
    if mapping.body == "ndjson":
        try:
            return _Item(_tree(line), line, check)
        except (Unreadable, Malformed) as error:
            return Problem(index=index, detail=str(error), source=line)
    if len(line) > LARGEST_LINE:
        return Problem(index=index, detail=f"a line has at most {LARGEST_LINE:,} bytes", source=line)
    found = mapping.pattern.search(line)
    if found is None:
        return None
    groups = {name: value.decode("utf-8", "replace") for name, value in found.groupdict().items() if value is not None}
    return _Item(groups, line, check)


def _holds(test: Test, item: _Item) -> bool:
    value = item.find(test.where)
    text = None if value is None else _text(value)
    return (
        (test.exists is None or test.exists == (value is not None))
        and (test.one_of is None or text in test.one_of)
        and (test.none_of is None or text not in test.none_of)
        and (
            test.matches is None or (text is not None and test.matches.search(text[:LARGEST_LINE].encode()) is not None)
        )
    )


def _make(plan: Plan, item: _Item) -> bytes:
    """Return the native JSON of a plan's fields; raises _Unmappable."""
    made: dict[str, Any] = {}
    room = LARGEST_MADE
    for getter in plan.getters:
        value = _value(getter, item)
        if value is None:
            continue
        room -= len(value) if isinstance(value, str) else len(item.source) if isinstance(value, dict | list) else 8
        if room < 0:
            raise _Unmappable(f"what the mapping makes of it is larger than {LARGEST_MADE:,} bytes")
        _put(made, getter.field, value)
    try:
        return msgspec.json.encode(made)
    except (TypeError, ValueError, RecursionError) as error:
        raise _Unmappable(f"it cannot be written as JSON: {error}") from error


def _value(getter: Getter, item: _Item) -> Any:
    """Return a field's value in the type that the native shape wants; None for none. Raises _Unmappable."""
    found = _found(getter, item)
    if found is not None and getter.map is not None:
        text = _text(found)
        found = getter.map.get(text, getter.map.get("*"))
        if found is None and getter.default is None:
            raise _Unmappable(f"{getter.field}: its map has no entry for '{text[:100]}', and none for '*'")
    if found is None:
        found = getter.default
    if found is None:
        if getter.required:
            where = " or ".join(f"'{text}'" for text, _ in getter.paths) or "its template"
            raise _Unmappable(f"{getter.field}: there is nothing at {where}")
        return None
    if getter.since is not None:
        begin = item.find(getter.since)
        return None if begin is None else _milliseconds(getter.field, begin, found)
    return _typed(getter, found)


def _found(getter: Getter, item: _Item) -> Any:
    for _, path in getter.paths:
        if (found := item.find(path)) is not None and found != "":
            return found
    if not getter.pieces:
        return getter.constant
    parts = [part if isinstance(part, str) else item.find(part) for part in getter.pieces]
    return None if None in parts else "".join(map(_text, parts))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, msgspec.Raw):
        return bytes(value).decode()
    return write_json(value).decode() if isinstance(value, dict | list) else scalar_text(value)


def _typed(getter: Getter, value: Any) -> Any:
    kind = getter.kind
    if kind == "any":
        return value
    if kind == "text":
        return _text(value)
    if kind == "time":
        return _time(getter, _text(value))
    if kind == "number":
        return _number(getter.field, _text(value))
    if not isinstance(value, dict):
        raise _Unmappable(f"{getter.field}: this is no object")
    if kind == "texts":
        return {name: _text(one) for name, one in value.items() if one is not None and not isinstance(one, dict | list)}
    if kind == "headers":
        return [{"name": name, "value": _text(one)} for name, one in value.items() if one is not None]
    return value


def _number(name: str, text: str) -> msgspec.Raw:
    try:
        return msgspec.Raw(msgspec.json.encode(msgspec.json.decode(text, type=int | float)))
    except (msgspec.DecodeError, OverflowError) as error:
        raise _Unmappable(f"{name}: '{text[:100]}' is no number") from error


def _time(getter: Getter, text: str) -> str:
    try:
        if getter.convert == "utc":
            at = msgspec.convert(text.strip(), datetime)
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()
        if getter.convert:
            seconds = float(text) / (1000 if getter.convert == "epoch_ms" else 1)
            return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError, msgspec.ValidationError) as error:
        raise _Unmappable(f"{getter.field}: '{text[:100]}' is no time of this kind") from error
    return text.strip()


def _milliseconds(name: str, begin: Any, end: Any) -> float:
    try:
        first, last = (msgspec.convert(_text(one).strip(), datetime) for one in (begin, end))
        return max(0.0, round((last - first).total_seconds() * 1000, 3))
    except (msgspec.ValidationError, TypeError, OverflowError) as error:
        raise _Unmappable(f"{name}: from and since lead to no times") from error


def _put(made: dict[str, Any], name: str, value: Any) -> None:
    """Set a field: "error.type" and "payload.headers.x" go into objects, "headers.x" is one more header."""
    head, _, member = name.partition(".")
    if not member:
        before = made.get(name)
        if isinstance(value, dict):  # a copy: more members may follow, and the item is read again
            made[name] = {**value, **(before or {})}
        else:
            made[name] = [*before, *value] if isinstance(before, list) else value
    elif head == "headers":
        made.setdefault("headers", []).append({"name": member, "value": value})
    elif name.startswith("payload.headers"):
        headers = made.setdefault("payload", {}).setdefault("headers", {})
        headers.update(value if isinstance(value, dict) else {name.removeprefix("payload.headers."): value})
    else:
        made.setdefault(head, {})[member] = value
