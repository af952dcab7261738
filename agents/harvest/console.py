"""What a harvester says to the console."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from agents.sdk.transport import ConsoleAway, ConsoleRefuses, Transport
from messages.orders.wire import ORDERS, RESULTS, SIGNATURE, Ask, sign

__all__ = ["Console", "ConsoleAway", "ConsoleRefuses"]


class Console(Transport):
    """One connection, kept open; not shared between threads."""

    def push_dead_letters(self, letters: Sequence[dict[str, object]], *, occasion: str = "") -> dict[str, Any]:
        """Store these dead letters; returns {"accepted", "duplicates", "rejected"}. Raises ConsoleAway, ConsoleRefuses.

        occasion  tells the same letters apart that are reported anew because they came back after they had gone.
        """
        body = json.dumps(letters, ensure_ascii=False).encode("utf-8", "surrogatepass")
        key = hashlib.sha256(body + occasion.encode()).hexdigest()
        return self.post("/ingest/v1/dead-letters", body, {"Idempotency-Key": key})

    def report_gone(self, ids: Sequence[str]) -> dict[str, Any]:
        """Say that these letters are in their queue no longer, and that it was not us who took them; returns {"closed"}."""
        return self.post("/ingest/v1/dead-letters/gone", json.dumps({"ids": list(ids)}).encode(), {})

    def heartbeat(self, report: dict[str, object]) -> None:
        self.post("/ingest/v1/heartbeat", json.dumps(report).encode(), {})

    def ask_for_order(self, ask: Ask, *, secret: str) -> dict[str, Any]:
        """Return {"order", "signature"}, or {"order": None, "words", "again_s"} when there is nothing to send. Raises as above."""
        data = ask.data()
        return self.post(ORDERS, data, {SIGNATURE: sign(secret, "ask", data)})

    def report_results(self, data: bytes, *, secret: str) -> dict[str, Any]:
        """Say what became of the items of an order; the same twice is harmless. Raises as above."""
        return self.post(RESULTS, data, {SIGNATURE: sign(secret, "results", data)})
