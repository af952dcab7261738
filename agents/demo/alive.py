"""A process's sign of life in Redis: who, since when, how much in the last minute. The page reads it."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from typing import Any

from agents.demo.names import ALIVE_KEY

EVERY_S = 2.0
GONE_AFTER_S = 10


class Alive:
    """Counts what a process does and says so every two seconds."""

    def __init__(self, client: Any, name: str) -> None:
        self.client, self.name = client, name
        self.since = time.time()
        self._said_at = 0.0
        self._recent: deque[tuple[float, bool]] = deque(maxlen=20_000)

    def count(self, *, ok: bool) -> None:
        self._recent.append((time.monotonic(), ok))

    def say(self) -> None:
        now = time.monotonic()
        if now - self._said_at < EVERY_S:
            return
        while self._recent and now - self._recent[0][0] > 60:
            self._recent.popleft()
        done = sum(ok for _, ok in self._recent)
        said = {"pid": os.getpid(), "since": self.since, "done": done, "failed": len(self._recent) - done}
        self.client.set(f"{ALIVE_KEY}{self.name}", json.dumps(said), ex=GONE_AFTER_S)
        self._said_at = now

    def leave(self) -> None:
        self.client.delete(f"{ALIVE_KEY}{self.name}")
