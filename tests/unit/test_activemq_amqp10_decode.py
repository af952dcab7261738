"""Artemis' dead letters as AMQP 1.0 shows them, read without proton."""

from __future__ import annotations

import json
import uuid
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.connectors.activemq.amqp10_decode import decode_amqp_message, has_identity

# As Artemis 2.40.0 gave it after a consumer had failed it.
DIED: dict[str, Any] = {
    "id": "m-1", "correlation_id": "c", "subject": "Order", "reply_to": None, "priority": 7, "group_id": None, "content_type": "text/plain",
    "content_encoding": "None", "annotations": {"x-opt-ORIG-MESSAGE-ID": 29, "x-opt-ORIG-QUEUE": "orders", "x-opt-ORIG-ADDRESS": "orders"},
    "properties": {"i": 5, "by": memoryview(b"\0\xff"), "n": None}, "body": "text",
}  # fmt: skip


def letter_of(queue: str = "DLQ", **changes: Any) -> dict[str, Any]:
    return decode_amqp_message(SimpleNamespace(**DIED | changes), broker="b", queue=queue, system="erp")


def test_what_artemis_wrote_is_read():
    letter = letter_of()

    expected = {
        "origin": "orders", "route": {}, "message_id": "m-1", "correlation_id": "c", "content_type": "text/plain", "content_encoding": "",
        "body": "text", "reason_code": "unknown",
        "properties": {"type": "Order", "priority": 7, "correlation_id": "c", "message_id": "m-1", "message_type": "text"},
    }  # fmt: skip
    assert {name: letter[name] for name in expected} == expected
    assert letter["headers"][:3] == [
        {"name": "i", "type": "int", "value": 5},
        {"name": "by", "type": "bytes", "value": "AP8="},
        {"name": "n", "type": "null", "value": None},
    ]


@pytest.mark.parametrize(
    ("body", "kind", "fields"),
    [
        (b"\0", "bytes", {"body_base64": "AA=="}),
        (memoryview(b"a"), "bytes", {"body": "a"}),
        (None, "none", {"body": ""}),
        ({"k": Decimal("1.5"), "l": [uuid.UUID(int=1)]}, "value", {"body": f'{{"k": "1.5", "l": ["{uuid.UUID(int=1)}"]}}'}),
        (5, "value", {"body": "5"}),
    ],
)  # fmt: skip
def test_every_section_is_a_body(body: Any, kind: str, fields: dict[str, str]):
    letter = letter_of(body=body)

    assert letter["properties"]["message_type"] == kind
    assert {name: letter.get(name) for name in fields} == fields


def test_one_queue_of_an_address_is_where_it_goes_back_and_its_own_queue_is_no_origin():
    one = letter_of(annotations={"x-opt-ORIG-QUEUE": "prices.shop", "x-opt-ORIG-ADDRESS": "prices"})
    itself = letter_of(annotations={"x-opt-ORIG-QUEUE": "DLQ", "x-opt-ORIG-ADDRESS": "DLQ"})

    assert (one["origin"], one["route"]) == ("prices", {"queue": "prices::prices.shop"})
    assert (itself["origin"], itself["route"]) == ("", {})


def test_the_same_death_is_the_same_letter_and_another_is_another():
    first = letter_of()["id"]

    assert letter_of()["id"] == first
    assert letter_of(annotations=DIED["annotations"] | {"x-opt-ORIG-MESSAGE-ID": 30})["id"] != first
    assert letter_of(body="other")["id"] != first
    assert has_identity(SimpleNamespace(id=None, annotations={"x-opt-ORIG-MESSAGE-ID": 1}))
    assert not has_identity(SimpleNamespace(id=None, annotations=None))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=9) | st.uuids() | st.decimals(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
NAMES = st.sampled_from(["x-opt-ORIG-ADDRESS", "x-opt-ORIG-QUEUE", "x-opt-ORIG-MESSAGE-ID", "traceparent"]) | st.text(
    max_size=9
)


@given(
    identity=VALUES,
    properties=st.dictionaries(NAMES, VALUES) | st.none(),
    notes=st.dictionaries(NAMES, VALUES) | st.none(),
    body=VALUES,
)
def test_no_section_makes_the_decoder_fail(identity: Any, properties: Any, notes: Any, body: Any):
    letter = letter_of(id=identity, correlation_id=identity, properties=properties, annotations=notes, body=body)

    json.dumps(letter, allow_nan=False)
