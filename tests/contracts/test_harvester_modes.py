"""Mirrors look and leave, spools keep what the broker would let go, a pace is kept: each also when something is killed or full."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from agents.harvest import loop
from agents.harvest.config import BadConfig, load_config
from agents.harvest.loop import QueueHarvester
from agents.harvest.seen import Seen
from agents.harvest.spooling import LetterSpool
from messages.connectors.base import BrokerUnavailable, Received
from messages.connectors.memory import LETTERS, MemorySource
from tests.contracts.test_console_away import Clock
from tests.contracts.test_harvester import EVERY, STORED, FakeConsole, console, harvester, wait_until, waiting
from tests.contracts.test_letters_without_an_id import harvesting
from tests.product import ROOT

__all__ = ["console", "harvester"]  # fixtures
AWAY = (503, b"{}")


# configuration -------------------------------------------------------------------------------------------------------


def written(tmp_path: Path, lines: str, kind: str = "redis-streams") -> Path:
    file = tmp_path / "harvest.toml"
    file.write_text(
        f'console = "http://127.0.0.1:1"\nkey = "k"\n[[broker]]\nname = "b"\nkind = "{kind}"\naddress = "x://h"\n'
        f'[[broker.queue]]\nname = "q"\n{lines}\n'
    )
    return file


def test_a_queue_has_a_mode_a_pace_and_a_spool_of_its_own_and_the_rest_is_its_sources(tmp_path: Path):
    lines = 'batch = 5\nper_s = 2.5\nspool = "/var/spool/w"\nspool_mb = 3\nsystem = "erp"\ngroup = "g"'

    [queue] = load_config(written(tmp_path, lines)).queues

    assert (queue.mode, queue.batch, queue.per_s, queue.spool, queue.spool_bytes) == (
        "move",
        5,
        2.5,
        "/var/spool/w",
        3 << 20,
    )
    assert queue.options == {"system": "erp", "group": "g"}


@pytest.mark.parametrize(
    ("kind", "lines", "words"),
    [
        ("redis-streams", 'mode = "copy"', 'mode is "move"'),
        ("rabbitmq", 'mode = "mirror"', "a quorum queue counts it"),
        ("redis-streams", 'mode = "mirror"\nspool = "/x"', "needs no spool"),
        ("redis-streams", "spool_mb = 3", "spool_mb without spool"),
        ("redis-streams", "per_s = 0", "per_s is a number from 0.01"),
        ("redis-streams", 'per_s = "many"', "per_s is a number"),
        ("redis-streams", "batch = 1.5", "batch is a whole number"),
        ("redis-streams", "look_every_s = true", "look_every_s is a number"),
    ],
)
def test_what_cannot_be_is_said_in_words_that_name_the_queue(tmp_path: Path, kind: str, lines: str, words: str):
    with pytest.raises(BadConfig, match=words) as said:
        load_config(written(tmp_path, lines, kind))

    assert "queue q of b" in str(said.value)


# spool ---------------------------------------------------------------------------------------------------------------


def changed(harvester: QueueHarvester, **changes: Any) -> QueueHarvester:
    harvester.queue = dataclasses.replace(harvester.queue, **changes)
    return harvester


def test_letters_that_the_spool_keeps_leave_the_broker_and_go_to_the_console_in_order(
    console: FakeConsole, harvester: QueueHarvester, tmp_path: Path
):
    console.judge = lambda letters: AWAY
    changed(harvester, spool=str(tmp_path), spool_bytes=1 << 20).start()

    wait_until(lambda: not waiting(harvester))
    spooled, stored = harvester.tally.spooled, list(console.stored)
    LETTERS[harvester.queue.address.url].append((9, {"id": "death-9"}))
    wait_until(lambda: harvester.tally.spooled == 5)
    console.judge = lambda letters: STORED
    wait_until(lambda: harvester.tally.spooled == 0)

    assert (spooled, stored) == (4, [])
    assert console.stored == [*EVERY, "death-9"]
    assert (harvester.tally.error, list(tmp_path.rglob("*.batch"))) == ("", [])


def test_a_line_that_breaks_between_spool_and_acknowledgement_brings_them_again_under_the_same_ids(
    console: FakeConsole, harvester: QueueHarvester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    acknowledge, broken = MemorySource.acknowledge, []

    def breaks_once(source: MemorySource, tokens: Sequence[object]) -> None:
        if not broken:
            broken.append(harvester.tally.spooled)
            raise BrokerUnavailable("the line broke")
        acknowledge(source, tokens)

    monkeypatch.setattr(MemorySource, "acknowledge", breaks_once)
    console.judge = lambda letters: AWAY
    changed(harvester, spool=str(tmp_path), spool_bytes=1 << 20).start()
    wait_until(lambda: not waiting(harvester))
    console.judge = lambda letters: STORED
    wait_until(lambda: harvester.tally.spooled == 0)

    assert broken == [4]
    assert console.stored == [*EVERY, *EVERY]  # the console knows them by their ids


def test_what_has_no_room_in_the_spool_stays_on_the_broker(
    console: FakeConsole, harvester: QueueHarvester, tmp_path: Path
):
    console.judge = lambda letters: AWAY
    harvester.batch = 1
    changed(harvester, spool=str(tmp_path), spool_bytes=130).start()  # two files of 64 bytes

    wait_until(lambda: harvester.trouble == "spool_full")
    before = waiting(harvester)
    console.judge = lambda letters: STORED
    wait_until(lambda: not waiting(harvester))

    assert before == ["death-2", "death-3"]
    assert console.stored == EVERY


def test_a_spooled_letter_that_the_console_will_never_have_is_put_aside_for_a_person(
    console: FakeConsole, harvester: QueueHarvester, tmp_path: Path
):
    console.judge = lambda letters: AWAY
    changed(harvester, spool=str(tmp_path), spool_bytes=1 << 20).start()
    wait_until(lambda: harvester.tally.spooled == 4)

    console.judge = lambda letters: (422, b"{}") if "death-2" in {one["id"] for one in letters} else STORED
    wait_until(lambda: harvester.tally.spooled == 0)

    assert sorted(console.stored) == ["death-0", "death-1", "death-3"]
    [aside] = tmp_path.rglob("*.refused.json")
    assert (json.loads(aside.read_text())["id"], harvester.tally.parked) == ("death-2", 1)


def test_a_spool_that_cannot_be_written_leaves_the_letters_on_the_broker(
    console: FakeConsole, harvester: QueueHarvester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    console.judge = lambda letters: AWAY
    monkeypatch.setattr("agents.sdk.spool.Spool.write", full)
    changed(harvester, spool=str(tmp_path), spool_bytes=1 << 20).start()

    wait_until(lambda: "No space left" in harvester.tally.error)

    assert waiting(harvester) == EVERY


def test_a_spool_holds_text_that_is_no_unicode_and_bodies_with_line_breaks(tmp_path: Path):
    spool = LetterSpool(tmp_path, 1 << 20)
    odd = [{"id": "1", "body": "a\nb\r\u2028"}, {"id": "2", "body": "\ud800"}]

    spool.keep(odd)

    again = LetterSpool(tmp_path, 1 << 20)
    found = again.oldest()
    assert found
    assert (found[1], again.letters) == (odd, 2)


# pace ----------------------------------------------------------------------------------------------------------------


def test_a_pace_is_a_pause_after_each_batch_of_at_most_a_second(
    console: FakeConsole, harvester: QueueHarvester, monkeypatch: pytest.MonkeyPatch
):
    clock = Clock()
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=clock.monotonic))
    slow = QueueHarvester(harvester.config, changed(harvester, per_s=2.0).queue, clock)
    slow.start()

    wait_until(lambda: not waiting(harvester))
    slow.stopping.set()
    slow.join(timeout=5)
    harvester.stopping.set()
    harvester.start()

    assert clock.waits[:2] == [1.0, 1.0]


# mirror --------------------------------------------------------------------------------------------------------------


class Queue:
    """A queue that can be looked at."""

    def __init__(self, *ids: str) -> None:
        self.ids = list(ids)

    def peek(self, limit: int, after: object | None) -> list[Received]:
        start = self.ids.index(str(after)) + 1 if after else 0
        return [Received(token=one, letter={"id": one}) for one in self.ids[start : start + limit]]


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Callable[[], Seen]]:
    opened: list[Seen] = []

    def again() -> Seen:
        opened.append(Seen(tmp_path / "q.seen"))
        return opened[-1]

    yield again
    for one in opened:
        one.close()


def look(seen: Seen, queue: Queue) -> list[str]:
    fresh = []
    for page in seen.look(queue, 2):
        seen.remember(page)
        fresh += [str(one.letter["id"]) for one in page]
    return fresh


def test_a_mirror_tells_each_letter_once_and_what_is_gone_after_a_whole_round(seen: Callable[[], Seen]):
    notes, queue = seen(), Queue("a", "b", "c")
    first, second = look(notes, queue), look(notes, queue)
    queue.ids = ["b", "d"]

    third, gone = look(notes, queue), notes.gone()
    notes.forget(gone)

    assert (first, second, third, sorted(gone), notes.gone()) == (["a", "b", "c"], [], ["d"], ["a", "c"], [])
    queue.ids = ["a", "b", "d"]
    assert look(seen(), queue) == ["a"]  # it came back, and the note outlives a restart


def test_a_letter_that_was_told_but_not_noted_as_told_is_told_again_and_missed_when_it_goes(seen: Callable[[], Seen]):
    notes = seen()
    for _ in notes.look(Queue("a"), 2):
        pass  # killed before the console's answer was noted

    again = seen()
    told = look(again, Queue("a"))
    look(again, Queue())

    assert (told, again.gone()) == (["a"], ["a"])


def test_a_round_that_broke_off_says_nothing_of_what_is_gone(seen: Callable[[], Seen]):
    notes = seen()
    look(notes, Queue("a", "b", "c", "d"))

    next(notes.look(Queue("x", "a"), 1))  # a restart in the middle
    notes = seen()
    look(notes, Queue("a", "b", "c", "d", "x"))

    assert notes.gone() == []


def streams_config(tmp_path: Path, console_url: str, address: str, stream: str, more: str) -> Path:
    file = tmp_path / "harvest.toml"
    file.write_text(
        f'console = "{console_url}"\nkey = "wb_agent_x"\nname = "h"\nbatch = 10\n[[broker]]\nname = "b"\nkind = "redis-streams"\n'
        f'address = "{address}"\n[[broker.queue]]\nname = "{stream}"\n{more}\n'
    )
    return file


def only_letters(body: Any) -> tuple[int, bytes]:
    return STORED if isinstance(body, list) else (200, b"{}")


@pytest.fixture
def stream() -> Iterator[tuple[redis.Redis, str]]:
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    name = f"t-{uuid.uuid4()}.dlq"
    yield client, name
    client.delete(name)
    client.close()


def test_a_mirror_of_a_stream_leaves_everything_there_and_reports_what_somebody_took(
    console: FakeConsole, tmp_path: Path, stream: tuple[redis.Redis, str]
):
    client, name = stream
    gone: list[str] = []

    def judge(body: Any) -> tuple[int, bytes]:
        if isinstance(body, dict) and "ids" in body:
            gone.extend(body["ids"])
        return only_letters(body)

    console.judge = judge
    entries = [client.xadd(name, {"body": str(number)}).decode() for number in range(25)]
    lines = 'mode = "mirror"\nlook_every_s = 0.1'
    with harvesting(streams_config(tmp_path, console.url, os.environ["REDIS_URL"], name, lines)) as process:
        wait_until(lambda: len(console.stored) >= 25)
        client.xdel(name, entries[3])
        wait_until(lambda: bool(gone))
        process.kill()
        process.wait()
    with harvesting(tmp_path / "harvest.toml") as process:
        client.xdel(name, entries[4])
        wait_until(lambda: f"b/{name}/{entries[4]}" in gone)
        process.terminate()

    assert (client.xlen(name), client.xinfo_groups(name)) == (23, [])
    assert console.stored == [f"b/{name}/{entry}" for entry in entries]
    # killed between the console's answer and its own note, it tells of one again
    assert list(dict.fromkeys(gone)) == [f"b/{name}/{entries[3]}", f"b/{name}/{entries[4]}"]


# kill -9 and restarts ------------------------------------------------------------------------------------------------


@pytest.mark.fault
@pytest.mark.parametrize("more", ["", 'spool = "{folder}"'], ids=["broker keeps them", "spool"])
def test_killed_before_and_after_the_console_stored_a_batch_nothing_is_lost_or_left(
    console: FakeConsole, tmp_path: Path, stream: tuple[redis.Redis, str], more: str
):
    client, name = stream
    entries = [client.xadd(name, {"body": str(number)}).decode() for number in range(60)]
    config = streams_config(
        tmp_path, console.url, os.environ["REDIS_URL"], name, more.replace("{folder}", str(tmp_path / "spool"))
    )
    running: list[subprocess.Popen[bytes]] = []
    stored: list[str] = []
    deaths = iter(["before", "after", "away", "away", "before", "after"])

    def judge(body: Any) -> tuple[int, bytes]:
        """Kill the harvester before or after its letters are stored, or be away; when nothing is left to do, just store."""
        if not isinstance(body, list):
            return 200, b"{}"
        fate = next(deaths, "")
        if fate == "away":
            return AWAY
        if fate != "before":
            stored.extend(one["id"] for one in body)
        if fate:
            running[-1].kill()
        return STORED

    console.judge = judge
    for _ in range(5):
        with harvesting(config) as process:
            running.append(process)
            wait_until(
                lambda: (
                    process.poll() is not None
                    or (len(set(stored)) == 60 and client.xlen(name) == 0 and not list(tmp_path.rglob("*.batch")))
                )
            )
            process.terminate()

    assert set(stored) == {f"b/{name}/{entry}" for entry in entries}
    assert (client.xlen(name), list(tmp_path.rglob("*.batch"))) == (0, [])


@pytest.mark.fault
def test_a_broker_that_is_killed_and_started_again_is_harvested_to_the_end(console: FakeConsole, tmp_path: Path):
    from console.engines import valkey

    address = valkey.start(tmp_path)
    try:
        console.judge = only_letters
        client = redis.Redis.from_url(address)
        client.xadd("q.dlq", {"body": "before"})
        with harvesting(streams_config(tmp_path, console.url, address, "q.dlq", "")) as process:
            wait_until(lambda: len(console.stored) == 1)
            os.kill(int((tmp_path / "valkey/valkey.pid").read_text()), 9)
            wait_until(lambda: not valkey.is_alive(tmp_path))
            valkey.start_again(tmp_path, address)
            client.xadd("q.dlq", {"body": "after"})
            wait_until(lambda: len(console.stored) >= 2 and client.xlen("q.dlq") == 0)
            process.terminate()
            ended = process.wait(timeout=15)
        client.close()
    finally:
        valkey.stop(address)

    assert ended == 0


def test_sigterm_while_the_console_is_away_ends_it_at_once_with_everything_on_the_broker(
    console: FakeConsole, tmp_path: Path, stream: tuple[redis.Redis, str]
):
    client, name = stream
    client.xadd(name, {"body": "1"})
    console.judge = lambda body: AWAY
    config = streams_config(tmp_path, console.url, os.environ["REDIS_URL"], name, "")
    command = [sys.executable, "-m", "agents", "harvest", "--config", str(config)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as process:
        wait_until(lambda: console.pushes >= 3)
        process.terminate()
        _, said = process.communicate(timeout=15)

    assert (process.returncode, client.xlen(name), console.stored) == (0, 1, [])
    assert json.loads(said.splitlines()[-1])["event"] == "stopped"
