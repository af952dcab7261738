"""Which schema a body is decoded by: its frame, its destination, both or neither."""

from __future__ import annotations

import json
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.models import Schema
from messages.schemas.decoding import Decoded, Undecoded, decode, decode_sample
from messages.schemas.frames import frame_of, message_indexes
from messages.schemas.limits import BadSchema, Misfit
from messages.schemas.registry import registry_answer
from messages.schemas.services import NewSchema, columns_of, sample_bytes, understood
from tests.unit.test_schemas_avro import ORDER, READ, SAID, container, written
from tests.unit.test_schemas_protobuf import ORDER as PROTO_ORDER
from tests.unit.test_schemas_protobuf import SOURCE
from tests.unit.test_schemas_protobuf import written as proto_written

AVRO = json.dumps(ORDER)
BODY = written(ORDER, SAID)
OTHER = json.dumps({"type": "record", "name": "Other", "fields": [{"name": "a", "type": "string"}]})
MESSAGE = proto_written({"order_no": "4711"})
LINE = proto_written({"sku": "A"}, PROTO_ORDER.nested_types_by_name["Line"])
REFUND = proto_written({"order_no": "9"}, PROTO_ORDER.file.message_types_by_name["Refund"])


def schema(
    name: str, definition: str, *, message: str = "", destination: str = "", ids: list[int] | None = None
) -> Schema:
    """Return a schema as it is stored; .proto source is told by its first word."""
    kind = "protobuf" if "syntax" in definition else "avro"
    said = NewSchema(
        name=name, format=kind, definition=definition, message=message, destination=destination, ids=ids or []
    )
    return Schema(**columns_of(said))  # fmt: skip


BY_ID = schema("orders", AVRO, ids=[42, 57])
BY_DESTINATION = schema("orders there", AVRO, destination="shop.*")
BY_BOTH = schema("orders both", AVRO, destination="shop.*", ids=[42])
OTHERS = schema("others", OTHER, ids=[42])
PROTO = schema("protos", SOURCE, message="shop.v1.Order", ids=[7])
PROTO_THERE = schema("protos there", SOURCE, message="shop.v1.Order", destination="shop.*")


def confluent(number: int, rest: bytes) -> bytes:
    return b"\x00" + number.to_bytes(4, "big") + rest


def decoded(body: bytes, *schemas: Schema, to: str = "shop.orders") -> Decoded | None:
    return decode(body, [to], lambda: schemas)


SINGLE = b"\xc3\x01" + bytes.fromhex(BY_ID.fingerprint) + BODY


@pytest.mark.parametrize(
    ("body", "schemas", "steps"),
    [
        (confluent(42, BODY), [BY_ID], ["Confluent framing, schema id 42", "Avro by the schema orders"]),
        (confluent(57, BODY), [BY_ID], ["Confluent framing, schema id 57", "Avro by the schema orders"]),
        (confluent(42, BODY), [BY_BOTH], ["Confluent framing, schema id 42", "Avro by the schema orders both"]),
        (confluent(9, BODY), [BY_DESTINATION], ["Confluent framing, schema id 9", "Avro by the schema orders there"]),
        (confluent(42, BODY), [BY_DESTINATION, BY_ID], ["Confluent framing, schema id 42", "Avro by the schema orders"]),
        (confluent(42, BODY), [OTHERS, BY_ID], ["Confluent framing, schema id 42", "Avro by the schema orders"]),
        (BODY, [BY_ID, BY_DESTINATION], ["Avro by the schema orders there"]),
        (SINGLE, [OTHERS, BY_ID], [f"Avro single-object encoding, fingerprint {BY_ID.fingerprint}", "Avro by the schema orders"]),
    ],
)  # fmt: skip
def test_a_schema_is_found_by_id_by_destination_or_by_fingerprint(body: bytes, schemas: list[Schema], steps: list[str]):
    assert decoded(body, *schemas) == Decoded(json=READ.encode(), steps=tuple(steps))


