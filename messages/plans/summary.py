"""A plan in one sentence, and in parts that add up. What was only sent is never called done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from messages.models import Plan
from messages.plans.doing import COMPENSATE, word_of
from messages.plans.queries import counts_of, total_of
from messages.plans.reasons import LEFT_OUT
from messages.plans.release import rate_of
from messages.plans.states import WORDS
from messages.plans.stops import why_stopped
from messages.plans.waves import OUTCOMES

# In a sentence; `processed` alone is proved.
OUTCOME_WORDS = {
    "processed": "processed, proved by the receiver",
    "confirmed": "confirmed by the broker, not proved",
    "sent": "sent, waiting for the broker",
    "sending": "being sent",
    "queued": "waiting for a worker",
    "failed_again": "failed again",
    "refused": "refused by the broker",
    "unknown": "of unknown outcome",
    "withdrawn": "taken back before they were sent",
    "left_out": "left out when their turn came",
    "waiting": "not handed over yet",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """One wave: its number from 1, the ordinals of its items, and {outcome: items} of them."""

    number: int
    first: int
    last: int
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a plan stands for now. counts sum to items; items and what `left_out` counts of the freezing to `selected`.

    held  why nothing is sent although it runs; "" when something is.   per_s  what its flows and itself allow; None: no limit.
    """

    sentence: str
    selected: int
    items: int
    left_out: list[dict[str, Any]]
    counts: Mapping[str, int]
    waves: list[Wave]
    held: str
    per_s: float | None


def summary_of(plan: Plan) -> Summary:
    """Return the summary of a plan that the reader may see: four statements, whatever its size."""
    by_wave = counts_of(plan)
    total = total_of(by_wave)
    firsts = [1, *(end + 1 for end in plan.wave_ends[:-1])]
    waves = [
        Wave(number=number, first=first, last=last, counts=in_order(by_wave[number]))
        for number, (first, last) in enumerate(zip(firsts, plan.wave_ends, strict=False), 1)
    ]
    held = why_stopped(plan) if plan.state == "running" else ""
    return Summary(
        sentence=sentence_of(plan, total, held),
        selected=plan.figures.get("selected", 0),
        items=plan.items_count,
        left_out=left_out_of(plan),
        counts=in_order(total),
        waves=waves,
        held=held,
        per_s=rate_of(plan),
    )


def left_out_of(plan: Plan) -> list[dict[str, Any]]:
    """Return what was left out when it was frozen, [{"reason", "words", "items"}], most first."""
    found = Counter(plan.figures.get("left_out", {}))
    return [{"reason": why, "words": LEFT_OUT[why], "items": items} for why, items in found.most_common()]


def in_order(counts: Mapping[str, int]) -> dict[str, int]:
    """Return every outcome in its usual order, 0 for none, so that programs find each."""
    return {outcome: counts.get(outcome, 0) for outcome in OUTCOMES}


def sentence_of(plan: Plan, total: Mapping[str, int], held: str = "") -> str:
    """Return what the plan is and how far it is, e.g. "P-12 is running: of 40 messages 38 are processed, proved by the receiver"."""
    state = plan.state.replace("_", " ")
    left_out = sum(plan.figures.get("left_out", {}).values())
    beside = f", {left_out:,} of the selection left out" if left_out else ""
    messages = f"{plan.items_count:,} message{'' if plan.items_count == 1 else 's'}"
    if plan.started_at is None:
        return f"{plan.reference} is {state}: {WORDS[plan.state]}; {messages} would be {'undone' if plan.does == COMPENSATE else 'sent'}{beside}"
    parts = [
        f"{total[one]:,} {word_of(plan.does, one) or words}" for one, words in OUTCOME_WORDS.items() if total.get(one)
    ]
    stopped = f"; nothing is sent now: {held}" if held else ""
    return f"{plan.reference} is {state}: of {messages} {', '.join(parts)}{beside}{stopped}"
