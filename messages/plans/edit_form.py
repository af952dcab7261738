"""The page's form of edits: slots of a kind, a name and a text, and for a plan of one message its body and headers. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from django.http import QueryDict

from messages.connectors.base import Header
from messages.connectors.hygiene import strip_headers
from messages.plans.edits import (
    MOST_STEPS,
    BadEdits,
    Body,
    Edits,
    Jq,
    JsonPatch,
    Regex,
    RemoveHeader,
    SetHeader,
    Xslt,
    parse_edits,
)

CHOICES = (
    ("", "nothing"),
    ("json_patch", "JSON Patch"),
    ("jq", "jq"),
    ("xslt", "XSLT"),
    ("regex", "Find and replace"),
    ("set_header", "Set a header"),
    ("remove_header", "Remove a header"),
)
NAMED = ("regex", "set_header", "remove_header")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One step as it is written. name: a header's, or what to find. type: of a header's value."""

    kind: str = ""
    name: str = ""
    text: str = ""
    type: str = "string"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderField:
    """A header of the one message: what it is now, and as it is written."""

    at: int
    name: str
    original: str
    value: str
    dropped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Editor:
    """The one message of a plan. text: its body as it is written, None when it cannot be edited as text: why says so."""

    original: str | None
    text: str | None
    headers: Sequence[HeaderField]
    why: str = ""


def editor_of(body: str | None, headers: Sequence[dict[str, Any]], edits: Edits, why: str = "") -> Editor:
    """Return the editor of a message with this body and these headers, as these edits make them."""
    whole = next((one for one in edits if isinstance(one, Body)), None)
    text = whole.text if whole is not None and whole.text is not None else body
    if whole is not None and whole.text is None:
        text, why = None, "its body is replaced by bytes that are no text"
    return Editor(original=body, text=text, headers=_header_fields(headers, edits), why=why)


def _header_fields(headers: Sequence[dict[str, Any]], edits: Edits) -> list[HeaderField]:
    names = [str(one.get("name", "")).lower() for one in headers]
    found = []
    for at, one in enumerate(headers[:100]):
        name, value = str(one.get("name", "")), one.get("value")
        going = strip_headers([Header(name=name, type="string", value="")])
        if one.get("type") != "string" or not isinstance(value, str) or names.count(name.lower()) > 1 or not going:
            continue
        new = [
            step for step in edits if isinstance(step, SetHeader | RemoveHeader) and step.name.lower() == name.lower()
        ]
        last = new[-1] if new else None
        shown = str(last.value) if isinstance(last, SetHeader) else value
        found.append(HeaderField(at=at, name=name, original=value, value=shown, dropped=isinstance(last, RemoveHeader)))
    return found


def slots_of(edits: Edits, editor: Editor | None) -> list[Slot]:
    """Return the steps that the editor of one message does not show itself, each in a slot."""
    own = {one.name.lower() for one in editor.headers} if editor else set()
    return [slot for step in edits if (slot := _slot(step, own)) is not None]


def _slot(step: Any, own: set[str]) -> Slot | None:
    if isinstance(step, SetHeader | RemoveHeader):
        if step.name.lower() in own:
            return None
        if isinstance(step, RemoveHeader):
            return Slot(kind="remove_header", name=step.name)
        text = step.value if isinstance(step.value, str) else json.dumps(step.value)
        return Slot(kind="set_header", name=step.name, text=text, type=step.type)
    if isinstance(step, JsonPatch):
        return Slot(kind="json_patch", text=msgspec.json.format(bytes(step.patch), indent=2).decode())
    if isinstance(step, Jq):
        return Slot(kind="jq", text=step.program)
    if isinstance(step, Xslt):
        return Slot(kind="xslt", text=step.stylesheet)
    return Slot(kind="regex", name=step.find, text=step.replace) if isinstance(step, Regex) else None


def slots_from(said: QueryDict) -> list[Slot]:
    """Return the slots as they were sent; never raises."""
    kinds, names, texts, types = (said.getlist(one)[: MOST_STEPS + 1] for one in ("kind", "name", "text", "type"))
    slots = []
    for at, kind in enumerate(kinds):
        name, text, type_ = (given[at] if at < len(given) else "" for given in (names, texts, types))
        slots.append(Slot(kind=kind, name=name, text=text.replace("\r\n", "\n"), type=type_ or "string"))
    return slots


def editor_from(said: QueryDict, editor: Editor) -> Editor:
    """Return the editor of one message as it was sent."""
    fields = [
        HeaderField(
            at=one.at, name=one.name, original=one.original,
            value=said.get(f"header-{one.at}", one.original), dropped=bool(said.get(f"drop-{one.at}")),
        )
        for one in editor.headers
    ]  # fmt: skip
    text = said.get("body", editor.original) if editor.original is not None else editor.text
    return Editor(original=editor.original, text=_lines_as(text, editor.original), headers=fields, why=editor.why)


def _lines_as(text: str | None, original: str | None) -> str | None:
    """Return a text as forms send it, with line ends as the original has them."""
    if text is None or original is None:
        return text
    plain = text.replace("\r\n", "\n")
    if plain == original.replace("\r\n", "\n"):
        return original
    return plain.replace("\n", "\r\n") if "\r\n" in original else plain


def edits_from(slots: Sequence[Slot], editor: Editor | None, kept: Edits = ()) -> Edits:
    """Return the steps that a form says: the body, its headers, then the slots in their order. Raises BadEdits.

    kept  the edits until now: a whole body of bytes, which the page does not show, stays.
    """
    steps: list[bytes] = []
    if editor is not None:
        steps += [msgspec.json.encode(one) for one in kept if isinstance(one, Body) and one.body_base64 is not None]
        if editor.text is not None and editor.text != editor.original:
            steps.append(msgspec.json.encode({"kind": "body", "text": editor.text}))
        for one in editor.headers:
            if one.dropped:
                steps.append(msgspec.json.encode({"kind": "remove_header", "name": one.name}))
            elif one.value != one.original:
                steps.append(msgspec.json.encode({"kind": "set_header", "name": one.name, "value": one.value}))
    for slot in slots:
        if slot.kind:
            steps.append(_step(len(steps) + 1, slot))
    return parse_edits(b"[" + b",".join(steps) + b"]")


def _step(number: int, slot: Slot) -> bytes:
    if slot.kind == "json_patch":
        try:
            msgspec.json.decode(slot.text.encode())
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise BadEdits(f"step {number} (json_patch): it is not JSON: {error}"[:300]) from error
        return b'{"kind":"json_patch","patch":' + slot.text.encode() + b"}"
    value: Any = slot.text
    if slot.type in ("int", "float", "bool", "null"):
        try:
            value = json.loads(slot.text)
        except ValueError as error:
            raise BadEdits(f"step {number} (set_header): its value is not of the type {slot.type}") from error
    made: dict[str, dict[str, Any]] = {
        "jq": {"program": slot.text},
        "xslt": {"stylesheet": slot.text},
        "regex": {"find": slot.name, "replace": slot.text},
        "set_header": {"name": slot.name, "value": value, "type": slot.type},
        "remove_header": {"name": slot.name},
    }
    return msgspec.json.encode({"kind": slot.kind} | made.get(slot.kind, {}))
