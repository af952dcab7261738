"""RabbitMQ gives a message no identity. Those that are the same byte for byte are each shown, and none twice, whatever is killed when."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import uuid
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import pika
import pytest

from messages.connectors.base import Address, BrokerUnavailable
from messages.connectors.rabbitmq.source import RabbitMQSource
from tests.contracts.test_harvester import STORED, FakeConsole
from tests.product import ROOT, wait_until

pytestmark = pytest.mark.engine


@pytest.fixture
def queue(rabbitmq: str) -> Iterator[Any]:
    """A function that puts so many equal messages into a queue of its own, and the queue's name."""
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(rabbitmq))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        name = channel.queue_declare(f"t-{uuid.uuid4()}.dlq", durable=True).method.queue

        def put(count: int) -> str:
            for _ in range(count):
                channel.basic_publish("", name, b"the same", pika.BasicProperties(delivery_mode=2))
            return str(name)

        put.depth = lambda: channel.queue_declare(name, passive=True).method.message_count  # type: ignore[attr-defined]
        yield put
        channel.queue_delete(name)


def source_of(url: str, name: str, state: Path, **options: object) -> RabbitMQSource:
    return RabbitMQSource(Address(url=url), broker="b", queue=name, options={"state": str(state), **options})


def ids(received: list[Any]) -> list[str]:
    return [one.letter["id"] for one in received]


def test_one_that_comes_after_the_first_was_acknowledged_is_another(rabbitmq: str, queue: Any, tmp_path: Path):
    name, seen = queue(3), []

    with contextlib.closing(source_of(rabbitmq, name, tmp_path)) as source:
        for _ in range(3):
            received = source.receive(1, 1)
            seen += ids(received)
            source.acknowledge([one.token for one in received])

    assert len(set(seen)) == 3
    assert all(len(one) <= 256 for one in seen)


def test_what_was_not_acknowledged_has_the_same_names_after_a_crash(rabbitmq: str, queue: Any, tmp_path: Path):
    name = queue(4)
    before = source_of(rabbitmq, name, tmp_path)
    seen = ids(before.receive(3, 1))
    before.line.close()  # as the system does for a process that was killed

    with contextlib.closing(source_of(rabbitmq, name, tmp_path)) as after:
        again = ids(after.receive(10, 1))

    assert set(again[:3]) == set(seen)
    assert len(set(again)) == 4


def test_killed_between_the_acknowledgement_and_its_note_the_name_of_the_one_that_is_gone_is_not_given_again(
    rabbitmq: str, queue: Any, tmp_path: Path
):
    name = queue(2)
    before = source_of(rabbitmq, name, tmp_path)
    first, second = before.receive(2, 1)
    before.line.channel.basic_ack(first.token)
    before.depth()
    before.line.close()

    with contextlib.closing(source_of(rabbitmq, name, tmp_path)) as after:
        [again] = after.receive(10, 1)

    assert again.letter["id"] == second.letter["id"]


def test_letters_that_stay_with_the_broker_take_no_place_from_others(rabbitmq: str, queue: Any, tmp_path: Path):
    name = queue(5)

    with contextlib.closing(source_of(rabbitmq, name, tmp_path, prefetch=2)) as source:
        taken = [ids(source.receive(1, 0.5)) for _ in range(5)]
        waiting = source.depth()

    assert [len(one) for one in taken] == [1] * 5
    assert waiting == 5


@pytest.mark.fault
@pytest.mark.parametrize(("with_ids", "kills", "batch"), [(False, 8, 3), (False, 6, 20), (True, 4, 3)])
def test_a_harvester_killed_again_and_again_shows_each_of_them_once(
    rabbitmq: str, queue: Any, tmp_path: Path, with_ids: bool, kills: int, batch: int
):
    name = queue(0 if with_ids else 400)
    if with_ids:
        put_with_ids(rabbitmq, name, [f"m{n}" for n in range(400)])
    console = FakeConsole()
    console.judge = lambda body: STORED if isinstance(body, list) else (200, b"{}")  # a heartbeat is no list
    console.thread.start()
    config = tmp_path / "harvest.toml"
    config.write_text(
        f'console = "{console.url}"\nkey = "wb_agent_x"\nname = "h"\nbatch = {batch}\n[[broker]]\nname = "b"\nkind = "rabbitmq"\n'
        f'address = "{rabbitmq}"\n[[broker.queue]]\nname = "{name}"\n'
    )
    chance = random.Random(7)
    try:
        for _ in range(kills):
            enough = len(console.stored) + chance.randrange(10, 40)
            with harvesting(config) as harvester:
                wait_until(lambda: len(console.stored) >= enough, seconds=30, what="some letters", every=0.001)  # noqa: B023
                harvester.kill()
        with harvesting(config) as harvester:
            wait_until(lambda: len(set(console.stored)) >= 400 and not queue.depth(), seconds=40, what="every letter")
            harvester.terminate()
    finally:
        console.server.shutdown()
        console.thread.join()
        console.server.server_close()

    assert len(set(console.stored)) == 400


