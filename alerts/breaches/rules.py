"""When what was looked at fires, and when it is over. Pure: a standing breach, one look, the time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from alerts.conditions import Holds

HOLD_DOWN = timedelta(minutes=2)  # it must be well for so long before it is over
FLAP_WINDOW = timedelta(minutes=15)  # what fires again within this time is the same breach
QUIET = timedelta(minutes=30)  # a breach that comes and goes is told at most once in this time
WATCHED = timedelta(minutes=5)  # not looked at for longer: its watcher is dead
FROZEN_LONG = timedelta(hours=1)  # not measured for longer: whoever is missed may be gone for good
LONGEST_PENDING = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """fires_at     a pending breach fires then, when it still holds.
    clear_since  it has been well since; None while it holds.
    frozen_at    it cannot be measured since: neither clock runs meanwhile.
    """

    fires_at: datetime
    clear_since: datetime | None = None
    frozen_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """happening  fire, clear or calm, as in states.TRANSITIONS; "" for nothing."""

    happening: str
    clocks: Clocks


def judge(state: str, clocks: Clocks, holds: Holds, now: datetime) -> Judgement:
    """Return what one look does to an open breach. Nothing ends by UNKNOWN, and no time passes by it."""
    if holds is Holds.UNKNOWN:
        frozen = Clocks(fires_at=clocks.fires_at, clear_since=clocks.clear_since, frozen_at=clocks.frozen_at or now)
        return Judgement(happening="", clocks=frozen)
    stood = max(now - clocks.frozen_at, timedelta()) if clocks.frozen_at else timedelta()
    fires_at = clocks.fires_at + stood if state == "pending" else clocks.fires_at
    if holds is Holds.YES:
        fire = state == "pending" and now >= fires_at
        return Judgement(happening="fire" if fire else "", clocks=Clocks(fires_at=fires_at))
    since = clocks.clear_since + stood if clocks.clear_since else now
    well = "clear" if now - since >= HOLD_DOWN else ""
    happening = "calm" if state == "pending" else well
    return Judgement(happening=happening, clocks=Clocks(fires_at=fires_at, clear_since=since))
