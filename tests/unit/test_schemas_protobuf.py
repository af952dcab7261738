"""Protobuf by a schema: protoc's own compiler and encoder write, our reader reads; hostile sources and bytes end in a sentence."""

from __future__ import annotations

import base64
import contextlib
import json
import time
import tracemalloc

import pytest
from google.protobuf import json_format, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from messages.schemas.limits import BadSchema, Misfit
from messages.schemas.protobuf import compiled_from, decode, find_message, load, message_at

SOURCE = """
syntax = "proto3";
package shop.v1;
import "google/protobuf/timestamp.proto";
import "google/protobuf/any.proto";
import "google/protobuf/struct.proto";
enum State { NEW = 0; PAID = 1; }
message Order {
  message Line { string sku = 1; int64 pieces = 2; }
  string order_no = 1;
  int64 total_cents = 2;
  google.protobuf.Timestamp placed_at = 3;
  State state = 4;
  repeated Line lines = 5;
  map<string, Line> by_sku = 6;
  bytes signature = 7;
  oneof paid { string card = 8; string iban = 9; }
  double weight = 10;
  google.protobuf.Any more = 11;
  google.protobuf.Struct free = 12;
  Order parent = 13;
  repeated bool flags = 14;
}
message Refund { string order_no = 1; }
"""
SAID = {
    "order_no": "4711", "total_cents": "9007199254740993", "placed_at": "2026-11-24T10:15:30.500Z", "state": "PAID",
    "lines": [{"sku": "A", "pieces": "2"}], "by_sku": {"A": {"sku": "A"}}, "signature": "AP8=", "iban": "DE89",
    "weight": 0.1, "free": {"a": [1.5, None]}, "parent": {"order_no": "4710"}, "flags": [True, False],
}  # fmt: skip
COMPILED = load(compiled_from(SOURCE))
ORDER = find_message(COMPILED, "shop.v1.Order")


def written(said: dict[str, object], kind: object = ORDER) -> bytes:
    return json_format.ParseDict(said, message_factory.GetMessageClass(kind)()).SerializeToString()  # type: ignore[arg-type]


def read(data: bytes) -> tuple[object, int]:
    text, unknown = decode(COMPILED, ORDER, data)
    return json.loads(text), unknown


def test_a_message_is_read_with_the_names_of_its_schema_and_every_digit():
    assert read(written(SAID)) == (SAID, 0)


def test_a_descriptor_set_in_base64_serves_as_source_does():
    text = base64.b64encode(compiled_from(SOURCE)).decode()

    found = load(compiled_from("\n".join(text[at : at + 76] for at in range(0, len(text), 76))))

    assert find_message(found, "shop.v1.Order.Line").full_name == "shop.v1.Order.Line"


def test_proto2_with_groups_defaults_and_required_fields_is_read():
    source = 'syntax = "proto2"; message A { required int32 n = 1; optional string s = 2 [default = "x"]; repeated group G = 3 { optional int32 i = 4; } }'
    found = load(compiled_from(source))

    text, _ = decode(found, find_message(found, ""), b"\x08\x07\x1b\x20\x01\x1c")

    assert json.loads(text) == {"n": 7, "G": [{"i": 1}]} or json.loads(text) == {"n": 7, "g": [{"i": 1}]}


def test_fields_that_the_schema_does_not_know_are_told_at_any_depth():
    line = b"\x0a\x01A" + b"\x98\x06\x01"

    assert read(b"\x0a\x044711" + b"\x2a" + bytes([len(line)]) + line + b"\xa0\x06\x07") == (
        {"order_no": "4711", "lines": [{"sku": "A"}]},
        6,
    )


def test_an_unknown_enum_number_is_shown_as_it_is():
    assert read(b"\x20\x09") == ({"state": 9}, 0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff" * 12, "it is not encoded as Protobuf"),
        (b"\x0a\x7fab", "it is not encoded as Protobuf"),
        (b"\x0a\x02\xff\xff", "it is not encoded as Protobuf"),  # text that is not UTF-8
        (b"\x98\x06\x01", "the schema knows none of its fields"),
        (b"\x1a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00", "it is not encoded as Protobuf|cannot be written as JSON"),
        (b"\x1a\x0a\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "it cannot be written as JSON"),
        (b"\x5a\x0c\x0a\x0atype.x/a.B", "it cannot be written as JSON"),
        (b"\x00" * (1024 * 1024 + 1), "at most 1,048,576 are decoded"),
        (b"\x2a\x00" * 524_000 + b"\x0a\x02\xff\xff", "it is not encoded as Protobuf"),
    ],
)  # fmt: skip
def test_hostile_bytes_end_in_a_sentence(data: bytes, words: str):
    with pytest.raises(Misfit, match=words):
        read(data)


def sized(head: bytes, data: bytes) -> bytes:
    size, length = len(data), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return head + length + bytes([size]) + data


def nested(levels: int) -> bytes:
    """Return an order within an order, so many times."""
    data = b""
    for _ in range(levels):
        data = sized(b"\x6a", data)
    return data


def test_messages_within_messages_end_where_protobuf_ends_them():
    with pytest.raises(Misfit, match="it is not encoded as Protobuf"):
        read(nested(5_000))


