"""The messages in hand: kept invisible to everybody else for as long as the console is slow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from messages.connectors.sqs.client import TROUBLES
from messages.connectors.sqs.outgoing import BATCH

T = TypeVar("T")


def tens(items: Iterable[T]) -> Iterator[list[T]]:
    """Return the items in runs that one request takes."""
    rest = iter(items)
    while run := list(islice(rest, BATCH)):
        yield run


class Hand:
    """Receipts of messages in hand. A thread extends them, three times while one time-out runs, until they are dropped.

    extend  takes receipts, at most ten, and returns those that are in nobody's hand any more: deleted, or held for twelve hours,
            which is all that SQS allows. Those come again by themselves.
    """

    def __init__(self, extend: Callable[[Sequence[str]], Iterable[str]], *, every_s: float) -> None:
        self._extend, self._every_s = extend, every_s
        self._receipts: dict[str, None] = {}
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, receipts: Iterable[str]) -> None:
        with self._lock:
            self._receipts.update(dict.fromkeys(receipts))
            if self._thread is None and self._receipts:
                self._thread = threading.Thread(target=self._keep, name="sqs-visibility", daemon=True)
                self._thread.start()

    def drop(self, receipts: Iterable[str]) -> None:
        with self._lock:
            for receipt in receipts:
                self._receipts.pop(receipt, None)

    def held(self) -> list[str]:
        with self._lock:
            return list(self._receipts)

    def _keep(self) -> None:
        while not self._closed.wait(self._every_s):
            for ten in tens(self.held()):
                try:
                    self.drop(self._extend(ten))
                except TROUBLES:
                    break  # tried again twice before the time-out; after that they come again, and meet their first copies

    def close(self) -> list[str]:
        """Stop extending; return what was still in hand."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(timeout=30)
        return self.held()
