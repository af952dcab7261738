"""What a real Kafka makes an operator mind before a replay, and the topics of dead letters that it is found to have."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer

from messages.connectors import get_connector
from messages.connectors.base import Address, BrokerUnavailable, CanDiscover, CanHint, Outgoing
from tests.engines.kafka import PASSWORD, USER, Kafka
from tests.ports import free_port
from tests.product import wait_until

pytestmark = pytest.mark.engine


def hints(
    kafka: Kafka, topic: str, *, died_in: str = "nowhere.DLT", address: Address | None = None, **more: Any
) -> list[str]:
    item = Outgoing(**{"id": "1", "destination": topic, "body": b"x"} | more)
    with contextlib.closing(get_connector("kafka", address or Address(url=f"kafka://{kafka.address}"))) as connector:
        assert isinstance(connector, CanHint)
        return connector.hints(item, died_in=died_in, timeout_s=10)


@contextlib.contextmanager
def reading(kafka: Kafka, topic: str, group: str) -> Iterator[None]:
    """A member of the group that has the topic's partitions, and commits what it has read."""
    consumer = Consumer(
        {"bootstrap.servers": kafka.address, "group.id": group, "auto.offset.reset": "earliest", "log_level": 0}
    )
    try:
        consumer.subscribe([topic])
        wait_until(lambda: consumer.poll(0.2) or consumer.assignment(), seconds=20, what="partitions", every=0)
        wait_until(consumer.assignment, seconds=20, what="partitions", every=0)
        yield
        consumer.commit(offsets=[_at_one(topic)], asynchronous=False)
    finally:
        consumer.close()


def _at_one(topic: str) -> Any:
    from confluent_kafka import TopicPartition

    return TopicPartition(topic, 0, 1)


def test_kafka_says_who_reads_the_topic_nobody_some_or_several(kafka: Kafka):
    topic, erp, crm = kafka.topic(), f"erp-{uuid.uuid4().hex[:6]}", f"crm-{uuid.uuid4().hex[:6]}"
    kafka.produce(topic, b"one")

    nobody = hints(kafka, topic)
    with reading(kafka, topic, erp):
        one = hints(kafka, topic)
    idle = hints(kafka, topic)
    with reading(kafka, topic, crm):
        several = hints(kafka, topic)

    assert nobody == [f"no consumer group that this login may see reads topic {topic}"]
    assert one == []
    assert idle == [
        f"nobody consumes topic {topic} at the moment: group {erp} has no member now; the record waits there"
    ]
    assert several == [
        f"2 consumer groups read topic {topic} ({crm}, {erp}): each gets it, also those that did well with it before"
    ]


def test_kafka_says_what_the_topic_makes_of_the_record(kafka: Kafka):
    few, dead = kafka.topic(2), kafka.topic(6)
    compacted = kafka.topic(1, cleanup_policy="compact")
    short = kafka.topic(1, retention_ms=600_000)
    key = {"key_base64": "NDcxMQ=="}

    gone = hints(kafka, few, route={"partition": "5"}, properties=key)[0]
    fewer = hints(kafka, few, died_in=dead, properties=key)[0]
    unkeyed, keyed = hints(kafka, compacted)[0], hints(kafka, compacted, properties=key)[0]
    tombstone = hints(kafka, compacted, body=b"", properties=key | {"tombstone": True})[0]
    soon = hints(kafka, short)[0]
    missing = hints(kafka, "no-such-topic")

    assert gone.startswith(f"it was in partition 5 and topic {few} has only 2 partitions now: its key decides")
    assert fewer.startswith(f"topic {few} has 2 partitions, fewer than the 6 of {dead}")
    assert "takes no record without a key" in unkeyed
    assert "the newest value of its key" in keyed
    assert "it deletes whatever stands under its key" in tombstone
    assert soon == f"topic {short} keeps a record for 10 min only: who has not read it by then misses it"
    assert missing == ["there is no topic no-such-topic, and a replay makes none"]
    assert "no-such-topic" not in kafka.topics()


def test_a_login_that_may_not_ask_hears_what_it_may_and_nobody_there_is_said(kafka: Kafka):
    topic = kafka.topic()
    address = Address(
        url=f"kafka+ssl://{kafka.safe}",
        username=USER,
        secret=PASSWORD,
        options={"ssl.ca.location": str(kafka.authority)},
    )

    forbidden = hints(kafka, topic, address=address)
    with pytest.raises(BrokerUnavailable):
        hints(kafka, topic, address=Address(url=f"kafka://127.0.0.1:{free_port()}"))

    assert len(forbidden) == 1
    assert forbidden[0].startswith("Kafka forbids it") or "may see" in forbidden[0]


def test_topics_of_dead_letters_are_found_by_their_names_and_that_is_said(kafka: Kafka):
    mark = uuid.uuid4().hex[:8]
    dead = {kafka.topic(name=f"{mark}{ending}") for ending in (".DLT", "-dlt", ".DLQ", "-dead-letter")}
    kafka.topic(name=f"{mark}-orders")
    with contextlib.closing(get_connector("kafka", Address(url=f"kafka://{kafka.address}"))) as connector:
        assert isinstance(connector, CanDiscover)
        found = [one for one in connector.discover(timeout_s=10) if one.queue.startswith(mark)]
    with contextlib.closing(get_connector("kafka", Address(url=f"kafka://127.0.0.1:{free_port()}"))) as connector:
        assert isinstance(connector, CanDiscover)
        with pytest.raises(BrokerUnavailable):
            connector.discover(timeout_s=2)

    assert {one.queue for one in found} == dead
    assert all("Kafka itself does not tell" in one.why for one in found)
