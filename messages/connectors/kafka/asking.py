"""What Kafka's admin API says of topics and of who reads them. Nothing is changed by asking, no topic is made, no group joined."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from messages.connectors.base import Address
from messages.connectors.kafka.client import BadAddress, Heard, Unreachable, properties_of, says
from messages.connectors.kafka.topology import Readers

SETTINGS = ("cleanup.policy", "retention.ms")
MOST_GROUPS = 300  # described in one request
MOST_OFFSETS = 60  # groups without members whose offsets are asked for, one request each
LIST_S = 4.0


class Asking:
    """One admin client until a moment (time.monotonic()); raises Unreachable or LoginRefused when nobody answers by then."""

    def __init__(self, address: Address, *, timeout_s: float) -> None:
        self.heard = Heard()
        self.until = time.monotonic() + timeout_s
        try:
            self.admin: Any = AdminClient(properties_of(address) | {"error_cb": self.heard})
        except (KafkaException, ValueError, TypeError) as error:
            raise BadAddress(says(error)) from error

    def _left_s(self) -> float:
        return max(0.05, self.until - time.monotonic())

    def _answer(self, future: Future[Any]) -> Any:
        """Wait for one answer, letting the library say meanwhile that nobody is there; raises KafkaException too."""
        while not future.done():
            self.admin.poll(0.02)
            self.heard.check()
            if time.monotonic() > self.until:
                raise Unreachable(self.heard.last or "it did not answer in time")
        return future.result()

    def config(self, topic: str) -> dict[str, str]:
        """Return what the topic is told about compaction and retention; {} when this login may not read it."""
        asked = ConfigResource(ResourceType.TOPIC, topic)
        future = self.admin.describe_configs([asked], request_timeout=self._left_s())[asked]
        try:
            found = self._answer(future)
        except KafkaException:
            return {}
        return {name: str(found[name].value) for name in SETTINGS if name in found}

    def readers(self, topic: str) -> Readers | None:
        """Return the groups that read a topic, None when they cannot be listed. Harvests of Waybill are groups as others are."""
        try:
            listed = self._answer(self.admin.list_consumer_groups(request_timeout=self._left_s())).valid
        except KafkaException:
            return None
        names = sorted(one.group_id for one in listed)
        asked = names[:MOST_GROUPS]
        if not asked:
            return Readers()
        described = self.admin.describe_consumer_groups(asked, request_timeout=self._left_s())
        active, empty = [], []
        for name in asked:
            try:
                group = self._answer(described[name])
            except KafkaException:
                continue  # this login may not ask about that one
            if any(_has(member, topic) for member in group.members):
                active.append(name)
            elif group.state == ConsumerGroupState.EMPTY:
                empty.append(name)
        return Readers(
            active=active,
            idle=self._with_offsets(empty[:MOST_OFFSETS], topic),
            seen=len(asked),
            all_seen=len(names) <= MOST_GROUPS and len(empty) <= MOST_OFFSETS,
        )

    def _with_offsets(self, groups: Sequence[str], topic: str) -> list[str]:
        """Return the groups that have committed an offset of this topic."""
        futures = {
            group: self.admin.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group)], request_timeout=self._left_s()
            )[group]
            for group in groups
        }
        found = []
        for group, future in futures.items():
            try:
                places: Sequence[TopicPartition] = self._answer(future).topic_partitions
            except KafkaException:
                continue
            if any(one.topic == topic and one.offset >= 0 for one in places):
                found.append(group)
        return found

    def topics(self) -> list[str]:
        """Return the names of all topics that this login may see; raises KafkaException."""
        return list(self.admin.list_topics(timeout=min(LIST_S, self._left_s())).topics)


def _has(member: Any, topic: str) -> bool:
    assigned = getattr(member.assignment, "topic_partitions", None) or ()
    return any(one.topic == topic for one in assigned)
