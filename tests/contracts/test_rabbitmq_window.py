"""Sending to RabbitMQ in windows: every message gets its own answer, whatever happens in the middle."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pika
import pytest
from pika import exceptions as amqp

from messages.connectors.base import Address, Header, Outgoing
from messages.connectors.rabbitmq.connector import RabbitMQConnector
from messages.connectors.rabbitmq.window import MOST, Sending, Window
from tests.conftest import need
from tests.engines.rabbitmq import INSTALLED, RabbitMQ, _of_session
from tests.product import wait_until


def item(number: int, destination: str, **more: Any) -> Outgoing:
    return Outgoing(**{"id": str(number), "destination": destination, "body": b"%d" % number} | more)


@pytest.fixture
def channel(rabbitmq: str) -> Iterator[Any]:
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(rabbitmq))) as connection:
        yield connection.channel()


@pytest.fixture
def connector(rabbitmq: str) -> Iterator[RabbitMQConnector]:
    with contextlib.closing(RabbitMQConnector(Address(url=rabbitmq))) as opened:
        yield opened


@pytest.mark.engine
def test_of_a_thousand_the_three_that_no_queue_takes_are_named(channel: Any, connector: RabbitMQConnector):
    queue = channel.queue_declare(f"t-{uuid.uuid4()}", exclusive=True).method.queue
    nowhere = {0, 499, 777}

    results = connector.publish([item(n, f"{queue}.no" if n in nowhere else queue) for n in range(1000)], timeout_s=10)

    assert [r.id for r in results] == [str(n) for n in range(1000)]
    assert {int(r.id) for r in results if r.result == "refused"} == nowhere
    assert Counter(r.result for r in results) == {"confirmed": 997, "refused": 3}
    assert channel.queue_declare(queue, passive=True).method.message_count == 997


@pytest.mark.engine
def test_a_broker_that_confirms_too_slowly_leaves_the_rest_unknown_in_time_for_the_lease(
    channel: Any, connector: RabbitMQConnector, monkeypatch: pytest.MonkeyPatch
):
    queue = channel.queue_declare(f"t-{uuid.uuid4()}", exclusive=True).method.queue
    clock = SimpleNamespace(monotonic=itertools.count(0, 25).__next__)  # every look at it is 25 s later
    monkeypatch.setattr("messages.connectors.rabbitmq.connector.time", clock)

    results = connector.publish([item(n, queue) for n in range(3)], timeout_s=20)

    assert [one.result for one in results] == ["confirmed", "unknown", "unknown"]
    assert "too slow: no confirm within 40 s" in results[1].detail


@pytest.mark.engine
def test_an_exchange_that_is_not_there_takes_no_other_message_with_it(channel: Any, connector: RabbitMQConnector):
    queue = channel.queue_declare(f"t-{uuid.uuid4()}", exclusive=True).method.queue
    route = {"exchange": f"no-{uuid.uuid4()}", "routing_key": "k"}

    results = connector.publish(
        [item(n, queue, route=route if n % 100 == 50 else {}) for n in range(300)], timeout_s=10
    )

    assert {int(r.id) for r in results if r.result == "refused"} == {50, 150, 250}
    assert Counter(r.result for r in results) == {"confirmed": 297, "refused": 3}
    assert "404 NOT_FOUND - no exchange" in results[50].detail


@pytest.mark.engine
def test_a_full_queue_is_unavailable_and_said(channel: Any, connector: RabbitMQConnector):
    limits = {"x-max-length": 1, "x-overflow": "reject-publish"}
    queue = channel.queue_declare(f"t-{uuid.uuid4()}", exclusive=True, arguments=limits).method.queue

    results = connector.publish([item(n, queue) for n in range(3)], timeout_s=10)

    assert [r.result for r in results] == ["confirmed", "unavailable", "unavailable"]
    assert "full" in results[2].detail


@pytest.mark.engine
def test_properties_and_every_type_of_header_go_out_and_a_time_to_live_only_when_asked_for(
    channel: Any, connector: RabbitMQConnector
):
    queue = channel.queue_declare(f"t-{uuid.uuid4()}", exclusive=True).method.queue
    headers = (Header(name="f", type="float", value=1.5), Header(name="late", type="timestamp", value=10**13))
    kept = {"message_id": "m", "priority": 3, "timestamp": 1_764_110_654, "original_expiration": "60000"}

    results = connector.publish(
        [
            item(0, queue, properties=kept, headers=headers),
            item(1, queue, properties=kept | {"expiration": "60000"}),
            item(2, queue, properties={"expiration": "soon"}),
        ],
        timeout_s=10,
    )
    (_, first, _), (_, second, _) = channel.basic_get(queue), channel.basic_get(queue)

    assert [r.result for r in results] == ["confirmed", "confirmed", "refused"]
    assert (first.expiration, second.expiration) == (None, "60000")
    assert (first.message_id, first.priority, first.timestamp) == ("m", 3, 1_764_110_654)
    assert first.headers == {"f": 1.5, "late": 10**13}


@pytest.mark.engine
def test_a_line_that_ended_while_nothing_was_sent_is_opened_again(channel: Any, connector: RabbitMQConnector):
    queue = channel.queue_declare(f"t-{uuid.uuid4()}", exclusive=True).method.queue
    connector.publish([item(0, queue)], timeout_s=10)
    assert connector.line is not None
    connector.line.connection._transport._sock.shutdown(2)  # as a proxy does that found it idle

    [result] = connector.publish([item(1, queue)], timeout_s=10)

    assert result.result == "confirmed"


@pytest.mark.engine
@pytest.mark.fault
def test_a_broker_that_falls_silent_one_killed_in_the_middle_and_one_that_is_out_of_memory():
    need(INSTALLED.exists(), "RabbitMQ")
    with RabbitMQ() as broker:
        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(broker.url))) as connection:
            connection.channel().queue_declare("q", durable=True)
        silent = publish_to_silence(broker)
        with contextlib.closing(RabbitMQConnector(Address(url=broker.url))) as connector:
            results = publish_and_kill(connector, broker)
        settings = broker.folder / "rabbitmq.conf"
        settings.write_text(settings.read_text().replace("400MB", "1MB"))  # more than that is in use at once
        broker.start()
        arrived = all_of(broker.url)
        with contextlib.closing(RabbitMQConnector(Address(url=broker.url))) as connector:
            blocked = connector.publish([item(n, "q") for n in range(10)], timeout_s=1)

    assert [r.result for r in silent] == ["confirmed", "unknown", "unavailable", "unavailable"]
    assert "fell silent" in silent[1].detail
    said = {
        outcome: {r.id for r in results if r.result == outcome} for outcome in ("confirmed", "unknown", "unavailable")
    }
    assert [r.id for r in results] == [str(n) for n in range(50_000)]
    assert all((said["confirmed"], said["unavailable"]))
    assert len(said["unknown"]) <= MOST
    assert said["confirmed"] <= arrived
    assert not said["unavailable"] & arrived
    assert {r.result for r in blocked[1:]} == {"unavailable"}
    assert blocked[0].result in ("unknown", "unavailable")  # the first finds out
    assert all("takes no messages now" in r.detail and "memory" in r.detail for r in blocked)


def publish_to_silence(broker: RabbitMQ) -> list[Any]:
    """Send one message, stop the broker as a black hole does that takes packets and answers none, and send two; then ask a new line."""
    assert broker.process is not None
    with (
        contextlib.closing(RabbitMQConnector(Address(url=broker.url))) as connector,
        contextlib.closing(RabbitMQConnector(Address(url=broker.url))) as late,
    ):
        results = connector.publish([item(-1, "q")], timeout_s=10)
        processes = _of_session(broker.process.pid)
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: all(map(stands_still, processes)), seconds=10, what="a stopped broker", every=0.01)
            results += connector.publish(
                [item(-2, "other", route={"exchange": "amq.direct"}), item(-3, "q")], timeout_s=0.5
            )
            return results + late.publish([item(-4, "q")], timeout_s=0.5)
        finally:
            for pid in processes:
                os.kill(pid, signal.SIGCONT)


def stands_still(pid: int) -> bool:
    threads = [stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    return set(threads) <= {"T"}


def publish_and_kill(connector: RabbitMQConnector, broker: RabbitMQ) -> list[Any]:
    results: list[Any] = []
    publishing = threading.Thread(
        target=lambda: results.extend(connector.publish([item(n, "q") for n in range(50_000)], timeout_s=5))
    )
    publishing.start()
    wait_until(
        lambda: connector.window and len(connector.window.results) > 1000, seconds=30, what="confirms", every=0.001
    )
    broker.kill()
    publishing.join()
    return results


def all_of(url: str) -> set[str]:
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=1000)
        found = set()
        for method, _, body in channel.consume("q", inactivity_timeout=2):
            if method is None:
                return found
            found.add(body.decode())
            channel.basic_ack(method.delivery_tag)
    raise AssertionError("consuming ended by itself")


# The broker's answers one by one, without a broker.


class Silent:
    """A channel that sends nothing."""

    def add_on_return_callback(self, _: Any) -> None: ...

    def basic_publish(self, *_: Any, **__: Any) -> None: ...


def window(*exchanges: str, body: bytes = b"same") -> Window:
    filled = Window(Silent())
    filled.proven.update(exchanges)
    for index, exchange in enumerate(exchanges):
        sent = Outgoing(id=str(index), destination="k", body=body)
        filled.send(Sending(index=index, item=sent, exchange=exchange, key="k", properties=pika.BasicProperties()))
    return filled


def answer(name: str, tag: int, *, multiple: bool = False) -> Any:
    return SimpleNamespace(method=SimpleNamespace(NAME=name, delivery_tag=tag, multiple=multiple))


def outcomes(filled: Window) -> list[str]:
    return [published.result for _, published in sorted(filled.take_results(), key=lambda pair: pair[0])]


def test_an_answer_is_for_its_own_message_or_for_all_up_to_it():
    filled = window("", "", "", "fan", "")

    filled.on_confirm(answer("Basic.Ack", 2, multiple=True))
    filled.on_confirm(answer("Basic.Nack", 3))
    filled.on_confirm(answer("Basic.Nack", 4))

    assert outcomes(filled) == ["confirmed", "confirmed", "unavailable", "unknown"]
    assert list(filled.pending) == [5]


def test_of_equal_messages_that_come_back_each_is_refused_once():
    filled = window("", "", "")
    back = SimpleNamespace(exchange="", routing_key="k")

    filled._on_return(back, pika.BasicProperties(), b"same")
    filled._on_return(back, pika.BasicProperties(), b"same")
    filled._on_return(back, pika.BasicProperties(), b"another")
    filled.on_confirm(answer("Basic.Ack", 3, multiple=True))

    assert outcomes(filled) == ["refused", "refused", "confirmed"]


@pytest.mark.parametrize(
    ("exchanges", "words", "said", "again"),
    [
        (["a", "b", "c"], "NOT_FOUND - no exchange 'b' in vhost '/'", ["unknown", "refused"], ["2"]),
        (["a", "b", "b", "c"], "NOT_FOUND - no exchange 'b' in vhost '/'", ["unknown"] * 3, ["3"]),
        (["b", ""], "ACCESS_REFUSED - access to exchange 'amq.default' in vhost", ["unknown", "refused"], []),
        (["a", "b"], "PRECONDITION_FAILED - something new", ["unknown"] * 2, []),
        (["a"], "PRECONDITION_FAILED - something new", ["refused"], []),
    ],
)
def test_a_closed_channel_tells_apart_what_came_before_and_what_came_after(
    exchanges: list[str], words: str, said: list[str], again: list[str]
):
    filled = window(*exchanges)

    back = filled.refused_by(amqp.ChannelClosedByBroker(404, words))

    assert outcomes(filled) == said
    assert [one.item.id for one in back] == again


def test_the_first_to_an_exchange_goes_alone():
    filled = window("a")
    other = Sending(
        index=1,
        item=Outgoing(id="1", destination="k", body=b""),
        exchange="b",
        key="k",
        properties=pika.BasicProperties(),
    )

    assert not filled.takes(other)
    filled.on_confirm(answer("Basic.Ack", 1))
    assert filled.takes(other)
