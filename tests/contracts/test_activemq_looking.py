"""Looking at queues of ActiveMQ without taking anything: browsers of Classic over STOMP, of Artemis over AMQP 1.0."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from messages.connectors import get_source, why_no_mirror
from messages.connectors.activemq import schemes
from messages.connectors.activemq.management import Manager
from messages.connectors.base import Address, BrokerUnavailable, CanPeek, Received, Source
from tests.conftest import need
from tests.contracts.test_activemq import fresh, outgoing, publish

pytestmark = pytest.mark.engine


def source(address: Address, queue: str, **options: object) -> contextlib.closing[Source]:
    return contextlib.closing(get_source("activemq", address, broker="b", queue=queue, options=options))


def pages(one: Any, limit: int) -> list[list[Received]]:
    assert isinstance(one, CanPeek)
    found: list[list[Received]] = []
    after = None
    while page := one.peek(limit, after):
        found.append(page)
        after = page[-1].token
    return found


def bodies(page: list[Received]) -> list[str]:
    return [str(one.letter["body"]) for one in page]


@pytest.fixture(params=["activemq", "artemis"])
def looked_at(request: pytest.FixtureRequest) -> tuple[Any, Address]:
    """A broker, and an address over which it may be looked at."""
    broker = request.getfixturevalue(request.param)
    need(request.param == "activemq" or schemes.find_spec("proton") is not None, "python-qpid-proton")
    return broker, broker.address if request.param == "activemq" else broker.amqp


def test_a_look_shows_everything_in_pages_and_what_is_taken_afterwards_is_the_same(looked_at: tuple[Any, Address]):
    broker, address = looked_at
    queue = fresh()
    ids = {"message_id": f"m-{uuid.uuid4()}"}
    publish(broker, *(outgoing(queue, body=f"n{number}".encode(), properties=ids) for number in range(5)))

    with source(address, queue) as one:
        first, again = pages(one, 2), pages(one, 100)
        taken = one.receive(10, 5)
        while len(taken) < 5:
            taken += one.receive(10, 5)

    assert [bodies(page) for page in first] == [["n0", "n1"], ["n2", "n3"], ["n4"]]
    assert [bodies(page) for page in again] == [["n0", "n1", "n2", "n3", "n4"]]
    assert [r.letter["id"] for page in first for r in page] == [r.letter["id"] for r in again[0]]
    assert bodies(taken) == bodies(again[0])
    if not hasattr(broker, "home"):  # AMQP over Artemis: without an id a letter is not told from another
        assert [r.letter["id"] for r in taken] == [r.letter["id"] for r in again[0]]
        assert all(r.letter.get("attempts") is None for r in taken)


def test_a_look_at_an_empty_queue_ends_and_one_that_was_broken_off_begins_anew(looked_at: tuple[Any, Address]):
    broker, address = looked_at
    empty, queue = fresh(), fresh()
    publish(broker, *(outgoing(queue, body=f"n{number}".encode()) for number in range(3)))

    with source(address, empty) as one:
        assert pages(one, 10) == []
    with source(address, queue) as one:
        page = one.peek(2, None)  # type: ignore[attr-defined]
    with source(address, queue) as one:
        assert bodies(one.peek(2, page[-1].token)) in (["n2"], ["n1", "n2"])  # type: ignore[attr-defined]
        with pytest.raises(BrokerUnavailable, match="is gone"):
            one.peek(2, "no such letter")  # type: ignore[attr-defined]


def test_looking_at_artemis_changes_no_count(artemis: Any):
    need(schemes.find_spec("proton") is not None, "python-qpid-proton")
    queue = fresh()
    publish(artemis, *(outgoing(queue) for _ in range(50)))

    with source(artemis.amqp, queue) as one:
        for _ in range(3):
            assert sum(map(len, pages(one, 7))) == 50
    with contextlib.closing(Manager(artemis.address)) as manager:
        counts = [
            manager.ask(f"queue.{queue}", attribute=name)
            for name in ("messageCount", "messagesAcknowledged", "consumerCount")
        ]

    assert counts == [50, 0, 0]


def test_artemis_over_stomp_is_not_looked_at_since_its_browser_takes(artemis: Any):
    queue = fresh()
    publish(artemis, outgoing(queue))

    with source(artemis.address, queue, mode="mirror") as one:
        with pytest.raises(BrokerUnavailable, match="amqp10://"):
            one.peek(1, None)  # type: ignore[attr-defined]
        answer = one.check()[-1]
    assert (answer.answer, "amqp10://" in answer.detail) == (False, True)
    with contextlib.closing(Manager(artemis.address)) as manager:
        assert manager.depth(queue) == 1


def test_classic_shows_so_many_and_a_look_that_may_have_missed_some_ends_with_words(activemq: Any):
    queue = f"DLQ.{uuid.uuid4()}"
    publish(activemq, *(outgoing(queue, body=str(number).encode()) for number in range(402)))
    shown: list[str] = []

    with source(activemq.address, queue) as one:
        with pytest.raises(BrokerUnavailable, match="shows a browser 400 messages and no more"):
            _each_page(one, shown.extend)
    with source(activemq.address, queue, browse_limit=1000) as one:
        assert sum(map(len, pages(one, 100))) == 400  # the operator said that it is whole

    assert shown == [str(number) for number in range(400)]


def _each_page(one: Any, tell: Callable[[list[str]], None]) -> None:
    after = None
    while page := one.peek(150, after):
        tell(bodies(page))
        after = page[-1].token


def test_a_queue_that_may_not_be_read_says_so_and_activemq_may_be_mirrored(activemq: Any):
    with source(activemq.address, "forbidden.x") as one, pytest.raises(BrokerUnavailable, match="not authorized"):
        one.peek(1, None)  # type: ignore[attr-defined]

    assert why_no_mirror("activemq") == ""
    assert "counts as received" in why_no_mirror("sqs")
