"""The compensation book of a flow: which steps can complete, how each is recognised in a journey, and what undoes it. Pure.

It is written and kept as YAML or JSON of the shapes below; docs/compensation.md has an example for each kind of action.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any, Literal

import msgspec

from console.core.errors import Invalid
from console.core.yamltext import MOST_DEEP, read_yaml, write_yaml
from messages.masking.paths import BadExpression, parse_json_path, parse_xpath

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
PLACE = re.compile(r"\{([a-z0-9][a-z0-9_-]{0,62})\}", re.ASCII)
MOST_STEPS, MOST_INPUTS, LONGEST_BODY = 50, 50, 64 * 1024
MESSAGE = "message"  # an input's `from`: the message that failed
KEY = "idempotency_key"  # may be written wherever an input may, and is none
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
UNKEPT = re.compile(r"[\x00\ud800-\udfff]")
HTTP_PATH = re.compile(r"/\S*")


class BadBook(Invalid):
    """The book cannot be used; the sentence names the step and the field."""

    code = "bad_book"


class Match(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an event must be: all that is said must hold. Names may hold `*` and `?`; "" is anything.

    operation   create, send, receive, process or settle.
    attributes  name → value, as texts; "*" is any value.
    """

    system: str = ""
    operation: Literal["", "create", "send", "receive", "process", "settle"] = "process"
    destination: str = ""
    name: str = ""
    attributes: dict[str, str] = {}


class Input(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename={"of": "from"}
):
    """One value, from exactly one place: `json` or `xml`, a path into a body; `key`, a business key; `attribute`, of an event.

    of  whose body or attribute: "" this step's event, the name of another step, or `message`, the message that failed. A body is that of
        the event, or, when it brought none, the first that its message was seen with.
    default  what it is when nothing is there; without one the step cannot be undone by itself.
    """

    of: str = ""
    json: str = ""
    xml: str = ""
    key: str = ""
    attribute: str = ""
    default: str | None = None


