"""What ActiveMQ makes an operator mind before a replay, and the dead-letter queues that Artemis names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from messages.connectors import get_connector
from messages.connectors.activemq import schemes
from messages.connectors.activemq.client import Line
from messages.connectors.activemq.jolokia import Jolokia
from messages.connectors.base import Address, BrokerUnavailable, CanDiscover, CanHint, Found
from tests.conftest import need
from tests.contracts.test_activemq import fresh, outgoing, publish, reject
from tests.ports import free_port
from tests.product import wait_until

pytestmark = pytest.mark.engine


@pytest.fixture(params=["stomp", "amqp10"])
def address(request: pytest.FixtureRequest, artemis: Any) -> Address:
    """Artemis, asked over either protocol."""
    need(request.param == "stomp" or schemes.find_spec("proton") is not None, "python-qpid-proton")
    return artemis.address if request.param == "stomp" else artemis.amqp  # type: ignore[no-any-return]


def hints(address: Address, destination: str, *, died_in: str = "DLQ", **more: Any) -> list[str]:
    with contextlib.closing(get_connector("activemq", address)) as connector:
        assert isinstance(connector, CanHint)
        return connector.hints(outgoing(destination, **more), died_in=died_in, timeout_s=5)


def found(address: Address) -> dict[str, Found]:
    with contextlib.closing(get_connector("activemq", address)) as connector:
        assert isinstance(connector, CanDiscover)
        return {one.queue: one for one in connector.discover(timeout_s=10)}


@contextlib.contextmanager
def reading(broker: Any, destination: str, *, kind: str = "ANYCAST", count: int = 1, **more: str) -> Any:
    with contextlib.closing(Line(broker.address, timeout_s=5)) as line:
        for number in range(count):
            told = {"destination": destination, "id": str(number), "ack": "client-individual", "receipt": f"r{number}"}
            line.send("SUBSCRIBE", told | {"subscription-type": kind} | more)
            assert line.wait_for_receipt(f"r{number}", 5)
        yield


def test_artemis_says_who_takes_the_message_and_what_becomes_of_it_if_it_fails(artemis: Any, address: Address):
    queue, dropped = fresh(), fresh("other")
    missing = hints(address, queue)
    publish(artemis, outgoing(queue), outgoing(dropped))
    unread = hints(address, queue)
    with reading(artemis, queue):
        read = hints(address, queue)
    # The broker forgets a consumer a moment after its line is closed.
    wait_until(lambda: hints(address, queue) == unread, seconds=10, what="the consumer to be gone")
    elsewhere = hints(address, queue, died_in="DLA")
    lost = hints(address, dropped)
    gone = hints(address, queue, route={"queue": f"{queue}::nobody"})

    assert missing == [f"there is no queue at address {queue}: Artemis makes one if it may, and nobody reads it yet"]
    assert unread == [f"nobody consumes queue {queue} now: the message waits there"]
    assert read == []
    assert elsewhere[1].startswith("if it fails again Artemis moves it to DLQ after one failed delivery, not to DLA")
    assert lost[1].startswith(
        f"address {dropped} has no dead-letter-address: if it fails again Artemis drops it after 2 failed"
    )
    assert gone == [f"Artemis has no queue nobody at address {queue} any more"]


def test_artemis_says_how_many_subscribers_a_topic_has(artemis: Any):
    topic = fresh()
    route = {"type": "MULTICAST"}
    nobody = hints(artemis.address, topic, route=route)
    with (
        reading(artemis, topic, kind="MULTICAST", count=2),
        reading(artemis, topic, kind="MULTICAST", selector="a = 1"),
    ):
        three = hints(artemis.address, topic, route=route)
        as_queue = hints(artemis.address, topic)

    assert nobody == [f"nobody has subscribed to topic {topic}: Artemis drops the message"]
    assert three == [
        f"topic {topic} has 3 subscribers, 1 of them by a filter: all get it, also those that did well with it before"
    ]
    assert as_queue[0].startswith(f"address {topic} is a topic with 3 subscribers and has no queue")


def test_an_expiry_that_is_past_or_near_is_said(artemis: Any):
    queue = fresh()
    past = hints(artemis.address, queue, properties={"expires": "2020-01-01T00:00:00Z"})
    near = hints(artemis.address, queue, properties={"expires": "4102444800000"})

    assert past[0].startswith("it carries an expiry that is past")
    assert near[0].startswith("it carries its own expiry: it expires in ")


def test_artemis_names_the_queues_to_which_addresses_dead_letter(artemis: Any, address: Address):
    queue = fresh()
    mine = f"{queue}.dlq"
    publish(artemis, outgoing(queue), outgoing(mine))

    # The broker counts a message a moment after it took it.
    wait_until(lambda: found(address)[mine].waiting == 1, seconds=10, what="the letter to be counted")
    queues = found(address)

    assert queues["DLQ"].why.endswith("sends its dead letters there")
    assert queues["ExpiryQueue"].why.endswith("sends what expires there")
    assert queues[mine].why == "its name ends with “dlq”"
    assert queues[mine].waiting == 1
    assert queue not in queues


def test_classic_says_what_a_name_tells_and_that_it_answers_no_more_over_stomp(activemq: Any):
    assert hints(activemq.address, "t.orders") == [
        "whether anybody consumes queue t.orders, ActiveMQ Classic does not tell over STOMP: give the connection the address of its web console"
    ]
    assert "is a topic: every subscriber gets it" in hints(activemq.address, "/topic/prices")[0]
    with pytest.raises(BrokerUnavailable, match=r"ActiveMQ\.DLQ"):
        found(activemq.address)


@pytest.mark.parametrize("scheme", ["stomp", "amqp10"])
def test_nobody_there_is_said(scheme: str):
    need(schemes.find_spec("proton") is not None, "python-qpid-proton")
    nobody = Address(url=f"{scheme}://127.0.0.1:{free_port()}")

    with pytest.raises(BrokerUnavailable):
        hints(nobody, "orders")
    with pytest.raises(BrokerUnavailable):
        found(nobody)


@pytest.fixture(scope="module")
def console() -> Iterator[Any]:
    """ActiveMQ Classic with its web console."""
    from tests.engines.activemq_console import INSTALLED, ActiveMQWithConsole

    need(INSTALLED.exists(), "ActiveMQ with its web console")
    with ActiveMQWithConsole() as broker:
        yield broker


def managed(broker: Any, **changes: Any) -> Address:
    return replace(broker.address, options={"management": broker.management}, **changes)


def test_classic_with_its_web_console_says_who_takes_the_message_and_where_dead_letters_are(console: Any):
    address, queue = managed(console), fresh("own")
    missing = hints(address, queue)
    publish(console, outgoing(queue))
    unread = hints(address, queue)
    reject(console, queue)
    topic = f"prices:{queue}"
    with contextlib.closing(Line(console.address, timeout_s=5)) as line:
        for number, (where, more) in enumerate(
            [(f"/queue/{queue}", {}), (f"/topic/{topic}", {}), (f"/topic/{topic}", {"selector": "a = 1"})]
        ):
            line.send(
                "SUBSCRIBE", {"destination": where, "id": str(number), "ack": "auto", "receipt": f"r{number}", **more}
            )
            assert line.wait_for_receipt(f"r{number}", 5)
        read, fan = hints(address, queue), hints(address, f"/topic/{topic}")
    # The broker forgets a consumer a moment after its line is closed.
    wait_until(lambda: "nobody" in hints(address, f"/topic/{topic}")[0], seconds=10, what="the subscribers to be gone")
    nobody = hints(address, f"/topic/{topic}")
    virtual = hints(address, "/topic/VirtualTopic.orders")
    queues = found(address)

    assert missing == [f"there is no queue {queue} yet: ActiveMQ makes it, and nobody consumes it"]
    assert unread == [f"nobody consumes queue {queue} now: the message waits there"]
    assert read == []
    assert fan == [
        f"topic {topic} has 2 subscribers, 1 of them by a selector: all get it, also those that did well with it before"
    ]
    assert nobody == [f"nobody has subscribed to topic {topic}: ActiveMQ drops the message"]
    assert "nobody gets the message" in virtual[0]
    assert (queues[f"DLQ.{queue}"].why, queues[f"DLQ.{queue}"].waiting) == (
        "ActiveMQ itself calls it a dead-letter queue",
        1,
    )


def test_a_web_console_that_refuses_or_is_away_is_said_beside_what_the_name_tells(console: Any):
    away = replace(console.address, options={"management": f"http://127.0.0.1:{free_port()}"})

    said = hints(away, "t.orders")
    with pytest.raises(BrokerUnavailable, match="does not answer"):
        found(away)
    with pytest.raises(BrokerUnavailable, match="refuses the login"):
        Jolokia(console.management, Address(url="stomp://h", username="nobody", secret="x"), timeout_s=5).queues()

    assert len(said) == 2
    assert said[1].startswith("not asked: the management API does not answer")
