"""Several messages handed to a producer at once, and what became of each."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from messages.connectors.base import Header, Outgoing, Published, Result
from messages.connectors.headers import plain, value_of
from messages.connectors.kafka.client import FORBIDDEN, MISSING, Heard, says

TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
REFUSED = (
    MISSING
    | FORBIDDEN
    | TOO_LARGE
    | {
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.INVALID_REQUIRED_ACKS,
        KafkaError.POLICY_VIOLATION,
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
        KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
        KafkaError._INVALID_ARG,
    }
)
# Said of a batch as a whole, though it may hold for one of its records only.
OF_A_BATCH = TOO_LARGE | {KafkaError.INVALID_RECORD, KafkaError.INVALID_TIMESTAMP, KafkaError.POLICY_VIOLATION}
# The broker said that it has not appended it.
UNAVAILABLE = frozenset(
    {
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
        KafkaError._QUEUE_FULL,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sending:
    """One record as it goes to the producer; partition -1: by the key. note: words on where it goes, for the operator."""

    id: str
    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]
    note: str = ""


def sending_of(item: Outgoing, topic: str, partitions: int) -> Sending:
    """Return the record of a message; raises ValueError or TypeError for what no record can hold."""
    partition, note = place_of(item, partitions)
    key = item.properties.get("key_base64")
    tombstone = bool(item.properties.get("tombstone")) and not item.body
    return Sending(
        id=item.id,
        topic=topic,
        partition=partition,
        key=None if key is None else base64.b64decode(str(key), validate=True),
        value=None if tombstone else item.body,
        headers=headers_of(item),
        note=note,
    )


def place_of(item: Outgoing, partitions: int) -> tuple[int, str]:
    """Return (partition, note): the one it was in when the topic has it still, else -1, which lets the key decide."""
    asked = item.route.get("partition", "")
    if not (asked.isascii() and asked.isdigit() and len(asked) < 10):
        return -1, ""
    if int(asked) < partitions:
        return int(asked), ""
    how = "by its key" if item.properties.get("key_base64") is not None else "to any, as it has no key"
    return -1, f"; the topic has no partition {asked} any more, so it went {how}"


def headers_of(item: Outgoing) -> list[tuple[str, str | bytes | None]]:
    """Return the headers as bytes, in their order, repeated ones too; the content type is added when no header tells it."""
    headers: list[tuple[str, str | bytes | None]] = [(header.name, header_bytes(header)) for header in item.headers]
    if item.content_type and not {"content-type", "contenttype"} & {name.lower() for name, _ in headers}:
        headers.append(("content-type", item.content_type.encode()))
    for name, _ in headers:
        name.encode()  # a name that is no UTF-8 raises here, before anything is sent
    return headers


def header_bytes(header: Header) -> bytes | None:
    """Return a header's value as Kafka has it: bytes as they are, anything else as text."""
    value = value_of(header)
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, datetime):
        return value.isoformat().encode()
    if isinstance(value, str | int | float):
        return str(value).encode()
    return json.dumps(plain(value), ensure_ascii=False).encode()


class Window:
    """Sends records and gathers what became of them; `broken` when some were not confirmed in time and the producer is to be dropped."""

    def __init__(self, producer: Producer, heard: Heard) -> None:
        self.producer, self.heard = producer, heard
        self.results: dict[int, Published] = {}
        self.singly: list[Sending] = []
        self.broken = False

    def send(self, records: Sequence[Sending], until: float) -> dict[int, Published]:
        """Return id(record) → result of every record; none is still on its way afterwards."""
        for record in records:
            self._produce(record, until)
        self._wait(until)
        again, self.singly = (self.singly, []) if len(records) > 1 else ([], [])
        for record in again:
            if self.broken or time.monotonic() > until:
                self._note(record, "unavailable", "it was not sent alone, as time ran out; with others it was refused")
            else:
                self._produce(record, until)
                self._wait(until)
        for record in records:
            if id(record) not in self.results:
                self._note(record, "unknown", "Kafka's library did not say what became of it")
        return self.results

    def _produce(self, record: Sending, until: float) -> None:
        delivered = partial(self._delivered, record)
        while True:
            try:
                self.producer.produce(
                    record.topic, value=record.value, key=record.key, partition=record.partition,
                    headers=record.headers, on_delivery=delivered,
                )  # fmt: skip
                return
            except BufferError:  # the producer's queue is full: let it drain
                if time.monotonic() > until:
                    self._note(record, "unavailable", "it was not sent: time ran out while others were being sent")
                    return
                self.producer.poll(0.1)
            except (KafkaException, ValueError, TypeError) as error:
                result: Result = "refused" if _code(error) in REFUSED or not _code(error) else "unavailable"
                self._note(record, result, f"it was not sent: {says(error)}")
                return

    def _wait(self, until: float) -> None:
        if self.producer.flush(max(0.0, until - time.monotonic())):
            self.broken = True
            self.producer.purge()
            self.producer.flush(5)

    def _delivered(self, record: Sending, error: KafkaError | None, message: Message) -> None:
        if error is None:
            where = f"{message.topic()}[{message.partition()}]@{message.offset()}"
            self._note(
                record,
                "confirmed",
                f"stored in topic {record.topic}, partition {message.partition()}{record.note}",
                where,
            )
            return
        result, words = outcome(error, self.heard)
        if error.code() in OF_A_BATCH:
            self.singly.append(record)
        self.broken |= result == "unknown" or error.fatal()
        self._note(record, result, words)

    def _note(self, record: Sending, result: Result, detail: str, broker_id: str = "") -> None:
        self.results[id(record)] = Published(id=record.id, result=result, detail=detail, broker_id=broker_id)


def _code(error: Exception) -> int | None:
    cause = error.args[0] if error.args else None
    return int(cause.code()) if isinstance(cause, KafkaError) else None


def outcome(error: KafkaError, heard: Heard) -> tuple[Result, str]:
    """Return what a failed delivery means, and words for it.

    librdkafka may have sent a record that is back in its queue for another try, and does not tell: whatever the broker did not say
    itself is unknown, and so is what it said after a line broke, for that may be of the second try.
    """
    if error.code() in TOO_LARGE:
        return "refused", f"Kafka takes no message so large there: {says(error)}"
    if error.code() in REFUSED:
        return "refused", f"Kafka refused it: {says(error)}"
    if error.code() in UNAVAILABLE and not (heard.last or heard.away):
        return "unavailable", f"Kafka cannot store it now: {says(error)}"
    more = heard.refused or heard.last
    return "unknown", f"no confirmation came in time, Kafka may have taken it: {more or says(error)}"