class Http(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A call below the address of an approved connection. path may hold {inputs}, which are percent-encoded."""

    path: str
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"


class Send(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A message over an approved connection, to a destination as its broker names it."""

    destination: str


class Manual(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A task for a person: what to do, for whom, and in how many minutes."""

    instructions: str
    assignee: str = ""
    due_minutes: int = 60


class Undo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What undoes a step: exactly one of http, message, manual.

    title       in words, "refund {amount}".
    headers, body  may hold {inputs}. A body that is YAML becomes JSON; where a text is one {input} alone, it keeps its type.
    repeatable  the receiver knows a second call with the same idempotency key and takes it without harm.
    timeout_s   for an answer; retries: how often it is tried again when it surely, or harmlessly, did not work.
    proof       the receiver's own event that says that it is undone; without one its answer, or the broker's confirm, is taken for it.
    """

    title: str
    http: Http | None = None
    message: Send | None = None
    manual: Manual | None = None
    connection: str = ""
    headers: dict[str, str] = {}
    content_type: str = ""
    body: Any = None
    inputs: dict[str, Input] = {}
    repeatable: bool = False
    timeout_s: int = 20
    retries: int = 3
    proof: Match | None = None
    proof_within_s: int = 600

    @property
    def kind(self) -> str:
        return "http" if self.http else "message" if self.message else "manual"


class BookStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One step of the flow that can complete: `undo` it, or say in `irreversible` why that cannot be done.

    after  names of steps that must be undone before this one; else the latest is undone first.
    """

    name: str
    title: str
    happened: Match
    undo: Undo | None = None
    irreversible: str = ""
    after: list[str] = []


class Book(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The steps in any order; needs_approval: a second person approves each compensation."""

    steps: list[BookStep]
    needs_approval: bool = False

    def step(self, name: str) -> BookStep | None:
        return next((step for step in self.steps if step.name == name), None)


def parse_book(text: str) -> Book:
    """Return the book that YAML or JSON says; raises BadYaml, BadBook."""
    return book_of(read_yaml(text))


def book_of(data: Any) -> Book:
    """Return the book of plain data; raises BadBook."""
    _check_plain(data)
    try:
        book = msgspec.convert(data, Book)
    except msgspec.ValidationError as error:
        raise BadBook(str(error).replace("`", "“", 1).replace("`", "”", 1)) from error
    _check(book)
    return book


def data_of(book: Book) -> dict[str, Any]:
    """Return the book as plain data, as it is stored and exported: what is not said is left out."""
    plain = msgspec.to_builtins(book)
    assert isinstance(plain, dict)
    return plain


def export_book(book: Book) -> str:
    """Return the book as YAML; parse_book gives the same book back."""
    return write_yaml(data_of(book))


def _check_plain(data: Any) -> None:
    """Raise BadBook for what neither JSON nor the database keeps. Level by level, so that depth costs no stack."""
    level, deep = [data], 0
    while level:
        if deep > MOST_DEEP:
            raise BadBook("it is nested too deeply")
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += [*one.keys(), *one.values()]
                if not all(isinstance(name, str) for name in one):
                    raise BadBook("every name in it is a text: put the one that is none in quotes")
            elif isinstance(one, list):
                below += one
            elif isinstance(one, str):
                if UNKEPT.search(one):
                    raise BadBook("a text in it holds a character that is none: NUL, or half of a pair")
            elif not isinstance(one, bool | int | NoneType) and not (isinstance(one, float) and math.isfinite(one)):
                raise BadBook("it holds only texts, numbers, true, false, null, lists and objects")
            elif isinstance(one, int) and not -(2**63) <= one < 2**64:
                raise BadBook("a number in it has more than 64 bits: write it as a text")
        level, deep = below, deep + 1


def _check(book: Book) -> None:
    if not 1 <= len(book.steps) <= MOST_STEPS:
        raise BadBook(f"a book has 1 to {MOST_STEPS} steps")
    names = [step.name for step in book.steps]
    for step in book.steps:
        _check_step(step, names)
    _check_order(book)


def _check_step(step: BookStep, names: list[str]) -> None:
    if not NAME.fullmatch(step.name) or step.name == MESSAGE:
        raise BadBook(f"“{step.name[:60]}” is no name of a step: small letters, digits, - and _; not “{MESSAGE}”")
    said = f"step {step.name}: "
    if names.count(step.name) > 1:
        raise BadBook(f"{said}there are two of this name")
    if not step.title.strip():
        raise BadBook(f"{said}say in its title what happened")
    if not (step.happened.system or step.happened.destination or step.happened.name or step.happened.attributes):
        raise BadBook(f"{said}say how it is recognised: system, destination, name or attributes")
    if bool(step.undo) == bool(step.irreversible.strip()):
        raise BadBook(f"{said}say either what undoes it, or in “irreversible” why nothing can")
    for name in step.after:
        if name not in names or name == step.name:
            raise BadBook(f"{said}“after” names “{name[:60]}”, which is no other step of this book")
    if step.undo:
        _check_undo(step.undo, said, names)


def _check_undo(undo: Undo, said: str, names: list[str]) -> None:
    if wrong := next((words for words, is_so in _wrong(undo) if is_so), None):
        raise BadBook(said + wrong)
    for name, one in undo.inputs.items():
        _check_input(name, one, said, names)
    for text in texts_of(undo):
        for name in PLACE.findall(text):
            if name not in (KEY, *undo.inputs):
                raise BadBook(f"{said}{{{name}}} is none of its inputs")


def _wrong(undo: Undo) -> Iterator[tuple[str, bool]]:
    """Yield what may be wrong with an undo by itself, and whether it is."""
    http, message, manual = undo.http, undo.message, undo.manual
    yield "it is undone by exactly one of http, message and manual", [http, message, manual].count(None) != 2
    yield "say in the title of its undo what that does", not undo.title.strip()
    yield "name the connection over which it is undone", manual is None and not undo.connection.strip()
    yield "a path begins with / and holds no blanks", http is not None and not HTTP_PATH.fullmatch(http.path)
    yield "name the destination", message is not None and not message.destination.strip()
    headers = [part for pair in undo.headers.items() for part in pair]
    yield "a header has a name, and is one line", "" in undo.headers or any(CONTROL.search(part) for part in headers)
    yield "say in the instructions what to do", manual is not None and not manual.instructions.strip()
    yield "a task is due in 1 minute to 90 days", manual is not None and not 1 <= manual.due_minutes <= 129_600
    yield "timeout_s is 1 to 60", not 1 <= undo.timeout_s <= 60
    yield "retries is 0 to 20", not 0 <= undo.retries <= 20
    yield "proof_within_s is 5 to 604,800", not 5 <= undo.proof_within_s <= 604_800
    yield f"a body has at most {LONGEST_BODY // 1024} KiB", len(msgspec.json.encode(undo.body)) > LONGEST_BODY
    yield f"it has at most {MOST_INPUTS} inputs", len(undo.inputs) > MOST_INPUTS


def _check_input(name: str, one: Input, said: str, names: list[str]) -> None:
    if not NAME.fullmatch(name) or name == KEY:
        raise BadBook(f"{said}“{name[:60]}” is no name of an input: small letters, digits, - and _")
    if sum(bool(place) for place in (one.json, one.xml, one.key, one.attribute)) != 1:
        raise BadBook(f"{said}input {name} comes from exactly one of json, xml, key and attribute")
    if one.of and one.of != MESSAGE and one.of not in names:
        raise BadBook(f"{said}input {name} comes from “{one.of[:60]}”, which is no step of this book")
    try:
        if one.json:
            parse_json_path(one.json)
        if one.xml:
            parse_xpath(one.xml)
    except BadExpression as error:
        raise BadBook(f"{said}input {name}: {error}") from error


def texts_of(undo: Undo) -> Iterator[str]:
    """Yield every text of an undo that may hold {inputs}."""
    yield undo.title
    yield from undo.headers.values()
    if undo.http:
        yield undo.http.path
    if undo.message:
        yield undo.message.destination
    if undo.manual:
        yield undo.manual.instructions
    yield from _leaves(undo.body)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, below in value.items():
            yield str(name)
            yield from _leaves(below)
    elif isinstance(value, list):
        for below in value:
            yield from _leaves(below)


def _check_order(book: Book) -> None:
    after = {step.name: set(step.after) for step in book.steps}
    while after:
        free = {name for name, waits in after.items() if not waits & after.keys()}
        if not free:
            raise BadBook(f"these wait for each other in “after”: {', '.join(sorted(after))}")
        after = {name: waits for name, waits in after.items() if name not in free}
