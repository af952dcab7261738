"""Rows as PostgreSQL's binary arrays, one a column, of the types that their statement names.

psycopg guesses a list's type from its items and makes each in Python: twice the work here, and a cast in the server where it guessed narrower
(int2[] for int8[]), under a plan of its own for every combination of guesses. Format: array_recv in PostgreSQL's arrayfuncs.c, big-endian.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from django.db import DataError
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.types.json import Jsonb

NULL = b"\xff\xff\xff\xff"  # the length of an item that is null
EPOCH, DAY_0, MICROSECOND = datetime(2000, 1, 1, tzinfo=UTC), date(2000, 1, 1).toordinal(), timedelta(microseconds=1)
_head = struct.Struct(">iIIii").pack  # dimensions, whether an item is null, type, items, index of the first
_int4 = _length = struct.Struct(">i").pack
_int8 = struct.Struct(">q").pack
_encode = msgspec.json.Encoder().encode


def _moment(value: datetime) -> bytes:
    return _int8((value - EPOCH) // MICROSECOND)


def _day(value: date) -> bytes:
    return _int4(value.toordinal() - DAY_0)


def _uuid(value: UUID | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.bytes


def _jsonb(value: Jsonb) -> bytes:
    return b"\x01" + _encode(value.obj)  # its version and the text


# name → (its oid, bytes of every item or 0 where they differ, what makes an item's bytes)
TYPES: dict[str, tuple[int, int, Callable[[Any], bytes]]] = {
    "bool": (16, 1, struct.Struct("?").pack),
    "bytea": (17, 0, bytes),
    "int8": (20, 8, _int8),
    "int2": (21, 2, struct.Struct(">h").pack),
    "int4": (23, 4, _int4),
    "text": (25, 0, str.encode),
    "float8": (701, 8, struct.Struct(">d").pack),
    "date": (1082, 4, _day),
    "timestamptz": (1184, 8, _moment),
    "uuid": (2950, 16, _uuid),  # a UUID, or its 16 bytes
    "jsonb": (3802, 0, _jsonb),
}


class Array:
    """An array in its binary form, for a parameter whose type the statement says: `%b::int8[]`."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class _ArrayDumper(Dumper):
    format = Format.BINARY
    oid = 0

    def dump(self, obj: Array) -> Buffer:
        return obj.data


def register() -> None:
    """Tell psycopg of Array; connections that are open already do not learn of it."""
    psycopg.adapters.register_dumper(Array, _ArrayDumper)


@lru_cache(maxsize=256)
def _types_of(statement: str) -> list[str]:
    return re.findall(r"%b::(\w+)\[\]", statement)


def arrays_of(statement: str, rows: Sequence[tuple[Any, ...]]) -> list[Array]:
    """Return the columns of these rows, each as the type that the statement's parameter has; raises DataError, ValueError for another number of them."""
    columns = zip(*rows, strict=True)
    return [array_of(name, column) for name, column in zip(_types_of(statement), columns, strict=True)]


def array_of(name: str, values: Sequence[Any]) -> Array:
    """Return these values, or None, as an array of this type; raises DataError for a value that it cannot hold."""
    oid, size, made = TYPES[name]
    some_null = None in values
    try:
        items = [None if value is None else made(value) for value in values] if some_null else list(map(made, values))
    except (struct.error, UnicodeEncodeError) as error:
        raise DataError(f"a value does not fit {name}: {error}") from error
    head = _head(1, some_null, oid, len(items), 1)
    if size and not some_null:
        return Array(_length(size).join((head, *items)))  # type: ignore[arg-type]
    return Array(head + b"".join([NULL if item is None else _length(len(item)) + item for item in items]))
