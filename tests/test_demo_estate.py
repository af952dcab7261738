"""The demo estate on a real Valkey: its faults, its promise to lose nothing and to do nothing twice, its history."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import redis
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from agents.demo import faults, place
from agents.demo.changes import changes_of
from agents.demo.consumer import Consumer, Message, OutletAway, entry_headers
from agents.demo.fill import batches, request_of
from agents.demo.history import Run, stories
from agents.demo.names import BOOKINGS, FAULTS, HOP_OF_CONSUMER, HOPS, INVOICES, ORDERS, SHIPMENTS
from agents.demo.orders import make_order
from agents.demo.rabbit import Rabbit, RabbitConsumer
from agents.demo.shop import Shop
from agents.demo.telemetry import Telemetry
from agents.demo.work import HANDLERS, Publish, check_order
from messages.connectors import get_connector
from messages.connectors.base import Address, Outgoing
from messages.connectors.headers import from_dicts
from messages.connectors.hygiene import stamp_headers, strip_headers
from messages.connectors.redis_streams.decode import decode_entry
from messages.groups.refresh import refresh_groups
from messages.models import Change, DeadLetter, Event, FailureGroup
from messages.models import Message as StoredMessage
from tests.factories import agent_key, push
from tests.product import ROOT, Product, wait_until

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def streams() -> Iterator[redis.Redis]:
    """The tests' Valkey without anything of the estate."""

    def clean(client: redis.Redis) -> None:
        named = [name for hop in HOPS for name in (hop.stream, hop.dead_letters)]
        client.delete(*named, *client.scan_iter("waybill-demo:*"))

    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        clean(client)
        yield client
        clean(client)


class Bench:
    """One receiver of the estate with its spans in memory."""

    def __init__(self, client: redis.Redis, service: str) -> None:
        self.client, self.hop = client, HOP_OF_CONSUMER[service]
        self.exporter = InMemorySpanExporter()
        self.telemetry = Telemetry(service, self.exporter)
        self.consumer = Consumer(client, self.hop, HANDLERS[service], self.telemetry)
        self.consumer._make_group()

    def work(self) -> None:
        """Process what waits in the stream."""
        for message in self.consumer._read(">", None):
            self.consumer.process(message)

    def spans(self) -> list[Any]:
        self.telemetry.provider.force_flush()
        return list(self.exporter.get_finished_spans())

    def waiting(self) -> tuple[int, int]:
        """Return how many messages are not acknowledged, and how many are dead."""
        pending: Any = self.client.xpending(self.hop.stream, self.hop.consumer)
        return pending["pending"], self.client.xlen(self.hop.dead_letters)

    def bury(self) -> dict[str, Any]:
        """Return the only dead letter, as the harvester pushes it."""
        ((entry_id, fields),) = self.client.xrange(self.hop.dead_letters)
        return decode_entry(entry_id.decode(), fields, broker="demo-redis", queue=self.hop.dead_letters)


@pytest.fixture
def bench(streams: redis.Redis) -> Iterator[Any]:
    made: list[Bench] = []

    def make(service: str) -> Bench:
        made.append(Bench(streams, service))
        return made[-1]

    yield make
    for one in made:
        one.telemetry.stop()


def body_for(service: str, trouble: str | None, number: str = "4711") -> bytes:
    """Return what this service would receive of an order with this trouble in it."""
    body = make_order(number, NOW, Random(number), trouble=trouble).body
    for receiver in ("order-service", "erp"):
        if service == receiver:
            return body
        body = HANDLERS[receiver](body, lambda fault: False).sends[0].body
    return body


def put(client: redis.Redis, stream: str, body: bytes, message_id: str = "m-4711-of-the-demo", **headers: str) -> None:
    publish = Publish(stream=stream, body=body, keys={"order_no": "4711"})
    client.xadd(stream, {**entry_headers(message_id, message_id, publish), **headers, "body": body})


