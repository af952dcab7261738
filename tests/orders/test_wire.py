"""The order that a console signs and an agent reads: good for one ask of one agent, and never anything but an order or a BadOrder."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.connectors.base import Header, Outgoing, Published
from messages.orders.wire import (
    MOST_ITEMS,
    SENT_WITHIN_S,
    Ask,
    BadOrder,
    Item,
    Order,
    is_signed,
    order_answer,
    read_order,
    results_told,
    sign,
)

NOW = datetime(2026, 11, 26, 9, tzinfo=UTC)
NONCE, SECRET = "0a" * 16, "wb_order_of_this_agent"
MESSAGE = Outgoing(
    id="11111111-1111-7111-8111-111111111111", destination="erp.orders", body=b"\x00\xff{}", route={"exchange": "", "routing_key": "erp.orders"},
    headers=(Header(name="n", type="int", value=3), Header(name="b", type="bytes", value="AA=="), Header(name="ü", type="json", value={"$bytes": "AA=="})),
    properties={"delivery_mode": 2}, content_type="application/json", expiry="keep",
)  # fmt: skip
ORDER = Order(
    agent="harvest-eu", environment="production", connection="rabbit", kind="rabbitmq", nonce=NONCE, answered_at=NOW,
    expires_at=NOW + timedelta(seconds=60), items=(Item(attempt=2, message=MESSAGE),),
)  # fmt: skip


def read(answer: Any, **changes: Any) -> Order:
    return read_order(
        answer, **({"secret": SECRET, "nonce": NONCE, "connection": "rabbit", "kind": "rabbitmq"} | changes)
    )


def signed(text: str, secret: str = SECRET) -> dict[str, str]:
    return {"order": text, "signature": sign(secret, "order", text.encode())}


def changed(**values: Any) -> dict[str, str]:
    """Return a well-signed order with other values in it."""
    return signed(json.dumps(json.loads(order_answer(ORDER, secret=SECRET)["order"]) | values))


def test_an_order_arrives_as_it_was_signed():
    assert read(json.loads(json.dumps(order_answer(ORDER, secret=SECRET)))) == ORDER


GOOD = order_answer(ORDER, secret=SECRET)
TAMPERED = GOOD["order"].replace("erp.orders", "my.orders")
AN_ITEM = json.loads(GOOD["order"])["items"][0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({**GOOD, "order": TAMPERED}, "not signed"),
        ({**GOOD, "signature": "0" * 64}, "not signed"),
        ({**GOOD, "signature": None}, "not signed"),
        ({**GOOD, "signature": "ü" * 64}, "not signed"),
        ({**GOOD, "signature": "\ud800"}, "not signed"),
        ({"order": "\ud800", "signature": GOOD["signature"]}, "not signed"),
        ({"order": 3, "signature": GOOD["signature"]}, "not signed"),
        ({}, "not signed"),
        (order_answer(ORDER, secret="wb_order_of_another_agent"), "not signed"),
        (order_answer(ORDER, secret=""), "not signed"),
        ({"order": GOOD["order"], "signature": sign(SECRET, "ask", GOOD["order"].encode())}, "not signed"),
        (order_answer(replace(ORDER, nonce="0b" * 16), secret=SECRET), "another question"),
        (order_answer(replace(ORDER, connection="other"), secret=SECRET), "is for rabbitmq other"),
        (order_answer(replace(ORDER, kind="kafka"), secret=SECRET), "is for kafka rabbit"),
        (order_answer(replace(ORDER, items=ORDER.items * 2), secret=SECRET), "twice"),
        (changed(items=[AN_ITEM | {"id": str(n)} for n in range(MOST_ITEMS + 1)]), "too many"),
        (changed(format=2), "update the agent"),
        (changed(answered_at="2026-11-26T09:00:00"), "cannot be read"),
        (changed(expires_at=7), "cannot be read"),
        (changed(items=None), "cannot be read"),
        (changed(items=[[]]), "cannot be read"),
        (changed(items=[AN_ITEM | {"body": "not base64!"}]), "cannot be read"),
        (changed(items=[AN_ITEM | {"expiry": "never"}]), "cannot be read"),
        (changed(items=[AN_ITEM | {"attempt": "x"}]), "cannot be read"),
        (changed(items=[AN_ITEM | {"attempt": float("inf")}]), "cannot be read"),
        (changed(items=[AN_ITEM | {"route": ["a"]}]), "cannot be read"),
        (changed(items=[AN_ITEM | {"headers": [3]}]), "cannot be read"),
        (signed("[" * 100_000), "cannot be read"),
        (signed("[]"), "update the agent"),
    ],
)
def test_what_is_no_order_for_this_ask_is_refused_in_words(answer: Any, words: str):
    with pytest.raises(BadOrder, match=words):
        read(answer)


@pytest.mark.parametrize(
    ("name", "value"), [("nonce", "0b" * 16), ("secret", "other"), ("connection", "b"), ("kind", "kafka")]
)
def test_an_order_is_good_for_one_ask_of_one_agent_alone(name: str, value: str):
    with pytest.raises(BadOrder):
        read(GOOD, **{name: value})


@given(st.dictionaries(st.sampled_from(["items", "format", "nonce", "agent", "kind", "expires_at"]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8,
), min_size=1))  # fmt: skip
def test_whatever_is_signed_is_an_order_or_a_bad_order(values: dict[str, Any]):
    with contextlib.suppress(BadOrder):
        read(changed(**values))


@pytest.mark.parametrize(
    ("passed_s", "late"),
    [(0, False), (60 - SENT_WITHIN_S, False), (60 - SENT_WITHIN_S + 1, True), (61, True), (1e9, True)],
)
def test_an_order_is_late_when_too_little_of_its_lease_is_left_whatever_the_agents_clock_says(
    passed_s: float, late: bool
):
    assert ORDER.is_late(asked_at=1000.0, now=1000.0 + passed_s) is late


def test_an_order_that_was_issued_before_has_less_left():
    again = replace(ORDER, answered_at=NOW + timedelta(seconds=12))

    assert (again.is_late(asked_at=0, now=3), again.is_late(asked_at=0, now=4)) == (False, True)


def test_a_signature_is_of_its_label_and_its_bytes_alone():
    data = Ask(connection="rabbit", kind="rabbitmq", most=5, nonce=NONCE).data()
    signature = sign(SECRET, "ask", data)

    assert is_signed(SECRET, "ask", data, signature)
    assert not is_signed(SECRET, "results", data, signature)
    assert not is_signed(SECRET, "ask", data + b" ", signature)
    assert not is_signed("", "ask", data, sign("", "ask", data))


def test_results_are_told_under_the_attempt_of_their_order():
    told = results_told(ORDER.items, [Published(id="", result="refused", detail="x" * 5000, retry_after_s=7)])

    assert told == [{"id": MESSAGE.id, "attempt": 2, "result": "refused", "detail": "x" * 1000, "retry_after_s": 7}]
