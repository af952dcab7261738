"""Avro by a schema: what fastavro writes is read as JSON, and what is hostile ends in a sentence, within bounds."""

from __future__ import annotations

import contextlib
import io
import json
import time
import zlib
from datetime import UTC, date, datetime
from datetime import time as clock
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from messages.schemas.avro import decode, read_schema
from messages.schemas.avro_file import read_file
from messages.schemas.limits import BadSchema, Misfit

NODE = {"type": "record", "name": "shop.Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
ORDER: dict[str, Any] = {
    "type": "record",
    "name": "shop.Order",
    "fields": [
        {"name": "order_no", "type": "string"},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "placed_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "PAID"]}},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "lines", "type": {"type": "array", "items": {"type": "map", "values": "long"}}},
    ],
}
SAID = {
    "order_no": "4711", "total": Decimal("1284.50"), "placed_at": datetime(2026, 11, 24, 10, 15, 30, 500_000, tzinfo=UTC),
    "state": "PAID", "note": None, "lines": [{"big": 2**62 + 1}, {}],
}  # fmt: skip
READ = (
    '{"order_no":"4711","total":1284.50,"placed_at":"2026-11-24T10:15:30.500Z","state":"PAID","note":null,'
    '"lines":[{"big":4611686018427387905},{}]}'
)


def written(schema: Any, value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return out.getvalue()


def read(schema: Any, data: bytes) -> str:
    return msgspec.json.encode(decode(read_schema(json.dumps(schema)), data)).decode()


def long(value: int) -> bytes:
    return written("long", value)


def test_a_record_is_read_with_every_digit_and_readable_times():
    assert read(ORDER, written(ORDER, SAID)) == READ


def logical(kind: str, meaning: str, /, **more: Any) -> dict[str, Any]:
    return {"type": kind, "logicalType": meaning, **more}


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ("null", None, "null"),
        ("boolean", True, "true"),
        ("int", -(2**31), "-2147483648"),
        ("long", 2**63 - 1, "9223372036854775807"),
        ("long", -(2**63), "-9223372036854775808"),
        ("float", 0.1, "0.1"),
        ("float", 3.4028234663852886e38, "3.4028235e38"),
        ("double", 0.1, "0.1"),
        ("double", float("nan"), '"NaN"'),
        ("double", float("-inf"), '"-Infinity"'),
        ("bytes", b"\x00\xff", '"AP8="'),
        ("string", "Grüße ✓", '"Grüße ✓"'),
        (["null", "string", "long"], 7, "7"),
        ({"type": "fixed", "name": "F", "size": 3}, b"abc", '"YWJj"'),
        ({"type": "array", "items": "int"}, list(range(3)), "[0,1,2]"),
        ({"type": "map", "values": ["null", "int"]}, {"a": None, "b": 1}, '{"a":null,"b":1}'),
        (logical("bytes", "decimal", precision=30, scale=10), Decimal("-0.0000000001"), "-1E-10"),
        (logical("fixed", "decimal", name="D", size=8, precision=18, scale=4), Decimal("12.3400"), "12.3400"),
        (logical("int", "date"), date(2026, 11, 24), '"2026-11-24"'),
        (logical("int", "time-millis"), clock(23, 59, 1, 7000), '"23:59:01.007"'),
        (logical("long", "time-micros"), clock(1, 2, 3, 4), '"01:02:03.000004"'),
        (logical("long", "timestamp-micros"), datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), '"1969-12-31T23:59:59Z"'),
        (logical("long", "local-timestamp-millis"), datetime(2026, 1, 2, 3, 4, 5), '"2026-01-02T03:04:05"'),
        (logical("long", "timestamp-nanos"), 1_700_000_000_000_000_001, '"2023-11-14T22:13:20.000000001Z"'),
        (logical("string", "uuid"), UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (logical("fixed", "duration", name="L", size=12), b"\1\0\0\0\2\0\0\0\xbc\x0b\0\0", '"P1M2DT3.004S"'),
        (logical("string", "of our own"), "x", '"x"'),
        (NODE, {"next": {"next": {"next": None}}}, '{"next":{"next":{"next":null}}}'),
    ],
)  # fmt: skip
def test_every_type_is_read_as_a_person_expects(schema: Any, value: Any, expected: str):
    assert read(schema, written(schema, value)) == expected