def replay(client: redis.Redis, letter: dict[str, Any]) -> None:
    """Send a dead letter back as the console does."""
    headers = stamp_headers(
        strip_headers(from_dicts(letter["headers"])), replay_id="01a20db2-cd9d-7d61-b397-e8faf233264d",
        replay_of=letter["message_id"], attempt=1, by="ana", traceparent=f"00-{'c' * 32}-{'d' * 16}-01",
    )  # fmt: skip
    outgoing = Outgoing(
        id="1", destination=letter["origin"], route=letter["route"], body=letter["body"].encode(), headers=headers
    )
    connector = get_connector("redis-streams", Address(url=os.environ["REDIS_URL"]))
    assert connector.publish([outgoing], timeout_s=5)[0].result == "confirmed"
    connector.close()


CASES = [
    ("erp-timeout", "erp", "ErpTimeout", "erp:8443 did not answer in 30 s", 3),
    ("vat-missing", "billing", "InvoiceRejected", "customer.vat_number is required", 3),
    ("unknown-sku", "erp", "ArticleNotFound", "article LAMP-2027 is not in the master data", 3),
    ("poison", "order-service", "OrderUnreadable", "the order is not JSON", 1),
]


@pytest.mark.parametrize(("fault", "service", "error", "words", "attempts"), CASES)
def test_a_fault_ends_in_a_dead_letter_and_once_it_is_off_the_replay_is_processed(
    streams: redis.Redis, bench: Any, fault: str, service: str, error: str, words: str, attempts: int
):
    receiver = bench(service)
    put(streams, receiver.hop.stream, body_for(service, fault))
    receiver.work()

    letter = receiver.bury()
    assert (letter["error"]["type"], letter["attempts"], letter["origin"]) == (error, attempts, receiver.hop.stream)
    assert words in letter["error"]["message"]
    assert letter["error"]["stack"].startswith("Traceback (most recent call last):")
    assert [span.status.status_code for span in receiver.spans()] == [StatusCode.ERROR] * attempts
    assert receiver.waiting() == (0, 1)

    faults.switch(streams, fault, on=False)
    receiver.consumer.faults._read_at = -1e9  # the second for which a process believes what it read
    replay(streams, letter)
    receiver.work()

    (processed,) = [span for span in receiver.spans() if span.attributes.get("replay.id")]
    assert processed.status.status_code is not StatusCode.ERROR
    assert [link.context.trace_id for link in processed.links] == [int("c" * 32, 16)]
    assert receiver.waiting() == (0, 1)


def test_a_replay_fails_again_while_the_fault_is_on(streams: redis.Redis, bench: Any):
    erp = bench("erp")
    put(streams, BOOKINGS, body_for("erp", "erp-timeout"))
    erp.work()

    replay(streams, erp.bury())
    erp.work()

    assert erp.waiting() == (0, 2)
    (_, fields) = streams.xrange(erp.hop.dead_letters)[-1]
    assert fields[b"replay-id"] == b"01a20db2-cd9d-7d61-b397-e8faf233264d"


def test_a_booking_is_sent_on_with_keys_and_context_and_the_attempt_is_linked_to_its_sender(
    streams: redis.Redis, bench: Any
):
    erp = bench("erp")
    put(streams, BOOKINGS, body_for("erp", None), traceparent=f"00-{'a' * 32}-{'b' * 16}-01")

    erp.work()

    process = next(span for span in erp.spans() if span.name == "process erp.orders")
    sends = {
        span.attributes["messaging.destination.name"]: span for span in erp.spans() if span.name.startswith("send")
    }
    assert process.parent is None
    assert [link.context.trace_id for link in process.links] == [int("a" * 32, 16)]
    assert process.attributes["order_no"] == "4711"
    assert set(sends) == {INVOICES, SHIPMENTS}
    assert {span.parent.span_id for span in sends.values()} == {process.context.span_id}
    ((_, fields),) = streams.xrange(INVOICES)
    assert fields[b"traceparent"].decode().split("-")[2] == f"{sends[INVOICES].context.span_id:016x}"
    assert fields[b"message-id"].decode() == sends[INVOICES].attributes["messaging.message.id"]
    assert fields[b"correlation-id"] == b"m-4711-of-the-demo"
    assert sends[INVOICES].attributes["invoice_no"].startswith("RE-4711-")


