"""Kafka in front of ingest: the same formats give the same rows; what cannot be stored is kept, once, and holds nothing up."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from django.core.management import CommandError, call_command
from django.db import connections
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from console.identity.models import Agent
from messages.ingest import consume, gate
from messages.ingest.consume import IngestConsumer
from messages.ingest.kafka import Plain
from messages.ingest.mending import resubmit, text_of
from messages.mappings.services import NewMapping, add_mapping
from messages.mappings.shipped import LOGIC_APPS
from messages.masking.services import NewRule, add_masking_rule
from messages.models import DeadLetter, Event, IngestReject
from tests.engines.kafka import Kafka
from tests.factories import ROOT, agent, agent_key, environment, event, letter
from tests.http.test_otlp import span
from tests.product import ROOT as CHECKOUT
from tests.product import wait_until

pytestmark = pytest.mark.engine


def one_span() -> bytes:
    request = ExportTraceServiceRequest()
    span(request, messaging__destination__name="orders")
    return request.SerializeToString()


class Topic:
    """A fresh topic, its producer, and consumers that run in threads of this process."""

    def __init__(self, kafka: Kafka, partitions: int = 1) -> None:
        self.kafka, self.name, self.group = kafka, kafka.topic(partitions), f"group-{uuid.uuid4().hex[:8]}"
        self.producer = Producer({"bootstrap.servers": kafka.address})
        self.running: list[tuple[IngestConsumer, threading.Thread]] = []
        self.sent = 0

    def send(self, value: Any, **headers: str) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        named = [(name.replace("_", "-"), text.encode()) for name, text in headers.items()]
        self.producer.produce(self.name, data, headers=named)
        self.producer.flush(10)
        self.sent += 1

    def consume(self, **plain: str) -> IngestConsumer:
        properties = {"bootstrap.servers": self.kafka.address, "group.id": self.group, "session.timeout.ms": 6000}
        consumer = IngestConsumer(
            properties, [self.name], agent("kafka"), Plain(endpoint=plain.get("endpoint", "events"))
        )

        def run() -> None:
            try:
                consumer.run()
            finally:
                connections.close_all()

        thread = threading.Thread(target=run)
        thread.start()
        self.running.append((consumer, thread))
        return consumer

    def taken(self) -> int:
        return sum(consumer.taken for consumer, _ in self.running)

    def wait(self) -> None:
        wait_until(lambda: self.taken() >= self.sent, seconds=30, what="every record taken")

    def stop(self) -> None:
        for consumer, thread in self.running:
            consumer.stopping.set()
            thread.join(timeout=20)
            assert not thread.is_alive()
        self.running.clear()

    def committed(self) -> int:
        client = Consumer({"bootstrap.servers": self.kafka.address, "group.id": self.group})
        places = client.committed([TopicPartition(self.name, number) for number in range(3)], timeout=10)
        client.close()
        return sum(place.offset for place in places if place.offset > 0)


@pytest.fixture
def topic(kafka: Kafka, committed: None) -> Iterator[Topic]:
    made = Topic(kafka)
    yield made
    made.stop()


def test_each_format_of_http_is_a_record(topic: Topic):
    topic.send([event(message_id="a" * 20)])
    topic.send([letter(message_id="b" * 20)], endpoint="dead-letters")
    topic.send(
        gzip.compress(one_span()),
        endpoint="traces", content_type="application/x-protobuf", content_encoding="gzip",
    )  # fmt: skip
    topic.send(
        json.dumps(event()).encode() + b"\n" + json.dumps(event()).encode(),
        content_type="application/x-ndjson; charset=utf-8",
    )
    cloud = {
        "ce_specversion": "1.0",
        "ce_id": "100 % of it",
        "ce_source": "https://shop.example/orders",
        "ce_type": "order.created",
    }
    topic.producer.produce(topic.name, b'{"order_no": "4711"}', headers=[(n, v.encode()) for n, v in cloud.items()])
    topic.producer.flush(10)
    topic.sent += 1

    topic.consume()
    topic.wait()

    assert Event.objects.count() == 1 + 1 + 2 + 1
    assert Event.objects.get(destination="order.created").message_id == "100 % of it"
    assert DeadLetter.objects.get().message_id == "b" * 20
    assert IngestReject.objects.count() == 0


def test_a_collectors_topic_needs_no_headers(topic: Topic):
    topic.send(one_span())

    topic.consume(endpoint="traces")
    topic.wait()

    assert Event.objects.count() == 1


def test_a_record_that_is_delivered_again_is_stored_once(topic: Topic):
    body = [event(), event()]
    for _ in range(3):
        topic.send(body)

    topic.consume()
    topic.wait()

    assert Event.objects.count() == 2


def test_offsets_are_committed_after_the_records_are_stored(topic: Topic, monkeypatch):
    stored = threading.Event()
    real = consume.intake.store
    monkeypatch.setattr(consume.intake, "store", lambda *given: (real(*given), stored.set())[0])
    topic.send([event()])

    topic.consume()
    topic.wait()
    topic.stop()

    assert stored.is_set()
    assert topic.committed() == 1


POISON = {
    "malformed": (b"{ this is no JSON", {}),
    "unsupported_media_type": (b"[]", {"content_encoding": "br"}),
    "too_large": (gzip.compress(b" " * (21 * 1024 * 1024)), {"content_encoding": "gzip"}),
    "invalid_key": (b"[]", {"authorization": "Bearer nonsense"}),
}


@pytest.mark.parametrize("code", POISON)
def test_a_poisoned_record_is_kept_with_its_reason_and_the_next_one_flows(topic: Topic, code: str):
    value, headers = POISON[code]
    topic.send(value, **headers)
    topic.send(value, **headers)
    topic.send([event()])

    topic.consume()
    topic.wait()

    kept = IngestReject.objects.all()
    assert [(reject.code, reject.whole) for reject in kept] == [(code, True)] * 2
    assert topic.name in kept[0].detail
    assert Event.objects.count() == 1


def test_of_a_poisoned_record_nothing_is_kept_where_masking_rules_apply(topic: Topic):
    add_masking_rule(environment(), NewRule(kind="json_path", expression="$..card"), by=ROOT)
    topic.send(b'{ this is no JSON "card": 4929133385711847')

    topic.consume()
    topic.wait()

    kept = IngestReject.objects.get()
    assert (text_of(kept), kept.masked, kept.whole) == ("•••", True, True)


def test_a_record_for_no_endpoint_and_one_that_our_code_stumbles_over_are_kept(topic: Topic, monkeypatch):
    monkeypatch.setitem(consume.intake.DECODERS, "logs", lambda *_: 1 / 0)
    topic.send(b"[]", endpoint="nonsense")
    topic.send(b"", endpoint="logs")

    topic.consume()
    topic.wait()

    assert sorted(IngestReject.objects.values_list("code", flat=True)) == ["internal_error", "malformed"]


class Unreadable:
    """A record as the library gives it whose header's name is not UTF-8."""

    topic = staticmethod(lambda: "t")
    partition = offset = staticmethod(lambda: 0)
    value = staticmethod(lambda: b"[]")

    def headers(self) -> Any:
        raise SystemError("returned a result with an exception set")


