"""Sending to Kafka: an idempotent producer, acknowledged by all replicas in sync."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AclOperation, TopicDescription

from messages.connectors.base import Address, BrokerUnavailable, Check, Found, Outgoing, Published
from messages.connectors.kafka.asking import Asking
from messages.connectors.kafka.client import (
    FORBIDDEN,
    BadAddress,
    Heard,
    LoginRefused,
    Unreachable,
    checked,
    describe,
    properties_of,
    says,
)
from messages.connectors.kafka.topology import Topic, dead_letter_topics, reader_hints, topic_hints
from messages.connectors.kafka.window import Sending, Window, sending_of

TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
BELIEVED_S = 1.0  # that a topic is there: sending to one that was deleted meanwhile may make it
HASTE = 0.8  # of the time for hints: whoever asked waits no longer, and half an answer is worth more than none
MOST_MESSAGE_BYTES = 64 * 1024 * 1024  # the broker's own limit is mostly lower, and it says so


class KafkaConnector:
    """One window an answer: all is handed to the producer, then its confirmations are waited for.

    Topics are looked up before anything is sent, because sending to a topic that is not there may make it.
    """

    kind = "kafka"
    at_once = 2000

    def __init__(self, address: Address) -> None:
        self.address = address
        self.heard = Heard()
        self.topics: dict[str, tuple[TopicDescription | KafkaError, float]] = {}  # and until when that is believed
        self.producer: Producer | None = None

    def publish(self, items: Sequence[Outgoing], *, timeout_s: float) -> list[Published]:
        until = time.monotonic() + timeout_s
        try:
            names = {name for item in items if TOPIC.fullmatch(name := _topic(item))}
            topics = self._topics(names, timeout_s)
            producer = self._open()
        except BadAddress as error:
            return _all(items, "refused", f"the address cannot be used: {error}")
        except LoginRefused as error:
            return _all(items, "refused", f"Kafka refused the login: {error}")
        except Unreachable as error:
            return _all(items, "unavailable", f"Kafka cannot be reached: {error}")
        prepared = [prepare(item, topics.get(_topic(item))) for item in items]
        self.heard.forget()
        window = Window(producer, self.heard)
        results = window.send([one for one in prepared if isinstance(one, Sending)], until)
        if window.broken:
            self._drop()
        return [one if isinstance(one, Published) else results[id(one)] for one in prepared]

    def _topics(self, names: Collection[str], timeout_s: float) -> Mapping[str, TopicDescription | KafkaError]:
        """Look the topics up, those that were there a moment ago not again: it takes longer than sending to them."""
        now = time.monotonic()
        known = {
            name: topic for name in names if (found := self.topics.get(name)) and found[1] > now for topic in found[:1]
        }
        asked = [name for name in names if name not in known]
        fresh = describe(self.address, asked, timeout_s=timeout_s) if asked else {}
        there = {
            name: (topic, now + BELIEVED_S) for name, topic in fresh.items() if isinstance(topic, TopicDescription)
        }
        self.topics = {name: found for name, found in self.topics.items() if found[1] > now} | there
        return known | fresh

    def _open(self) -> Producer:
        if self.producer is None:
            self.heard = Heard()
            try:
                self.producer = Producer(self._properties())
            except (KafkaException, ValueError, TypeError) as error:
                raise BadAddress(says(error)) from error
        return self.producer

    def _properties(self) -> dict[str, Any]:
        return {
            "message.max.bytes": MOST_MESSAGE_BYTES,
            **properties_of(self.address),
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",  # Java's: a key goes where the applications' own producers put it
            "retries": 5,  # then it says what the broker says, as not enough replicas, and not only that time ran out
            "linger.ms": 5,
            "error_cb": self.heard,
        }

    def check(self, destination: str | None) -> list[Check]:
        return checked(self.address, destination, "may publish", AclOperation.WRITE)

    def hints(self, item: Outgoing, *, died_in: str, timeout_s: float) -> list[str]:
        """Say what the topic makes of it: partitions, compaction, retention; and who reads it: nobody, or several groups."""
        name = _topic(item)
        if not TOPIC.fullmatch(name):
            return [f"“{name[:100]}” is no name of a topic: the replay would be refused"]
        until = time.monotonic() + timeout_s * HASTE
        asked = {name, died_in} if TOPIC.fullmatch(died_in) else {name}
        try:
            told = describe(self.address, asked, timeout_s=timeout_s * HASTE)
            if isinstance(topic := told[name], KafkaError):
                return [_why_not(name, topic)]
            asking = Asking(self.address, timeout_s=until - time.monotonic())
            found = topic_hints(
                item,
                Topic(name=name, partitions=len(topic.partitions), config=asking.config(name)),
                died_in=died_in,
                dead=_as_topic(told.get(died_in)),
            )
        except (BadAddress, LoginRefused, Unreachable) as error:
            raise BrokerUnavailable(str(error)) from error
        try:
            readers = asking.readers(name)
        except (LoginRefused, Unreachable):
            return [*found, f"who reads topic {name} Kafka did not say in time"]
        if readers is None:
            return [*found, f"this login may not ask which consumer groups read topic {name}"]
        return found + reader_hints(name, readers)

    def discover(self, *, timeout_s: float) -> list[Found]:
        """Look through the names of topics: Kafka knows no more of dead letters than that."""
        try:
            return dead_letter_topics(Asking(self.address, timeout_s=timeout_s).topics())
        except KafkaException as error:
            raise BrokerUnavailable(says(error)) from error
        except BadAddress as error:
            raise BrokerUnavailable(f"the address cannot be used: {error}") from error

    def _drop(self) -> None:
        """Let go of the producer and of whatever it still holds: what was not confirmed in time must not go out later."""
        producer, self.producer, self.topics = self.producer, None, {}
        if producer is not None:
            producer.purge()
            producer.close()

    def close(self) -> None:
        self._drop()


def _as_topic(told: TopicDescription | KafkaError | None) -> Topic | None:
    if told is None or isinstance(told, KafkaError):
        return None
    return Topic(name=told.name, partitions=len(told.partitions), config={})


def _topic(item: Outgoing) -> str:
    return item.route.get("topic") or item.destination


def _all(items: Sequence[Outgoing], result: Any, detail: str) -> list[Published]:
    return [Published(id=item.id, result=result, detail=detail) for item in items]


def _why_not(name: str, error: KafkaError) -> str:
    if error.code() in FORBIDDEN:
        return f"Kafka forbids it: {says(error)}"
    return f"there is no topic {name}, and a replay makes none"


def prepare(item: Outgoing, topic: TopicDescription | KafkaError | None) -> Sending | Published:
    """Return what is handed to the producer, or why it is refused without having been sent. topic: None when its name is none."""
    name = _topic(item)
    if topic is None:
        return Published(id=item.id, result="refused", detail=f"“{name[:100]}” is no name of a topic")
    if isinstance(topic, KafkaError):
        return Published(id=item.id, result="refused", detail=_why_not(name, topic))
    try:
        return sending_of(item, name, len(topic.partitions))
    except (ValueError, TypeError, ArithmeticError) as error:
        return Published(id=item.id, result="refused", detail=f"Kafka cannot carry it: {says(error)}")
