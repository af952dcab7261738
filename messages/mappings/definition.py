"""What an administrator writes: a mapping's definition as JSON, checked in words and made ready to be applied. Pure.

docs/mappings.md is its documentation. Nothing in it can hang: paths are those of masking, regular expressions are RE2's.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import msgspec
import re2
from msgspec import UNSET, UnsetType

from console.core.errors import Invalid
from messages.masking.paths import LONGEST, BadExpression, Path, parse_json_path, parse_xpath
from messages.masking.rules import MOST_PROGRAM

LARGEST_BYTES = 64 * 1024
MOST_FIELDS = 100
MOST_CONDITIONS = 20
LINE = 76  # columns, without the name
MOST_PATHS = 8  # that one field may be looked for at

Scalar = str | int | float | bool


class BadMapping(Invalid):
    """The definition of a mapping cannot be used; the sentence says where and why."""

    code = "bad_mapping"


class Condition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must hold of the value at a path; of several tests all must."""

    path: str
    one_of: list[Scalar] | UnsetType = msgspec.field(name="in", default=UNSET)
    none_of: list[Scalar] | UnsetType = msgspec.field(name="not_in", default=UNSET)
    exists: bool | UnsetType = UNSET
    matches: str | UnsetType = UNSET


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a field's value comes from, and what is made of it."""

    source: str | list[str] | UnsetType = msgspec.field(name="from", default=UNSET)
    value: Scalar | UnsetType = UNSET
    template: str | UnsetType = UNSET
    map: dict[str, Scalar] | UnsetType = UNSET
    default: Scalar | UnsetType = UNSET
    kind: Literal["epoch_s", "epoch_ms", "utc"] | UnsetType = msgspec.field(name="as", default=UNSET)
    since: str | UnsetType = UNSET


