"""The in-memory double that ships with the product: queues by address, shared by every connector of that address.

Nobody can choose it: it would confirm what goes nowhere. Who wants it, as the tests do, declares it in CONSOLE_FAMILIES.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from messages.connectors.base import (
    Address,
    Check,
    Family,
    Move,
    Outgoing,
    Published,
    Received,
    Redrivable,
    RedriveRefused,
)

FAMILY = Family(
    kind="memory",
    label="Memory",
    schemes=("memory",),
    example="memory://here",
    connector="messages.connectors.memory.MemoryConnector",
    source="messages.connectors.memory.MemorySource",
    expires=True,
)
QUEUES: dict[str, dict[str, list[Outgoing]]] = defaultdict(lambda: defaultdict(list))
MOVES: dict[str, list[Move]] = defaultdict(list)
LETTERS: dict[str, list[tuple[int, dict[str, object]]]] = defaultdict(list)


class MemoryConnector:
    """Keeps what it is given; destinations named in options["refuse"], ["unavailable"], ["unknown"] answer so."""

    kind = "memory"
    at_once = 100
    redriver, fastest = "Memory", 500

    def __init__(self, address: Address) -> None:
        self.address = address

    def publish(self, items: Sequence[Outgoing], *, timeout_s: float) -> list[Published]:
        return [self._publish(item) for item in items]

    def _publish(self, item: Outgoing) -> Published:
        if item.destination == self.address.options.get("refuse"):
            return Published(id=item.id, result="refused", detail="no queue takes it")
        if item.destination == self.address.options.get("unavailable"):
            return Published(id=item.id, result="unavailable", detail="the broker cannot be reached")
        if item.destination == self.address.options.get("unknown"):
            return Published(id=item.id, result="unknown", detail="the line broke while sending")
        queue = QUEUES[self.address.url][item.destination]
        queue.append(item)
        return Published(id=item.id, result="confirmed", detail="kept", broker_id=str(len(queue)))

    def check(self, destination: str | None) -> list[Check]:
        return [Check(question="reached", answer=True, detail="it is in this process")]

    def hints(self, item: Outgoing, *, died_in: str, timeout_s: float) -> list[str]:
        """Return options["hint"], after options["slow_s"]."""
        time.sleep(float(str(self.address.options.get("slow_s") or 0)))
        said = self.address.options.get("hint")
        return [f"{item.destination}: {said}"] if said else []

    def redrivable(self, queue: str, *, timeout_s: float) -> Redrivable:
        """Every queue is that of the letters of this address; options["sources"] names where they came from."""
        sources = self.address.options.get("sources")
        return Redrivable(
            waiting=len(LETTERS[self.address.url]),
            sources=[str(one) for one in sources] if isinstance(sources, list) else [],
        )

    def redrive(self, queue: str, *, per_second: int | None, timeout_s: float) -> None:
        moves = MOVES[self.address.url]
        if any(one.status == "running" for one in moves):
            raise RedriveRefused(f"a move of {queue} is running already")
        moves.insert(
            0,
            Move(
                status="running", moved=0, to_move=len(LETTERS[self.address.url]), destination="", failure="",
                started_at=datetime.now(UTC), handle=str(len(moves) + 1),
            ),
        )  # fmt: skip

    def redrives(self, queue: str, *, timeout_s: float) -> list[Move]:
        return list(MOVES[self.address.url])

    def cancel_redrive(self, queue: str, handle: str, *, timeout_s: float) -> None:
        moves = MOVES[self.address.url]
        if handle not in {one.handle for one in moves if one.status == "running"}:
            raise RedriveRefused("no such move is running")
        moves[:] = [replace(one, status="cancelled", handle="") if one.handle == handle else one for one in moves]

    def close(self) -> None: ...


class MemorySource:
    """Dead letters put into LETTERS[address]."""

    def __init__(self, address: Address, *, broker: str, queue: str, options: Mapping[str, object]) -> None:
        self.letters = LETTERS[address.url]

    def receive(self, limit: int, wait_s: float) -> list[Received]:
        return [Received(token=token, letter=letter) for token, letter in self.letters[:limit]]

    def acknowledge(self, tokens: Sequence[object]) -> None:
        self.letters[:] = [(token, letter) for token, letter in self.letters if token not in tokens]

    def peek(self, limit: int, after: object | None) -> list[Received]:
        tokens = [token for token, _ in self.letters]
        start = tokens.index(after) + 1 if after in tokens else 0  # type: ignore[arg-type]
        return [Received(token=token, letter=letter) for token, letter in self.letters[start : start + limit]]

    def depth(self) -> int | None:
        return len(self.letters)

    def check(self) -> list[Check]:
        return [Check(question="reached", answer=True, detail="it is in this process")]

    def close(self) -> None: ...
