"""What is made of Artemis' answers and of Classic's names: the sentences, without a broker."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from messages.connectors.activemq import classic
from messages.connectors.activemq.asking import MAY_NOT, find_dead_letter_queues, find_hints
from messages.connectors.activemq.classic import classic_hints
from messages.connectors.activemq.expiry import expires_ms
from messages.connectors.activemq.jolokia import rows_of
from messages.connectors.activemq.topology import artemis_hints, dead_letter_queues, expiry_hints
from messages.connectors.base import BrokerUnavailable

NOW = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)
TO_DLQ = {"deadLetterAddress": "DLQ", "maxDeliveryAttempts": 3}


def row(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "address": name,
        "routingType": "ANYCAST",
        "consumerCount": "1",
        "messageCount": "0",
    } | changes


@pytest.mark.parametrize(
    ("name", "rows", "settings", "multicast", "said"),
    [
        ("a", [row("a")], TO_DLQ, False, []),
        ("a", [row("a", consumerCount="0")], TO_DLQ, False, ["nobody consumes queue a now"]),
        ("a", [row("a", consumerCount="odd")], TO_DLQ, False, []),
        ("a", [], TO_DLQ, False, ["there is no queue at address a"]),
        ("a", [row("x", address="a"), row("y", address="a")], TO_DLQ, False, ["has 2 queues (x, y): Artemis gives it to one"]),
        ("a", [row("x", address="a", routingType="MULTICAST")], TO_DLQ, False, ["is a topic with 1 subscriber and has no queue"]),
        ("a", [], TO_DLQ, True, ["nobody has subscribed to topic a"]),
        ("a", [row("x", routingType="MULTICAST", filter="b = 1")], TO_DLQ, True, ["has 1 subscriber, 1 of them by a filter"]),
        ("a::x", [row("x", address="a")], TO_DLQ, False, []),
        ("a::x", [row("y", address="a")], TO_DLQ, False, ["has no queue x at address a any more"]),
        ("a", [row("a")], {}, False, ["has no dead-letter-address: if it fails again Artemis drops it after 10 failed"]),
        ("a", [row("a")], {"maxDeliveryAttempts": -1}, False, []),
        ("a", [row("a")], {"maxDeliveryAttempts": 1}, False, ["drops it after one failed delivery"]),
        ("a", [row("a")], TO_DLQ | {"deadLetterAddress": "other"}, False, ["moves it to other after 3 failed deliveries, not to DLQ"]),
        ("a", [row("a")], TO_DLQ | {"expiryDelay": 5000}, False, ["expire after 5 s"]),
        ("a", [row("a")], TO_DLQ | {"maxExpiryDelay": 3600_000, "expiryDelay": -1}, False, ["live longer than 1 hour"]),
    ],
)  # fmt: skip
def test_an_address_of_artemis_is_minded_in_words(
    name: str, rows: list[dict[str, Any]], settings: dict[str, Any], multicast: bool, said: list[str]
):
    found = artemis_hints(name, rows, settings, multicast=multicast, died_in="DLQ")

    assert len(found) == len(said)
    assert all(part in sentence for part, sentence in zip(said, found, strict=True))


QUEUES: list[dict[str, Any]] = [
    {"Name": "orders", "ConsumerCount": 2, "QueueSize": 1, "DLQ": False},
    {"Name": "idle", "ConsumerCount": 0, "QueueSize": 3},
    {"Name": "grave", "QueueSize": 7, "DLQ": True},
    {"Name": "ActiveMQ.DLQ", "QueueSize": 4, "DLQ": False},
    {"Name": "Consumer.a.VirtualTopic.orders"},
    {"Name": "Consumer.b.VirtualTopic.orders"},
    {},
]
SUBSCRIPTIONS: list[dict[str, Any]] = [
    {"DestinationName": "prices", "Durable": True, "Active": False, "Selector": None},
    {"DestinationName": "prices", "Durable": False, "Active": True, "Selector": "a = 1"},
    {"DestinationName": "rates"},
    {},
]


@pytest.mark.parametrize(
    ("destination", "by_name", "asked"),
    [
        ("orders", "does not tell over STOMP", ""),
        ("idle", "does not tell over STOMP", "nobody consumes queue idle now"),
        ("new", "does not tell over STOMP", "there is no queue new yet"),
        ("a,b", "the message goes to each of a, b", "the message goes to each of a, b"),
        ("/topic/VirtualTopic.orders", "each queue Consumer.*.VirtualTopic.orders", "a virtual topic with 2 queues (Consumer.a.V"),
        ("/topic/VirtualTopic.none", "each queue Consumer.*.VirtualTopic.none", "nobody gets the message"),
        ("/topic/prices", "every subscriber gets it", "has 2 subscribers, 1 of them away, for whom it is kept, 1 of them by a selector: all"),
        ("/topic/rates", "every subscriber gets it", "topic rates has 1 subscriber"),
        ("/topic/none", "every subscriber gets it", "nobody has subscribed to topic none"),
        ("/queue/ActiveMQ.DLQ", "goes back into ActiveMQ.DLQ", "goes back into ActiveMQ.DLQ"),
    ],
)  # fmt: skip
def test_a_destination_of_classic_is_minded_by_its_name_and_by_what_the_console_says(
    destination: str, by_name: str, asked: str
):
    [name] = classic_hints(destination, died_in="ActiveMQ.DLQ", queues=None, subscriptions=None)
    told = classic_hints(destination, died_in="ActiveMQ.DLQ", queues=QUEUES, subscriptions=SUBSCRIPTIONS)

    assert by_name in name
    assert len(told) == (1 if asked else 0)
    assert asked in " ".join(told)


def test_queues_that_classic_itself_calls_so_come_before_names():
    found = classic.dead_letter_queues(QUEUES)

    assert [(one.queue, one.waiting, one.sure) for one in found] == [("grave", 7, True), ("ActiveMQ.DLQ", 4, False)]


@pytest.mark.parametrize(
    "answer", [None, [], 7, {}, {"status": 200}, {"status": 200, "value": 7}, {"status": 403, "error": "no\nway"}]
)
def test_an_answer_that_is_none_of_jolokias_is_said(answer: object):
    with pytest.raises(BrokerUnavailable, match=r"Jolokia"):
        rows_of(answer)


def test_no_such_bean_is_no_row():
    assert rows_of({"status": 404, "error": "InstanceNotFound"}) == []
    assert rows_of({"status": 200, "value": {"a": {"Name": "q"}, "b": 7}}) == [{"Name": "q"}]


@pytest.mark.parametrize(
    ("properties", "part"),
    [
        ({}, ""), ({"expires": None}, ""), ({"expires": "0"}, ""), ({"expires": "no time"}, ""), ({"expires": "9" * 30}, ""),
        ({"expires": 7.5}, ""),
        ({"expires": "2026-11-26T02:00:00+00:00"}, "is past"), ({"expires": "2026-11-26T02:00:00"}, "is past"), ({"expires": "1"}, "is past"),
        ({"expires": "2026-11-26T03:10:00Z"}, "expires in 10 min"), ({"expires": "1795664400000"}, "expires in 40 min"),
        ({"sent_at": "2026-11-26T01:00:00Z", "expired_at": "2026-11-26T01:15:00Z"}, "it had 15 min to live"),
        ({"expired_at": "2026-11-26T01:15:00Z"}, ""), ({"sent_at": "2026-11-26T01:15:00Z", "expired_at": "2026-11-26T01:00:00Z"}, ""),
        ({"sent_at": "x", "expired_at": "y"}, ""),
    ],
)  # fmt: skip
def test_an_expiry_is_told_from_now(properties: dict[str, object], part: str):
    said = expiry_hints(properties, now=NOW)

    assert len(said) == (1 if part else 0)
    assert part in " ".join(said)


@pytest.mark.parametrize(
    ("properties", "choice", "expires"),
    [
        ({}, "", None), ({}, "keep", None), ({"expires": "0"}, "", None),
        ({"expires": 5000}, "", 5000), ({"expires": 5000}, "drop", None), ({"expires": 5000}, "keep", 5000),
        ({"expires": "1970-01-01T00:00:05Z", "sent_at": "1970-01-01T00:00:02Z"}, "keep", 103_000),
        ({"sent_at": "1970-01-01T00:00:02Z", "expired_at": "1970-01-01T00:00:04Z"}, "keep", 102_000),
        ({"sent_at": "1970-01-01T00:00:02Z", "expired_at": "1970-01-01T00:00:04Z"}, "", None),
        ({"sent_at": "1970-01-01T00:00:02Z", "expired_at": "1970-01-01T00:00:04Z"}, "drop", None),
        ({"expired_at": "1970-01-01T00:00:04Z"}, "keep", None),
    ],
)  # fmt: skip
def test_an_expiry_is_sent_as_it_is_dropped_or_kept_from_now(
    properties: dict[str, object], choice: str, expires: int | None
):
    assert expires_ms(properties, choice, now_ms=100_000) == expires


@pytest.mark.parametrize("odd", ["soon", "9" * 30, "-1", "0001-01-01T00:00:00+23:59"])
def test_an_expiry_that_is_no_time_is_said(odd: str):
    with pytest.raises(ValueError, match=r"."):
        expires_ms({"expires": odd}, "", now_ms=0)


class Answers:
    """Artemis' management with these address settings."""

    def __init__(self, settings: dict[str, str], rows: str = '{"data": []}') -> None:
        self.settings, self.rows = settings, rows

    def __call__(
        self, resource: str, *, attribute: str = "", operation: str = "", arguments: tuple[object, ...] = ()
    ) -> Any:
        return self.rows if operation == "listQueues" else self.settings.get(str(arguments[0]))