@pytest.mark.usefixtures("committed")
def test_a_record_whose_headers_cannot_be_read_is_kept_and_holds_nothing_up():
    assert consume.take(consume._record_of(Unreadable()), agent("kafka"), Plain(endpoint="events")) == "kept"

    assert IngestReject.objects.get().code == "malformed"


def test_a_commit_that_is_never_answered_does_not_stop_the_consumer(topic: Topic, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(consume, "BROKER_S", 0.5)
    hanging = iter([True])
    within = consume.within

    def slow(seconds: float, call: Any) -> Any:
        return within(seconds, threading.Event().wait if next(hanging, False) else call)

    monkeypatch.setattr(consume, "within", slow)
    topic.send([event()])

    topic.consume()
    topic.wait()

    assert Event.objects.count() == 1


def test_a_record_may_name_a_mapping_and_one_that_names_none_is_kept(topic: Topic):
    definition = json.dumps(LOGIC_APPS.definition)
    add_mapping(environment(), NewMapping(slug="logic-apps", name="Logic Apps", definition=definition), by=ROOT)
    topic.send(LOGIC_APPS.sample.encode(), endpoint="mapped/logic-apps")
    topic.send(b"{}", endpoint="mapped/none")
    topic.send(b"{}", endpoint="mapped/\x00")

    topic.consume()
    topic.wait()

    assert (Event.objects.count(), DeadLetter.objects.count()) == (1, 1)
    assert list(IngestReject.objects.values_list("code", "whole")) == [("not_found", True)] * 2


def test_a_bad_item_inside_a_good_record_is_refused_alone(topic: Topic):
    topic.send([event(), {"id": "no system"}])

    topic.consume()
    topic.wait()

    assert Event.objects.count() == 1
    assert IngestReject.objects.get().whole is False


def test_a_body_that_was_kept_whole_is_mended_and_stored(topic: Topic):
    topic.send(json.dumps([event(), event()]).encode()[:-1])
    topic.consume()
    topic.wait()
    reject = IngestReject.objects.get()

    answer = resubmit(reject, json.dumps([event(), event()]), by=ROOT)

    assert answer["accepted"] == 2
    assert Event.objects.count() == 2


def test_a_record_with_a_key_belongs_to_the_keys_agent(topic: Topic):
    topic.send([event()], authorization=f"Bearer {agent_key('shop', 'staging')}")

    topic.consume()
    topic.wait()

    stored = Event.objects.select_related("agent", "environment").get()
    assert (stored.agent.name, stored.environment.slug) == ("shop", "staging")


def test_while_ingest_takes_nothing_the_consumer_waits_and_then_goes_on_where_it_was(
    topic: Topic, settings, monkeypatch
):
    monkeypatch.setattr(consume, "LONGEST_WAIT_S", 0.5)
    settings.DISK_PATHS, settings.DISK_RESERVE_PERCENT = ["/"], 100
    gate._disk = (-1e9, 1.0)
    for _ in range(5):
        topic.send([event()])

    consumer = topic.consume()
    wait_until(lambda: len(consumer.client.assignment()) == 1, seconds=20, what="a partition")
    threading.Event().wait(1.0)
    refused = Event.objects.count()
    settings.DISK_RESERVE_PERCENT = 0
    gate._disk = (-1e9, 1.0)

    assert refused == 0
    wait_until(lambda: topic.taken() == 5, seconds=60, what="the records after the wait")
    assert Event.objects.count() == 5


def test_a_quota_that_is_changed_holds_for_a_consumer_that_runs(topic: Topic, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(consume, "KEY_FRESH_S", 0)
    monkeypatch.setattr(consume, "LONGEST_WAIT_S", 0.5)
    topic.consume()
    topic.send([event()])
    topic.wait()

    Agent.objects.filter(name="kafka").update(events_per_s=1)
    topic.send([event() for _ in range(1000)])  # a quarter of an hour in debt
    topic.wait()
    topic.send([event()])
    threading.Event().wait(1.0)
    waiting = Event.objects.count()
    Agent.objects.filter(name="kafka").update(events_per_s=None)
    topic.wait()

    assert (waiting, Event.objects.count()) == (1001, 1002)


def test_two_members_share_the_partitions_and_store_everything_once(kafka: Kafka, committed: None):
    topic = Topic(kafka, partitions=3)
    try:
        topic.consume()
        for number in range(60):
            topic.producer.produce(topic.name, json.dumps([event(id=f"e-{number}")]).encode(), key=str(number))
        topic.producer.flush(10)
        topic.consume()
        wait_until(lambda: Event.objects.count() == 60, seconds=40, what="sixty events")
    finally:
        topic.stop()

    assert topic.committed() == 60


def test_sigterm_ends_the_command_after_the_record_in_hand(topic: Topic):
    topic.send([event()])
    environ = os.environ | {"WAYBILL_KAFKA_BROKERS": topic.kafka.address, "DATABASE_URL": _test_database()}
    agent("kafka")
    named = ["--agent", "kafka", "--environment", "production", "--group", topic.group]
    command = [sys.executable, "manage.py", "consume_ingest", topic.name, *named]
    process = subprocess.Popen(command, cwd=CHECKOUT, env=environ)
    try:
        wait_until(lambda: Event.objects.count() == 1, seconds=40, what="the event")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()

    assert topic.committed() == 1


def _test_database() -> str:
    from django.db import connection

    base, _, _ = os.environ["DATABASE_URL"].rpartition("/")
    return f"{base}/{connection.settings_dict['NAME']}"


@pytest.mark.django_db
def test_the_command_says_what_it_needs(settings):
    with pytest.raises(CommandError, match="--environment must be one of"):
        call_command("consume_ingest", "t", "--agent", "a", "--environment", "nowhere")
    agent()
    with pytest.raises(CommandError, match="WAYBILL_KAFKA_BROKERS"):
        call_command("consume_ingest", "t", "--agent", "a", "--environment", "production")
