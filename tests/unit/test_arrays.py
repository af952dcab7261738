"""Arrays as psycopg makes them of lists whose types it is told, and what no array holds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import DataError
from psycopg.adapt import Transformer
from psycopg.types.json import Jsonb

from messages.ingest.arrays import TYPES, array_of, arrays_of

NOON = datetime(2026, 11, 26, 12, 0, 0, 123456, tzinfo=UTC)
VALUES: list[tuple[str, list[Any]]] = [
    ("bool", [True, False]),
    ("bytea", [b"", b"\x00\xff"]),
    ("int2", [0, -1, 32767, -32768]),
    ("int4", [0, -1, 2**31 - 1]),
    ("int8", [0, -1, 2**63 - 1, -(2**63)]),
    ("float8", [0, 1.5, -2e300]),
    ("text", ["", "a", "Grüße 🦊", "x" * 70_000]),
    ("date", [date(1970, 1, 1), date(2026, 11, 26), date(1, 1, 1), date(9999, 12, 31)]),
    ("timestamptz", [NOON, NOON.astimezone(timezone(timedelta(hours=5))), datetime(1, 1, 1, tzinfo=UTC)]),
    ("uuid", [UUID(int=0), UUID(int=2**128 - 1)]),
    ("jsonb", [Jsonb({}), Jsonb({"order_no": "4711"})]),
]


@pytest.mark.parametrize(("name", "values"), VALUES)
@pytest.mark.parametrize("around", [(), (None,)])
def test_an_array_has_the_form_that_the_driver_writes_item_by_item(
    name: str, values: list[Any], around: tuple[None, ...]
):
    made = Transformer()
    dumper = psycopg.adapters.get_dumper_by_oid(TYPES[name][0], 1)(object, made)
    items = [bytes(dumper.dump(value) or b"") if value is not None else None for value in [*around, *values]]
    if name == "jsonb":  # spaces
        items = [item and item.replace(b": ", b":") for item in items]
    expected = b"".join(b"\xff" * 4 if item is None else len(item).to_bytes(4, "big") + item for item in items)

    found = array_of(name, [*around, *values]).data

    assert found[20:] == expected
    head = [1, len(around), TYPES[name][0], len(items), 1]
    assert found[:20] == b"".join(number.to_bytes(4, "big") for number in head)


def test_every_type_is_that_of_the_driver():
    assert {name: oid for name, (oid, _, _) in TYPES.items()} == {
        name: psycopg.adapters.types[name].oid for name in TYPES
    }


def test_sixteen_bytes_are_a_uuid():
    assert array_of("uuid", [UUID(int=7).bytes, None]).data == array_of("uuid", [UUID(int=7), None]).data


@pytest.mark.parametrize(
    ("name", "value"), [("int2", 2**15), ("int4", 2**31), ("int8", 2**63), ("int8", -(2**63) - 1), ("text", "\ud800")]
)
def test_what_does_not_fit_is_an_error_of_data(name: str, value: object):
    with pytest.raises(DataError, match=name):
        array_of(name, [value])


def test_columns_take_the_types_of_their_parameters():
    statement = "SELECT * FROM unnest(%b::int8[], %b::text[]) WHERE %b"

    numbers, texts = arrays_of(statement, [(1, None), (2, "b")])

    assert numbers.data == array_of("int8", [1, 2]).data
    assert texts.data == array_of("text", [None, "b"]).data


def test_a_statement_and_its_rows_have_as_many_columns():
    with pytest.raises(ValueError, match="zip"):
        arrays_of("SELECT * FROM unnest(%b::int8[])", [(1, 2)])
