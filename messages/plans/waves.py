"""How a plan is cut into waves, when a wave is over, and when a plan stops itself. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from console.core.errors import Invalid

DEFAULT = ("1", "5%", "25%", "100%")
MOST_WAVES = 10
STEP = re.compile(r"([1-9]\d{0,8})(?:\.(\d{1,2}))?\s*(%?)", re.ASCII)

# What became of an item, one of these: its replay's state, or that it has none.
WAITING, LEFT_OUT, WITHDRAWN = "waiting", "left_out", "withdrawn"
OUTCOMES = (
    WAITING,
    "queued",
    "sending",
    "sent",
    "confirmed",
    "processed",
    "failed_again",
    "refused",
    "unknown",
    LEFT_OUT,
    WITHDRAWN,
)
OVER = frozenset({"processed", "failed_again", "refused", LEFT_OUT, WITHDRAWN})  # nothing follows
FAILED = frozenset({"failed_again", "refused"})
# What lets the next item of the same key go, by what the plan waits for.
SETTLED = {"processed": ["processed", "withdrawn"], "confirmed": ["processed", "confirmed", "withdrawn"]}
# Of the replay r: its outcome, where what a person has closed on their word counts as processed.
OUTCOME = "CASE WHEN {r}.state IN ('sent', 'confirmed', 'unknown') AND {r}.finished_at IS NOT NULL THEN 'processed' ELSE {r}.state END"
Counts = Mapping[str, int]  # {outcome: items}


def parse_waves(steps: Sequence[str]) -> list[str]:
    """Return the steps, each a number of items or a share in per cent, all cumulative; the last is made 100 %. Raises Invalid."""
    cleaned = [step.strip().replace(" ", "") for step in steps if step.strip()]
    if len(cleaned) > MOST_WAVES:
        raise Invalid(f"a plan has at most {MOST_WAVES} waves")
    for step in cleaned:
        match = STEP.fullmatch(step)
        if match is None or (match[2] and not match[3]) or (match[3] and _share(match) > 1):
            raise Invalid(f"“{step[:40]}” is no wave: say a number of items, or a share such as 5%")
    return [*cleaned, "100%"] if not cleaned or cleaned[-1] != "100%" else cleaned


def wave_ends(steps: Sequence[str], items: int) -> list[int]:
    """Return the ordinal of each wave's last item, rising, the last one `items`; [] for none. Steps that add nothing are dropped."""
    ends: list[int] = []
    for step in steps:
        match = STEP.fullmatch(step)
        assert match is not None, step
        end = min(items, -(-items * _share(match) // 1) if match[3] else int(match[1]))
        if end > (ends[-1] if ends else 0):
            ends.append(int(end))
    return ends


def _share(match: re.Match[str]) -> Fraction:
    return Fraction(f"{match[1]}.{match[2] or 0}") / 100


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a plan stops itself. failed_percent: of what has an outcome; latency_times: over the usual; None: not looked at."""

    failed_percent: float
    latency_times: float | None


def why_abort(counts: Counts, bounds: Bounds, *, latency_s: float | None, usual_s: float | None) -> str:
    """Return why a plan must stop itself, in words; "" while it need not.

    counts     of the whole plan.
    latency_s  from sending to processing, of the latest items; usual_s what the receiver takes otherwise; None: not known.
    """
    failed = sum(counts.get(outcome, 0) for outcome in FAILED)
    decided = failed + counts.get("processed", 0) + counts.get("confirmed", 0)
    if failed and 100 * failed > bounds.failed_percent * decided:
        return f"{failed} of {decided} failed again: more than {bounds.failed_percent:g} %"
    if bounds.latency_times and latency_s and usual_s and latency_s > bounds.latency_times * usual_s:
        return f"the receiver takes {latency_s:.1f} s, usually {usual_s:.1f} s: more than {bounds.latency_times:g} times as long"
    return ""