def any_within_any() -> bytes:
    data = b""
    while len(data) < 1_000_000:
        data = sized(b"\x0a", b"t/google.protobuf.Any") + (sized(b"\x12", data) if data else b"")
    return data


BOMBS = {
    "names of an enum": ("enum E { " + "E" * 250 + " = 0; } message A { repeated E e = 1; }", sized(b"\x0a", bytes(1_000_000))),
    "names of fields": ("message A { repeated B b = 1; } message B { optional bool " + "b" * 250 + " = 1; }", b"\x0a\x02\x08\x00" * 250_000),
    "an Any in an Any": ('import "google/protobuf/any.proto"; message A { google.protobuf.Any a = 1; }', sized(b"\x0a", any_within_any())),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_would_be_hundreds_of_megabytes_of_json_is_refused_before_it_is_made(bomb: str):
    source, data = BOMBS[bomb]
    schema = load(compiled_from(f'syntax = "proto3"; {source}'))
    tracemalloc.start()

    try:
        with pytest.raises(Misfit, match=r"it holds more than is decoded|it is nested deeper than 64"):
            decode(schema, find_message(schema, "A"), data)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert most < 50_000_000  # an enum's names took 864 MB of the process


@pytest.mark.parametrize("name", ["Timestamp", "Duration", "Any", "Struct", "ListValue", "Value", "FieldMask"])
def test_a_schema_with_a_type_of_google_s_that_is_not_google_s_ends_in_a_sentence(name: str):
    schema = load(compiled_from(f'syntax = "proto3"; package google.protobuf; message {name} {{ string x = 1; }}'))

    with pytest.raises(Misfit, match="it cannot be written as JSON"):
        decode(schema, find_message(schema, ""), b"\x0a\x01a")


def test_an_any_is_read_by_the_schema_that_knows_its_type():
    more = {"@type": "type.googleapis.com/shop.v1.Refund", "order_no": "4711"}

    packed = sized(b"\x0a", b"type.googleapis.com/shop.v1.Refund") + sized(b"\x12", b"\x0a\x044711")
    assert read(sized(b"\x5a", packed)) == ({"more": more}, 0)
    assert read(b"\x5a\x00\x0a\x014") == ({"order_no": "4", "more": {}}, 0)


@pytest.mark.parametrize("data", [b"\x2a\x00" * 500_000, b"\x72" + b"\xc0\xcf\x24" + b"\x01" * 600_000])
def test_as_much_as_is_read_costs_little(data: bytes):
    began = time.thread_time()

    assert read(data)

    assert time.thread_time() - began < 10  # CPU; measured 0.7 s


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('syntax = "proto3"; message A { strin a = 1; }', '^line 1, column 32: "strin" is not defined'),
        ("message A { string a = 1; }", '^line 1, column 13: Expected "required", "optional", or "repeated".'),
        ('syntax = "proto3"; import "/etc/passwd"; message A {}', "/etc/passwd: File not found"),
        ('syntax = "proto3"; import "../../etc/passwd"; message A {}', "are not allowed in the virtual path"),
        ('syntax = "proto3"; import "other.proto"; message A {}', "other.proto: File not found"),
        ('syntax = "proto3"; import "schema.proto"; message A {}', "recursively imports itself"),
        ('syntax = "proto3"; ' + "message A {" * 3000 + "}" * 3000, "maximum recursion limit"),
        ('syntax = "proto3"; message A { string ' + "a" * 300 + " = 1; }", "at most 255 characters"),
        ('syntax = "proto3"; enum E { A = 0; }', "there is no message in it"),
        ('syntax = "proto3"; message A { A a = 1; } message B {}', "say which message: A, B"),
        ("QUJD", "it is no FileDescriptorSet"),
        ("QUJ", "it is neither .proto source nor base64"),
        ("x" * 300_000 + ";", "at most 256 KiB"),
        ("A" * 1_500_000, "at most 1 MiB"),
        ("\x01;", "line 1"),
    ],
)
def test_a_schema_that_cannot_be_is_refused_in_words(text: str, words: str):
    with pytest.raises(BadSchema, match=words):
        find_message(load(compiled_from(text)), "")


def test_a_message_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(BadSchema, match=r"there is no message 'Order' in it, but shop.v1.Order, shop.v1.Refund"):
        find_message(COMPILED, "Order")


def test_indexes_lead_to_messages_and_to_those_within_them():
    assert message_at(COMPILED, [0]).full_name == "shop.v1.Order"
    assert message_at(COMPILED, [1]).full_name == "shop.v1.Refund"
    assert message_at(COMPILED, [0, 0]).full_name == "shop.v1.Order.Line"
    for wrong in ([2], [-1], [0, 9], [1, 0]):
        with pytest.raises(Misfit, match="its frame names message"):
            message_at(COMPILED, wrong)


@given(st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused(data: bytes):
    for one in (data, written(SAID)[: len(data) % 60] + data):
        with contextlib.suppress(Misfit):
            read(one)


@given(st.binary(max_size=120))
@settings(max_examples=50)
def test_any_bytes_are_a_descriptor_set_or_refused(data: bytes):
    real = compiled_from(SOURCE)
    for one in (data, real[: len(data) * 4] + data, real[:-40] + data):
        with contextlib.suppress(BadSchema):
            load(one)
