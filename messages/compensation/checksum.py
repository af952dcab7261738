"""The checksum of a compensation: what a second person approves and what is executed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from console.core.ids import framed
from messages.models import Compensation, CompensationStep

SETTLED_BEFORE = frozenset({"skipped", "by_hand"})  # what people may say of a step before it is started


def checksum_of(compensation: Compensation, steps: Iterable[CompensationStep]) -> str:
    """Return SHA-256, in hex, over the steps in their order, what each sends where, and which are not sent."""
    parts: list[object] = [compensation.environment_id, compensation.book_id, compensation.on_failure]
    for step in steps:
        stands = step.state if step.state in SETTLED_BEFORE else ""
        parts += [
            step.ordinal,
            step.name,
            step.idempotency_key.hex,
            step.kind,
            step.action_sha256,
            step.problem,
            stands,
        ]
    return hashlib.sha256(framed("waybill compensation 1", *parts)).hexdigest()
