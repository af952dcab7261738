"""Harvesting: receive, push, and acknowledge only after the console has answered 2xx, or the spool has it on the disk.

A mirror receives nothing: it looks, pushes what is new, and says what is gone. Killed at any point nothing is lost:
what was not acknowledged comes again, and its second copy meets the first by its id.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agents.harvest.config import HarvestConfig, Queue
from agents.harvest.console import Console, ConsoleAway, ConsoleRefuses
from agents.harvest.seen import Seen, forget_note, note_file, queue_mark
from agents.harvest.spooling import Letter, LetterSpool
from agents.replay.sender import ReplaySender
from messages.connectors import get_source
from messages.connectors.base import BrokerUnavailable, CanPeek, CanTellAge, KeepsLine, Received, Source

VERSION = "0.1.0"
WAIT_S = 1.0
BATCH_BYTES = 4 * 1024 * 1024
LONGEST_PAUSE_S = 30.0
LONGEST_WISH_S = 300.0  # of a console that says when it is back: it may be back before that
KEEP_EVERY_S = 1.0
MOST_LEFT = 10_000  # letters that the console will not have; more are counted no more
LETTERS_FAULT = frozenset({400, 409, 413, 422})  # every other refusal is of where or how we send, and the letters wait
BROKERS_FAULT = ("broker_unavailable", "harvest_failed")
CONSOLES_FAULT = ("console_away", "console_refuses", "key_refused", "spool_full")


def log(event: str, **fields: object) -> None:
    """One JSON line on standard error; ids and counts, never a body or a secret."""
    print(
        json.dumps({"timestamp": datetime.now(UTC).isoformat(), "event": event, **fields}, default=str),
        file=sys.stderr,
        flush=True,
    )


@dataclass(slots=True)
class Tally:
    """What one queue's thread says of itself in the heartbeat. parked: how many letters the console will never have."""

    harvested: int = 0
    depth: int | None = None
    lag_s: float | None = None
    error: str = ""
    parked: int = 0
    gone: int = 0
    spooled: int = 0


