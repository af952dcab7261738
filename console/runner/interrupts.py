"""Ctrl-C and SIGTERM, held back where being cut short would leave a process that nobody knows."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(slots=True)
class Interrupts:
    """Raises KeyboardInterrupt on either signal: at once, or at the end of `held`."""

    holding: bool = False
    came: bool = False

    def install(self) -> None:
        signal.signal(signal.SIGTERM, self._take)
        signal.signal(signal.SIGINT, self._take)  # also when a script started us with &, which leaves it ignored

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
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
