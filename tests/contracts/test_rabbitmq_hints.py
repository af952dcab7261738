"""What RabbitMQ's real management API makes an operator mind before a replay, finds of dead-letter queues, and tells of ages."""

from __future__ import annotations

import base64
import contextlib
import json
import time
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pika
import pytest

from messages.connectors import get_connector, get_source
from messages.connectors.base import Address, CanDiscover, CanHint, CanTellAge, Outgoing
from tests.conftest import need
from tests.engines.rabbitmq import INSTALLED, RabbitMQ
from tests.product import wait_until

pytestmark = pytest.mark.engine


class Broker:
    """A RabbitMQ with management and shovels, and a channel to it."""

    def __init__(self, broker: RabbitMQ, channel: Any) -> None:
        self.broker, self.channel = broker, channel
        self.address = Address(url=broker.url, options={"management": broker.management})

    def queue(self, **arguments: object) -> str:
        named = {f"x-{name.replace('_', '-')}": value for name, value in arguments.items()}
        return str(self.channel.queue_declare(f"t-{uuid.uuid4().hex[:8]}", arguments=named).method.queue)

    def exchange(self, kind: str, *queues: str, key: str = "") -> str:
        name = f"x-{uuid.uuid4().hex[:8]}"
        self.channel.exchange_declare(name, kind)
        for queue in queues:
            self.channel.queue_bind(queue, name, key)
        return name

    def put(self, path: str, body: object) -> None:
        login = base64.b64encode(b"guest:guest").decode()
        headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
        request = urllib.request.Request(
            self.broker.management + path, method="PUT", data=json.dumps(body).encode(), headers=headers
        )
        urllib.request.urlopen(request, timeout=10).close()

    def hints(self, destination: str, *, died_in: str = "", **more: Any) -> list[str]:
        item = Outgoing(id="1", destination=destination, body=b"", **more)
        with contextlib.closing(get_connector("rabbitmq", self.address)) as connector:
            assert isinstance(connector, CanHint)
            return connector.hints(item, died_in=died_in, timeout_s=5)


@pytest.fixture(scope="module")
def managed() -> Iterator[Broker]:
    need(INSTALLED.exists(), "RabbitMQ")
    with RabbitMQ("rabbitmq_management", "rabbitmq_shovel", "rabbitmq_shovel_management") as broker:
        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(broker.url))) as connection:
            yield Broker(broker, connection.channel())


def test_an_exchange_says_to_how_many_queues_it_takes_the_message_and_which_nobody_reads(managed: Broker):
    plain, short = managed.queue(), managed.queue(message_ttl=1500)
    one, two = sorted([plain, short])
    fan, direct = managed.exchange("fanout", one, two), managed.exchange("direct", plain, key="paid")

    def told(exchange: str, key: str, count: int) -> list[str]:
        """What is said once the management API has counted consumers, which it does every five seconds."""
        route = {"exchange": exchange, "routing_key": key}
        return wait_until(
            lambda: found if len(found := managed.hints("", route=route)) == count else None,
            seconds=20,
            what=f"{count} hints",
        )

    both, single = told(fan, "any", 3), told(direct, "paid", 1)
    nowhere = managed.hints("", route={"exchange": direct, "routing_key": "open"})

    assert both[0].startswith(f"exchange {fan} takes it to 2 queues ({one}, {two}): the consumers of each get it")
    assert both[1] == f"{one}, {two} have no consumer now: the message waits there"
    assert both[2].endswith("lets a message expire after 1.5 s if nobody takes it")
    assert single[0] == f"{plain} has no consumer now: the message waits there"
    assert nowhere == [f"exchange {direct} takes a message with key open to no queue: RabbitMQ would return it"]


def test_a_circle_and_a_shovel_are_said_and_dead_letter_queues_are_found(managed: Broker):
    back, elsewhere = managed.exchange("fanout"), managed.queue()
    dlq = managed.queue(dead_letter_exchange=back)
    queue = managed.queue(dead_letter_exchange="", dead_letter_routing_key=dlq)
    managed.channel.queue_bind(queue, back)
    name = f"s-{uuid.uuid4().hex[:6]}"
    uri = {"src-protocol": "amqp091", "src-uri": "amqp://", "dest-protocol": "amqp091", "dest-uri": "amqp://"}
    managed.put(f"/api/parameters/shovel/%2F/{name}", {"value": uri | {"src-queue": dlq, "dest-queue": elsewhere}})

    said = wait_until(
        lambda: [one for one in managed.hints(queue, died_in=dlq) if "shovel" in one], seconds=20, what="the shovel"
    )
    circle = next(one for one in managed.hints(queue, died_in=dlq) if "circle" in one)
    with contextlib.closing(get_connector("rabbitmq", managed.address)) as connector:
        assert isinstance(connector, CanDiscover)
        told = connector.discover(timeout_s=5)
    found, sure = {one.queue: one.why for one in told}, {one.queue for one in told if one.sure}

    assert said[0].startswith(f"shovel {name} sends every message of {dlq} to {elsewhere} by itself")
    assert circle.startswith(f"dead letters go in a circle: {queue} → {dlq} → {queue}.")
    assert found[dlq] == f"{queue} sends its dead letters there"
    assert dlq in sure


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_the_age_of_the_oldest_is_told_of_messages_that_say_when_they_were_sent(managed: Broker, kind: str):
    with_time, without = f"age-{uuid.uuid4()}", f"age-{uuid.uuid4()}"
    for queue, properties in (
        (with_time, pika.BasicProperties(timestamp=int(time.time()) - 500)),
        (without, pika.BasicProperties()),
    ):
        managed.channel.queue_declare(queue, durable=True, arguments={"x-queue-type": kind})
        managed.channel.basic_publish("", queue, b"x", properties)

    def age(queue: str, address: Address = managed.address) -> float | None:
        with contextlib.closing(get_source("rabbitmq", address, broker="b", queue=queue, options={})) as source:
            assert isinstance(source, CanTellAge)
            return source.oldest_age_s()

    if kind == "classic":
        told = wait_until(lambda: age(with_time), seconds=15, what="the management API to know")
        assert 495 < told < 560
    assert age(without) is None
    assert age("nowhere") is None
    assert age(with_time, Address(url=managed.broker.url)) is None
    assert age(with_time, Address(url=managed.broker.url, options={"management": "http://127.0.0.1:1"})) is None
