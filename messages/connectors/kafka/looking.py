"""What a consumer can see of a topic without being a member of its group: it takes no partition from a harvester at work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from messages.connectors.kafka.decode import Record
from messages.connectors.kafka.records import record_of

ANSWER_S = 5.0
MOST_BYTES = 16 * 1024 * 1024  # in hand of one harvester; librdkafka reads as much ahead
# It is told where a partition ends, and goes from one to the next without waiting for the first to get more.
PROPERTIES = {"enable.partition.eof": True, "fetch.wait.max.ms": 50}


def partitions_of(consumer: Consumer, topic: str) -> list[int]:
    """Return a topic's partitions; raises KafkaException. The consumer must not make topics by asking."""
    found = consumer.list_topics(topic, timeout=ANSWER_S).topics[topic]
    if found.error is not None:
        raise KafkaException(found.error)
    return sorted(found.partitions)


def lags(consumer: Consumer, topic: str) -> dict[int, tuple[int, int]]:
    """Return partition → (where the group goes on, end); raises KafkaException."""
    numbers = partitions_of(consumer, topic)
    asked = [TopicPartition(topic, number) for number in numbers]
    committed = {one.partition: one.offset for one in fine(consumer.committed(asked, timeout=ANSWER_S))}
    first, end = (_edges(consumer, topic, numbers, edge) for edge in (OFFSET_BEGINNING, OFFSET_END))
    return {number: (max(first[number], committed[number]), end[number]) for number in numbers}


def _edges(consumer: Consumer, topic: str, numbers: Sequence[int], edge: int) -> dict[int, int]:
    """Return partition → its first or end offset: librdkafka takes these edges for times too, and asks for all at once."""
    asked = [TopicPartition(topic, number, edge) for number in numbers]
    return {one.partition: one.offset for one in fine(consumer.offsets_for_times(asked, timeout=ANSWER_S))}


def fine(answered: Iterable[TopicPartition]) -> Iterable[TopicPartition]:
    """Return these when none has an error; raises KafkaException."""
    answered = list(answered)
    for one in answered:
        if one.error is not None:
            raise KafkaException(one.error)
    return answered


def look(consumer: Consumer, topic: str, limit: int, after: tuple[int, int] | None) -> list[Record]:
    """Return up to so many records behind this partition and offset, one partition after the other; [] at the end.

    The consumer has PROPERTIES. Raises KafkaException.
    """
    taken: list[Record] = []
    size = 0
    for record in _behind(consumer, topic, after or (-1, -1)):
        taken.append(record)
        size += len(record.value or b"")
        if len(taken) >= limit or size >= MOST_BYTES:
            break
    consumer.unassign()
    return taken


def _behind(consumer: Consumer, topic: str, place: tuple[int, int]) -> Iterator[Record]:
    for number in partitions_of(consumer, topic):
        if number >= place[0]:
            offset = place[1] + 1 if number == place[0] else OFFSET_BEGINNING
            consumer.assign([TopicPartition(topic, number, offset)])
            while record := _next(consumer):
                yield record


def _next(consumer: Consumer) -> Record | None:
    """Return the next record of the partition that is assigned, None at its end."""
    message = consumer.poll(ANSWER_S)
    if message is None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
    error = message.error()
    if error is None:
        return record_of(message)
    if error.code() == KafkaError._PARTITION_EOF:
        return None
    raise KafkaException(error)
