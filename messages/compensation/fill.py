"""An undo with its values filled in: exactly what is sent, or what a person is asked to do. Pure.

A value never becomes more than a value: it is percent-encoded in a path, a JSON text or number in a JSON body, escaped in XML, and has no
line breaks in a header or a destination.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

import msgspec

from messages.compensation.book import CONTROL, PLACE, Undo
from messages.compensation.inputs import Number


class CannotFill(Exception):
    """A value does not fit where it would stand, in words that do not quote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What undoes one step. destination: "POST /refunds/4711" for http; body b"" for none. instructions: of a task.

    flows  ids of those that its values come from: whoever may not read payloads of each does not read it.
    """

    title: str
    kind: str
    connection: str = ""
    destination: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = ""
    body: bytes = b""
    instructions: str = ""
    values: Mapping[str, str] = field(default_factory=dict)  # as texts, for people
    flows: tuple[int, ...] = ()


def filled(undo: Undo, values: Mapping[str, Any]) -> Action:
    """Return the undo with these values. Raises CannotFill. Every {input} of the undo must be in values."""
    body, content_type = _body(undo, values)
    return Action(
        title=_in(undo.title, values, _as_words),
        kind=undo.kind,
        connection=undo.connection,
        destination=_destination(undo, values),
        headers=tuple((name, _in(text, values, _as_line)) for name, text in undo.headers.items()),
        content_type=content_type,
        body=body,
        instructions=_in(undo.manual.instructions, values, _as_words) if undo.manual else "",
        values={name: str(text_of(value)) for name, value in values.items()},
    )


def _destination(undo: Undo, values: Mapping[str, Any]) -> str:
    if undo.http:
        return f"{undo.http.method} {_in(undo.http.path, values, _as_step)}"
    return _in(undo.message.destination, values, _as_line) if undo.message else ""


def _in(text: str, values: Mapping[str, Any], write: Any) -> str:
    return PLACE.sub(lambda place: write(text_of(values[place[1]])), text)


def text_of(value: Any) -> str:
    """Return a value as text: true, false and null as JSON writes them."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _as_words(text: str) -> str:
    return CONTROL.sub(" ", text)


def _as_line(text: str) -> str:
    if CONTROL.search(text):
        raise CannotFill(
            "a value holds a line break or another control character, which no header or destination takes"
        )
    return text


def _as_step(text: str) -> str:
    if text in ("", ".", ".."):
        raise CannotFill("a value is empty or only dots, and would lead elsewhere in a path")
    return quote(text, safe="")


def _body(undo: Undo, values: Mapping[str, Any]) -> tuple[bytes, str]:
    """Return (the body, its content type)."""
    if undo.body is None:
        return b"", undo.content_type
    if isinstance(undo.body, str):
        write = escape_xml if "xml" in undo.content_type else _as_is
        if "json" in undo.content_type:
            write = _in_json_text
        return _in(undo.body, values, write).encode(), undo.content_type or "text/plain; charset=utf-8"
    return msgspec.json.encode(_filled_tree(undo.body, values)), undo.content_type or "application/json"


def _as_is(text: str) -> str:
    return text


def escape_xml(text: str) -> str:
    if CONTROL.search(text.replace("\n", "").replace("\r", "").replace("\t", "")):
        raise CannotFill("a value holds a control character, which no XML takes")
    return escape(text, {'"': "&quot;", "'": "&apos;"})


def _in_json_text(text: str) -> str:
    return msgspec.json.encode(text).decode()[1:-1]


def _filled_tree(tree: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(tree, str):
        alone = PLACE.fullmatch(tree)
        if alone:
            value = values[alone[1]]
            return msgspec.Raw(value.encode()) if isinstance(value, Number) else value
        return _in(tree, values, _as_is)
    if isinstance(tree, Mapping):
        return {_in(str(name), values, _as_is): _filled_tree(below, values) for name, below in tree.items()}
    return [_filled_tree(one, values) for one in tree] if isinstance(tree, list) else tree