def test_the_same_message_twice_is_booked_once_and_answered_twice(streams: redis.Redis, bench: Any):
    erp = bench("erp")
    put(streams, BOOKINGS, body_for("erp", None))
    put(streams, BOOKINGS, body_for("erp", None))

    erp.work()

    assert streams.xlen(INVOICES) == 1
    assert len([span for span in erp.spans() if span.name == "process erp.orders"]) == 2
    assert erp.waiting() == (0, 0)


def test_what_another_consumer_left_lying_is_claimed(streams: redis.Redis, bench: Any):
    erp = bench("erp")
    put(streams, BOOKINGS, body_for("erp", None))
    streams.xreadgroup("erp", "dead consumer", {BOOKINGS: ">"})
    streams.xclaim(BOOKINGS, "erp", "dead consumer", 0, [streams.xrange(BOOKINGS)[0][0]], idle=60_000)

    erp.consumer._pending_from = ""
    claimed: list[Message] = erp.consumer._receive()
    for message in claimed:
        erp.consumer.process(message)

    assert (len(claimed), streams.xlen(INVOICES), erp.waiting()) == (1, 1, (0, 0))


@pytest.mark.fault
def test_a_receiver_that_is_killed_loses_nothing_and_books_nothing_twice(streams: redis.Redis, tmp_path: Path):
    orders, chance = 300, Random(7)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / place.ESTATE_KEY).write_text("wb_agent_of_a_console_that_is_not_there")
    for number in range(orders):
        put(streams, BOOKINGS, body_for("erp", None, str(number)), message_id=f"message-{number:020d}")
    environ = os.environ | {"WAYBILL_DATA": str(tmp_path), "WAYBILL_PORT": "9"}
    command = [sys.executable, "-m", "agents.demo", "service", "erp"]
    kills, erp = 0, subprocess.Popen(command, cwd=ROOT, env=environ)
    try:
        while streams.xlen(BOOKINGS):
            done = streams.xlen(INVOICES)
            aim = min(orders, done + chance.randint(1, 60))
            wait_until(lambda aim=aim: streams.xlen(INVOICES) >= aim, seconds=20, what=f"{aim} invoices", every=0.001)
            if kills < 8 and aim < orders:
                erp.kill()
                erp.wait()
                kills += 1
                erp = subprocess.Popen(command, cwd=ROOT, env=environ)
        erp.send_signal(signal.SIGTERM)
        assert erp.wait(timeout=5) == 0
    finally:
        erp.kill()
        erp.wait()

    invoiced = [json.loads(fields[b"body"])["order_no"] for _, fields in streams.xrange(INVOICES)]
    assert kills >= 3
    assert sorted(invoiced, key=int) == [str(number) for number in range(orders)]
    assert streams.xlen(SHIPMENTS) == orders


def test_an_estate_left_alone_fails_no_more_than_its_ration(streams: redis.Redis):
    shop = Shop(streams, Telemetry("shop", InMemorySpanExporter()), chance=Random(1))
    fault = replace(FAULTS[0], per_hour=30)

    drawn = [shop._within_ration(fault) for _ in range(500)]

    assert drawn[:10] == [True] * 10
    assert sum(drawn) <= 11
    shop.telemetry.stop()


