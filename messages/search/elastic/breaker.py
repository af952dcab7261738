"""A circuit breaker: who has just waited in vain does not wait again at once. Pure but for its lock; the caller brings the clock."""

from __future__ import annotations

from threading import Lock

PAUSE_S = 10.0


class Breaker:
    """Closed, it lets everybody through. After a failure it is open for PAUSE_S; then one tries, and closes it or opens it again."""

    def __init__(self, pause_s: float = PAUSE_S) -> None:
        self._pause_s, self._open_until, self._lock, self.why = pause_s, 0.0, Lock(), ""

    def lets_through(self, now: float) -> bool:
        """Whether to try at this time, in seconds of a clock that never goes back. Of several at once after a pause, one."""
        with self._lock:
            if not self.why:
                return True
            if now < self._open_until:
                return False
            self._open_until = now + self._pause_s
            return True

    def failed(self, why: str, now: float) -> None:
        with self._lock:
            self.why, self._open_until = why or "it failed", now + self._pause_s

    def worked(self) -> None:
        with self._lock:
            self.why = ""
