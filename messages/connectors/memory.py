"""The in-memory double that ships with the product: queues by address, shared by every connector of that address.

Nobody can choose it: it would confirm what goes nowhere. Who wants it, as the tests do, declares it in CONSOLE_FAMILIES.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from messages.connectors.base import Address, Check, Family, Outgoing, Published, Received

FAMILY = Family(
    kind="memory",
    label="Memory",
    schemes=("memory",),
    example="memory://here",
    connector="messages.connectors.memory.MemoryConnector",
    source="messages.connectors.memory.MemorySource",
)
QUEUES: dict[str, dict[str, list[Outgoing]]] = defaultdict(lambda: defaultdict(list))
LETTERS: dict[str, list[tuple[int, dict[str, object]]]] = defaultdict(list)


class MemoryConnector:
    """Keeps what it is given; destinations named in options["refuse"], ["unavailable"], ["unknown"] answer so."""

    kind = "memory"
    at_once = 100

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
