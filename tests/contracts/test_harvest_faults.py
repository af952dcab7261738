"""Faults under a harvester at work, on every family: each message is in the broker or in the console, and in the console once."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from messages.connectors.base import Published
from messages.connectors.kafka import connector as kafka_connector
from messages.connectors.kafka import source as kafka_source
from messages.models import DeadLetter
from tests.contracts.logins import login_at
from tests.contracts.poison import BODY, put_poison
from tests.contracts.test_harvester import STORED, FakeConsole, console
from tests.contracts.yards import FIXTURES, Yard, item, made_by, process, running, shown
from tests.factories import agent_key, push
from tests.product import wait_until

__all__ = ["console"]  # a fixture
CONSOLE_TAKES = 20 * 1024 * 1024
pytestmark = [pytest.mark.engine, pytest.mark.fault]


@pytest.fixture(scope="module", params=FIXTURES)
def yard(request: pytest.FixtureRequest) -> Iterator[Yard]:
    yield from made_by(request.param, request)


def test_killed_after_the_console_stored_a_batch_and_killed_before_nothing_is_lost_or_shown_twice(
    yard: Yard, console: FakeConsole, tmp_path: Path
):
    queue, sent = yard.queue(), sorted(f"body {n}" for n in range(12))
    yard.put(queue, sent)
    running: list[subprocess.Popen[bytes]] = []
    fates = iter(["store and kill", "kill", "store"])

    def judge(body: Any) -> tuple[int, bytes]:
        if not isinstance(body, list):
            return 200, b"{}"
        fate = next(fates, "store")
        if "kill" in fate:
            running[-1].kill()
        return STORED if "store" in fate else (200, b"{}")

    console.judge = judge
    file = yard.file(tmp_path, console.url, queue, batch=5)
    for _ in range(2):
        with process(file) as harvester:
            running.append(harvester)
            harvester.wait(timeout=30)
    with process(file) as harvester:
        wait_until(lambda: len(console.letters) >= len(sent), seconds=30, what="every letter", every=0.02)
        # what was stored and not acknowledged comes again when its queue gives it back: SQS after a while
        wait_until(lambda: not yard.waiting(queue), seconds=60, what="an empty queue", every=0.1)
        harvester.terminate()
        ended = harvester.wait(timeout=20)

    assert (ended, shown(console), yard.left(queue)) == (0, sent, 0)
    assert len(console.stored) > len(sent)  # a second copy met the first


class Replays(threading.Thread):
    """A worker that sends, twenty at a time, whatever happens."""

    def __init__(self, yard: Yard, destination: str) -> None:
        super().__init__(daemon=True)
        self.yard, self.destination = yard, destination
        self.ending = threading.Event()
        self.results: list[Published] = []

    def run(self) -> None:
        with self.yard.connector() as connector:
            while not self.ending.is_set():
                first = len(self.results)
                items = [item(n, self.destination, f"i-{n}") for n in range(first, first + 20)]
                self.results += connector.publish(items, timeout_s=3)
                self.ending.wait(0.02)

    def count(self, result: str) -> int:
        return len(self.ids(result))

    def ids(self, result: str) -> set[str]:
        return {one.id for one in self.results if one.result == result}


def arrived(yard: Yard, queue: str, count: int) -> list[str]:
    """Return the bodies in a queue, at least so many, as its consumer takes them."""
    found: list[str] = []
    with yard.source(queue) as source:

        def more() -> bool:
            received = source.receive(500, 0.3)
            if received:
                source.acknowledge([one.token for one in received])
            found.extend(str(one.letter["body"]) for one in received)
            return not received and len(found) >= count

        wait_until(more, seconds=30, what=f"{count} messages", every=0)
    return found


@pytest.mark.timeout(240)
def test_a_broker_that_is_killed_while_harvesting_and_while_replaying_loses_nothing_and_confirms_nothing_falsely(
    yard: Yard, console: FakeConsole
):
    queue, destination, sent = yard.queue(), yard.queue(), sorted(f"body {n}" for n in range(60))
    yard.put(queue, sent)
    middle, killed = threading.Event(), threading.Event()

    def judge(letters: Any) -> tuple[int, bytes]:
        if len(console.letters) >= 15:
            middle.set()
            killed.wait(20)  # so that there are letters in hand
        return STORED

    console.judge = judge
    replays = Replays(yard, destination)
    with running(yard.harvester(console, queue, batch=5)) as harvester:
        replays.start()
        assert middle.wait(20)
        wait_until(lambda: replays.count("confirmed") >= 20, seconds=10, what="some confirmed", every=0.01)
        yard.kill()
        try:
            killed.set()
            before = replays.count("confirmed")
            wait_until(lambda: harvester.tally.error, seconds=30, what="words", every=0.01)
            said, event = harvester.tally.error, harvester.trouble
            wait_until(
                lambda: replays.count("unavailable") >= 20, seconds=30, what="the replays to be told", every=0.01
            )
        finally:
            yard.start()
        wait_until(lambda: replays.count("confirmed") >= before + 40, seconds=120, what="replays again", every=0.02)
        replays.ending.set()
        wait_until(lambda: len(console.letters) >= len(sent), seconds=60, what="every letter", every=0.02)
        wait_until(lambda: not harvester.tally.error, seconds=30, what="no trouble", every=0.02)
        wait_until(lambda: not yard.waiting(queue), seconds=30, what="an empty queue")
        replays.join(timeout=20)
    there = arrived(yard, destination, replays.count("confirmed"))

    assert (shown(console), yard.left(queue)) == (sent, 0)
    assert (event, "broker is not to be had" in said) == ("broker_unavailable", True)
    assert replays.ids("confirmed") <= set(there)
    assert (replays.ids("unavailable") & set(there), replays.ids("refused")) == (set(), set())


def test_a_queue_that_is_deleted_is_said_and_harvested_again_once_it_is_there_again(
    yard: Yard, console: FakeConsole, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kafka_source, "LOOK_EVERY_S", 0)
    queue, first, second = yard.queue(), [f"old {n}" for n in range(4)], [f"new {n}" for n in range(9)]
    yard.put(queue, first)
    with running(yard.harvester(console, queue)) as harvester:
        wait_until(lambda: len(console.letters) >= len(first), seconds=30, what="the first", every=0.02)
        yard.delete(queue)
        if yard.misses_queues:
            said = wait_until(lambda: harvester.tally.error, seconds=30, what="words", every=0.001)
            assert harvester.trouble == "broker_unavailable"
            assert queue in said or "queue" in said
        yard.make_again(queue)
        yard.put(queue, second)
        wait_until(lambda: len(console.letters) >= 13, seconds=30, what="those of the new queue", every=0.02)
        wait_until(lambda: not harvester.tally.error, seconds=30, what="no trouble", every=0.02)
        wait_until(lambda: not yard.waiting(queue), seconds=30, what="an empty queue", every=0.05)

    assert shown(console) == sorted(first + second)


def test_a_replay_to_a_queue_that_was_deleted_is_refused_in_words_or_makes_it_again_and_is_there(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kafka_connector, "BELIEVED_S", 0)
    queue = yard.queue()
    with yard.connector() as connector:
        [before] = connector.publish([item(0, queue, "i-0")], timeout_s=10)
        yard.delete(queue)
        [after] = connector.publish([item(1, queue, "i-1")], timeout_s=10)
        yard.make_again(queue)
        [again] = connector.publish([item(2, queue, "i-2")], timeout_s=10)
    there = arrived(yard, queue, 1)

    assert (before.result, again.result) == ("confirmed", "confirmed")
    assert (after.result, "i-1" in there) in [("refused", False), ("confirmed", True)]
    assert (len(after.detail) > 10, "i-2" in there) == (True, True)


def test_credentials_that_are_revoked_are_said_to_harvester_and_replay_and_both_go_on_when_they_are_back(
    request: pytest.FixtureRequest, yard: Yard, console: FakeConsole
):
    queue, first, second = yard.queue(), [f"old {n}" for n in range(4)], [f"new {n}" for n in range(5)]
    with login_at(yard) as login:
        login.ready(queue)
        yard.put(queue, first)
        with (
            running(yard.harvester(console, queue, address=login.address)) as harvester,
            yard.connector(login.address) as connector,
        ):
            wait_until(lambda: len(console.letters) >= len(first), seconds=30, what="the first", every=0.02)
            [before] = connector.publish([item(0, queue, "replayed 0")], timeout_s=10)
            wait_until(lambda: len(console.letters) >= 5, seconds=30, what="the replayed one", every=0.02)
            login.revoke()
            said = wait_until(lambda: told(harvester.tally.error, login.words), seconds=30, what="words", every=0.01)
            [without] = connector.publish([item(1, queue, "replayed 1")], timeout_s=10)
            login.restore()
            yard.put(queue, second)
            wait_until(lambda: len(console.letters) >= 10, seconds=30, what="those after it", every=0.02)
            wait_until(lambda: not harvester.tally.error, seconds=30, what="no trouble", every=0.02)
            [after] = connector.publish([item(2, queue, "replayed 2")], timeout_s=10)
            wait_until(lambda: len(console.letters) >= 11, seconds=30, what="the last", every=0.02)

    assert len(login.address.secret) < 2 or login.address.secret not in said
    assert (before.result, without.result, after.result) == ("confirmed", "refused", "confirmed")
    assert told(without.detail, login.words)
    assert shown(console) == sorted([*first, *second, "replayed 0", "replayed 2"])


def told(said: str, words: tuple[str, ...]) -> str:
    """Return what was said when one of these words is in it."""
    return said if any(word in said for word in words) else ""


def test_a_body_of_30_mb_is_shown_or_stays_with_a_reason_and_holds_up_no_other(yard: Yard, console: FakeConsole):
    queue, large = yard.queue(), "x" * yard.largest
    yard.put(queue, ["before", large, "after 1", "after 2"])

    def judge(letters: Any) -> tuple[int, bytes]:
        size = sum(len(one.get("body", "")) for one in letters)
        return (
            STORED if size <= CONSOLE_TAKES else (413, b'{"detail": "the body inflates to more than 20,971,520 bytes"}')
        )

    console.judge = judge
    small = ["after 1", "after 2", "before"]
    with running(yard.harvester(console, queue)) as harvester:
        wait_until(lambda: set(small) <= set(shown(console)), seconds=40, what="the others", every=0.05)
        wait_until(
            lambda: harvester.tally.parked or len(console.letters) == 4, seconds=40, what="the large one", every=0.05
        )
        yard.put(queue, ["later"])
        wait_until(lambda: "later" in shown(console), seconds=40, what="a later one", every=0.05)
        parked, said = harvester.tally.parked, harvester.tally.error

    if yard.largest <= CONSOLE_TAKES:
        assert (shown(console), parked, yard.left(queue)) == (sorted([*small, "later", large]), 0, 0)
    else:
        assert (shown(console), parked) == (sorted([*small, "later"]), 1)
        assert "stays on the broker: " in said
        assert "the body inflates to more than 20,971,520 bytes" in said
        assert large in arrived(yard, queue, 1)


@pytest.mark.django_db
def test_among_thousands_one_with_poisonous_headers_costs_at_most_itself(yard: Yard, console: FakeConsole):
    queue, sent = yard.queue(), [str(n) for n in range(yard.many)]
    yard.put(queue, sent[::2])
    put_poison(yard, queue)
    yard.put(queue, sent[1::2])

    with running(yard.harvester(console, queue, batch=500)) as harvester:
        wait_until(lambda: len(console.letters) >= yard.many + 1, seconds=60, what="every letter", every=0.05)
        wait_until(lambda: harvester.tally.harvested >= yard.many + 1, seconds=20, what="every receipt", every=0.02)
    poison = next(one for one in console.letters.values() if one.get("body") == BODY)
    answer = push("/ingest/v1/dead-letters", json.dumps([poison]).encode(), key=agent_key())

    assert (shown(console), yard.left(queue), harvester.tally.error) == (sorted([*sent, BODY]), 0, "")
    assert answer.status_code == 200
    told = answer.json()
    assert (told["accepted"], DeadLetter.objects.count()) == (1, 1) or told["rejected"][0]["detail"]
