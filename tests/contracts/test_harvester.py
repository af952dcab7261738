"""The harvester against a console that answers as consoles and what stands before them do: a letter leaves its broker with a 2xx only."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agents.harvest import loop
from agents.harvest.config import HarvestConfig, Queue
from agents.harvest.console import Console, ConsoleAway
from agents.harvest.loop import QueueHarvester
from messages.connectors import FAMILIES
from messages.connectors.base import Address
from messages.connectors.memory import LETTERS

Answer = tuple[int, bytes]
STORED: Answer = (200, b'{"accepted": 1, "duplicates": 0, "rejected": []}')
Judge = Callable[[list[dict[str, Any]]], Answer]


class FakeConsole:
    """Answers each push by `judge`, and keeps what it answered 2xx with the documented body."""

    def __init__(self) -> None:
        self.judge: Judge = lambda letters: STORED
        self.pushes = 0
        self.stored: list[str] = []
        self.letters: dict[str, dict[str, Any]] = {}  # what it shows: a second copy meets the first
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                letters = json.loads(body)
                status, answer = outer.judge(letters)
                outer.pushes += 1
                if (status, answer) == STORED:
                    outer.stored += [letter["id"] for letter in letters]
                    outer.letters |= {letter["id"]: letter for letter in reversed(letters)}
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeConsole]:
    monkeypatch.setattr(loop, "LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr(loop, "WAIT_S", 0.01)
    fake = FakeConsole()
    fake.thread.start()
    yield fake
    fake.server.shutdown()
    fake.thread.join()
    fake.server.server_close()


@pytest.fixture
def harvester(console: FakeConsole, monkeypatch: pytest.MonkeyPatch) -> Iterator[QueueHarvester]:
    """A harvester of a queue of four letters; a test starts it."""
    monkeypatch.setitem(FAMILIES, "memory", "messages.connectors.memory.FAMILY")
    address = f"memory://{uuid.uuid4()}"
    LETTERS[address].extend((n, {"id": f"death-{n}", "body": "x" * 10}) for n in range(4))
    queue = Queue(broker="b", kind="memory", address=Address(url=address), name="q")
    config = HarvestConfig(console=console.url, key="wb_agent_x", name="h", queues=(queue,))
    thread = QueueHarvester(config, queue, threading.Event())
    yield thread
    thread.stopping.set()
    thread.join(timeout=5)
    assert not thread.is_alive()


def waiting(harvester: QueueHarvester) -> list[object]:
    return [letter["id"] for _, letter in LETTERS[harvester.queue.address.url]]


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 60  # a process of ours may take ten seconds to start where five others run
    while not true():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.01)


EVERY = [f"death-{n}" for n in range(4)]
REFUSALS: dict[str, Answer] = {
    "is away": (503, b"{}"),
    "has a fault of its own": (500, b"oops"),
    "pushes back": (429, b"{}"),
    "knows no such key": (401, b"{}"),
    "is at another address": (404, b"<html>"),
    "was moved": (302, b""),
    "stands behind a sign-in page": (200, b"<html>sign in</html>"),
    "answers with no object": (200, b"[]"),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_letters_wait_on_the_broker_while_the_console_will_not_have_them_and_go_when_it_does(
    console: FakeConsole, harvester: QueueHarvester, refusal: Answer
):
    console.judge = lambda letters: refusal
    harvester.start()

    wait_until(lambda: console.pushes >= 3)
    before, said, parked = waiting(harvester), harvester.tally.error, harvester.tally.parked
    console.judge = lambda letters: STORED
    wait_until(lambda: not waiting(harvester))

    assert (before, bool(said), parked) == (EVERY, True, 0)
    assert (console.stored, harvester.tally.harvested) == (EVERY, 4)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_letter_that_the_console_will_never_have_stays_and_holds_up_no_other(
    console: FakeConsole, harvester: QueueHarvester, status: int
):
    console.judge = lambda letters: (status, b"{}") if "death-2" in {letter["id"] for letter in letters} else STORED
    harvester.start()

    wait_until(lambda: len(console.stored) >= 3 and waiting(harvester) == ["death-2"])

    assert sorted(console.stored) == ["death-0", "death-1", "death-3"]
    assert harvester.tally.parked >= 1


def test_a_connection_that_was_idle_too_long_is_no_console_that_is_away(console: FakeConsole):
    pushing = Console(console.url, "wb_agent_x")
    pushing.push_dead_letters([{"id": "a"}])
    assert pushing._connection is not None
    pushing._connection.sock.shutdown(socket.SHUT_RDWR)  # as the console does after some seconds without a word

    answer = pushing.push_dead_letters([{"id": "b"}])

    assert (answer["accepted"], console.stored) == (1, ["a", "b"])
    pushing.close()


def test_a_heartbeat_that_meets_a_proxys_page_is_told_so(console: FakeConsole):
    console.judge = lambda letters: (200, b"<html>")
    asking = Console(console.url, "wb_agent_x")

    with pytest.raises(ConsoleAway, match="no answer of the console"):
        asking.heartbeat({"version": "1"})
    asking.close()