def test_dead_letter_addresses_that_lead_back_are_a_circle_and_odd_answers_are_none():
    circle = Answers({"a": '{"deadLetterAddress": "b"}', "b": '{"deadLetterAddress": "a"}'})
    onto_itself = Answers({"a": '{"deadLetterAddress": "b"}', "b": '{"deadLetterAddress": "b"}'})

    def hints(ask: Answers) -> list[str]:
        return find_hints(ask, "a", multicast=False, died_in="b", until=float("inf"))

    assert hints(circle)[1].startswith("dead letters go in a circle: a → b → a.")
    assert len(hints(onto_itself)) == 1
    for odd in ("", "7", "[]", '{"data": 7}', "{", None):
        assert hints(Answers({}, rows=odd)) == [MAY_NOT]  # type: ignore[arg-type]
        with pytest.raises(BrokerUnavailable):
            find_dead_letter_queues(Answers({}, rows=odd), until=float("inf"))  # type: ignore[arg-type]


def test_queues_of_dead_letter_addresses_are_found_with_their_addresses():
    rows = [
        row("orders"), row("DLQ.orders", address="DLA", messageCount="4"), row("ExpiryQueue"), row("bills.dlq"),
        row("hidden.dlq", internalQueue="true"), row("temp.dlq", temporary="true"), row("DLA"),
    ]  # fmt: skip

    found = dead_letter_queues(
        rows,
        {"orders": {"deadLetterAddress": "DLA", "expiryAddress": "ExpiryQueue"}, "DLA": {"deadLetterAddress": "DLA"}},
    )

    assert [(one.queue, one.why, one.waiting) for one in found] == [
        ("DLA::DLQ.orders", "address orders sends its dead letters there", 4),
        ("DLA", "address orders sends its dead letters there", 0),
        ("ExpiryQueue", "address orders sends what expires there", 0),
        ("bills.dlq", "its name ends with “dlq”", 0),
    ]
    assert [one.sure for one in found] == [True, True, True, False]