class Making(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of what is made of an item, when every condition holds."""

    when: list[Condition] = []
    fields: dict[str, Scalar | Value]


class Definition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping. pattern: for lines of text. items: where they are in the body. skip: an item of which one of these holds is left out."""

    body: Literal["json", "ndjson", "xml", "lines"] = "json"
    pattern: str = ""
    items: str = ""
    skip: list[Condition] = []
    event: Making | None = None
    dead_letter: Making | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """A condition, ready. None where it does not ask."""

    where: Path
    one_of: frozenset[str] | None
    none_of: frozenset[str] | None
    exists: bool | None
    matches: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Getter:
    """How a field gets its value: the first of `paths` that leads to something, else `pieces` together, else `constant`."""

    field: str
    kind: str  # text, time, number, any, object, texts, headers
    paths: tuple[tuple[str, Path], ...] = ()
    pieces: tuple[str | Path, ...] = ()
    constant: Scalar | None = None
    map: dict[str, Scalar] | None = None
    default: Scalar | None = None
    convert: str = ""
    since: Path | None = None
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is made of an item when all tests pass. kind: event or dead_letter."""

    kind: str
    when: tuple[Test, ...]
    getters: tuple[Getter, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A definition, ready to be applied."""

    body: str
    pattern: Any
    items: Path | None
    skip: tuple[Test, ...]
    plans: tuple[Plan, ...]


ERROR = dict.fromkeys(("error.type", "error.message", "error.stack"), "text")
COMMON = ERROR | dict.fromkeys(("id", "system", "message_id", "correlation_id", "trace_id", "span_id"), "text")
# Field → what it takes; a name that ends in .* stands for any member of an object. Kept equal to the structs by a test.
FIELDS = {
    "event": COMMON
    | dict.fromkeys(("operation", "outcome", "name", "destination", "parent_span_id"), "text")
    | dict.fromkeys(("payload.content_type", "payload.body", "payload.body_base64"), "text")
    | {"occurred_at": "time", "duration_ms": "number", "keys": "texts", "keys.*": "text"}
    | {"attributes": "object", "attributes.*": "any", "payload.headers": "texts", "payload.headers.*": "text"},
    "dead_letter": COMMON
    | dict.fromkeys(("broker", "family", "queue", "origin", "reason", "reason_code", "replay_id"), "text")
    | dict.fromkeys(("content_type", "content_encoding", "body", "body_base64", "error.root_type"), "text")
    | {"failed_at": "time", "first_failed_at": "time", "attempts": "number", "keys": "texts", "keys.*": "text"}
    | {"route": "texts", "route.*": "text", "headers": "headers", "headers.*": "text"}
    | {"properties": "object", "properties.*": "any"},
}
REQUIRED = {
    "event": ("id", "system", "operation", "occurred_at"),
    "dead_letter": ("id", "broker", "family", "queue"),
}
TEMPLATE = re.compile(r"\{([$/][^{}]*)\}")


def read_definition(data: bytes | str) -> Definition:
    """Return the definition that this JSON is; raises BadMapping."""
    if len(data) > LARGEST_BYTES:
        raise BadMapping(f"a definition has at most {LARGEST_BYTES // 1024} KiB")
    try:
        return msgspec.json.decode(data, type=Definition)
    except msgspec.ValidationError as error:
        raise BadMapping(str(error)[:500].replace("`", "'")) from error
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise BadMapping(f"it is not JSON: {error}"[:500]) from error


def pretty(definition: Any, *, column: int = 0) -> str:
    """Return a definition as JSON to be read and changed: what fits into a line stands in one."""
    flat = json.dumps(definition, ensure_ascii=False)
    if not isinstance(definition, dict) or len(flat) + column <= LINE:
        return flat
    inner = " " * (column + 1)
    members = (
        f"{inner}{json.dumps(name, ensure_ascii=False)}: {pretty(value, column=column + 1)}"
        for name, value in definition.items()
    )
    return "{\n" + ",\n".join(members) + "\n" + " " * column + "}"


@lru_cache(maxsize=256)
def compiled(data: bytes) -> Compiled:
    """Return the definition that this JSON is, ready to be applied; raises BadMapping."""
    return compile_definition(read_definition(data))


def compile_definition(said: Definition) -> Compiled:
    """Return a definition ready to be applied; raises BadMapping in words that name the place."""
    if (said.body == "lines") != bool(said.pattern):
        raise BadMapping('"pattern" is for "body": "lines", and lines need one')
    if said.items and said.body not in ("json", "xml"):
        raise BadMapping('"items" is for JSON and XML: every line is an item already')
    reader = _Reader(said.body)
    plans = [
        reader.plan(kind, making)
        for kind, making in (("event", said.event), ("dead_letter", said.dead_letter))
        if making is not None
    ]
    if not plans:
        raise BadMapping('say what is made of an item: "event", "dead_letter" or both')
    return Compiled(
        body=said.body,
        pattern=_pattern(said.pattern) if said.pattern else None,
        items=reader.path(said.items, "items") if said.items else None,
        skip=reader.tests(said.skip, "skip"),
        plans=tuple(plans),
    )


class _Reader:
    def __init__(self, body: str) -> None:
        self.is_xml = body == "xml"

    def path(self, text: str, where: str) -> Path:
        if text == "$":
            return ()
        if not text or len(text) > LONGEST:
            raise BadMapping(f"{where}: a path has 1 to {LONGEST} characters")
        try:
            return (parse_xpath if self.is_xml else parse_json_path)(text)
        except BadExpression as error:
            raise BadMapping(f"{where}: {error}") from error

    def tests(self, conditions: list[Condition], where: str) -> tuple[Test, ...]:
        if len(conditions) > MOST_CONDITIONS:
            raise BadMapping(f"{where}: at most {MOST_CONDITIONS} conditions")
        return tuple(self._test(one, f"{where}[{at}]") for at, one in enumerate(conditions))

    def _test(self, said: Condition, where: str) -> Test:
        if said.one_of is said.none_of is said.exists is said.matches is UNSET:
            raise BadMapping(f'{where}: a condition has "in", "not_in", "exists" or "matches"')
        return Test(
            where=self.path(said.path, where),
            one_of=_texts(said.one_of),
            none_of=_texts(said.none_of),
            exists=None if said.exists is UNSET else said.exists,
            matches=None if said.matches is UNSET else _pattern(said.matches, where=where, named=False),
        )

    def plan(self, kind: str, making: Making) -> Plan:
        if len(making.fields) > MOST_FIELDS:
            raise BadMapping(f"{kind}: at most {MOST_FIELDS} fields")
        for name in REQUIRED[kind]:
            if name not in making.fields:
                raise BadMapping(f"{kind}: the field '{name}' is missing")
        return Plan(
            kind=kind,
            when=self.tests(making.when, f"{kind}.when"),
            getters=tuple(self._getter(kind, name, value) for name, value in making.fields.items()),
        )

    def _getter(self, making: str, name: str, said: Scalar | Value) -> Getter:
        where = f"{making}.{name}"
        kind = _kind_of(making, name)
        if not isinstance(said, Value):
            said = self._spelled_out(said)
        if sum(one is not UNSET for one in (said.source, said.value, said.template)) != 1:
            raise BadMapping(f'{where}: a field has one of "from", "value" and "template"')
        if said.since is not UNSET and (kind != "number" or said.source is UNSET):
            raise BadMapping(f'{where}: "since" stands beside "from" in a field that is a number')
        if said.kind is not UNSET and kind != "time":
            raise BadMapping(f'{where}: "as" is for times')
        named = [] if said.source is UNSET else [said.source] if isinstance(said.source, str) else said.source
        if len(named) > MOST_PATHS:
            raise BadMapping(f"{where}: at most {MOST_PATHS} paths")
        return Getter(
            field=name,
            kind=kind,
            paths=tuple((one, self.path(one, where)) for one in named),
            pieces=() if said.template is UNSET else self._pieces(said.template, where),
            constant=None if said.value is UNSET else said.value,
            map=None if said.map is UNSET else said.map,
            default=None if said.default is UNSET else said.default,
            convert="" if said.kind is UNSET else said.kind,
            since=None if said.since is UNSET else self.path(said.since, where),
            required=name in REQUIRED[making],
        )

    def _spelled_out(self, said: Scalar) -> Value:
        if isinstance(said, str) and (said.startswith("$") or (self.is_xml and said.startswith("/"))):
            return Value(source=said)
        if isinstance(said, str) and TEMPLATE.search(said):
            return Value(template=said)
        return Value(value=said)

    def _pieces(self, template: str, where: str) -> tuple[str | Path, ...]:
        if len(template) > LONGEST:
            raise BadMapping(f"{where}: a template has at most {LONGEST} characters")
        parts = TEMPLATE.split(template)  # text, path, text, path, …, text
        return tuple(self.path(part, where) if at % 2 else part for at, part in enumerate(parts))


def _kind_of(making: str, name: str) -> str:
    fields = FIELDS[making]
    head, member = _split(name)
    kind = fields.get(name) or (fields.get(f"{head}.*") if member else None)
    if kind is None or name.endswith(".*"):
        raise BadMapping(f"{making}: there is no field '{name[:100]}'; docs/mappings.md names them")
    return kind


def _split(name: str) -> tuple[str, str]:
    """Return ("payload.headers", "x.y") of "payload.headers.x.y": a member's name may have dots of its own."""
    if name.startswith("payload.headers."):
        return "payload.headers", name.removeprefix("payload.headers.")
    head, _, member = name.partition(".")
    return head, member


def _texts(values: list[Scalar] | UnsetType) -> frozenset[str] | None:
    return None if isinstance(values, UnsetType) else frozenset(scalar_text(one) for one in values)


def scalar_text(value: Scalar) -> str:
    """Return a constant as JSON writes it: true, 5, 1.5; text as it is."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _pattern(expression: str, *, where: str = "pattern", named: bool = True) -> Any:
    """Return an expression compiled by RE2, for bytes; raises BadMapping. named: it must have a named group."""
    if not expression or len(expression) > 4 * LONGEST:
        raise BadMapping(f"{where}: an expression has 1 to {4 * LONGEST} characters")
    options = re2.Options()
    options.log_errors = False
    try:
        pattern = re2.compile(expression, options)
    except re2.error as error:
        words = error.args[0]
        said = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
        raise BadMapping(f"{where}: {said[:200]}") from error
    except UnicodeError as error:
        raise BadMapping(f"{where}: the expression is not valid text") from error
    if max(pattern.programsize, pattern.reverseprogramsize) > 2 * MOST_PROGRAM:
        raise BadMapping(f"{where}: it repeats too much; make the numbers in {{…}} smaller")
    if named and not pattern.groupindex:
        raise BadMapping(f"{where}: name what is found, for instance (?P<status>\\w+)")
    return pattern