def test_the_shop_sells_orders_that_the_order_service_takes(streams: redis.Redis, bench: Any):
    order_service = bench("order-service")
    shop = Shop(streams, order_service.telemetry, chance=Random(3))
    numbers = [shop.sell() for _ in range(5)]

    order_service.work()

    booked = [json.loads(fields[b"body"])["order_no"] for _, fields in streams.xrange(BOOKINGS)]
    assert booked == numbers
    assert streams.xlen(ORDERS) == 0


@pytest.mark.engine
def test_with_a_rabbitmq_shipments_travel_over_it_and_the_journey_goes_on(
    streams: redis.Redis, bench: Any, rabbitmq: str
):
    rabbit = Rabbit(rabbitmq, SHIPMENTS, "shipping.shipments.dlq")
    erp, receiver = bench("erp"), bench("shipping")
    erp.consumer.outlets = {SHIPMENTS: rabbit}
    shipping = RabbitConsumer(
        Rabbit(rabbitmq, SHIPMENTS, "shipping.shipments.dlq"),
        streams,
        receiver.hop,
        HANDLERS["shipping"],
        receiver.telemetry,
    )
    put(streams, BOOKINGS, body_for("erp", None))
    erp.work()

    thread = threading.Thread(target=shipping.run, args=[lambda: bool(receiver.spans())])
    thread.start()
    thread.join(20)

    (sent,) = [span for span in erp.spans() if span.name == f"send {SHIPMENTS}"]
    (processed,) = receiver.spans()
    assert [link.context.span_id for link in processed.links] == [sent.context.span_id]
    for name in ("messaging.system", "messaging.destination.name", "messaging.message.id", "shipment_no"):
        assert processed.attributes[name] == sent.attributes[name]
    assert processed.attributes["messaging.system"] == "rabbitmq"
    assert (streams.xlen(SHIPMENTS), streams.xlen(INVOICES), erp.waiting()) == (0, 1, (0, 0))
    assert rabbit.channel.queue_declare(SHIPMENTS, passive=True).method.message_count == 0
    rabbit.close()


def test_a_broker_that_is_away_makes_no_dead_letters(streams: redis.Redis, bench: Any):
    erp = bench("erp")
    erp.consumer.outlets = {SHIPMENTS: Rabbit("amqp://guest:guest@127.0.0.1:1/", SHIPMENTS, "shipping.shipments.dlq")}
    put(streams, BOOKINGS, body_for("erp", None))

    with pytest.raises(OutletAway):
        erp.work()

    assert erp.waiting() == (1, 0)
    assert streams.xlen(INVOICES) == 0


RUN = Run(seed="a day", until=datetime.now(UTC).replace(microsecond=0))


def test_the_same_run_tells_the_same_history_to_the_byte():
    def told(run: Run) -> list[bytes]:
        return [
            request_of(span for story in batch for span in story.spans).SerializeToString(deterministic=True)
            for batch in batches(stories(run, orders=120))
        ]

    assert told(RUN) == told(RUN)
    assert told(RUN) != told(replace(RUN, seed="another day"))


def test_history_stays_within_the_last_day_and_has_a_cluster_of_time_outs_that_began_42_minutes_ago():
    day = list(stories(RUN))

    times = [span.start for story in day for span in story.spans]
    letters = [letter for story in day for letter in story.letters]
    time_outs = sorted(letter["first_failed_at"] for letter in letters if letter["error"]["type"] == "ErpTimeout")
    assert RUN.until - timedelta(hours=24) <= min(times)
    assert max(times) <= RUN.until + timedelta(minutes=1)
    assert 22_000 <= len({span.attributes["messaging.message.id"] for story in day for span in story.spans}) <= 28_000
    assert timedelta(minutes=36) < RUN.until - datetime.fromisoformat(time_outs[0]) <= timedelta(minutes=42)
    assert 30 <= len(letters) <= 60


