"""When a letter is due for a rule, what its budget leaves, and whether a flow is well enough to be sent to. Pure; the caller brings the clock."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from console.core.errors import Invalid

MOST_TRIES = 10
LONGEST_MIN = 7 * 24 * 60
LOOKED_BACK_MIN = 15
LEAST_EVENTS = 5  # of these minutes: of fewer no share is told


def parse_waits(text: str) -> list[int]:
    """Return the minutes in "5, 15, 60", at most ten, each a minute to a week; they may have a space, a comma or both between. Raises Invalid."""
    words = [word for word in re.split(r"[,;\s]+", text[:200].strip()) if word]
    if not words or not all(word.isascii() and word.isdigit() and len(word) <= 6 for word in words):
        raise Invalid("say after how many minutes each replay goes, such as 5, 15, 60")
    return check_waits([int(word) for word in words])


def check_waits(minutes: Sequence[int]) -> list[int]:
    """Return them as they are; raises Invalid for what no schedule can be."""
    if not 1 <= len(minutes) <= MOST_TRIES:
        raise Invalid(f"a rule replays a message once to {MOST_TRIES} times")
    if not all(1 <= one <= LONGEST_MIN for one in minutes):
        raise Invalid("a replay waits a minute to a week")
    return list(minutes)


def is_due(waits: Sequence[int], *, tried: int, since: datetime, now: datetime) -> bool:
    """Whether a letter goes now.

    tried  replays of the message until now, all its deaths together.   since  it died, or its last replay was refused.
    """
    return tried < len(waits) and now - since >= timedelta(minutes=waits[tried])


def budget_left(*, per_hour: int, per_day: int, last_hour: int, last_day: int) -> int:
    """Return how many messages a rule may send now: what neither the last hour nor the last day has used up; never below 0."""
    return max(0, min(per_hour - last_hour, per_day - last_day))


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What the receivers of one flow did in the last minutes: events of processing and settling."""

    succeeded: int = 0
    failed: int = 0

    @property
    def percent(self) -> float | None:
        """Return the share that succeeded, 0 to 100; None where too little happened to tell."""
        total = self.succeeded + self.failed
        return 100 * self.succeeded / total if total >= LEAST_EVENTS else None


def why_unwell(health: Health, above_percent: float) -> str:
    """Return why nothing is sent to a flow that stands so, in words; "" when it is well."""
    percent, total = health.percent, health.succeeded + health.failed
    if percent is None:
        few = f"only {total} of {LEAST_EVENTS} needed events were" if total else "nothing was"
        return f"{few} processed in the last {LOOKED_BACK_MIN} min"
    if percent > above_percent:
        return ""
    return f"{percent:.1f} % of {total:,} succeeded in the last {LOOKED_BACK_MIN} min, and it sends only above {above_percent:g} %"


def waits_words(waits: Sequence[int]) -> str:
    """Return "3 times, after 5, 15 and 60 min", "once, after 5 min"."""
    times = "once" if len(waits) == 1 else f"{len(waits)} times"
    said = [str(one) for one in waits]
    return f"{times}, after {' and '.join([', '.join(said[:-1]), said[-1]] if len(said) > 1 else said)} min"
