"""What a harvester says to the console."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from agents.sdk.transport import ConsoleAway, ConsoleRefuses, Transport

__all__ = ["Console", "ConsoleAway", "ConsoleRefuses"]


class Console(Transport):
    """One connection, kept open; not shared between threads."""

    def push_dead_letters(self, letters: Sequence[dict[str, object]]) -> dict[str, Any]:
        """Store these dead letters; returns {"accepted", "duplicates", "rejected"}. Raises ConsoleAway, ConsoleRefuses."""
        body = json.dumps(letters, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return self.post("/ingest/v1/dead-letters", body, {"Idempotency-Key": hashlib.sha256(body).hexdigest()})

    def heartbeat(self, report: dict[str, object]) -> None:
        self.post("/ingest/v1/heartbeat", json.dumps(report).encode(), {})