class QueueHarvester(threading.Thread):
    """One queue, one thread, one connection to its broker and one to the console."""

    def __init__(self, config: HarvestConfig, queue: Queue, stopping: threading.Event) -> None:
        super().__init__(name=f"{queue.broker}/{queue.name}", daemon=True)
        self.config, self.queue, self.stopping = config, queue, stopping
        self.tally = Tally()
        self.trouble = ""  # the event that tally.error tells of
        self.left: dict[str, str] = {}  # letters that the console will not have → its words
        self.pause_s = 0.0
        self.ask_console_at = 0.0  # time.monotonic(); before it the console is left alone
        self.looked_at = 0.0
        self.batch = queue.batch or config.batch
        if queue.per_s:
            self.batch = max(1, min(self.batch, int(queue.per_s)))
        self.spool: LetterSpool | None = None

    def run(self) -> None:
        console = Console(self.config.console, self.config.key)
        while not self.stopping.is_set():
            try:
                with contextlib.closing(open_source(self.config, self.queue)) as source:
                    self._open_spool()
                    if self.queue.mode == "mirror":
                        self._mirror(source, console)
                    else:
                        self._harvest(source, console)
            except BrokerUnavailable as error:
                self._say("broker_unavailable", f"the broker is not to be had: {error}")
            except Exception as error:  # noqa: BLE001  one queue's surprise must not end the others, nor this one
                self._say("harvest_failed", f"{type(error).__name__}: {error}")
            if not self.stopping.is_set():
                self._pause()
        console.close()

    def _open_spool(self) -> None:
        if self.queue.spool and self.spool is None:
            folder = (
                Path(self.queue.spool)
                / quote(self.config.name, safe="")
                / queue_mark(self.queue.broker, self.queue.name)
            )
            self.spool = LetterSpool(folder, self.queue.spool_bytes)
            self.tally.spooled = self.spool.letters

    def _harvest(self, source: Source, console: Console) -> None:
        def acknowledge(part: Sequence[Received]) -> None:
            source.acknowledge([received.token for received in part])

        forget_note(note_file(self.config.state, self.queue.broker, self.queue.name))
        while not self.stopping.is_set():
            self._look_at_the_queue(source)
            self._drain(console)
            received = source.receive(self.batch, WAIT_S)
            self._well(*BROKERS_FAULT)
            for part in by_size(received):
                if not self._push(source, console, part, acknowledge):
                    return  # stopping, with the rest unacknowledged: it comes again
            if received:
                self.pause_s = 0.0
            self._pace(source, len(received))

    def _mirror(self, source: Source, console: Console) -> None:
        """Look at the whole queue again and again: tell what is new, and after a whole round what is gone."""
        if not isinstance(source, CanPeek):
            raise BrokerUnavailable(f"queues of kind {self.queue.kind} cannot be mirrored")
        with contextlib.closing(Seen(note_file(self.config.state, self.queue.broker, self.queue.name))) as seen:
            while not self.stopping.is_set():
                started = time.monotonic()
                self._look_at_the_queue(source)
                for fresh in seen.look(source, self.batch):
                    for part in by_size(fresh):
                        if not self._push(source, console, part, seen.remember, occasion=str(seen.round)):
                            return
                    self._pace(source, len(fresh))
                    if self.stopping.is_set():
                        return  # a round that broke off says nothing of what is gone
                self._well(*BROKERS_FAULT)
                self._report_gone(source, console, seen)
                # a deep queue is looked at less often: at most a fifth of the time
                self._rest(source, max(self.queue.look_every_s, 4 * (time.monotonic() - started)))

    def _report_gone(self, source: Source, console: Console, seen: Seen) -> None:
        while not self.stopping.is_set() and (ids := seen.gone()):
            try:
                if self._ask(lambda: console.report_gone(ids)) is None:
                    self._wait_for_console(source)
                    continue
            except ConsoleRefuses as error:
                self._say("gone_not_told", f"{len(ids)} letters that left the queue stay open in the console: {error}")
            seen.forget(ids)
            self.tally.gone += len(ids)
            log("gone", queue=self.queue.name, letters=len(ids))

    def _look_at_the_queue(self, source: Source) -> None:
        if time.monotonic() - self.looked_at > self.config.heartbeat_s / 2:
            self.tally.depth = source.depth()
            self.tally.lag_s = source.oldest_age_s() if isinstance(source, CanTellAge) else None
            self.looked_at = time.monotonic()

    def _push(
        self,
        source: Source,
        console: Console,
        part: Sequence[Received],
        done: Callable[[Sequence[Received]], None],
        *,
        occasion: str = "",
    ) -> bool:
        """Wait until the console has these, or the spool; then they are `done`. False when it stops before.

        Behind letters in the spool these go into the spool too: what died first is seen first.
        """
        letters = [received.letter for received in part]
        while not self.stopping.is_set():
            answer = None
            try:
                if self._drain(console):
                    answer = self._ask(lambda: console.push_dead_letters(letters, occasion=occasion))
            except ConsoleRefuses as error:
                if len(part) > 1:  # one of them is too much: find it by halves, so that it does not hold up the others
                    half = len(part) // 2
                    return all(
                        self._push(source, console, some, done, occasion=occasion)
                        for some in (part[:half], part[half:])
                    )
                self._leave(letters[0], "letter_left_on_broker", f"{letters[0].get('id')} stays on the broker: {error}")
                return True
            if answer is not None or self._keep(letters):
                done(part)
                self._count(letters, answer)
                return True
            self._wait_for_console(source)
        return False

    def _count(self, letters: Sequence[Letter], answer: dict[str, Any] | None) -> None:
        count = len(letters)
        self.tally.harvested += count
        if answer is None:
            log("spooled", queue=self.queue.name, letters=count)
            return
        for letter in letters if self.left else ():
            self.left.pop(str(letter.get("id")), None)
        self._calm()
        rejected = len(answer.get("rejected", []))
        log("harvested", queue=self.queue.name, letters=count, accepted=answer.get("accepted"), rejected=rejected)

    def _ask(self, ask: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """Return the console's answer, None when it is not to be had now. Raises ConsoleRefuses when the letters are at fault."""
        try:
            answer = ask()
        except ConsoleAway as error:
            self._say("console_away", str(error))
            self._leave_console(error.retry_after_s)
        except ConsoleRefuses as error:
            if error.status in LETTERS_FAULT:
                raise
            key = error.status in (401, 403)
            hint = (
                "make a new key with `manage.py create_key agent`"
                if key
                else "is `console` in the configuration its address?"
            )
            self._say("key_refused" if key else "console_refuses", f"{error}: {hint}")
            self._leave_console(LONGEST_PAUSE_S)
        else:
            self.pause_s = 0.0
            self._well(*CONSOLES_FAULT)
            return answer
        return None

    def _drain(self, console: Console) -> bool:
        """Send what is in the spool, oldest first; whether the console may be asked and nothing is left in the spool."""
        if time.monotonic() < self.ask_console_at:
            return False
        while self.spool and not self.stopping.is_set() and (oldest := self.spool.oldest()):
            path, letters = oldest
            if not self._send_spooled(console, letters):
                return False
            self.spool.done(path, len(letters))
            self.tally.spooled = self.spool.letters
        return True

    def _send_spooled(self, console: Console, letters: Sequence[Letter]) -> bool:
        assert self.spool is not None
        try:
            return self._ask(lambda: console.push_dead_letters(letters)) is not None
        except ConsoleRefuses as error:
            if len(letters) > 1:
                half = len(letters) // 2
                return all(self._send_spooled(console, some) for some in (letters[:half], letters[half:]))
            aside = self.spool.put_aside(letters[0])
            self._leave(letters[0], "letter_put_aside", f"{letters[0].get('id')} lies in {aside}: {error}")
            return True

    def _keep(self, letters: Sequence[Letter]) -> bool:
        """Write these to the spool, so that the broker may let go of them; False without a spool or room in it."""
        if self.spool is None:
            return False
        try:
            kept = self.spool.keep(letters)
        except OSError as error:
            self._say("spool_failed", f"the spool cannot be written, letters stay on the broker: {error}")
            return False
        self.tally.spooled = self.spool.letters
        if not kept:
            self._say(
                "spool_full", f"the spool holds {self.spool.letters} letters and is full: the rest stays on the broker"
            )
        return kept

    def _say(self, event: str, words: str) -> None:
        if words != self.tally.error:
            log(event, broker=self.queue.broker, queue=self.queue.name, words=words)
        self.tally.error, self.trouble = words[:1000], event

    def _leave(self, letter: Letter, event: str, words: str) -> None:
        """Say that the console will not have this one, and go on saying so while nothing else is wrong."""
        self.left[str(letter.get("id"))] = words
        if len(self.left) > MOST_LEFT:
            del self.left[next(iter(self.left))]
        self.tally.parked = len(self.left)
        self._say(event, words)

    def _well(self, *troubles: str) -> None:
        """What works again is no longer said to fail."""
        if self.trouble in troubles:
            self._calm()

    def _calm(self) -> None:
        """Nothing is wrong but for the letters that the console will not have; the last of them is named."""
        self.tally.parked = len(self.left)
        self.tally.error, self.trouble = next(reversed(self.left.values()), "")[:1000], ""

    def _pace(self, source: Source, letters: int) -> None:
        if self.queue.per_s and letters:
            self._rest(source, letters / self.queue.per_s)

    def _rest(self, source: Source, seconds: float) -> None:
        """Wait, or until it stops, with the line to the broker kept alive."""
        left, until = seconds, time.monotonic() + seconds
        while left > 0 and not self.stopping.wait(min(left, KEEP_EVERY_S)):
            if isinstance(source, KeepsLine):
                source.keep()
            left = until - time.monotonic()

    def _next_pause_s(self) -> float:
        """Return a pause that is longer each time, and never in step with the others."""
        self.pause_s = min(LONGEST_PAUSE_S, self.pause_s * 2 or 0.2)
        return self.pause_s * random.uniform(0.5, 1.0)

    def _leave_console(self, seconds: float | None) -> None:
        """Let it be for so long; None: for a pause of our own. What it wishes is a little lengthened, as all others heard the same."""
        pause_s = min(LONGEST_WISH_S, seconds) * random.uniform(1.0, 1.1) if seconds else self._next_pause_s()
        self.ask_console_at = time.monotonic() + pause_s

    def _wait_for_console(self, source: Source) -> None:
        self._rest(source, self.ask_console_at - time.monotonic())

    def _pause(self) -> None:
        self.stopping.wait(self._next_pause_s())


def open_source(config: HarvestConfig, queue: Queue) -> Source:
    """Return the source of this queue; nothing is asked yet."""
    options = {"consumer": config.name, "state": config.state, "mode": queue.mode, **queue.options}
    return get_source(queue.kind, queue.address, broker=queue.broker, queue=queue.name, options=options)


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
    """Harvest every queue, and send what the console orders, until SIGTERM or SIGINT; returns 0."""
    stopping = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stopping.set())
    threads = [QueueHarvester(config, queue, stopping) for queue in config.queues]
    senders = [ReplaySender(config, broker, stopping, log) for broker in config.replays]
    for thread in (*threads, *senders):
        thread.start()
    queues, replays = [f"{q.broker}/{q.name}" for q in config.queues], [one.name for one in config.replays]
    log("started", console=config.console, queues=queues, replays=replays)
    console = Console(config.console, config.key, timeout_s=10)
    while not stopping.is_set():
        _heartbeat(console, threads, senders)
        stopping.wait(config.heartbeat_s)
    for thread in threads:
        thread.join(timeout=20)
    for sender in senders:
        sender.join(timeout=45)  # what is being sent has its result by then
    log("stopped", harvested=sum(thread.tally.harvested for thread in threads))
    return 0


def _heartbeat(console: Console, threads: Sequence[QueueHarvester], senders: Sequence[ReplaySender]) -> None:
    report = [
        {
            "broker": t.queue.broker,
            "queue": t.queue.name,
            "mode": t.queue.mode,
            "depth": t.tally.depth,
            "lag_s": t.tally.lag_s,
            "harvested": t.tally.harvested,
            "parked": t.tally.parked,
            "gone": t.tally.gone,
            "error": t.tally.error,
        }
        for t in threads
    ]
    spooled = sum(t.tally.spooled for t in threads)
    said = {"version": VERSION, "sent_at": datetime.now(UTC).isoformat(), "queues": report, "spooled": spooled}
    try:
        console.heartbeat(said | {"replays": [one.told() for one in senders]})
    except (ConsoleAway, ConsoleRefuses) as error:
        log("heartbeat_failed", words=str(error))
