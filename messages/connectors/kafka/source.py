"""Dead letters from a topic of Kafka, read as a member of a consumer group."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AclOperation

from messages.connectors.base import Address, BrokerUnavailable, Check, Received
from messages.connectors.kafka import looking
from messages.connectors.kafka.client import (
    MISSING,
    BadAddress,
    Heard,
    LoginRefused,
    Unreachable,
    checked,
    code_of,
    describe,
    group_refusal,
    properties_of,
    says,
    within,
)
from messages.connectors.kafka.decode import Record, decode_record
from messages.connectors.kafka.looking import MOST_BYTES, fine, lags, look
from messages.connectors.kafka.records import record_of

SESSION_MS = 10_000  # a commit waits so long for a broker that is away, and the group for a member that was killed
LOOK_EVERY_S = (
    10.0  # whether the topic is still there: librdkafka goes on waiting for one that was deleted, or at a place of it
)
BEHIND_S = 0.01
COMMIT_S, CLOSE_S = 12.0, 5.0
LONGEST_INSTANCE = 249
# The partition has gone to another member of the group, or is about to: what we know of it is theirs to say.
NOT_OURS = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError._NO_OFFSET,
        KafkaError._STATE,
    }
)
FENCED = frozenset({KafkaError.FENCED_INSTANCE_ID, KafkaError._FENCED, KafkaError._FATAL})


@dataclass(slots=True)
class Place:
    """A partition that is ours. waiting: offsets given out and not acknowledged; next: the one after the last given out."""

    next: int
    committed: int
    waiting: set[int] = field(default_factory=set)

    def done(self) -> int:
        """Return the offset up to which everything is acknowledged: the group may go on from there, and nothing is skipped."""
        return min(self.waiting, default=self.next)


class KafkaSource:
    """Reads a dead-letter topic; a letter is acknowledged by committing the offset after it, once all before it are acknowledged.

    A letter that stays unacknowledged holds up no other: those after it are given out, but not committed, and come again with it
    when the source is opened anew. The records stay in the topic for as long as the topic keeps them.
    options  group (default waybill.<topic>), system (who failed) and origin (topic it died in) for letters that do not say,
             consumer (name of this member: started again within the session's time it gets its partitions back at once).
    """

    def __init__(self, address: Address, *, broker: str, queue: str, options: Mapping[str, object]) -> None:
        self.address, self.broker, self.queue = address, broker, queue
        self.system, self.origin = str(options.get("system") or ""), str(options.get("origin") or "")
        self.group = str(options.get("group") or f"waybill.{queue}")
        self.instance = _instance(str(options.get("consumer") or ""), queue)
        self.heard = Heard()
        self.consumer: Consumer | None = None  # the member of the group
        self.looker: Consumer | None = None
        self.places: dict[int, Place] = {}
        self.taken: list[Record] = []
        self.looked_at = 0.0
        self.topic_id = ""
        self.halted = False  # our partitions, by keep()

    def _open(self) -> Consumer:
        if self.consumer is None:
            self.heard.forget()
            self.consumer = _consumer(self._properties())
            self.consumer.subscribe([self.queue], on_revoke=self._lost, on_lost=self._lost)
        return self.consumer

    def _properties(self) -> dict[str, Any]:
        return {
            "queued.max.messages.kbytes": MOST_BYTES // 1024,
            "session.timeout.ms": SESSION_MS,
            **properties_of(self.address),
            **({"group.instance.id": self.instance} if self.instance else {}),
            "group.id": self.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "allow.auto.create.topics": False,
            "error_cb": self.heard,
        }

    def _lost(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """Forget partitions that are taken from us, as poll() tells, and what was just read from them: it is read again by whoever has them.

        A consumer that was left behind while it closed tells its end later: that is nothing of the one we have now.
        """
        if consumer is not self.consumer:
            return
        gone = {one.partition for one in partitions}
        self.places = {number: place for number, place in self.places.items() if number not in gone}
        self.taken = [record for record in self.taken if record.partition not in gone]

    def receive(self, limit: int, wait_s: float) -> list[Received]:
        try:
            taken = self._take(self._open(), limit, wait_s)
            if not taken:
                self.heard.check()
            self._look()
        except (KafkaException, BadAddress, LoginRefused, Unreachable) as error:
            words = self._words(error)
            self.close()
            raise BrokerUnavailable(words) from error
        return [self._received(record) for record in taken]

    def _take(self, consumer: Consumer, limit: int, wait_s: float) -> list[Record]:
        """Return what is there, up to so many records or bytes, waiting for the first, and a moment for those right behind it."""
        self.taken = []
        size = 0
        if self.halted:
            consumer.resume(consumer.assignment())
            self.halted = False
        while len(self.taken) < limit and size < MOST_BYTES:
            message = consumer.poll(BEHIND_S if self.taken else wait_s)
            if message is None:
                break
            if (error := message.error()) is not None:
                raise KafkaException(error)
            record = record_of(message)
            self.taken.append(record)
            size += len(record.value or b"")
        return self.taken

    def _look(self) -> None:
        """Ask now and then whether the topic is there and still the same one; raises KafkaException, Unreachable, LoginRefused."""
        if self.consumer is None or time.monotonic() - self.looked_at <= LOOK_EVERY_S:
            return
        told = describe(self.address, [self.queue], timeout_s=looking.ANSWER_S)[self.queue]
        if isinstance(told, KafkaError):
            raise KafkaException(told)
        known, self.topic_id = self.topic_id, str(told.topic_id)
        self.looked_at = time.monotonic()
        if known not in ("", self.topic_id):
            self._begin_again(self.consumer)

    def _begin_again(self, consumer: Consumer) -> None:
        """The topic was deleted and made again: librdkafka goes on at the old place, which skips what came before it in the new one."""
        beginnings = [TopicPartition(self.queue, one.partition, 0) for one in consumer.assignment()]
        if beginnings:
            fine(within(COMMIT_S, lambda: consumer.commit(offsets=beginnings, asynchronous=False)) or ())
        raise Unreachable(f"topic {self.queue} was deleted and made again: it is read from its first record")

    def _received(self, record: Record) -> Received:
        place = self.places.setdefault(record.partition, Place(next=record.offset, committed=record.offset))
        place.waiting.add(record.offset)
        place.next = max(place.next, record.offset + 1)
        return Received(token=(record.partition, record.offset), letter=self._letter(record))

    def _letter(self, record: Record) -> dict[str, object]:
        return decode_record(record, broker=self.broker, system=self.system, origin=self.origin)

    def acknowledge(self, tokens: Sequence[object]) -> None:
        """Commit what everything before is acknowledged of too; tokens of partitions that are not ours any more change nothing."""
        for token in tokens:
            place, offset = self.places.get(token[0]), token[1]  # type: ignore[index]
            if place is not None:
                place.waiting.discard(offset)
        moved = {number: place.done() for number, place in self.places.items() if place.done() > place.committed}
        if not moved or self.consumer is None:
            return
        offsets = [TopicPartition(self.queue, number, offset) for number, offset in moved.items()]
        try:
            consumer = self.consumer
            fine(within(COMMIT_S, lambda: consumer.commit(offsets=offsets, asynchronous=False)) or ())
        except (KafkaException, Unreachable) as error:
            if code_of(error) in NOT_OURS:
                return
            words = self._words(error)
            self.close()
            raise BrokerUnavailable(words) from error
        for number, offset in moved.items():
            self.places[number].committed = offset

    def _words(self, error: Exception) -> str:
        if isinstance(error, KafkaException):
            if code_of(error) in MISSING:
                return f"there is no topic {self.queue}"
            if code_of(error) in FENCED:
                return f"another harvester has the name of this one ({self.instance}): give each a name of its own"
            return self.heard.refused or says(error)
        return f"the address cannot be used: {error}" if isinstance(error, BadAddress) else str(error)

    def keep(self) -> None:
        """Poll, or the group gives our partitions to another after max.poll.interval.ms. They are halted, so that nothing comes by it."""
        if self.consumer is None:
            return
        try:
            self.consumer.pause(self.consumer.assignment())
            self.halted = True
            came = self.consumer.poll(0) is not None
        except (KafkaException, RuntimeError):
            came = True
        if came:  # an error, or the first record of a partition that we were just given: all of it comes again
            self.close()

    def depth(self) -> int | None:
        """Return how many records of the topic nobody of the group has acknowledged, None when Kafka does not tell."""
        try:
            return self._waiting()
        except (KafkaException, BadAddress):
            return None

    def _waiting(self) -> int:
        waiting = 0
        for number, (begun, end) in lags(self._asking(), self.queue).items():
            place = self.places.get(number)
            waiting += max(0, end - (place.next if place else begun)) + (len(place.waiting) if place else 0)
        return waiting

    def peek(self, limit: int, after: object | None) -> list[Received]:
        """Return up to so many records behind the one with this token, from the first for None, whoever has acknowledged them."""
        try:
            records = look(self._looker(), self.queue, limit, after)  # type: ignore[arg-type]
        except (KafkaException, BadAddress) as error:
            words = self._words(error)
            self.close()
            raise BrokerUnavailable(words) from error
        return [Received(token=(one.partition, one.offset), letter=self._letter(one)) for one in records]

    def _asking(self) -> Consumer:
        return self.consumer or self._looker()

    def _looker(self) -> Consumer:
        """Return a consumer that is no member of the group: that would take partitions from a harvester at work."""
        if self.looker is None:
            self.heard.forget()
            self.looker = _consumer(self._properties() | looking.PROPERTIES)
        return self.looker

    def check(self) -> list[Check]:
        checks = checked(self.address, self.queue, "may read", AclOperation.READ)
        if checks[-1].question != "may read" or checks[-1].answer is False:
            return checks
        words = group_refusal(self.address, self.group)
        if words:
            return [*checks[:-1], Check(question="may read", answer=False, detail=f"as group {self.group}: {words}")]
        waiting = self.depth()
        words = f"{'an unknown number of' if waiting is None else waiting} dead letters wait for group {self.group}"
        return [*checks[:-1], replace(checks[-1], detail=f"{checks[-1].detail}; {words}")]

    def close(self) -> None:
        for consumer in (self.consumer, self.looker):
            if consumer is not None:
                with contextlib.suppress(KafkaException, RuntimeError, Unreachable):
                    within(CLOSE_S, consumer.close)
        self.consumer = self.looker = None
        self.heard = Heard()  # a consumer that is left behind while it closes tells the one that it knows
        self.halted = False
        self.places.clear()


def _consumer(properties: dict[str, Any]) -> Consumer:
    """Return a consumer; raises BadAddress for properties that librdkafka does not take."""
    try:
        return Consumer(properties)
    except (KafkaException, ValueError, TypeError) as error:
        raise BadAddress(says(error)) from error


def _instance(consumer: str, queue: str) -> str:
    """Return the name of a lasting member of the group, of the letters that Kafka takes; "" for one that is new each time."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"{consumer}.{queue}")[-LONGEST_INSTANCE:] if consumer else ""