@pytest.mark.parametrize(
    ("rest", "name", "expected"),
    [
        (b"\x00" + MESSAGE, "shop.v1.Order", {"order_no": "4711"}),
        (b"\x02\x02" + REFUND, "shop.v1.Refund", {"order_no": "9"}),
        (b"\x04\x00\x00" + LINE, "shop.v1.Order.Line", {"sku": "A"}),
    ],
)
def test_a_protobuf_frame_says_which_message_it_is(rest: bytes, name: str, expected: Any):
    found = decoded(confluent(7, rest), PROTO)

    assert found is not None
    assert json.loads(found.json) == expected
    assert found.steps == ("Confluent framing, schema id 7", f"Protobuf {name} by the schema protos")


def test_protobuf_without_a_frame_is_the_message_that_was_configured():
    found = decoded(MESSAGE + b"\xa0\x06\x07", PROTO_THERE)

    assert found is not None
    assert json.loads(found.json) == {"order_no": "4711"}
    assert found.steps[1:] == ("left out: 3 bytes in fields that the schema does not know",)


def test_json_behind_a_frame_needs_no_schema_and_files_bring_their_own():
    assert decoded(confluent(3, b'{"a": 1}')) == Decoded(
        json=b'{"a": 1}', steps=("Confluent framing, schema id 3", "JSON")
    )
    assert decoded(container('"int"', "null", b"\x02\x02\x02MARK")) == Decoded(
        json=b"[1]", steps=("Avro container file",)
    )


def test_a_body_that_begins_like_a_frame_by_itself_is_decoded_as_a_whole():
    five = json.dumps({"type": "array", "items": "long"})
    numbers = json.dumps({"type": "record", "name": "N", "fields": [{"name": n, "type": "int"} for n in "abcdef"]})

    found = decoded(
        b"\x00\x00\x00\x00\x02\x02", schema("five", five, destination="*"), schema("n", numbers, destination="*")
    )

    assert found == Decoded(json=b'{"a":0,"b":0,"c":0,"d":0,"e":1,"f":1}', steps=("Avro by the schema n",))


@pytest.mark.parametrize(
    ("body", "schemas", "words"),
    [
        (confluent(42, BODY), [], "Confluent framing, schema id 42: no schema with this id is configured (Settings → Schemas)"),
        (confluent(42, BODY), [PROTO], "Confluent framing, schema id 42: no schema with this id is configured (Settings → Schemas)"),
        (confluent(42, BODY), [schema("s", AVRO, destination="erp.*", ids=[42])], "Confluent framing, schema id 42: no schema with"),
        (confluent(42, BODY), [OTHERS], "Confluent framing, schema id 42: the schema others does not fit: "),
        (confluent(42, BODY[:-1]), [BY_ID], "Confluent framing, schema id 42: the schema orders does not fit: at byte "),
        (confluent(7, b""), [PROTO], "Confluent framing, schema id 7: the schema protos does not fit: it ends within its frame"),
        (confluent(7, b"\x02\x08"), [PROTO], "Confluent framing, schema id 7: the schema protos does not fit: its frame names message [4]"),
        (confluent(7, b"\x7e"), [PROTO], "Confluent framing, schema id 7: the schema protos does not fit: its frame names a message 63 levels"),
        (confluent(7, b"\xff" * 9), [PROTO], "Confluent framing, schema id 7: the schema protos does not fit: its frame does not say"),
        (SINGLE, [OTHERS, PROTO], f"Avro single-object encoding, fingerprint {BY_ID.fingerprint}: no Avro schema with this fingerprint"),
        (BODY + b"\x01", [BY_DESTINATION], "the schema orders there does not fit: 1 bytes are left over behind it"),
        (b"\xff" * 9, [PROTO_THERE], "the schema protos there does not fit: it is not encoded as Protobuf"),
        (b"Obj\x01zz", [], "Avro container file: "),
    ],
)  # fmt: skip
def test_what_cannot_be_decoded_says_why(body: bytes, schemas: list[Schema], words: str):
    with pytest.raises(Undecoded) as refused:
        decoded(body, *schemas)

    assert str(refused.value).startswith(words)


