"""Looks at queues whose brokers let a browser only begin at the first message: the pages of one look come from one browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from messages.connectors.base import BrokerUnavailable, Received

MOST_BYTES = 16 * 1024 * 1024  # of one page


class Browse:
    """begin  opens a browser and yields what it shows, first to last; it raises BrokerUnavailable, and closes what it opened."""

    def __init__(self, begin: Callable[[], Iterator[Received]]) -> None:
        self.begin = begin
        self.shown: Iterator[Received] | None = None
        self.last: object | None = None

    def page(self, limit: int, after: object | None) -> list[Received]:
        """Return up to `limit` letters behind the one with this token, or fewer large ones; [] at the end. Raises BrokerUnavailable."""
        if after is None or self.shown is None or after != self.last:
            self.close()
            self.shown = self.begin()
            self._skip(self.shown, after)
        taken: list[Received] = []
        size = 0
        try:
            for one in self.shown:
                taken.append(one)
                size += len(str(one.letter.get("body") or one.letter.get("body_base64") or ""))
                if len(taken) >= limit or size >= MOST_BYTES:
                    break
        except BrokerUnavailable as error:
            if not taken:
                raise
            self.shown = _raising(error)  # what was shown before is told first
        if taken:
            self.last = taken[-1].token
        else:
            self.close()
        return taken

    def _skip(self, shown: Iterator[Received], after: object | None) -> None:
        if after is not None and not any(one.token == after for one in shown):
            raise BrokerUnavailable("the letter behind which to look is gone: the next look begins with the first")

    def close(self) -> None:
        """End the browser; generators that wait in the middle let go of their lines."""
        shown, self.shown, self.last = self.shown, None, None
        if shown is not None and hasattr(shown, "close"):
            shown.close()


def _raising(error: BrokerUnavailable) -> Iterator[Received]:
    raise error
    yield
