"""Harvesting: receive, push, and acknowledge only after the console has answered 2xx.

Killed at any point nothing is lost: what was not acknowledged comes again, and its second copy meets the first by its id.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from agents.harvest.config import HarvestConfig, Queue
from agents.harvest.console import Console, ConsoleAway, ConsoleRefuses
from messages.connectors import get_source
from messages.connectors.base import BrokerUnavailable, Received, Source

VERSION = "0.1.0"
WAIT_S = 1.0
BATCH_BYTES = 4 * 1024 * 1024
LONGEST_PAUSE_S = 30.0
LETTERS_FAULT = frozenset({400, 409, 413, 422})  # every other refusal is of where or how we send, and the letters wait


def log(event: str, **fields: object) -> None:
    """One JSON line on standard error; ids and counts, never a body or a secret."""
    print(
        json.dumps({"timestamp": datetime.now(UTC).isoformat(), "event": event, **fields}, default=str),
        file=sys.stderr,
        flush=True,
    )


@dataclass(slots=True)
class Tally:
    """What one queue's thread says of itself in the heartbeat."""

    harvested: int = 0
    depth: int | None = None
    error: str = ""
    parked: int = 0


class QueueHarvester(threading.Thread):
    """One queue, one thread, one connection to its broker and one to the console."""

    def __init__(self, config: HarvestConfig, queue: Queue, stopping: threading.Event) -> None:
        super().__init__(name=f"{queue.broker}/{queue.name}", daemon=True)
        self.config, self.queue, self.stopping = config, queue, stopping
        self.tally = Tally()
        self.pause_s = 0.0

    def run(self) -> None:
        console = Console(self.config.console, self.config.key)
        while not self.stopping.is_set():
            source = get_source(
                self.queue.kind,
                self.queue.address,
                broker=self.queue.broker,
                queue=self.queue.name,
                options={"consumer": self.config.name, "state": self.config.state, **self.queue.options},
            )
            try:
                self._harvest(source, console)
            except BrokerUnavailable as error:
                self._say("broker_unavailable", f"the broker is not to be had: {error}")
            except Exception as error:  # noqa: BLE001  one queue's surprise must not end the others, nor this one
                self._say("harvest_failed", f"{type(error).__name__}: {error}")
            finally:
                source.close()
            if not self.stopping.is_set():
                self._pause()
        console.close()

    def _harvest(self, source: Source, console: Console) -> None:
        looked_at = 0.0
        while not self.stopping.is_set():
            if time.monotonic() - looked_at > self.config.heartbeat_s / 2:
                self.tally.depth, looked_at = source.depth(), time.monotonic()
            received = source.receive(self.config.batch, WAIT_S)
            for part in by_size(received):
                if not self._push(source, console, part):
                    return  # stopping, with the rest unacknowledged: it comes again
            if received:
                self.tally.error, self.pause_s = "", 0.0

    def _push(self, source: Source, console: Console, part: Sequence[Received]) -> bool:
        """Push until the console has it, then acknowledge; a letter it refuses for good stays with the broker."""
        while not self.stopping.is_set():
            try:
                answer = console.push_dead_letters([received.letter for received in part])
            except ConsoleAway as error:
                self._say("console_away", str(error))
                self._pause(error.retry_after_s)
                continue
            except ConsoleRefuses as error:
                if error.status in (401, 403):
                    self._say("key_refused", f"{error}: make a new key with `manage.py create_key agent`")
                    self._pause(LONGEST_PAUSE_S)
                    continue
                if error.status not in LETTERS_FAULT:
                    self._say("console_refuses", f"{error}: is `console` in the configuration its address?")
                    self._pause(LONGEST_PAUSE_S)
                    continue
                if len(part) > 1:  # one of them is too much: find it by halves, so that it does not hold up the others
                    middle = len(part) // 2
                    return self._push(source, console, part[:middle]) and self._push(source, console, part[middle:])
                self.tally.parked += 1
                self._say("letter_left_on_broker", f"{part[0].letter.get('id')}: {error}")
                return True
            source.acknowledge([received.token for received in part])
            self.tally.harvested += len(part)
            log(
                "harvested",
                queue=self.queue.name,
                letters=len(part),
                accepted=answer.get("accepted"),
                rejected=len(answer.get("rejected", [])),
            )
            return True
        return False

    def _say(self, event: str, words: str) -> None:
        if words != self.tally.error:
            log(event, broker=self.queue.broker, queue=self.queue.name, words=words)
        self.tally.error = words[:1000]

    def _pause(self, seconds: float | None = None) -> None:
        """Wait, longer each time and never in step with the others, but not past a stop."""
        self.pause_s = min(LONGEST_PAUSE_S, self.pause_s * 2 or 0.2)
        self.stopping.wait(min(LONGEST_PAUSE_S, seconds) if seconds else self.pause_s * random.uniform(0.5, 1.0))


def by_size(received: Sequence[Received]) -> list[list[Received]]:
    """Return the letters in runs of about 4 MiB; a larger one goes alone."""
    parts: list[list[Received]] = []
    size = BATCH_BYTES
    for item in received:
        weight = len(str(item.letter.get("body") or item.letter.get("body_base64") or "")) + 2000
        if size + weight > BATCH_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(item)
        size += weight
    return parts


def harvest(config: HarvestConfig) -> int:
    """Harvest every queue until SIGTERM or SIGINT; returns 0."""
    stopping = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stopping.set())
    threads = [QueueHarvester(config, queue, stopping) for queue in config.queues]
    for thread in threads:
        thread.start()
    log("started", console=config.console, queues=[f"{q.broker}/{q.name}" for q in config.queues])
    console = Console(config.console, config.key, timeout_s=10)
    while not stopping.is_set():
        _heartbeat(console, threads)
        stopping.wait(config.heartbeat_s)
    for thread in threads:
        thread.join(timeout=20)
    log("stopped", harvested=sum(thread.tally.harvested for thread in threads))
    return 0


def _heartbeat(console: Console, threads: Sequence[QueueHarvester]) -> None:
    report = [
        {
            "broker": t.queue.broker,
            "queue": t.queue.name,
            "depth": t.tally.depth,
            "harvested": t.tally.harvested,
            "error": t.tally.error,
        }
        for t in threads
    ]
    try:
        console.heartbeat(
            {"version": VERSION, "sent_at": datetime.now(UTC).isoformat(), "queues": report, "spooled": 0}
        )
    except (ConsoleAway, ConsoleRefuses) as error:
        log("heartbeat_failed", words=str(error))