@pytest.mark.parametrize(
    "body", [b"", b'{"a": 1}', b" [1, 2]", b"<order><no>1</no></order>", b"\x00\x00\x00\x00\x00abc", b"\x00\x01", b"\xff\xfe\x00\x01", b"a,b\n1,2"]
)  # fmt: skip
def test_what_is_plain_or_of_no_known_schema_is_left_alone(body: bytes):
    assert decoded(body, BY_ID, schema("elsewhere", AVRO, destination="erp.*")) is None


def test_an_empty_body_is_empty_though_an_empty_message_would_be_too():
    assert decoded(b"", PROTO_THERE) is None


@pytest.mark.parametrize("body", [b'{"a": 1}', b"<a>1</a>"])
def test_json_and_xml_are_not_tried_by_a_schema_of_their_destination(body: bytes):
    assert decode(body, ["shop.orders"], lambda: pytest.fail("nobody needs schemas")) is None


def test_of_origin_and_queue_either_may_be_the_destination():
    assert decode(BODY, ["erp", "shop.orders.dlq"], lambda: [BY_DESTINATION]) is not None
    assert decode(BODY, ["", "erp"], lambda: [BY_DESTINATION]) is None


def test_frames_are_what_their_specifications_say():
    assert str(frame_of(confluent(2**31 - 1, b""))) == "Confluent framing, schema id 2147483647"
    assert frame_of(confluent(2**31, b"x")) is None
    assert frame_of(b"\xc3\x01short") is None
    assert message_indexes(b"\x00rest") == ([0], 1)
    assert message_indexes(b"\x06\x02\x00\x80\x01rest") == ([1, 0, 64], 5)
    with pytest.raises(Misfit):
        message_indexes(b"\x06\x02")


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_left_alone_or_refused(data: bytes):
    known = (BY_ID, BY_DESTINATION, BY_BOTH, OTHERS, PROTO, PROTO_THERE)
    for body in (data, confluent(42, data), confluent(7, data), SINGLE[:10] + data, b"Obj\x01" + data):
        for read in (lambda body=body: decoded(body, *known), lambda body=body: decode_sample(body, PROTO)):
            try:
                found = read()
            except Undecoded as refused:
                assert len(str(refused)) < 1000  # noqa: PT017  one of many outcomes that are right
            else:
                assert found is None or json.loads(found.json) is not NotImplemented


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("00 00 00 00 2A\n0a", b"\x00\x00\x00\x00\x2a\x0a"),
        ("0x0aff", b"\x0a\xff"),
        ("AAECAw==", b"\x00\x01\x02\x03"),
        ("AAECAw", b"\x00\x01\x02\x03"),
        ("_-8", b"\xff\xef"),
        ("base64:abcd", b"i\xb7\x1d"),
    ],
)
def test_a_sample_is_hex_or_base64(text: str, expected: bytes):
    assert sample_bytes(text) == expected


def test_what_a_registry_answers_is_understood():
    pasted = json.dumps({"subject": "orders-value", "version": 3, "id": 42, "schema": AVRO})
    proto = json.dumps({"schemaType": "PROTOBUF", "schema": SOURCE})

    said = understood(NewSchema(name="a", format="protobuf", definition=pasted, ids=[57]))

    assert (said.format, said.definition, said.ids) == ("avro", AVRO, [42, 57])
    assert understood(NewSchema(name="a", format="avro", definition=proto)).format == "protobuf"
    assert registry_answer(AVRO) is None
    for bad, words in [
        ({"schema": "{}", "schemaType": "THRIFT"}, "the registry says it is THRIFT"),
        ({"schema": SOURCE, "references": [{"name": "a"}]}, "it refers to other schemas"),
    ]:
        with pytest.raises(BadSchema, match=words):
            registry_answer(json.dumps(bad))


def test_fastavro_finds_the_same_fingerprint_on_the_wire():
    assert (
        fastavro.schema.fingerprint(fastavro.schema.to_parsing_canonical_form(ORDER), "CRC-64-AVRO")
        == BY_ID.fingerprint
    )
