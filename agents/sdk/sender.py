"""From a program's memory to the console: a thread of its own sends batches until the console has them, or lays them on the disk."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from .spool import Spool
from .transport import ConsoleAway, ConsoleRefuses, Transport

log = logging.getLogger("waybill")
Item = tuple[str, bytes]  # endpoint, JSON
BATCH_ITEMS, BATCH_BYTES = 500, 4 * 1024 * 1024
EVERY_S = 1.0  # how long an item waits for others
LONGEST_PAUSE_S, LONGEST_TOLD_S = 30.0, 300.0
REFUSED_FOR_GOOD = frozenset(
    {400, 409, 413, 415}
)  # any other refusal (a key, a proxy, a wrong address) can be put right


class Full(Exception):
    """Neither memory nor spool has room for another item. Raised only by a client made with `strict=True`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of what was reported. waiting, spooled: items in memory and on the disk; dropped: there was no room."""

    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    dropped: int = 0
    waiting: int = 0
    spooled: int = 0


class Sender:
    """Memory, thread and disk of one client. Every field below the lock is touched only while it is held."""

    def __init__(self, transport: Transport, spool: Spool | None, most_items: int) -> None:
        self._transport, self._spool, self._most_items = transport, spool, most_items
        self._counts, self._said = Counts(), ""
        self._begin()
        _senders.add(self)

    def _begin(self) -> None:
        """Start with an empty memory; again in a forked child, which has no thread and perhaps a lock that nobody will release."""
        self._changed = threading.Condition()
        self._memory: deque[Item] = deque()
        self._in_hand: list[Item] = []  # on their way to the console
        self._reported = self._done = 0  # done: the console has it or refused it for good, or it lies on the disk
        self._first_at = self._pause_until = self._pause_s = 0.0
        self._hurry = self._closing = self._told_when = False
        self._thread = threading.Thread(target=self._run, name="waybill", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Keep an item to be sent; raises Full."""
        with self._changed:
            if self._closing:
                raise RuntimeError("the client was closed")
            if len(self._memory) + len(self._in_hand) >= self._most_items and not self._save():
                self._counts = replace(self._counts, dropped=self._counts.dropped + 1)
                raise Full(f"{self._most_items:,} items wait for the console already")
            if not self._memory:
                self._first_at = time.monotonic()
            self._memory.append(item)
            self._reported += 1
            if len(self._memory) in (1, BATCH_ITEMS):
                self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Send what was put so far; False when after so many seconds some of it is in memory alone."""
        until = time.monotonic() + timeout_s
        with self._changed:
            wanted, self._hurry = self._reported, True
            if not self._told_when:  # only the console may make a flush wait
                self._pause_until = 0.0
            self._changed.notify_all()
            while self._done < wanted and (left := until - time.monotonic()) > 0 and self._thread.is_alive():
                self._changed.wait(left)
            self._hurry = False
            return self._done >= wanted or self._save()

    def close(self, timeout_s: float) -> bool:
        safe = self.flush(timeout_s)
        with self._changed:
            if not safe:
                self._say(
                    f"{self._reported - self._done} items are lost: the console is away and there is no spool for them"
                )
            self._closing = True
            self._changed.notify_all()
        return safe

    def counts(self) -> Counts:
        with self._changed:
            waiting = len(self._memory) + len(self._in_hand)
            return replace(self._counts, waiting=waiting, spooled=self._spool.items() if self._spool else 0)

    def _run(self) -> None:
        while (work := self._next()) is not None:
            try:
                self._deliver(Spool.read(work) if isinstance(work, Path) else work)
                self._settled(work)
            except FileNotFoundError:  # another process has sent this file meanwhile
                continue
            except ConsoleAway as error:
                self._away(str(error), error.retry_after_s)
            except Exception as error:  # noqa: BLE001  a surprise must not end the only thread that sends
                self._away(f"{type(error).__name__}: {error}", None)
        self._transport.close()

    def _next(self) -> list[Item] | Path | None:
        """Wait for work: a batch from memory, else a file from the spool; None when the client was closed."""
        with self._changed:
            while not self._closing:
                now = time.monotonic()
                if now < self._pause_until:
                    if self._hurry and self._memory and self._spool:
                        self._save()
                    self._changed.wait(self._pause_until - now)
                elif self._memory:
                    left = EVERY_S - (now - self._first_at)
                    if self._hurry or left <= 0 or len(self._memory) >= BATCH_ITEMS:
                        return self._take()
                    self._changed.wait(left)
                elif self._spool and (files := self._spool.files()):
                    return files[0]
                else:
                    self._hurry = False
                    self._changed.wait()
            return None

    def _take(self) -> list[Item]:
        endpoint, size = self._memory[0][0], 0
        while self._memory and self._memory[0][0] == endpoint and len(self._in_hand) < BATCH_ITEMS:
            size += len(self._memory[0][1])
            if self._in_hand and size > BATCH_BYTES:
                break
            self._in_hand.append(self._memory.popleft())
        return self._in_hand

    def _deliver(self, batch: Sequence[Item]) -> None:
        """Send one batch of one endpoint; raises ConsoleAway. What the console refuses for good is found by halves and said."""
        body = b"[" + b",".join(data for _, data in batch) + b"]"
        try:
            answer = self._transport.post(batch[0][0], body, {"Idempotency-Key": hashlib.sha256(body).hexdigest()})
        except ConsoleRefuses as error:
            if error.status not in REFUSED_FOR_GOOD:
                raise ConsoleAway(str(error), LONGEST_PAUSE_S) from error
            if len(batch) > 1:
                self._deliver(batch[: len(batch) // 2])
                self._deliver(batch[len(batch) // 2 :])
                return
            answer = {"rejected": [{"detail": str(error)}]}
        rejected = answer.get("rejected") or []
        with self._changed:
            self._counts = replace(
                self._counts,
                accepted=self._counts.accepted + answer.get("accepted", 0),
                duplicates=self._counts.duplicates + answer.get("duplicates", 0),
                refused=self._counts.refused + len(rejected),
            )
            if rejected:
                self._say(f"{len(rejected)} of {len(batch)} items were refused: {rejected[0].get('detail')}")

    def _settled(self, work: list[Item] | Path) -> None:
        with self._changed:
            self._pause_s, self._told_when = 0.0, False
            if isinstance(work, Path):
                work.unlink(missing_ok=True)
            elif work is self._in_hand:  # else it was laid on the disk meanwhile
                self._done += len(self._in_hand)
                self._in_hand = []
                self._changed.notify_all()

    def _away(self, words: str, retry_after_s: float | None) -> None:
        """Lay what was in hand on the disk, or back into memory, and wait: longer each time, never in step with other clients."""
        with self._changed:
            self._say(words)
            if not self._save():
                self._memory.extendleft(reversed(self._in_hand))
                self._in_hand = []
            self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2 or 0.2)
            self._told_when = retry_after_s is not None
            pause_s = self._pause_s * random.uniform(0.5, 1.0)
            if retry_after_s is not None:
                pause_s = min(LONGEST_TOLD_S, retry_after_s)
            self._pause_until = time.monotonic() + pause_s

    def _save(self) -> bool:
        """Lay everything that is not done on the disk; False when that cannot be."""
        waiting = [*self._in_hand, *self._memory]
        if self._spool is None or self._spool.is_full():
            return not waiting
        try:
            for batch in _batches(waiting):
                self._spool.write(batch)
        except OSError as error:
            self._say(f"the spool cannot be written: {error}")
            return False
        self._done += len(waiting)
        self._in_hand = []
        self._memory.clear()
        self._changed.notify_all()
        return True

    def _say(self, words: str) -> None:
        if words != self._said:
            log.warning("%s", words)
        self._said = words


def _batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    for _, run in groupby(items, key=lambda item: item[0]):
        of_one = list(run)
        yield from (of_one[at : at + BATCH_ITEMS] for at in range(0, len(of_one), BATCH_ITEMS))


_senders: weakref.WeakSet[Sender] = weakref.WeakSet()


def _after_fork() -> None:
    for sender in list(_senders):
        sender._transport = replace(sender._transport, _connection=None)  # the parent's socket is the parent's
        sender._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
