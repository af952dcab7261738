"""Sending to a real Kafka: what it takes, what it refuses and what nobody can know."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation

from messages.connectors import get_connector, get_source
from messages.connectors.base import Address, Outgoing
from messages.connectors.kafka.client import describe
from tests.contracts.test_kafka import item, publish, safely, unavailable
from tests.engines.kafka import PASSWORD, Kafka

pytestmark = pytest.mark.engine


def test_a_key_goes_where_javas_producers_put_it_when_its_partition_is_gone(kafka: Kafka):
    origin = kafka.topic(partitions=7)
    letter = item(origin, key_base64="a2V5")  # murmur2 of `key`, as Kafka's Java client has it, is 1 of 7

    [result] = publish(kafka, Outgoing(id="1", destination=origin, body=b"", route={"partition": "9"}, properties=letter.properties))  # fmt: skip

    assert ("no partition 9 any more, so it went by its key" in result.detail, result.result) == (True, "confirmed")
    assert [one.partition() for one in kafka.records(origin)] == [murmur2(b"key") % 7]


def murmur2(data: bytes) -> int:
    """Return the positive 31 bits of murmur2 with Kafka's seed. Source: Austin Appleby's MurmurHash2, 32 bits."""
    m, h = 0x5BD1E995, 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & 0xFFFFFFFF
        k = (k ^ k >> 24) * m & 0xFFFFFFFF
        h = (h * m & 0xFFFFFFFF) ^ k
    if data[whole:]:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & 0xFFFFFFFF
    h = (h ^ h >> 13) * m & 0xFFFFFFFF
    return (h ^ h >> 15) & 0x7FFFFFFF


def test_a_topic_is_looked_up_once_in_a_burst_and_a_missing_one_every_time(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
):
    topic, looked_up = kafka.topic(), []

    def counting(address: Address, names: Any, **more: Any) -> Any:
        looked_up.append(sorted(names))
        return describe(address, names, **more)

    monkeypatch.setattr("messages.connectors.kafka.connector.describe", counting)
    with contextlib.closing(get_connector("kafka", Address(url=f"kafka://{kafka.address}"))) as connector:
        results = [connector.publish([item(topic), item("nowhere")], timeout_s=15) for _ in range(2)]

    assert [[one.result for one in each] for each in results] == [["confirmed", "refused"]] * 2
    assert looked_up == [sorted([topic, "nowhere"]), ["nowhere"]]


def test_what_is_refused_of_a_batch_takes_no_other_with_it(kafka: Kafka):
    small, compacted = kafka.topic(max_message_bytes=2000), kafka.topic(cleanup_policy="compact")
    large = item(small, os.urandom(3000))
    without_key = item(compacted)

    results = publish(
        kafka, *[item(small, os.urandom(1500)) for _ in range(5)], large, without_key, item(compacted, key_base64="AA==")
    )  # fmt: skip

    assert [one.result for one in results] == ["confirmed"] * 5 + ["refused", "refused", "confirmed"]
    assert "no message so large" in results[5].detail
    assert (len(kafka.records(small)), len(kafka.records(compacted))) == (5, 1)


class KillsTheBroker(dict[str, object]):
    """Properties that are looked at when the topics are known and nothing has been sent."""

    def __init__(self, kill: Any) -> None:
        self.kill = kill

    def get(self, name: str, default: object = None) -> object:  # type: ignore[override]
        self.kill()
        return default


def test_what_was_not_confirmed_in_time_is_unknown_and_does_not_go_out_later(kafka: Kafka):
    topic = kafka.topic()
    doomed = Outgoing(id="1", destination=topic, body=b"doomed", properties=KillsTheBroker(kafka.kill))

    with contextlib.closing(get_connector("kafka", Address(url=f"kafka://{kafka.address}"))) as connector:
        try:
            [result] = connector.publish([doomed], timeout_s=2)
        finally:
            kafka.start()
        [after] = connector.publish([item(topic, b"after")], timeout_s=15)

    assert (result.result, "may have taken it" in result.detail, after.result) == ("unknown", True, "confirmed")
    assert [one.value() for one in kafka.records(topic)] == [b"after"]


def test_a_broker_that_stops_after_it_was_sent_leaves_it_unknown_and_takes_it_once(kafka: Kafka):
    topic = kafka.topic()
    stopped = Outgoing(id="1", destination=topic, body=b"stopped", properties=KillsTheBroker(kafka.pause))

    with contextlib.closing(get_connector("kafka", Address(url=f"kafka://{kafka.address}"))) as connector:
        try:
            connector.publish([item(topic, b"before")], timeout_s=15)
            [result] = connector.publish([stopped], timeout_s=2)
            [meanwhile] = connector.publish([item(topic)], timeout_s=1)
        finally:
            kafka.resume()
        after, until = meanwhile, time.monotonic() + 60
        while after.result == "unavailable" and time.monotonic() < until:  # nothing left, so that it may be tried again
            [after] = connector.publish([item(topic, b"after")], timeout_s=15)

    assert (result.result, meanwhile.result, after.result) == ("unknown", "unavailable", "confirmed")
    assert [one.value() for one in kafka.records(topic)] == [b"before", b"stopped", b"after"]


def test_over_tls_with_a_login_a_topic_that_is_allowed_is_written_and_another_is_not(kafka: Kafka):
    allowed, forbidden = kafka.topic(), kafka.topic()
    kafka.allow(AclOperation.WRITE, allowed)
    kafka.allow(AclOperation.READ, forbidden)

    with contextlib.closing(get_connector("kafka", safely(kafka))) as connector:
        results = connector.publish([item(allowed), item(forbidden)], timeout_s=15)
        answers = [connector.check(topic)[-1] for topic in (allowed, forbidden)]

    assert [one.result for one in results] == ["confirmed", "refused"]
    assert "TOPIC_AUTHORIZATION_FAILED" in results[1].detail
    assert [(one.question, one.answer) for one in answers] == [("may publish", True), ("may publish", False)]


STRANGERS = {
    "a wrong password": ({"secret": "wrong"}, "refused", "Authentication failed"),
    "a certificate nobody vouches for": ({"ssl.ca.location": "probe"}, "refused", "certificate verify failed"),
    "a way to log in that the broker has not": ({"sasl.mechanism": "SCRAM-SHA-256"}, "refused", "mechanism"),
    "a property that is none": ({"security.protocol": "telex"}, "refused", "the address cannot be used"),
}


@pytest.mark.parametrize(("changes", "result", "words"), STRANGERS.values(), ids=STRANGERS)
def test_a_login_that_is_refused_is_said_at_once_and_never_shows_the_password(
    kafka: Kafka, changes: dict[str, str], result: str, words: str
):
    address = safely(kafka, **changes)
    with contextlib.closing(get_connector("kafka", address)) as connector:
        [published] = connector.publish([item("t")], timeout_s=10)
        answer = next(one for one in connector.check(None) if one.answer is False)
    with contextlib.closing(get_source("kafka", address, broker="b", queue="t", options={})) as source:
        said = unavailable(source)  # type: ignore[arg-type]

    assert (published.result, words in published.detail) == (result, True)
    assert all(words in text and PASSWORD not in text for text in (published.detail, answer.detail, said))