@pytest.mark.django_db
def test_ingest_takes_the_history_and_a_second_fill_changes_nothing():
    key = agent_key("demo estate", "demo")
    told = list(stories(replace(RUN, until=datetime.now(UTC)), orders=150))
    letters = [letter for story in told for letter in story.letters]
    assert letters

    def fill(number: int) -> None:
        for batch in batches(iter(told)):
            data = request_of(span for story in batch for span in story.spans).SerializeToString()
            answer = push(
                "/v1/traces",
                data,
                key=key,
                content_type="application/x-protobuf",
                HTTP_IDEMPOTENCY_KEY=f"{number}-{id(batch)}",
            )
            assert (answer.status_code, answer.content) == (200, b"")
        answer = push(
            "/ingest/v1/dead-letters", {"batch_id": f"letters-{number}", "dead_letters": letters}, key=key
        ).json()
        assert answer["accepted"] + answer["duplicates"] == len(letters)

    def stored() -> tuple[int, int, int]:
        return Event.objects.count(), StoredMessage.objects.count(), DeadLetter.objects.count()

    fill(1)
    once = stored()
    fill(2)

    spans = sum(len(story.spans) for story in told)
    messages = {span.attributes["messaging.message.id"] for story in told for span in story.spans}
    assert once == (spans, len(messages), len(letters))
    refresh_groups()
    assert any(set(one.amounts) == {"EUR"} for one in FailureGroup.objects.all()), "what fails says what it is worth"
    assert stored() == once


@pytest.mark.django_db
def test_ingest_takes_the_history_s_changes_and_the_erp_went_out_just_before_its_time_outs():
    run, key = replace(RUN, until=datetime.now(UTC)), agent_key("demo estate", "demo")
    told = changes_of(run)

    answers = [
        push("/ingest/v1/changes", {"batch_id": f"{n}", "changes": changes_of(run)}, key=key).json() for n in range(2)
    ]

    first_failed_at = min(
        datetime.fromisoformat(letter["first_failed_at"])
        for story in stories(run)
        for letter in story.letters
        if letter["error"]["type"] == "ErpTimeout"
    )
    assert [(a["accepted"], a["duplicates"], a["rejected"]) for a in answers] == [
        (len(told), 0, []),
        (0, len(told), []),
    ]
    erp = Change.objects.get(version="2.4.1")
    assert timedelta(minutes=11) < first_failed_at - erp.started_at < timedelta(minutes=19)
    assert Change.objects.filter(started_at__gt=run.until).count() == 1


def test_a_dead_letter_of_the_history_is_processed_once_its_cause_is_gone(streams: redis.Redis, bench: Any):
    letter = next(
        letter for story in stories(RUN) for letter in story.letters if letter["error"]["type"] == "ErpTimeout"
    )
    erp = bench("erp")
    faults.switch(streams, "erp-timeout", on=False)

    replay(streams, letter)
    erp.work()

    ((_, fields),) = streams.xrange(INVOICES)
    assert json.loads(fields[b"body"])["order_no"] == letter["keys"]["order_no"]


def test_an_order_with_a_comma_too_many_is_read_only_by_the_lenient_parser():
    body = make_order("4711", NOW, Random(1), trouble="poison").body

    with pytest.raises(Exception, match="not JSON"):
        check_order(body, lambda fault: True)
    assert check_order(body, lambda fault: False).keys["order_no"] == "4711"


@pytest.mark.fault
@pytest.mark.timeout(240)
def test_a_service_of_the_running_estate_that_is_killed_comes_back(demo: Product):
    client = redis.Redis.from_url(demo.engines()["redis_url"])

    def sign() -> dict[str, Any]:
        return dict(json.loads(client.get("waybill-demo:alive:billing") or b"{}"))

    before = wait_until(sign, seconds=60, what="billing's sign of life")
    os.kill(before["pid"], signal.SIGKILL)

    after = wait_until(
        lambda: (now := sign()) and now["pid"] != before["pid"] and now, seconds=30, what="another billing"
    )
    assert after["since"] > before["since"]
