"""Avro's binary encoding by a schema, as JSON for people. Pure. Source: the Apache Avro 1.12 specification.

fastavro reads and judges the schema; the bytes are read here. Measured: a list of 200 KB, nested by a recursive record, ends the whole
process in fastavro's reader (its C stack), and five bytes that announce 2**27 nulls take 1 GB. Neither can be given a limit.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import fastavro
import msgspec
from fastavro.schema import SchemaParseException, UnknownType, fingerprint, to_parsing_canonical_form

from console.core.nesting import deeper_than
from messages.schemas.avro_logical import READ, base64_text
from messages.schemas.limits import LARGEST_SCHEMA, LONGEST_NAME, MOST_DEPTH, BadSchema, Budget, Misfit

NAMES = f"a name is text of at most {LONGEST_NAME} characters"


@dataclass(frozen=True, slots=True, kw_only=True)
class AvroSchema:
    """A schema, ready. named: its named types. fingerprint: CRC-64-AVRO as 16 hex digits in the order of the wire."""

    root: Any
    named: dict[str, Any]
    fingerprint: str


@lru_cache(maxsize=64)
def read_schema(text: str) -> AvroSchema:
    """Return the schema that this JSON is; raises BadSchema."""
    if len(text) > LARGEST_SCHEMA:
        raise BadSchema(f"a schema has at most {LARGEST_SCHEMA // 1024} KiB")
    data = text.encode("utf-8", "replace")
    if deeper_than(MOST_DEPTH, data):
        raise BadSchema(f"it is nested deeper than {MOST_DEPTH}")
    named: dict[str, Any] = {}
    try:
        said = msgspec.json.decode(data)
        _check_names(said)
        root = fastavro.parse_schema(said, named_schemas=named)
        print_ = fingerprint(to_parsing_canonical_form(root), "CRC-64-AVRO")
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadSchema(f"it is not JSON: {error}"[:300]) from error
    except UnknownType as error:
        raise BadSchema(f"there is no type '{str(error.name)[:100]}'") from error
    except SchemaParseException as error:
        raise BadSchema(f"it is no Avro schema: {error}"[:300]) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # shapes that fastavro does not expect
        raise BadSchema(f"it is no Avro schema: {type(error).__name__} {error}"[:300]) from error
    _check_types(root, named)
    return AvroSchema(root=root, named=named, fingerprint=print_)


def _check_names(said: Any) -> None:
    """Refuse long names before fastavro writes them out: a namespace of 60 KB that 6,000 fields refer to took it 34 s and 1 GB."""
    waiting = [said]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            waiting += one.values()
            if any(len(str(one.get(key, ""))) > LONGEST_NAME for key in ("name", "namespace")):
                raise BadSchema(NAMES)


def _check_types(root: Any, named: dict[str, Any]) -> None:
    """Refuse what fastavro lets through and a reader would stumble over, and names so long that they would be a bomb."""
    waiting = [root, *named.values()]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, str):
            if one not in READERS and one not in named:
                raise BadSchema(f"there is no type '{one[:100]}'")
        else:
            kind = one["type"]
            names = [one.get("name", ""), *one.get("symbols", []), *(f["name"] for f in one.get("fields", []))]
            if any(not isinstance(name, str) or len(name) > LONGEST_NAME for name in names):
                raise BadSchema(NAMES)
            if kind == "fixed" and not (isinstance(one["size"], int) and one["size"] >= 0):
                raise BadSchema("a fixed has a size in bytes")
            waiting += [one[key] for key in ("items", "values") if key in one]
            waiting += [field["type"] for field in one.get("fields", [])]
            if not isinstance(kind, str) or kind not in COMPLEX:
                waiting.append(kind)


def decode(schema: AvroSchema, data: bytes) -> Any:
    """Return what these bytes are, all of them, as a tree for msgspec.json; raises Misfit.

    bytes and fixed are base64, decimals numbers with every digit, dates and times ISO 8601, a union its value alone.
    """
    reader = Reader(data, schema.named, Budget())
    value = reader.value(schema.root)
    if reader.at != len(data):
        raise Misfit(f"{len(data) - reader.at:,} bytes are left over behind it")
    return value


class Reader:
    """A place in the bytes. `data` is never copied as a whole."""

    def __init__(self, data: bytes, named: dict[str, Any], budget: Budget, *, at: int = 0) -> None:
        self.data, self.named, self.budget, self.at = data, named, budget, at
        self.depth = 0

    def take(self, count: int) -> bytes:
        if not 0 <= count <= len(self.data) - self.at:
            raise Misfit(f"at byte {self.at:,} it needs {count:,} more, and {len(self.data) - self.at:,} are there")
        self.at += count
        return self.data[self.at - count : self.at]

    def long(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if shift >= 70 or value >= 1 << 64:
            raise Misfit(f"at byte {self.at:,} is a number of more than 64 bits")
        return (value >> 1) ^ -(value & 1)

    def value(self, schema: Any) -> Any:
        """Return the value of this schema that begins here."""
        self.budget.spend(0)
        if isinstance(schema, list):
            branch = self.long()
            if not 0 <= branch < len(schema):
                raise Misfit(f"at byte {self.at:,} it chooses branch {branch:,} of a union of {len(schema)}")
            return self.value(schema[branch])
        if isinstance(schema, str) and schema not in READERS:
            schema = self.named[schema]
        kind = schema if isinstance(schema, str) else schema["type"]
        if not isinstance(kind, str) or kind not in READERS:  # {"type": {…}} and {"type": "a.Name"}
            return self.value(kind)
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise Misfit(f"it is nested deeper than {MOST_DEPTH}")
        found = READERS[kind](self, schema)
        self.depth -= 1
        logical = isinstance(schema, dict) and READ.get((str(schema.get("logicalType")), kind))
        return logical(found, schema) if logical else plain(found)

    def null(self, _: Any) -> None:
        return None

    def boolean(self, _: Any) -> bool:
        byte = self.take(1)[0]
        if byte > 1:
            raise Misfit(f"at byte {self.at - 1:,} is {byte} where true or false should be")
        return byte == 1

    def small(self, _: Any) -> int:
        value = self.long()
        if not -(1 << 31) <= value < 1 << 31:
            raise Misfit(f"at byte {self.at:,} is an int of more than 32 bits")
        return value

    def whole(self, _: Any) -> int:
        return self.long()

    def single(self, _: Any) -> float:
        packed = self.take(4)
        (value,) = struct.unpack("<f", packed)
        shortest = (float(f"{value:.{digits}g}") for digits in range(6, 9))
        return next((one for one in shortest if _single(one) == packed), value)

    def double(self, _: Any) -> float:
        (value,) = struct.unpack("<d", self.take(8))
        return float(value)

    def octets(self, _: Any) -> bytes:
        size = self.long()
        self.budget.spend(max(size, 0) * 4 // 3)
        return self.take(size)

    def string(self, _: Any) -> str:
        size = self.long()
        self.budget.spend(max(size, 0))
        try:
            return self.take(size).decode()
        except UnicodeDecodeError as error:
            raise Misfit(f"the text that ends at byte {self.at:,} is not UTF-8") from error

    def fixed(self, schema: Any) -> bytes:
        self.budget.spend(schema["size"] * 4 // 3)
        return self.take(schema["size"])

    def enum(self, schema: Any) -> str:
        index, symbols = self.long(), schema["symbols"]
        if not 0 <= index < len(symbols):
            raise Misfit(f"at byte {self.at:,} it names symbol {index:,} of {len(symbols)} in {schema['name']}")
        self.budget.spend(len(symbols[index]))
        return str(symbols[index])

    def record(self, schema: Any) -> dict[str, Any]:
        found = {}
        for field in schema["fields"]:
            self.budget.spend(len(field["name"]))
            found[field["name"]] = self.value(field["type"])
        return found

    def array(self, schema: Any) -> list[Any]:
        found: list[Any] = []
        while count := self._block():
            for _ in range(count):
                found.append(self.value(schema["items"]))
        return found

    def map(self, schema: Any) -> dict[str, Any]:
        found = {}
        while count := self._block():
            for _ in range(count):
                name = self.string(None)
                found[name] = self.value(schema["values"])
        return found

    def _block(self) -> Any:
        count = self.long()
        if count < 0:
            self.long()  # the block's size in bytes, for readers that skip it
        return abs(count)


def plain(value: Any) -> Any:
    """Return what JSON has no word for as text: bytes as base64, NaN and infinities by their names."""
    if isinstance(value, bytes):
        return base64_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _single(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return b""


COMPLEX = {"record", "error", "enum", "array", "map", "fixed"}
READERS: dict[str, Any] = {
    "null": Reader.null, "boolean": Reader.boolean, "int": Reader.small, "long": Reader.whole, "float": Reader.single,
    "double": Reader.double, "bytes": Reader.octets, "string": Reader.string, "fixed": Reader.fixed, "enum": Reader.enum,
    "record": Reader.record, "error": Reader.record, "array": Reader.array, "map": Reader.map,
}  # fmt: skip
