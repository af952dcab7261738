"""Results of replays on the agent's own disk until the console has them, so that a restart does not make them unknown."""

from __future__ import annotations

import json
from pathlib import Path

from agents.sdk.spool import Spool
from messages.orders.wire import RESULTS

MOST_BYTES = 10 * 1024 * 1024  # never reached: no new order is fetched while results wait


class Reports:
    """The reports of one broker, oldest first. Without a disk to write to they wait in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unwritten: list[bytes] = []

    def keep(self, results: list[dict[str, object]]) -> None:
        """Keep one report; on the disk when this returns, or in memory when it raises OSError."""
        data = json.dumps({"results": results}).encode()
        self.unwritten.append(data)
        Spool(self.folder, MOST_BYTES).write([(RESULTS, data)])
        self.unwritten.pop()

    def next(self) -> tuple[Path | None, bytes] | None:
        """Return the report that waits longest, None when none does. Raises OSError."""
        if self.folder.is_dir():
            for path in Spool(self.folder, MOST_BYTES).files():
                return path, b"\n".join(data for _, data in Spool.read(path))
        return (None, self.unwritten[0]) if self.unwritten else None

    def done(self, path: Path | None) -> None:
        """The console has it, or will never take it."""
        if path is None:
            self.unwritten.pop(0)
        else:
            path.unlink(missing_ok=True)
