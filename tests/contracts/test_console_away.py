"""A console that is away for long: asked again with bounds, for ten minutes of the harvester's own time; and every broker's patience outlived."""

from __future__ import annotations

import contextlib
import random
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.harvest import loop
from agents.harvest.config import HarvestConfig, Queue
from agents.harvest.console import ConsoleAway
from agents.harvest.loop import QueueHarvester
from messages.connectors import FAMILIES
from messages.connectors.activemq import client as stomp
from messages.connectors.base import Address
from messages.connectors.memory import LETTERS
from messages.connectors.rabbitmq import client as rabbit
from tests.contracts.test_harvester import STORED, FakeConsole, console
from tests.contracts.yards import FIXTURES, Yard, made_by, running
from tests.product import wait_until

__all__ = ["console"]  # a fixture
MINUTES_10 = 600.0


class Clock(threading.Event):
    """The harvester's time and the event by which it waits: a wait is over at once, and the time has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        assert timeout > 0, "a wait of no time is a spin"
        self.now += timeout
        self.waits.append(timeout)
        return self.is_set()


class Console:
    """Away until `back_at`; then it stores."""

    def __init__(self, clock: Clock, retry_after_s: float | None) -> None:
        self.clock, self.retry_after_s = clock, retry_after_s
        self.back_at = clock.now + MINUTES_10
        self.asked: list[float] = []
        self.stored: list[str] = []

    def push_dead_letters(self, letters: Sequence[dict[str, object]], *, occasion: str = "") -> dict[str, Any]:
        if self.clock.now < self.back_at:
            self.asked.append(self.clock.now)
            raise ConsoleAway("503", self.retry_after_s)
        self.stored += [str(letter["id"]) for letter in letters]
        if len(self.stored) >= LETTERS_SENT:
            self.clock.set()
        return {"accepted": len(letters), "duplicates": 0, "rejected": []}

    def close(self) -> None: ...


LETTERS_SENT = 40
ASKED = {  # Retry-After, seconds between two questions at least and at most, once it has been away for a while
    "without a word": (None, 15.0, 30.0),
    "for 5 s": (5.0, 5.0, 5.5),
    "for 2 min": (120.0, 120.0, 132.0),
    "for a day": (86_400.0, 300.0, 330.0),
}


@pytest.mark.parametrize("spool", [False, True], ids=["broker keeps them", "spool"])
@pytest.mark.parametrize(("retry_after_s", "least", "most"), ASKED.values(), ids=ASKED)
def test_for_ten_minutes_it_is_asked_again_with_bounds_and_has_everything_soon_after(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spool: bool, retry_after_s: float | None, least: float, most: float
):
    clock = Clock()
    console = Console(clock, retry_after_s)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=clock.monotonic))
    monkeypatch.setattr(loop, "Console", lambda *_, **__: console)
    monkeypatch.setattr(loop, "random", random.Random(5))
    monkeypatch.setitem(FAMILIES, "memory", "messages.connectors.memory.FAMILY")
    address = f"memory://{uuid.uuid4()}"
    sent = [f"death-{n:02}" for n in range(LETTERS_SENT)]
    LETTERS[address].extend((one, {"id": one, "body": "x" * 1000}) for one in sent)
    queue = Queue(
        broker="b", kind="memory", address=Address(url=address), name="q", spool=str(tmp_path) if spool else "", spool_bytes=20_000,
    )  # fmt: skip
    config = HarvestConfig(console="http://c", key="k", name="h", queues=(queue,), batch=5)
    harvester = QueueHarvester(config, queue, clock)
    fullest = 0

    def looking(letters: Any) -> bool:
        nonlocal fullest
        kept = keep(letters)
        fullest = max(fullest, sum(file.stat().st_size for file in tmp_path.rglob("*.batch")))
        return kept

    keep, harvester._keep = harvester._keep, looking  # type: ignore[method-assign]
    harvester.run()

    pauses = [later - earlier for earlier, later in zip(console.asked, console.asked[1:], strict=False)]
    steady = pauses[10:] if retry_after_s is None else pauses
    assert all(least <= pause <= most for pause in steady), pauses
    assert len(console.asked) <= MINUTES_10 / least + 10
    assert console.stored == sent
    assert (LETTERS[address], clock.now - console.back_at <= most) == ([], True)
    assert (fullest > 0, fullest <= 20_000) == (spool, True)


# every broker's patience, shortened ----------------------------------------------------------------------------------

AWAY_S = 5.0
SENT = [f"body {n}" for n in range(6)]


def impatient(yard: Yard) -> Address:
    """Return an address at which this broker waits two or three seconds for a sign of life."""
    url = yard.address.url
    if yard.kind == "kafka":
        url += "&max.poll.interval.ms=2500"
    if url.startswith("amqp10"):
        url = yard.broker.impatient  # type: ignore[attr-defined]
    return Address(url=url, username=yard.address.username, secret=yard.address.secret)


class Away:
    """Harvesters of every family that is installed, all at once, and what each of them came to while the console was away."""

    def __init__(self) -> None:
        self.console = FakeConsole()
        self.console.thread.start()
        self.missing: dict[str, BaseException] = {}
        self.queues: dict[str, tuple[Yard, str]] = {}
        self.events: dict[str, list[str]] = {}

    def add(self, name: str, request: pytest.FixtureRequest, stack: contextlib.ExitStack) -> QueueHarvester | None:
        try:
            yard = stack.enter_context(contextlib.contextmanager(made_by)(name, request))
        except (pytest.skip.Exception, pytest.fail.Exception) as error:
            self.missing[name] = error
            return None
        queue = yard.queue()
        yard.put(queue, SENT)
        options = {**yard.options, "visibility_s": 1} if yard.kind == "sqs" else yard.options
        harvester = yard.harvester(self.console, queue, batch=3, address=impatient(yard), options=options)
        self.queues[name], said = (yard, queue), self.events.setdefault(name, [])
        say = harvester._say
        harvester._say = lambda event, words: (said.append(event), say(event, words))[1]  # type: ignore[method-assign]
        return harvester


@pytest.fixture(scope="module")
def away(request: pytest.FixtureRequest) -> Iterator[Away]:
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(loop, "LONGEST_PAUSE_S", 1.5)
        patch.setattr(rabbit, "HEARTBEAT_S", 1)
        patch.setattr(stomp, "BEAT_MS", 700)
        made = Away()
        harvesters = [one for name in FIXTURES if (one := made.add(name, request, stack))]
        refused: set[str] = set()
        back = threading.Event()

        def judge(letters: Any) -> tuple[int, bytes]:
            if not back.is_set():
                refused.add(letters[0]["queue"])
            return STORED if back.is_set() else (503, b"{}")

        made.console.judge = judge
        with contextlib.ExitStack() as at_work:
            for harvester in harvesters:
                at_work.enter_context(running(harvester))
            wait_until(lambda: len(refused) == len(harvesters), seconds=30, what="letters in every hand", every=0.02)
            time.sleep(AWAY_S)  # nothing happens: that is what is tested
            back.set()
            wait_until(
                lambda: len(made.console.letters) >= len(SENT) * len(harvesters),
                seconds=30,
                what="every letter",
                every=0.02,
            )
            wait_until(
                lambda: all(h.tally.harvested >= len(SENT) for h in harvesters), seconds=20, what="every receipt"
            )
        yield made
        made.console.server.shutdown()
        made.console.thread.join()
        made.console.server.server_close()


@pytest.mark.engine
@pytest.mark.parametrize("name", FIXTURES)
def test_the_line_is_kept_for_longer_than_the_brokers_patience_and_each_letter_comes_once(away: Away, name: str):
    if name in away.missing:
        raise away.missing[name]
    yard, queue = away.queues[name]
    stored = [one for one in away.console.stored if away.console.letters[one]["queue"] == queue]

    assert (len(stored), len(set(stored)), yard.left(queue)) == (len(SENT), len(SENT), 0)
    assert set(away.events[name]) == {"console_away"}
