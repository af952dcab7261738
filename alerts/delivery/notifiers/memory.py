"""The in-memory double that ships with the product: keeps what it is told, and answers as its address says.

Nobody can choose it: it would confirm what goes nowhere. Who wants it, as the tests do, declares it in CONSOLE_NOTIFIERS.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from alerts.delivery.notifiers.base import Field, Said, Telling, Told
from alerts.delivery.notifiers.http import check_fields

TOLD: dict[str, list[Telling]] = defaultdict(list)
ANSWERS: dict[str, list[Told]] = defaultdict(list)  # by name: what the next tellings are answered, then taken again


class Memory:
    kind = "memory"
    label = "Memory"
    fields = (Field(name="name", label="Name"), Field(name="token", label="Token", secret=True, required=False))
    hosts: tuple[str, ...] = ()
    a_second, at_once = 1_000.0, 4
    repeat_s: float | None = None
    longest_s = 5.0

    def check(self, said: Said) -> None:
        check_fields(self.fields, said)

    def addresses(self, said: Said) -> list[str]:
        return []

    def tell(self, telling: Telling, said: Said, allowed: Collection[str]) -> Told:
        waiting = ANSWERS[said["name"]]
        told = waiting.pop(0) if waiting else Told(result="taken", answer="kept in memory", status=200)
        if told.result == "taken":
            TOLD[said["name"]].append(telling)
        return told


MEMORY = Memory()
