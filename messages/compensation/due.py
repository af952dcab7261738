"""When the engine looks at a compensation next. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from messages.compensation.states import BEGUN

OFTEN_S = 2.0  # while a proof is waited for, or others are in the way
RARELY_S, MOST_S = 15.0, 900.0  # for what completes late
AFTER_THE_END = timedelta(days=1)  # so long what completes late, and what proves, is still looked for


@dataclass(slots=True, kw_only=True)
class Waits:
    """What a compensation waits for: a moment, others who have the seats or stopped its flow, a proof."""

    until: datetime | None = None
    for_others: bool = False
    for_proof: bool = False


class Looked(Protocol):
    """What is asked of a compensation."""

    state: str
    state_at: datetime
    begins_at: datetime | None
    finished_at: datetime | None


def next_look(run: Looked, waits: Waits, now: datetime) -> datetime | None:
    """Return when: the sooner the younger its state is; None when it ended more than a day ago."""
    if run.begins_at is not None and run.begins_at > now and run.state == "running":
        return run.begins_at
    ended = run.state not in BEGUN
    if ended and (run.finished_at is None or now - run.finished_at > AFTER_THE_END):
        return None
    age_s = (now - run.state_at).total_seconds()
    rarely = now + timedelta(seconds=min(MOST_S, max(RARELY_S, age_s / 20)))
    if run.state != "running":
        return rarely
    if waits.for_others or waits.for_proof:
        return now + timedelta(seconds=min(RARELY_S, max(OFTEN_S, age_s / 300)))
    return min(rarely, max(waits.until, now + timedelta(seconds=0.2))) if waits.until else rarely