@pytest.mark.parametrize(
    ("schema", "data", "expected"),
    [
        (logical("int", "date"), long(2**31 - 1), "2147483647"),  # beyond the year 9999
        (logical("long", "timestamp-millis"), long(2**62), str(2**62)),
        (logical("int", "time-millis"), long(-5), "-5"),
        (logical("bytes", "decimal", precision=9, scale=2), b"\x00", '""'),
        (logical("fixed", "uuid", name="U", size=16), UUID(int=1).bytes, '"00000000-0000-0000-0000-000000000001"'),
        (logical("bytes", "decimal", precision=10**9, scale=10**9), b"\x02\x05", "5E-1000000000"),
        (logical("bytes", "decimal", precision=10**30, scale=10**30), b"\x02\x05", '"BQ=="'),
        (logical("bytes", "decimal", precision=2000, scale=0), long(300) + b"\x01" * 300, f'"{"AQEB" * 100}"'),
    ],
)  # fmt: skip
def test_what_no_calendar_or_number_holds_stays_as_it_is(schema: Any, data: bytes, expected: str):
    assert read(schema, data) == expected


ARRAY_OF_NULLS = {"type": "array", "items": "null"}
EMPTY_RECORDS = {"type": "array", "items": {"type": "record", "name": "E", "fields": []}}


@pytest.mark.parametrize(
    ("schema", "data", "words"),
    [
        (ARRAY_OF_NULLS, long(2**31) + b"\0", "it holds more than is decoded"),
        (ARRAY_OF_NULLS, long(-(2**62)) + long(0) + b"\0", "it holds more than is decoded"),
        (ARRAY_OF_NULLS, long(1000) * 5000, "it holds more than is decoded"),
        (EMPTY_RECORDS, long(2**40) + b"\0", "it holds more than is decoded"),
        ({"type": "map", "values": "null"}, long(2**31) + b"\0" * 100, "needs 1 more, and 0 are there"),
        (NODE, b"\x02" * 200_000, "it is nested deeper than 64"),
        ("string", long(2**40), "it holds more than is decoded"),
        ("bytes", long(-5), "it needs -5 more"),
        ("string", b"\x04\xff\xff", "is not UTF-8"),
        ("string", b"\x04ab!", "1 bytes are left over behind it"),
        ("string", b"", "at byte 0 it needs 1 more, and 0 are there"),
        ("long", b"\xff" * 11, "a number of more than 64 bits"),
        ("int", long(2**31), "an int of more than 32 bits"),
        ("boolean", b"\x02", "is 2 where true or false should be"),
        (["null", "string"], long(2), "it chooses branch 2 of a union of 2"),
        ({"type": "enum", "name": "State", "symbols": ["A"]}, long(1), "it names symbol 1 of 1 in State"),
        ({"type": "fixed", "name": "F", "size": 2**40}, b"ab", "it holds more than is decoded"),
    ],
)  # fmt: skip
def test_hostile_bytes_end_in_a_sentence_and_cost_little(schema: Any, data: bytes, words: str):
    began = time.thread_time()

    with pytest.raises(Misfit, match=words):
        read(schema, data)

    assert time.thread_time() - began < 5  # CPU; measured 0.3 s at most


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "it is not JSON"),
        ("[" * 70 + "]" * 70, "it is nested deeper than 64"),
        ('"strin"', "there is no type 'strin'"),
        ('{"type": "record", "name": "A", "fields": [{"name": "b", "type": "B"}]}', "there is no type 'B'"),
        ('{"type": "record", "name": "A", "fields": 7}', "it is no Avro schema"),
        ('{"type": "enum", "name": "A"}', "it is no Avro schema"),
        ('{"type": "fixed", "name": "A", "size": -1}', "a fixed has a size"),
        ('{"type": "fixed", "name": "A", "size": "x"}', "a fixed has a size"),
        ("7", "it is no Avro schema"),
        ("{}", "it is no Avro schema"),
        ("null", "it is no Avro schema"),
        (json.dumps({"type": "enum", "name": "E", "symbols": ["a" * 256]}), "at most 255 characters"),
        ('"' + " " * 300_000 + '"', "at most 256 KiB"),
    ],
)
def test_a_schema_that_cannot_be_is_refused_in_words(text: str, words: str):
    with pytest.raises(BadSchema, match=words):
        read_schema(text)


def test_a_body_s_own_schema_that_names_a_long_namespace_often_costs_little():
    fields = [{"name": f"a{number}", "type": "A"} for number in range(6_000)]
    schema = json.dumps({"type": "record", "name": "A", "namespace": "n" * 60_000, "fields": fields})
    began = time.thread_time()

    with pytest.raises(Misfit, match="its own schema cannot be used: a name is text of at most 255 characters"):
        read_file(container(schema, "null", b""))

    assert time.thread_time() - began < 5  # CPU; measured 0.04 s, and 34 s when fastavro wrote the names out


