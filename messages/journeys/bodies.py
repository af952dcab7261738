"""The bodies on the way of a journey, in order of time: what can be compared with what. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

MOST_BODIES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyOnTheWay:
    """An event or dead letter that brought a body."""

    id: UUID
    at: datetime
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bodies:
    """What can be chosen, and the pair that is offered: the first and the last."""

    choices: Sequence[BodyOnTheWay]
    left: UUID
    right: UUID


def bodies_of(journey: Any, may_read: Callable[[Any], bool]) -> Bodies | None:
    """Return the bodies of a journey when there are at least two to compare, of the flows whose payloads the reader may read."""
    found = [
        BodyOnTheWay(id=step.event.id, at=step.at, label=f"{step.label} {step.event.destination or ''}".strip())
        for step in journey.steps
        if step.event.payload_on and may_read(step.event.flow)
    ]
    found += [
        BodyOnTheWay(id=letter.pk, at=letter.failed_at, label=f"dead letter in {letter.queue}")
        for letter in journey.dead_letters
        if letter.payload_on and may_read(letter.flow)
    ]
    found.sort(key=lambda one: one.at)
    if len(found) < 2:
        return None
    shown = found[:MOST_BODIES]
    return Bodies(choices=shown, left=shown[0].id, right=shown[-1].id)
