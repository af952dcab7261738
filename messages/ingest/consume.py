"""The consumer of a Kafka topic in front of ingest: store, then commit the offset; a record that cannot be stored is kept with its reason.

A consumer that dies between the two stores nothing twice: the ledger knows the batch. When ingest says "not now" (disk, quota, database), the
consumer waits as a member of its group, with its partitions paused, and goes on where it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from django.db import InterfaceError, OperationalError, connection, transaction
from prometheus_client import Counter

from console.core.errors import ConsoleError, Unavailable
from console.identity.models import Agent
from messages.connectors.kafka.client import Unreachable, within
from messages.connectors.kafka.records import read_headers
from messages.ingest import gate, intake
from messages.ingest.http import KEY_FRESH_S, Malformed, authenticate_agent, finish
from messages.ingest.kafka import Plain, Record, body_of, endpoint_of, text_headers
from messages.ingest.model import Refused
from messages.ingest.refusals import prepare_refused, store_refused
from messages.ingest.writer import AlreadyAnswered, record_answer

log = structlog.get_logger(__name__)
TOGETHER = 100  # records between two commits of offsets
LONGEST_WAIT_S = 30.0
BROKER_S = 30.0  # a commit or a goodbye takes no longer
REPORT_EVERY_S = 10.0
RECORDS = Counter("waybill_ingest_kafka_records_total", "Kafka records by what became of them.", ["topic", "result"])


class NotNow(Exception):
    """Ingest takes nothing at the moment; the same record again after `retry_after_s`."""

    def __init__(self, words: str, retry_after_s: float) -> None:
        super().__init__(words)
        self.retry_after_s = retry_after_s


def take(record: Record, agent: Agent, plain: Plain) -> str:
    """Store one record and return "stored", or "kept" when it was refused whole and lies among the refused items; raises NotNow."""
    endpoint = endpoint_of(record, plain)
    data = record.value
    try:
        if not record.headers_readable:
            raise Malformed("the record's headers cannot be read: a name is not UTF-8")
        if record.headers.get("authorization"):
            agent = authenticate_agent(record.headers["authorization"])
        gate.check_open()
        gate.check_agent(agent)
        if not intake.is_endpoint(endpoint):
            raise Malformed(f"the header endpoint names none of {', '.join(sorted(intake.DECODERS))}, mapped/<slug>")
        body = body_of(record, endpoint, plain)
        data = body.data
        decoded = intake.decode(endpoint, agent, body)
        intake.store(endpoint, decoded)
        finish(agent, body, decoded.items)
    except (gate.PushedBack, Unavailable) as error:
        raise NotNow(str(error), getattr(error, "retry_after_s", 2.0)) from error
    except (OperationalError, InterfaceError) as error:
        connection.close()
        raise NotNow(str(error)[:300], 2.0) from error
    except ConsoleError as error:
        _keep(record, agent, endpoint, data, error.code, str(error))
        return "kept"
    except Exception as error:  # a record that our own code stumbles over must not hold up its partition
        log.exception("record_stumbled_over", record=record.place)
        _keep(record, agent, endpoint, data, "internal_error", f"{type(error).__name__}: see the log")
        return "kept"
    return "stored"


def _keep(record: Record, agent: Agent, endpoint: str, data: bytes, code: str, detail: str) -> None:
    """Keep a record that was refused whole, once however often it is delivered; raises NotNow."""
    now = datetime.now(UTC)
    identity = "record:" + hashlib.sha256(record.place.encode()).hexdigest()
    refused = Refused(index=0, code=code, detail=f"{detail} ({record.place})", raw=data)
    answer: dict[str, object] = {"accepted": 0, "duplicates": 0, "rejected": [{"index": 0, "code": code}]}
    try:
        with transaction.atomic():
            store_refused(agent, endpoint, prepare_refused(agent, endpoint, [refused]), now, whole=True)
            record_answer(agent, identity, hashlib.sha256(data).digest(), answer, now)
    except AlreadyAnswered:
        pass
    except (OperationalError, InterfaceError) as error:
        connection.close()
        raise NotNow(str(error)[:300], 2.0) from error


class IngestConsumer:
    """Consumes topics as one member of a group until `stopping` is set. properties: librdkafka's, with the brokers and the group."""

    def __init__(self, properties: dict[str, Any], topics: Sequence[str], agent: Agent, plain: Plain) -> None:
        self.agent, self.plain = agent, plain
        self.agent_read_at = time.monotonic()
        self.properties, self.topics = properties, list(topics)
        self.client = self._open()
        self.stopping = threading.Event()
        self.taken = 0
        self.reported_at = -REPORT_EVERY_S

    def _open(self) -> Consumer:
        ours = {"enable.auto.commit": False, "enable.auto.offset.store": False}
        client = Consumer({"auto.offset.reset": "earliest", **self.properties, **ours})
        client.subscribe(self.topics)
        return client

    def run(self) -> None:
        """Consume until told to stop; what is in hand is finished and committed."""
        try:
            while not self.stopping.is_set():
                self._take_all(self.client.consume(TOGETHER, timeout=1.0))
                self._report()
        finally:
            with contextlib.suppress(Unreachable):
                within(BROKER_S, self.client.close)

    def _take_all(self, messages: Sequence[Message]) -> None:
        done: dict[tuple[str, int], int] = {}
        for message in messages:
            if (error := message.error()) is not None:
                _note(error)
                continue
            record = _record_of(message)
            if self.stopping.is_set() or not self._take(record):
                break
            done[(record.topic, record.partition)] = record.offset + 1
        self._commit([TopicPartition(*place, offset) for place, offset in done.items()])

    def _take(self, record: Record) -> bool:
        """Take one record, however long that needs; False when told to stop before it was."""
        tries = 0
        while True:
            try:
                RECORDS.labels(record.topic, take(record, self._fresh_agent(), self.plain)).inc()
            except NotNow as refusal:
                wait_s = min(LONGEST_WAIT_S, refusal.retry_after_s * 2**tries)
                tries = min(tries + 1, 5)
                log.warning("ingest_waits", record=record.place, seconds=wait_s, reason=str(refusal))
                if not self._wait(wait_s):
                    return False
            else:
                self.taken += 1
                return True

    def _fresh_agent(self) -> Agent:
        """Return the agent as it was at most 3 s ago: its quota may be changed while the consumer runs."""
        if time.monotonic() - self.agent_read_at > KEY_FRESH_S:
            try:
                self.agent = Agent.objects.select_related("environment").get(pk=self.agent.pk)
            except (OperationalError, InterfaceError):
                connection.close()  # `take` says what is wrong
            self.agent_read_at = time.monotonic()
        return self.agent

    def _wait(self, seconds: float) -> bool:
        """Stay a member of the group without taking records; False when told to stop meanwhile."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.stopping.is_set():
            self.client.pause(self.client.assignment())
            if (message := self.client.poll(0.2)) is not None and message.error() is None:
                record = _record_of(message)  # of a partition that came to us meanwhile: it is read again from here
                self.client.seek(TopicPartition(record.topic, record.partition, record.offset))
        self.client.resume(self.client.assignment())
        return not self.stopping.is_set()

    def _commit(self, offsets: list[TopicPartition]) -> None:
        if not offsets:
            return
        try:
            within(BROKER_S, lambda: self.client.commit(offsets=offsets, asynchronous=False))
        except (
            Unreachable
        ) as error:  # librdkafka may wait for ever, and with it this client: another one takes the records again
            log.warning("offsets_not_committed", reason=str(error))
            self.client = self._open()
        except KafkaException as error:  # another member has them now: it meets the ledger
            log.warning("offsets_not_committed", reason=str(error)[:300])

    def _report(self) -> None:
        """Say as the agent's heartbeat, every ten seconds, how many records wait."""
        if time.monotonic() - self.reported_at < REPORT_EVERY_S:
            return
        self.reported_at = time.monotonic()
        try:
            queues = [
                {"broker": "kafka", "queue": topic, "depth": depth, "lag_s": None, "harvested": self.taken, "error": ""}
                for topic, depth in self._waiting().items()
            ]
            report = {"version": "consume_ingest", "queues": queues, "spooled": 0}
            Agent.objects.filter(pk=self.agent.pk).update(heartbeat_at=datetime.now(UTC), heartbeat=report)
        except (KafkaException, OperationalError, InterfaceError) as error:
            connection.close()
            log.warning("lag_not_reported", reason=str(error)[:300])

    def _waiting(self) -> dict[str, int]:
        """Return how many records wait in each topic, in the partitions that are ours."""
        waiting: dict[str, int] = {}
        for place in self.client.committed(self.client.assignment(), timeout=5):
            first, end = self.client.get_watermark_offsets(place, timeout=5)
            begun = place.offset if place.offset >= 0 else first
            waiting[place.topic] = waiting.get(place.topic, 0) + max(0, end - begun)
        return waiting


def _record_of(message: Message) -> Record:
    headers = read_headers(message)
    return Record(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        value=message.value() or b"",
        headers=text_headers(headers or ()),
        headers_readable=headers is not None,
    )


def _note(error: KafkaError) -> None:
    """Log what the broker says; librdkafka goes on by itself, but for errors that it calls fatal."""
    if error.fatal():
        raise KafkaException(error)
    log.warning("kafka_says", reason=str(error))
