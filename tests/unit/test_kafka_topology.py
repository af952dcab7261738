"""What is made of a Kafka topic's facts: the sentences, without a broker."""

from __future__ import annotations

from typing import Any

import pytest

from messages.connectors.base import Outgoing
from messages.connectors.kafka.topology import Readers, Topic, dead_letter_topics, reader_hints, topic_hints
from messages.connectors.spans import some, span

KEY = {"key_base64": "NDcxMQ=="}
ORDERS = Topic(name="orders", partitions=2, config={"cleanup.policy": "delete", "retention.ms": "604800000"})


def topic(**changes: Any) -> Topic:
    return Topic(**{"name": "orders", "partitions": 2, "config": ORDERS.config} | changes)


@pytest.mark.parametrize(
    ("item", "about", "dead", "said"),
    [
        ({}, ORDERS, None, []),
        ({"route": {"partition": "1"}}, ORDERS, 6, []),
        ({"route": {"partition": "2"}}, ORDERS, 6, ["partition 2 and topic orders has only 2 partitions now: it goes to any"]),
        ({"route": {"partition": "7"}, "properties": KEY}, topic(partitions=1), 6, ["only 1 partition now: its key decides"]),
        ({"route": {"partition": "９"}, "properties": KEY}, ORDERS, 6, []),
        ({"properties": KEY}, ORDERS, 6, ["fewer than the 6 of orders.DLT"]),
        ({}, ORDERS, 6, []),
        ({"properties": KEY}, ORDERS, 2, []),
        ({}, topic(config={"cleanup.policy": "compact"}), None, ["takes no record without a key"]),
        ({"properties": KEY}, topic(config={"cleanup.policy": "compact,delete"}), None, ["the newest value of its key"]),
        (
            {"properties": KEY | {"tombstone": True}, "body": b""}, topic(config={"cleanup.policy": "compact"}), None,
            ["it deletes whatever stands under its key"],
        ),
        ({}, topic(config={"retention.ms": "60000"}), None, ["keeps a record for 1 min only"]),
        ({"properties": KEY}, topic(config={"retention.ms": "60000", "cleanup.policy": "compact"}), None, ["newest value"]),
        ({}, topic(config={"retention.ms": "-1"}), None, []),
        ({}, topic(config={"retention.ms": "None"}), None, []),
        ({}, topic(config={}), None, []),
        ({}, topic(name="orders-retry-0"), None, ["is a retry topic by its name"]),
        ({}, topic(name="orders-dlt"), None, ["is itself a topic of dead letters"]),
        ({}, topic(name="orders.DLT"), None, ["goes back into orders.DLT, where it lies already"]),
    ],
)  # fmt: skip
def test_a_topic_is_minded_in_words(item: dict[str, Any], about: Topic, dead: int | None, said: list[str]):
    found = topic_hints(
        Outgoing(**{"id": "1", "destination": about.name, "body": b"x"} | item),
        about,
        died_in="orders.DLT",
        dead=Topic(name="orders.DLT", partitions=dead, config={}) if dead else None,
    )

    assert len(found) == len(said)
    assert all(part in sentence for part, sentence in zip(said, found, strict=True))


@pytest.mark.parametrize(
    ("readers", "said"),
    [
        (Readers(active=["erp"]), []),
        (Readers(active=["erp"], idle=["crm"]), ["2 consumer groups read topic orders (erp, crm)"]),
        (Readers(idle=["erp"]), ["group erp has no member now"]),
        (Readers(idle=["a", "b"]), ["2 consumer groups", "none of the groups a, b has a member now"]),
        (Readers(), ["no consumer group that this login may see reads topic orders"]),
        (Readers(seen=300, all_seen=False), ["of the first 300 that were looked at"]),
    ],
)
def test_readers_of_a_topic_are_counted(readers: Readers, said: list[str]):
    found = reader_hints("orders", readers)

    assert len(found) == len(said)
    assert all(part in sentence for part, sentence in zip(said, found, strict=True))


def test_topics_of_dead_letters_are_named_and_internal_ones_are_not():
    found = dead_letter_topics(["orders", "orders.DLT", "__dlq", "dlq.bills", *(f"t{n}.dlq" for n in range(300))])

    assert [one.queue for one in found][:2] == ["dlq.bills", "orders.DLT"]
    assert len(found) == 200
    assert found[0].waiting is None


def test_lengths_of_time_and_lists_are_short():
    assert [span(s) for s in (0.5, 5, 90, 120, 3600, 86_400, 345_600, 100_000)] == [
        "0.5 s", "5 s", "90 s", "2 min", "1 hour", "1 day", "4 days", "100,000 s",
    ]  # fmt: skip
    assert (some(["a"]), some(list("abcdefg"))) == ("a", "a, b, c, d, e and 2 more")
