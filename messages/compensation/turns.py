"""Whose turn it is in a compensation. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from messages.compensation.states import STEP_OVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one step stands. overdue: its proof was waited for as long as its book says."""

    name: str
    state: str
    after: Sequence[str] = ()
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """go: the step `at` is to be sent or handed over; wait: something is under way; stick: the step `at` needs a person; end: all are over."""

    kind: str
    at: int = 0


def whose_turn(steps: Sequence[Standing], *, go_on: bool) -> Turn:
    """Return whose turn it is: one at a time, in their order.

    go_on  past a step that failed, or is unknown, those that do not wait for it have their turn; else nothing has.
    """
    held: dict[str, int] = {}  # steps that did not end well, and those that wait for them
    for at, step in enumerate(steps):
        if step.state in STEP_OVER:
            continue
        if step.state in ("failed", "unknown") or step.overdue:
            held[step.name] = at
            if not go_on:
                break
        elif step.state in ("sent", "task"):
            return Turn("wait")
        elif held.keys() & set(step.after):
            held[step.name] = at
        else:
            return Turn("go", at)
    return Turn("stick", next(iter(held.values()))) if held else Turn("end")