def test_the_fingerprint_is_the_specification_s():
    assert read_schema('"int"').fingerprint == "8f5c393f1ad57572"  # 0x7275d51a3f395c8f, little-endian


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_a_container_file_is_read_by_its_own_schema(codec: str):
    out = io.BytesIO()
    fastavro.writer(out, fastavro.parse_schema(ORDER), [SAID] * 3, codec=codec)

    assert msgspec.json.encode(read_file(out.getvalue())).decode() == f"[{READ},{READ},{READ}]"


def container(schema: str, codec: str, blocks: bytes, *, mark: bytes = b"m" * 16) -> bytes:
    head = {"avro.schema": schema.encode(), "avro.codec": codec.encode()}
    return b"Obj\x01" + written({"type": "map", "values": "bytes"}, head) + b"m" * 16 + blocks.replace(b"MARK", mark)


BLOCK = zstandard.compress(written(ORDER, SAID) * 3)


def test_a_container_file_may_be_packed_by_zstandard():
    data = container(json.dumps(ORDER), "zstandard", long(3) + long(len(BLOCK)) + BLOCK + b"MARK")

    assert msgspec.json.encode(read_file(data)).decode() == f"[{READ},{READ},{READ}]"


BOMB = zlib.compress(bytes(20_000_000), wbits=-15)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (container('"bytes"', "deflate", long(1) + long(len(BOMB)) + BOMB + b"MARK"), "a block unpacks to more than 4,194,304 bytes"),
        (container('"int"', "deflate", long(1) + long(4) + BOMB[:4] + b"MARK"), "a block cannot be unpacked: it is cut"),
        (container('"int"', "zstandard", long(1) + long(4) + b"abcdMARK"), "a block cannot be unpacked: "),
        (container('"int"', "snappy", long(1) + long(1) + b"\x02MARK"), "packed as snappy, which is not read here"),
        (container('"int"', "deflate", long(1) + long(1) + b"\x07MARK"), "a block cannot be unpacked"),
        (container('"int"', "null", long(1) + long(1) + b"\x02MARK", mark=b"x" * 16), "does not end with the file's mark"),
        (container('"int"', "null", long(1) + long(2) + b"\x02\x02MARK"), "1 bytes of a block are left over"),
        (container('"null"', "null", long(2**40) + long(0) + b"MARK"), "it holds more than is decoded"),
        (container('"nul"', "null", b""), "its own schema cannot be used: there is no type 'nul'"),
        (container('"int"', "null", (long(0) + long(0) + b"MARK") * 600_000), "it holds more than is decoded"),
        (b"Obj\x01", "it needs 1 more"),
        (b"Obj\x01\x00", "its own schema cannot be used: it is not JSON"),
    ],
)  # fmt: skip
def test_a_hostile_container_file_ends_in_a_sentence(data: bytes, words: str):
    with pytest.raises(Misfit, match=words):
        read_file(data)


SCHEMAS = [
    ORDER,
    NODE,
    ARRAY_OF_NULLS,
    {"type": "map", "values": ["null", ORDER]},
    ["long", {"type": "array", "items": NODE}],
]


@given(st.sampled_from(SCHEMAS), st.binary(max_size=400))
def test_any_bytes_are_decoded_or_refused(schema: Any, data: bytes):
    for one in (data, written(ORDER, SAID)[: len(data) % 40] + data):
        with contextlib.suppress(Misfit):
            json.loads(read(schema, one))


@given(st.binary(max_size=200))
def test_any_bytes_after_the_head_of_a_container_file_are_read_or_refused(data: bytes):
    for one in (b"Obj\x01" + data, container('"string"', "deflate", data)):
        with contextlib.suppress(Misfit):
            read_file(one)


TREE = st.recursive(
    st.sampled_from(["int", "record", "A", "fields", "", None, 7, -1, True, [], {}]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["type", "name", "fields", "items", "values", "symbols", "size",
        "logicalType", "scale", "precision"]), inner, max_size=5),
)  # fmt: skip


@given(TREE)
def test_any_json_is_a_schema_or_refused(tree: Any):
    with contextlib.suppress(BadSchema, Misfit):
        decode(read_schema(json.dumps(tree)), b"\x02\x02")
