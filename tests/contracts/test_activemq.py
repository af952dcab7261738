"""ActiveMQ Classic and Artemis over STOMP: nothing is lost, whatever breaks how often, and every answer is told apart."""

from __future__ import annotations

import contextlib
import socket
import uuid
from pathlib import Path
from typing import Any

import pytest

from messages.connectors.activemq.client import MOST_BYTES, Line
from messages.connectors.activemq.connector import StompConnector
from messages.connectors.activemq.management import Manager
from messages.connectors.activemq.source import StompSource
from messages.connectors.base import Address, BrokerUnavailable, Header, Outgoing, Published, Received
from tests.contracts.test_harvester import STORED, FakeConsole
from tests.contracts.test_letters_without_an_id import harvesting
from tests.product import wait_until

pytestmark = pytest.mark.engine


@pytest.fixture(params=["activemq", "artemis"])
def broker(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def fresh(prefix: str = "t") -> str:
    return f"{prefix}.{uuid.uuid4()}"


def outgoing(destination: str, **changes: Any) -> Outgoing:
    return Outgoing(**{"id": str(uuid.uuid4()), "destination": destination, "body": b'{"a":1}'} | changes)


def publish(broker: Any, *items: Outgoing, timeout_s: float = 10) -> list[Published]:
    with contextlib.closing(StompConnector(broker.address)) as connector:
        return connector.publish(items, timeout_s=timeout_s)


def source_of(broker: Any, queue: str, **options: object) -> StompSource:
    return StompSource(broker.address, broker="b", queue=queue, options=options)


def receive(source: StompSource, count: int, seconds: float = 10) -> list[Received]:
    found: list[Received] = []

    def enough() -> bool:
        found.extend(source.receive(count - len(found), 0.2))
        return len(found) >= count

    wait_until(enough, seconds=seconds, what=f"{count} letters", every=0)
    return found


def die(source: StompSource) -> None:
    """End the line without a word, as the system does for a process that was killed."""
    assert source.line is not None
    source.line.connection.transport.socket.shutdown(socket.SHUT_RDWR)
    source.close()


def letters(received: list[Received]) -> list[dict[str, Any]]:
    return [one.letter for one in received]


def received_again(broker: Any, queue: str, count: int) -> tuple[StompSource, list[Received]]:
    """Return a source and what it receives after another was cut off.

    One in some hundred times Artemis 2.40 does not let go of what a reader that is gone had in hand, until it is started again.
    """
    source = source_of(broker, queue)
    try:
        return source, receive(source, count, 4)
    except AssertionError:
        assert hasattr(broker, "home"), "Classic lets go"
        source.close()
        broker.kill()
        broker.start()
        source = source_of(broker, queue)
        return source, receive(source, count)


def reject(broker: Any, queue: str, count: int = 1) -> None:
    """Have messages die: by the NACK of a STOMP consumer on Classic; Artemis does not heed it and is asked to."""
    if hasattr(broker, "home"):
        with contextlib.closing(Manager(broker.address)) as manager:
            died = manager.ask(f"queue.{queue}", operation="sendMessagesToDeadLetterAddress", arguments=("",))
        assert died == count
        return
    with contextlib.closing(Line(broker.address, timeout_s=5)) as line:
        line.send("SUBSCRIBE", {"destination": f"/queue/{queue}", "id": "1", "ack": "client-individual"})
        for _ in range(count):
            frame = wait_until(lambda: line.next(1), seconds=10, what="a message", every=0)
            line.send("NACK", {"id": frame.headers["ack"]})


def dead_letter_queue(broker: Any, origin: str) -> str:
    return "DLQ" if hasattr(broker, "home") else f"DLQ.{origin}"


def test_a_rejected_message_is_a_letter_with_its_origin_and_the_same_id_after_a_crash(broker: Any):
    origin = fresh("own") if not hasattr(broker, "home") else fresh()
    queue = dead_letter_queue(broker, origin)
    properties = {"correlation_id": "c:1", "type": "Order", "priority": 7}
    headers = (Header(name="or:der", type="string", value="a:b\\c\nd"),)
    publish(broker, outgoing(origin, properties=properties, headers=headers), outgoing(origin, body=b"\0\xff"))
    reject(broker, origin, 2)

    first = source_of(broker, queue, system="erp")
    before = letters(receive(first, 2))
    die(first)
    second, again = received_again(broker, queue, 2)
    with contextlib.closing(second):
        second.acknowledge([one.token for one in again])
        left = second.receive(10, 0.3)

    after = letters(again)
    assert {letter["id"] for letter in before} == {letter["id"] for letter in after}
    assert left == []
    assert {letter["origin"] for letter in after} == {origin}
    [text, binary] = sorted(after, key=lambda letter: "body" not in letter)
    assert (text["body"], text["correlation_id"], binary["body_base64"]) == ('{"a":1}', "c:1", "AP8=")
    assert {"name": "or:der", "type": "string", "value": "a:b\\c\nd"} in text["headers"]
    kinds = (text["properties"]["message_type"], binary["properties"]["message_type"])
    assert (*kinds, text["properties"]["type"], text["properties"]["priority"]) == ("text", "bytes", "Order", "7")


def test_an_expired_message_says_so_and_is_sent_again_without_its_expiry(broker: Any):
    origin = fresh("own") if not hasattr(broker, "home") else fresh()
    queue = "ExpiryQueue" if hasattr(broker, "home") else f"DLQ.{origin}"
    publish(broker, outgoing(origin, properties={"expires": "2020-01-01T00:00:00+00:00"}))

    with contextlib.closing(source_of(broker, queue, redelivery="accept")) as source:
        [letter] = letters(taken := receive(source, 1))
        source.acknowledge([one.token for one in taken])
    [sent] = publish(broker, outgoing(origin, properties=letter["properties"]))
    with contextlib.closing(source_of(broker, origin, redelivery="accept")) as source:
        again = receive(source, 1)
        source.acknowledge([one.token for one in again])

    assert (letter["reason"], letter["reason_code"], letter["origin"]) == ("expired", "expired", origin)
    assert sent.result == "confirmed"


def test_one_name_stands_for_many_queues_of_classic(activemq: Any):
    origins = {fresh("own.many") for _ in range(2)}
    for origin in origins:
        publish(activemq, outgoing(origin))
        reject(activemq, origin)

    with contextlib.closing(source_of(activemq, "DLQ.own.many.>")) as source:
        received = receive(source, 2)
        source.acknowledge([one.token for one in received])

    assert {(one.letter["queue"], one.letter["origin"]) for one in received} == {(f"DLQ.{o}", o) for o in origins}


def test_classic_keeps_a_letter_however_often_its_reader_is_killed(activemq: Any):
    queue = fresh()
    publish(activemq, outgoing(queue), outgoing(queue))

    seen = set()
    for _ in range(12):
        source = source_of(activemq, queue)
        seen.add(frozenset(letter["id"] for letter in letters(receive(source, 2))))
        die(source)

    assert len(seen) == 1


def test_a_message_whose_body_stomp_cannot_carry_is_shown_and_stays_on_the_broker(broker: Any):
    queue = fresh()
    publish(broker, outgoing(queue, body=b"", properties={"message_type": "text"}), outgoing(queue))

    with contextlib.closing(source_of(broker, queue)) as source:
        both = receive(source, 2)
        source.acknowledge([one.token for one in both])
    with contextlib.closing(source_of(broker, queue)) as source:
        [stayed] = receive(source, 1)
    with contextlib.closing(source_of(broker, queue, empty="take")) as source:
        [taken] = receive(source, 1)
        source.acknowledge([taken.token])
        left = source.receive(1, 0.3)

    assert ("body" in stayed.letter, "stays on the broker" in str(stayed.letter["reason"])) == (False, True)
    assert (taken.letter["body"], left) == ("", [])


def test_letters_that_stay_with_the_broker_take_no_place_from_others(broker: Any):
    queue = fresh()
    publish(broker, *(outgoing(queue, body=b"x" * 500) for _ in range(5)))

    with contextlib.closing(source_of(broker, queue, prefetch=1, window_bytes=600)) as source:
        taken = [one.letter["id"] for _ in range(5) for one in receive(source, 1)]

    assert len(set(taken)) == 5


def test_what_nobody_asked_for_yet_waits_with_the_broker_when_it_is_large(activemq: Any):
    queue, large = fresh(), 8 * 1024 * 1024
    publish(activemq, *(outgoing(queue, body=b"x" * large) for _ in range(7)))

    with contextlib.closing(source_of(activemq, queue)) as source:
        first = receive(source, 1)
        assert source.line is not None
        inbox = source.line.inbox
        wait_until(lambda: inbox.size > MOST_BYTES, seconds=20, what="a full inbox")
        full = inbox.size
        rest = receive(source, 6)
        source.acknowledge([one.token for one in first + rest])

    assert full <= MOST_BYTES + large
    assert len({one.letter["id"] for one in first + rest}) == 7


def test_a_broker_that_is_killed_gives_back_what_was_not_acknowledged(broker: Any):
    queue = fresh()
    publish(broker, outgoing(queue), outgoing(queue))
    with (
        contextlib.closing(source_of(broker, queue)) as source,
        contextlib.closing(StompConnector(broker.address)) as sender,
    ):
        sender.publish([outgoing(fresh())], timeout_s=5)
        before = receive(source, 2)
        broker.kill()
        with pytest.raises(BrokerUnavailable):
            wait_until(lambda: source.receive(1, 0.2), seconds=10, what="the end of the line", every=0)
        with pytest.raises(BrokerUnavailable):
            source.acknowledge([before[0].token])
        assert sender.line is not None
        assert sender.line.inbox.ended.wait(10)  # before it has heard of the end, a message is unknown
        [away] = sender.publish([outgoing(queue)], timeout_s=2)
        broker.start()
        again = receive(source, 2)
        source.acknowledge([one.token for one in again])
        [back] = sender.publish([outgoing(queue)], timeout_s=10)

    assert {one.letter["id"] for one in before} == {one.letter["id"] for one in again}
    assert (away.result, back.result) == ("unavailable", "confirmed")


def test_a_refused_login_is_refused_and_not_tried_again(broker: Any):
    wrong = Address(url=broker.address.url, username="waybill", secret="wrong")
    with contextlib.closing(StompConnector(wrong)) as connector:
        [result] = connector.publish([outgoing("t.x")], timeout_s=5)
        checks = connector.check(None)

    assert (result.result, "refused the login" in result.detail, "wrong" in result.detail) == ("refused", True, False)
    assert [(check.question, check.answer) for check in checks] == [("reached", True), ("authenticated", False)]


def test_many_go_in_one_window_and_what_is_refused_among_them_is_named(broker: Any):
    queue = fresh()
    items = [outgoing(queue, properties={"priority": "high"} if number == 7 else {}) for number in range(250)]

    results = publish(broker, *items, outgoing("forbidden.queue"), outgoing(queue))

    assert [result.id for result in results[:250]] == [item.id for item in items]
    assert [results[7].result, results[250].result, results[251].result] == ["refused", "refused", "confirmed"]
    assert sum(result.result == "confirmed" for result in results) == 250


@pytest.mark.fault
def test_a_harvester_killed_again_and_again_shows_each_letter_and_loses_none(activemq: Any, tmp_path: Path):
    queue, console = fresh(), FakeConsole()
    console.judge = lambda body: STORED if isinstance(body, list) else (200, b"{}")  # a heartbeat is no list
    publish(activemq, *(outgoing(queue) for _ in range(300)))
    console.thread.start()
    config = tmp_path / "harvest.toml"
    config.write_text(
        f'console = "{console.url}"\nkey = "wb_agent_x"\nname = "h"\nbatch = 3\n[[broker]]\nname = "b"\nkind = "activemq"\n'
        f'address = "{activemq.address.url}"\nusername = "waybill"\nsecret = "{activemq.address.secret}"\n'
        f'[[broker.queue]]\nname = "{queue}"\n'
    )
    try:
        for enough in (20, 60, 110, 170):
            with harvesting(config) as harvester:
                wait_until(lambda: len(set(console.stored)) >= enough, seconds=30, what="some letters", every=0.001)  # noqa: B023
                harvester.kill()
        with harvesting(config) as harvester:
            wait_until(lambda: len(set(console.stored)) >= 300, seconds=40, what="every letter")
            harvester.terminate()
        with contextlib.closing(source_of(activemq, queue)) as source:
            left = source.receive(10, 0.5)
    finally:
        console.server.shutdown()
        console.thread.join()
        console.server.server_close()

    assert (len(set(console.stored)), left) == (300, [])
