"""The switches in Redis, read at most once a second by each process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from agents.demo.names import FAULTS, FAULTS_KEY

FRESH_S = 1.0


def switches(client: Any) -> dict[str, bool]:
    """Return {fault: is it on}; one that was never switched is on."""
    stored: Mapping[bytes, bytes] = client.hgetall(FAULTS_KEY)
    return {fault.name: stored.get(fault.name.encode(), b"1") != b"0" for fault in FAULTS}


def switch(client: Any, name: str, *, on: bool) -> None:
    """Switch one fault; raises KeyError for one that does not exist."""
    if name not in {fault.name for fault in FAULTS}:
        raise KeyError(name)
    client.hset(FAULTS_KEY, name, "1" if on else "0")


class Faults:
    """What a process knows of the switches."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self._known: dict[str, bool] = {}
        self._read_at = -FRESH_S

    def is_on(self, name: str) -> bool:
        if time.monotonic() - self._read_at >= FRESH_S:
            self._known = switches(self.client)
            self._read_at = time.monotonic()
        return self._known[name]
