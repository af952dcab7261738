"""Where exchanges take a message, and what shovels do to it: rows as the management API of 3.10 gives them."""

from __future__ import annotations

from typing import Any

import pytest

from messages.connectors.rabbitmq.routing import exchange_hints, shovel_hints, takers

KINDS = [{"name": name, "type": name} for name in ("direct", "fanout", "topic", "headers")]


def bound(source: str, destination: str, key: str = "", kind: str = "queue") -> dict[str, str]:
    return {"source": source, "destination": destination, "routing_key": key, "destination_type": kind}


@pytest.mark.parametrize(
    ("exchange", "key", "bindings", "found"),
    [
        ("direct", "a", [bound("direct", "x", "a"), bound("direct", "y", "b")], (["x"], True)),
        ("fanout", "a", [bound("fanout", "x", "q"), bound("fanout", "y")], (["x", "y"], True)),
        ("topic", "order.de.paid", [bound("topic", "x", "order.*.paid"), bound("topic", "y", "order.#")], (["x", "y"], True)),
        ("topic", "order", [bound("topic", "x", "order.*"), bound("topic", "y", "order.#"), bound("topic", "z", "#.order")], (["y", "z"], True)),
        ("topic", "", [bound("topic", "x", "#"), bound("topic", "y", "*")], (["x", "y"], True)),
        ("topic", ".".join("a" * 200), [bound("topic", "x", ".".join("#" * 200))], (["x"], True)),
        ("headers", "a", [bound("headers", "x", "b")], (["x"], False)),
        ("direct", "a", [bound("direct", "fanout", "a", "exchange"), bound("fanout", "x"), bound("fanout", "direct", "", "exchange")], (["x"], True)),
        ("unheard", "a", [bound("unheard", "x")], (["x"], False)),
        ("direct", "a", [{}, {"source": "direct", "routing_key": 7}], ([], True)),
    ],
)  # fmt: skip
def test_an_exchange_takes_a_message_to_these_queues(
    exchange: str, key: str, bindings: list[dict[str, Any]], found: tuple[list[str], bool]
):
    assert takers(exchange, key, KINDS, bindings) == found


def test_words_about_an_exchange():
    queues = [{"name": "x", "consumers": 1}, {"name": "y", "consumers": 0}]

    assert exchange_hints("e", "k", queues, (["x"], True)) == []
    assert exchange_hints("e", "k", queues, (["y"], True)) == ["y has no consumer now: the message waits there"]
    assert exchange_hints("e", "", queues, ([], True)) == [
        "exchange e takes a message to no queue: RabbitMQ would return it"
    ]
    assert exchange_hints("e", "", queues, ([], False)) == []
    assert "up to 2 queues, by its headers (x, y)" in exchange_hints("e", "", queues, (["x", "y"], False))[0]


def test_words_about_shovels():
    shovels = [
        {"name": "away", "src_queue": "orders", "dest_exchange": "x"},
        {"name": "back", "src_queue": "orders.dlq", "dest_queue": "orders"},
        {"name": "other", "src_queue": "bills"},
        {"name": None},
    ]

    found = shovel_hints(shovels, queue="orders", died_in="orders.dlq")

    assert found[0] == "shovel away takes every message of queue orders away, to x"
    assert found[1].startswith("shovel back sends every message of orders.dlq to orders by itself")
    assert len(found) == 2
