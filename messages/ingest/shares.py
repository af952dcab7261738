"""Who is pushed back when there is too much: shares of a busy process, and buckets of a quota. Pure: the caller brings the clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW_S = 2.0
BUSY = 0.8  # of the threads' time in the window: under it nobody is pushed back


@dataclass(slots=True)
class Shares:
    """What each agent took of a process's time lately. `threads`: how many requests it serves at once."""

    threads: int
    taken: deque[tuple[float, int, float]] = field(default_factory=deque)  # (when it ended, agent, seconds)
    sums: dict[int, float] = field(default_factory=dict)

    def took(self, agent: int, seconds: float, *, now: float) -> None:
        self.taken.append((now, agent, seconds))
        self.sums[agent] = self.sums.get(agent, 0.0) + seconds
        self._forget(now)

    def is_over(self, agent: int, *, now: float) -> bool:
        """Whether the process is busy, others want it too, and this agent had more than its part of it."""
        self._forget(now)
        total = sum(self.sums.values())
        if len(self.sums.keys() - {agent}) == 0 or total < BUSY * self.threads * WINDOW_S:
            return False
        parties = len(self.sums.keys() | {agent})
        return self.sums.get(agent, 0.0) > total / parties

    def _forget(self, now: float) -> None:
        while self.taken and self.taken[0][0] < now - WINDOW_S:
            _, agent, seconds = self.taken.popleft()
            self.sums[agent] -= seconds
            if self.sums[agent] <= 1e-9:
                del self.sums[agent]


@dataclass(slots=True)
class Bucket:
    """A token bucket that may go into debt: a batch larger than the bucket still passes, and is paid for afterwards."""

    rate: float  # tokens a second
    tokens: float
    at: float
    burst_s: float = 10.0

    def take(self, amount: float, *, now: float) -> float:
        """Take tokens; return the seconds until the bucket is out of debt, 0 when it is."""
        self.tokens = min(self.rate * self.burst_s, self.tokens + max(0.0, now - self.at) * self.rate)
        self.at = max(self.at, now)
        self.tokens -= amount
        return max(0.0, -self.tokens / self.rate)
