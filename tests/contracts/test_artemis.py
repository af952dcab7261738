"""What only Artemis does over STOMP: it counts broken lines, moves letters on by that, and answers questions."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from messages.connectors.activemq.client import Line
from messages.connectors.activemq.connector import StompConnector
from messages.connectors.activemq.management import Manager
from messages.connectors.base import BrokerUnavailable
from tests.contracts.test_activemq import die, fresh, outgoing, publish, receive, received_again, reject, source_of

pytestmark = pytest.mark.engine


@pytest.fixture(autouse=True)
def empty(artemis: Any) -> None:
    """All queues of Artemis share one of dead letters, and all tests one Artemis."""
    with contextlib.closing(Manager(artemis.address)) as manager, contextlib.suppress(LookupError):
        manager.ask("queue.DLQ", operation="removeAllMessages")


def test_artemis_keeps_a_letter_in_a_queue_without_a_delivery_limit(artemis: Any):
    origin = fresh()
    publish(artemis, outgoing(origin))
    reject(artemis, origin)

    seen = set()
    for _ in range(3):  # two are the limit of every other queue
        source, [one] = received_again(artemis, "DLQ", 1)
        seen.add(one.letter["id"])
        die(source)
    source, [one] = received_again(artemis, "DLQ", 1)
    with contextlib.closing(source):
        checks = source.check()
        source.acknowledge([one.token])

    assert len(seen) == 1
    assert "broken lines move no letter" in checks[-1].detail


def test_artemis_moves_a_letter_onto_its_own_queue_and_it_is_still_the_same(artemis: Any):
    queue = "again.dlq"
    publish(artemis, outgoing(queue))

    seen = []
    while not seen or ("moved onto" not in seen[-1]["reason"] and len(seen) < 8):  # it is moved after two
        source, [one] = received_again(artemis, queue, 1)
        seen.append(one.letter)
        checks = source.check()
        die(source)

    assert len({letter["id"] for letter in seen}) == 1
    assert "moved onto this queue again" in seen[-1]["reason"]
    assert (checks[-1].answer, "its origin is lost" in checks[-1].detail) == (True, True)


def test_a_message_that_an_administrator_moved_is_not_called_a_failure(artemis: Any):
    origin = fresh()
    publish(artemis, outgoing(origin))
    with contextlib.closing(Manager(artemis.address)) as manager:
        moved = manager.ask(f"queue.{origin}", operation="moveMessages", arguments=("", "DLQ"))

    with contextlib.closing(source_of(artemis, "DLQ")) as source:
        [one] = receive(source, 1)
        source.acknowledge([one.token])

    assert (moved, one.letter["origin"], one.letter["reason_code"]) == (1, origin, "unknown")
    assert "by a person" in str(one.letter["reason"])


def test_a_queue_of_its_own_that_artemis_made_for_dead_letters_is_read_by_its_whole_name(artemis: Any):
    origin = fresh("auto")
    publish(artemis, outgoing(origin))
    reject(artemis, origin)

    with contextlib.closing(source_of(artemis, f"DLA::DLQ.{origin}")) as source:
        checks = source.check()
        [one] = receive(source, 1)
        depth = source.depth()
        source.acknowledge([one.token])
        left = source.receive(1, 0.3)

    assert (one.letter["origin"], depth, left) == (origin, 1, [])
    assert all(check.answer for check in checks)


def test_a_queue_from_which_artemis_would_drop_letters_is_not_harvested(artemis: Any):
    queue = fresh("loose")
    publish(artemis, outgoing(queue))

    with contextlib.closing(source_of(artemis, queue)) as source:
        checks = source.check()
        with pytest.raises(BrokerUnavailable, match="Set its max-delivery-attempts to -1"):
            source.receive(1, 0.1)
    with contextlib.closing(source_of(artemis, queue, redelivery="accept")) as source:
        accepted = len(receive(source, 1))

    assert [(check.question, check.answer) for check in checks][-1] == ("may read", False)
    assert accepted == 1


def test_artemis_tells_how_many_wait_and_which_queues_are_not_there(artemis: Any):
    queue = fresh()
    publish(artemis, *(outgoing(queue) for _ in range(3)))

    with contextlib.closing(source_of(artemis, queue)) as source:
        receive(source, 2)
        depth = source.depth()
    with contextlib.closing(StompConnector(artemis.address)) as connector:
        here, nowhere = connector.check(queue), connector.check("nowhere")

    assert depth == 3
    assert [(check.question, check.answer) for check in here][2:] == [("queue exists", True), ("may publish", None)]
    assert ("queue exists", False) in [(check.question, check.answer) for check in nowhere]


def test_a_user_who_may_not_ask_artemis_is_told_less_and_harvests(artemis: Any, monkeypatch: pytest.MonkeyPatch):
    queue = fresh()
    publish(artemis, outgoing(queue))
    monkeypatch.setattr("messages.connectors.activemq.management.REPLIES", "forbidden.replies")

    with contextlib.closing(Manager(artemis.address)) as manager:
        told = (manager.depth(queue), manager.limit(queue))
    with contextlib.closing(source_of(artemis, queue)) as source:
        taken, depth = receive(source, 1), source.depth()
        source.acknowledge([one.token for one in taken])

    assert (told, depth) == ((None, None), None)


def test_an_address_with_several_queues_gets_a_replay_into_the_one_it_died_in(artemis: Any):
    address = fresh()
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(contextlib.closing(Line(artemis.address, timeout_s=5))) for _ in range(2)]
        for number, line in enumerate(lines):
            line.send(
                "SUBSCRIBE",
                {"destination": f"{address}::q{number}", "id": "1", "subscription-type": "MULTICAST", "receipt": "r"},
            )
            assert line.wait_for_receipt("r", 5)

        [sent] = publish(artemis, outgoing(address, route={"queue": f"{address}::q1", "type": "MULTICAST"}))
        arrived = [line.next(seconds) for line, seconds in zip(lines, (0.3, 5), strict=True)]

    assert (sent.result, arrived[0], arrived[1] is not None) == ("confirmed", None, True)