@contextlib.contextmanager
def harvesting(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "agents", "harvest", "--config", str(config)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def test_a_note_that_cannot_be_read_is_said(rabbitmq: str, queue: Any, tmp_path: Path):
    source = source_of(rabbitmq, queue(1), tmp_path)
    assert source.held.file is not None
    source.held.file.write_text("{")

    with pytest.raises(Exception, match="cannot be read: move it away"):
        source.receive(1, 0.1)


# Those that wait are taken together, and nothing else is on its way when one is let go.


def unacknowledged(url: str, name: str) -> int:
    """Return how many of a queue's messages come back when everybody has let go of the line: marked as delivered before."""
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel, before = connection.channel(), 0
        while (got := channel.basic_get(name, auto_ack=True))[0]:
            before += got[0].redelivered
        return before


def test_those_that_wait_are_taken_together_and_no_other_was_on_its_way(rabbitmq: str, queue: Any, tmp_path: Path):
    name, seen = queue(50), []

    with contextlib.closing(source_of(rabbitmq, name, tmp_path)) as source:
        for _ in range(4):
            received = source.receive(10, 1)
            seen += ids(received)
            source.acknowledge([one.token for one in received])
        asked = (source.consumer, source.one_by_one, len(source.arrived))

    assert len(set(seen)) == 40
    assert asked == ("", False, 0)
    assert queue.depth() == 10
    assert unacknowledged(rabbitmq, name) == 0


def test_when_they_are_large_they_are_asked_for_one_by_one_and_none_is_lost_or_shown_twice(
    rabbitmq: str, queue: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    name, seen = queue(10), []
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(rabbitmq))) as connection:
        for _ in range(12):
            connection.channel().basic_publish("", name, b"x" * 300_000)
    with contextlib.closing(source_of(rabbitmq, name, tmp_path)) as source:
        seen += ids(received := source.receive(10, 1))
        source.acknowledge([one.token for one in received])
        monkeypatch.setattr("messages.connectors.rabbitmq.source.MOST_BYTES", 1_000_000)

        with pytest.raises(BrokerUnavailable, match="or they are large"):
            source.receive(10, 1)
        while received := source.receive(10, 0.3):
            seen += ids(received)
            source.acknowledge([one.token for one in received])

    assert source.one_by_one
    assert len(seen) == len(set(seen)) == 22
    assert queue.depth() == 0


# With ids they are consumed, and the first one without ends that.


def put_with_ids(url: str, name: str, ids: Iterable[str | None]) -> None:
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for one in ids:
            channel.basic_publish("", name, b"body", pika.BasicProperties(message_id=one))


def everything(source: RabbitMQSource, limit: int, *, leave: Collection[str] = ()) -> list[Any]:
    """Receive and acknowledge, but for those that the console would not take, until nothing comes."""
    seen: list[Any] = []
    while received := source.receive(limit, 0.3):
        seen += received
        source.acknowledge([one.token for one in received if one.letter["message_id"] not in leave])
    return seen


def test_with_ids_they_are_consumed_each_once_and_let_go(rabbitmq: str, queue: Any, tmp_path: Path):
    name = queue(0)
    put_with_ids(rabbitmq, name, [f"m{n}" for n in range(95)])

    with contextlib.closing(source_of(rabbitmq, name, tmp_path)) as source:
        seen = everything(source, 10)
        consumed = bool(source.consumer)

    assert [one.letter["message_id"] for one in seen] == [f"m{n}" for n in range(95)]
    assert (consumed, queue.depth()) == (True, 0)


def test_with_ids_too_those_that_stay_with_the_broker_take_no_place_from_others(
    rabbitmq: str, queue: Any, tmp_path: Path
):
    name, stay = queue(0), {f"m{n}" for n in range(0, 60, 2)}
    put_with_ids(rabbitmq, name, [f"m{n}" for n in range(60)])

    with contextlib.closing(source_of(rabbitmq, name, tmp_path)) as source:
        seen = everything(source, 4, leave=stay)
        waiting = source.depth()

    assert {one.letter["message_id"] for one in seen} == {f"m{n}" for n in range(60)}
    assert waiting == len(stay)
    wait_until(lambda: queue.depth() == len(stay), seconds=5, what="those that stay, given back")


def test_the_first_without_an_id_ends_the_consuming_and_all_of_them_are_named_before_one_is_let_go(
    rabbitmq: str, queue: Any, tmp_path: Path
):
    name = queue(0)
    put_with_ids(rabbitmq, name, ["a", "b", *[None] * 6, "c", *[None] * 4])

    with contextlib.closing(source_of(rabbitmq, name, tmp_path)) as source:
        first = source.receive(2, 1)
        consumed = bool(source.consumer)
        source.acknowledge([one.token for one in first])
        second = source.receive(2, 1)
        named = len(source.held.in_hand)
        asked = not source.consumer
        source.acknowledge([one.token for one in second])
        rest = everything(source, 2)

    seen = [*first, *second, *rest]
    assert (consumed, asked, named >= 1, queue.depth()) == (True, True, True, 0)
    assert len({one.letter["id"] for one in seen}) == 13
    assert not source.held.in_doubt
