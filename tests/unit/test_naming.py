"""Which queues hold dead letters: by what RabbitMQ says of them, and by names. Shapes as the management API of 3.10 gives them."""

from __future__ import annotations

import pytest

from messages.connectors.naming import why_dead_letters
from messages.connectors.rabbitmq.topology import dead_letter_queues, expiry_hints, topology_hints


@pytest.mark.parametrize(
    "name",
    ["erp.orders.dlq", "orders-dlt", "orders.DLT", "DLQ.orders", "ActiveMQ.DLQ", "invoices_error", "orders-dlq.fifo", "error", "a:dead",
     "orders_skipped", "x-dead-letter", "DeadLetters", "dlq-orders"],
)  # fmt: skip
def test_names_by_convention_are_known(name: str):
    assert why_dead_letters(name).startswith("its name ")


@pytest.mark.parametrize(
    "name", ["orders", "errorlog", "deadline", "undlq", "dlqueue", "errors.view", "", "\x00", "a" * 10_000]
)
def test_other_names_are_not(name: str):
    assert why_dead_letters(name) == ""


def test_queues_that_others_dead_letter_to_come_first_by_argument_by_policy_and_over_an_exchange():
    queues = [
        {
            "name": "orders",
            "arguments": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "orders.rest"},
            "messages": 4,
        },
        {"name": "bills", "arguments": {}, "effective_policy_definition": {"dead-letter-exchange": "dlx"}},
        {
            "name": "own",
            "arguments": {"x-dead-letter-exchange": "mine"},
            "effective_policy_definition": {"dead-letter-exchange": "dlx"},
        },
        {"name": "orders.rest", "messages": 7},
        {"name": "graveyard", "messages": 2, "arguments": []},
        {"name": "loop", "arguments": {"x-dead-letter-exchange": ""}},
        {"name": "old_error"},
    ]
    bindings = [
        {"source": "dlx", "destination": "graveyard", "destination_type": "queue", "routing_key": "#"},
        {"source": "dlx", "destination": "other", "destination_type": "exchange"},
        {"source": "", "destination": "orders", "destination_type": "queue", "routing_key": "orders"},
    ]

    found = dead_letter_queues(queues, bindings)

    assert [(one.queue, one.why, one.waiting) for one in found] == [
        ("orders.rest", "orders sends its dead letters there", 7),
        ("graveyard", "bills sends its dead letters there", 2),
        ("old_error", "its name ends with “error”", None),
    ]


@pytest.mark.parametrize(
    "queues", [[{}], [{"name": 3, "arguments": 5}], [{"name": "a", "arguments": {"x-dead-letter-exchange": 1}}]]
)
def test_lists_of_another_shape_find_nothing_and_break_nothing(queues: list[dict[str, object]]):
    assert dead_letter_queues(queues, [{"source": None}, {}]) == []


RETRY = [
    {
        "name": "orders",
        "arguments": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "orders.dlq", "x-message-ttl": 1500},
    },
    {"name": "orders.dlq", "arguments": {"x-dead-letter-exchange": "back"}},
    {"name": "lonely", "arguments": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "orders"}},
]


def test_a_circle_of_dead_lettering_and_a_time_to_live_are_said():
    back = [{"source": "back", "destination": "orders", "destination_type": "queue"}]

    circle, ttl = topology_hints(RETRY, back, queue="orders", died_in="orders.dlq")

    assert circle.startswith("dead letters go in a circle: orders → orders.dlq → orders.")
    assert ttl == "queue orders lets a message expire after 1.5 s if nobody takes it"
    assert topology_hints(RETRY, back, queue="lonely", died_in="x") == []
    assert topology_hints(RETRY, back, queue="unknown", died_in="x") == []


@pytest.mark.parametrize(
    ("expiration", "words"),
    [
        ("60000", "expires 60 s after"),
        ("1", "0.001 s"),
        (None, ""),
        ("", ""),
        ("x", ""),
        ("9" * 30, ""),
        ("\u0663", ""),
    ],
)
def test_a_message_that_expires_says_when(expiration: object, words: str):
    said = " ".join(expiry_hints({"expiration": expiration}))
    taken_away = " ".join(expiry_hints({"original_expiration": expiration}))

    assert words in said
    assert bool(said) == bool(taken_away) == bool(words)
    assert not words or "unless you keep it" in taken_away
