"""Ctrl-C, SIGTERM and a terminal that is closed, held back where being cut short would leave a process that nobody knows."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class Interrupts:
    """Raises KeyboardInterrupt on each of these signals: at once, or at the end of `held`."""

    holding: bool = False
    came: bool = False

    def install(self) -> None:
        for signum in ENDING:
            # SIGINT also when a script started us with &, which leaves it ignored; SIGHUP not under nohup, which asks for that.
            if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:
                signal.signal(signum, self._take)

    def _take(self, signum: int, frame: FrameType | None) -> None:
        if not self.holding:
            raise KeyboardInterrupt
        self.came = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let nothing interrupt the block: between a fork and the note of its pid there is no safe place to stop."""
        self.holding = True
        try:
            yield
        finally:
            self.holding = False
            if self.came:
                raise KeyboardInterrupt

    def ignore(self) -> None:
        """A second Ctrl-C must not cut the stopping short: that is how orphans are made."""
        for signum in ENDING:
            signal.signal(signum, signal.SIG_IGN)
