"""A body checked by the JSON Schemas and XSDs of where it goes, and by the Avro or Protobuf schema that reads it. Bounded by the runner."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from messages.payloads.unpack import Packed, declared_encoding, unpack
from messages.programs.runner import BadProgram, Kind, ProgramFailed, Runner
from messages.schemas.decoding import CHECKS, JSON_SCHEMA, SchemaRow, Undecoded, decode, is_for
from messages.schemas.limits import LARGEST_SCHEMA, BadSchema

MOST_CHECKED = 8
KINDS: dict[str, Kind] = {"json": "json_schema", "xsd": "xsd"}
EMPTY = {"json": b"null", "xsd": b"<a/>"}


def check_definition(format: str, definition: str, runner: Runner) -> None:
    """Raise BadSchema, in its compiler's words, for a JSON Schema or XSD that cannot be used."""
    data = definition.encode("utf-8", "replace")
    if len(data) > LARGEST_SCHEMA:
        raise BadSchema(f"a schema has at most {LARGEST_SCHEMA // 1024} KiB")
    try:
        runner.run(KINDS[format], data, EMPTY[format])
    except BadProgram as error:
        raise BadSchema(str(error)) from error
    except ProgramFailed as error:
        if "takes too long" in str(error):
            raise BadSchema(str(error)) from error


def findings_of(schema: SchemaRow, body: bytes, runner: Runner) -> list[str]:
    """Return what a JSON Schema or XSD finds wrong, at most ten sentences; [] for nothing."""
    try:
        found: list[str] = json.loads(runner.run(KINDS[schema.format], schema.definition.encode(), body))
    except ProgramFailed as error:
        return [str(error)]
    return found


def check_body(
    body: bytes,
    headers: Sequence[Mapping[str, Any]],
    properties: Mapping[str, Any],
    destinations: Sequence[str],
    schemas: Sequence[SchemaRow],
    runner: Runner,
) -> tuple[list[str], list[str]]:
    """Return (names of the schemas that it was checked by, what they find wrong, in words that may have values of the body in them).

    destinations  where it goes and came from: a schema with a pattern applies when one of them matches.
    """
    try:
        plain = unpack(body, declared_encoding(headers, properties)).body
    except Packed as error:
        return [], [str(error)]
    by, wrong = [], []
    for schema in _applying(plain, destinations, schemas):
        by.append(schema.name)
        wrong += [f"{schema.name}: {one}" for one in findings_of(schema, plain, runner)]
    try:
        read = decode(plain, destinations, lambda: schemas)
    except Undecoded as error:
        return by, [*wrong, str(error)]
    return [*by, *(read.steps if read else ())], wrong


def _applying(body: bytes, destinations: Sequence[str], schemas: Sequence[SchemaRow]) -> list[SchemaRow]:
    """Return the checking schemas of these destinations whose kind of body it may be: XML begins with <, and nothing else does."""
    is_xml = body.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<"
    fitting = [one for one in schemas if one.format in CHECKS and is_for(one, destinations)]
    kinds = {one.format for one in fitting}
    if len(kinds) > 1:  # of both kinds each checks its own; alone it says that the body is of the wrong kind
        fitting = [one for one in fitting if (one.format != JSON_SCHEMA) == is_xml]
    return fitting[:MOST_CHECKED]
