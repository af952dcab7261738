"""A body without its compression, decoded to JSON by the schema that its frame or its destination names. Pure: the caller brings schemas."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import msgspec

from console.core.nesting import deeper_than
from messages.schemas import avro, protobuf
from messages.schemas.avro_file import read_file
from messages.schemas.frames import CONFLUENT, CONTAINER, Frame, frame_of, message_indexes
from messages.schemas.limits import MOST_DEPTH, BadSchema, Misfit

AVRO, PROTOBUF = READS = ("avro", "protobuf")
JSON_SCHEMA, XSD = CHECKS = ("json", "xsd")
FORMATS = READS + CHECKS
MOST_TRIED = 8
WHERE = "(Settings → Schemas)"
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


class SchemaRow(Protocol):
    """What is asked of a configured schema: messages.models.Schema says what each is."""

    @property
    def name(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def definition(self) -> str: ...
    @property
    def compiled(self) -> bytes | memoryview: ...
    @property
    def message(self) -> str: ...
    @property
    def destination(self) -> str: ...
    @property
    def ids(self) -> Sequence[int]: ...
    @property
    def fingerprint(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """steps: how it was read, in words, the outermost first."""

    json: bytes
    steps: tuple[str, ...]


class Undecoded(Exception):
    """The body is encoded, or should be, and cannot be decoded; the sentence says why."""


def decode(body: bytes, destinations: Sequence[str], schemas: Callable[[], Sequence[SchemaRow]]) -> Decoded | None:
    """Return the body as JSON, None when it is not encoded as far as anybody knows; raises Undecoded.

    destinations  where it was going or died: a schema with a pattern applies when one of them matches.
    schemas       asked only when the body may need one.
    """
    frame = frame_of(body)
    if not body or (frame is None and _is_document(body)):
        return None
    if frame is not None and frame.kind == CONTAINER:
        return _file(body)
    known = [one for one in schemas() if one.format in READS]
    if frame is None:
        return _unframed(body, [one for one in known if not one.ids and is_for(one, destinations)])
    if frame.kind == CONFLUENT:
        return _confluent(body, frame, known, destinations)
    fitting = [one for one in known if one.format == AVRO and one.fingerprint == frame.fingerprint]
    if not fitting:
        raise Undecoded(f"{frame}: no Avro schema with this fingerprint is configured {WHERE}")
    return _first(body[frame.start :], fitting[:1], frame)


def _is_document(body: bytes) -> bool:
    """Whether it is JSON or XML: a schema that its destination names is not tried on that."""
    text = body.lstrip()
    if text.startswith(b"<"):
        return text.rstrip().endswith(b">") and _is_text(body)
    return text[:1] in (b"{", b"[") and _is_json(body)


def _is_text(body: bytes) -> bool:
    try:
        return not CONTROL.search(body.decode())
    except UnicodeDecodeError:
        return False


def _is_json(body: bytes) -> bool:
    if deeper_than(MOST_DEPTH, body):
        return False
    try:
        body.decode()
        msgspec.json.decode(
            body, type=msgspec.Raw
        )  # checked and not built: a large body is read at every look at its page
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return False
    return True


@lru_cache(maxsize=1024)
def _pattern(destination: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(destination))  # as rules of flows do


def is_for(schema: SchemaRow, destinations: Sequence[str]) -> bool:
    return bool(schema.destination) and any(_pattern(schema.destination).match(one) for one in destinations if one)


def _applies(schema: SchemaRow, frame: Frame, destinations: Sequence[str]) -> bool:
    """Whether a schema applies to a framed body: of an id and a pattern, each that it has must fit."""
    if schema.ids and frame.schema_id not in schema.ids:
        return False
    return is_for(schema, destinations) if schema.destination else bool(schema.ids)


def _confluent(body: bytes, frame: Frame, known: Sequence[SchemaRow], destinations: Sequence[str]) -> Decoded:
    rest = body[frame.start :]
    applying = sorted((one for one in known if _applies(one, frame, destinations)), key=lambda one: not one.ids)
    if not applying:
        if _is_json(rest):
            return Decoded(json=rest, steps=(str(frame), "JSON"))
        raise Undecoded(f"{frame}: no schema with this id is configured {WHERE}")
    try:
        return _first(rest, applying, frame)
    except Undecoded:
        if all(one.ids for one in applying):
            raise
    return _first(body, [one for one in applying if not one.ids], None)  # a body may begin with such bytes by itself


def _unframed(body: bytes, applying: Sequence[SchemaRow]) -> Decoded | None:
    return _first(body, applying, None) if applying else None


def _file(body: bytes) -> Decoded:
    try:
        return Decoded(json=msgspec.json.encode(read_file(body)), steps=(CONTAINER,))
    except Misfit as error:
        raise Undecoded(f"{CONTAINER}: {error}") from error


def _first(body: bytes, schemas: Sequence[SchemaRow], frame: Frame | None) -> Decoded:
    """Return what the first schema that fits makes of it; raises Undecoded with the words of the first that does not."""
    begun = f"{frame}: " if frame else ""
    refused = ""
    for schema in schemas[:MOST_TRIED]:
        try:
            done = decode_by(schema, body, framed=frame is not None and frame.kind == CONFLUENT)
        except Misfit as error:
            refused = refused or f"{begun}the schema {schema.name} does not fit: {error}"
        except BadSchema as error:
            refused = refused or f"{begun}the schema {schema.name} cannot be used: {error}"
        else:
            return Decoded(json=done.json, steps=((str(frame),) if frame else ()) + done.steps)
    raise Undecoded(refused)


def decode_sample(body: bytes, schema: SchemaRow) -> Decoded:
    """Return what this one schema makes of a body, framed or not, whatever it is for; raises Undecoded."""
    frame = frame_of(body)
    if frame is not None and frame.kind == CONTAINER:
        return _file(body)
    if frame is None:
        return _first(body, [schema], None)
    try:
        return _first(body[frame.start :], [schema], frame)
    except Undecoded as refusal:
        try:
            return _first(body, [schema], None)
        except Undecoded:
            raise refusal from None


def decode_by(schema: SchemaRow, body: bytes, *, framed: bool) -> Decoded:
    """Return what this schema makes of a body behind its frame; raises Misfit, BadSchema."""
    if schema.format == AVRO:
        tree = avro.decode(avro.read_schema(schema.definition), body)
        return Decoded(json=msgspec.json.encode(tree), steps=(f"Avro by the schema {schema.name}",))
    compiled = protobuf.load(bytes(schema.compiled))
    if framed:
        indexes, start = message_indexes(body)
        kind, body = protobuf.message_at(compiled, indexes), body[start:]
    else:
        kind = protobuf.find_message(compiled, schema.message)
    text, unknown = protobuf.decode(compiled, kind, body)
    steps = [f"Protobuf {kind.full_name} by the schema {schema.name}"]
    if unknown:
        steps.append(f"left out: {unknown:,} bytes in fields that the schema does not know")
    return Decoded(json=text.encode("utf-8", "replace"), steps=tuple(steps))
