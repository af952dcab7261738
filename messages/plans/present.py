"""A plan in words: its heading, what would happen, how far it is, why it stands still, what became of an item. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from console.core.charts import Piece, Share, stacked
from console.core.words import age_words, duration_words, size_words
from messages.models import Plan
from messages.plans.doing import COMPENSATE, word_of
from messages.plans.items import Item
from messages.plans.progress import Progress
from messages.plans.reasons import LEFT_OUT
from messages.plans.states import BEGUN, ENDED
from messages.plans.usual import Usual
from messages.plans.waves import FAILED, OVER

SENT = ("sending", "sent", "confirmed")
CANARY = 1


def noun_of(plan: Plan, count: int) -> str:
    """Return what so many of its messages are called: "order", "orders"; "messages" when they have no business key."""
    noun = str(plan.figures.get("noun") or "message")[:40]
    return noun if count == 1 else noun + ("es" if noun.endswith(("s", "x", "ch")) else "s")


def counted(plan: Plan, count: int) -> str:
    return f"{count:,} {noun_of(plan, count)}"


def target_of(plan: Plan) -> str:
    """Return where it sends to: the one destination, or how many there are."""
    found = plan.figures.get("destinations", [])
    if len(found) == 1:
        return str(found[0]["destination"]) or "where it came from"
    return f"{len(found)}{'' if len(found) < 20 else ' or more'} destinations"


def heading_of(plan: Plan) -> str:
    verb = "compensate" if plan.does == COMPENSATE else "replay"
    if not plan.items_count:
        return f"Nothing to {verb}: {plan.figures.get('selected', 0):,} left out"
    if plan.does == COMPENSATE:
        return f"Compensate {counted(plan, plan.items_count)}"
    return f"Replay {counted(plan, plan.items_count)} to {target_of(plan)}"


def chip_text(plan: Plan) -> str:
    """Return the words of its chip where the state alone is not enough; "" otherwise."""
    if plan.state == "running" and plan.wave_ends:
        return f"running, wave {plan.wave} of {len(plan.wave_ends)}"
    if plan.state == "paused" and plan.wave_ends:
        return f"paused in wave {plan.wave} of {len(plan.wave_ends)}"
    return ""


def rate_words(per_s: float) -> str:
    """Return a rate: "5/s", "1.1/s", "3 a minute", "2 an hour"."""
    if per_s >= 9.95:
        return f"{per_s:,.0f}/s"
    if per_s >= 0.1:
        return f"{per_s:.1f}".removesuffix(".0") + "/s"
    if per_s * 60 >= 1:
        return f"{per_s * 60:.0f} a minute"
    return f"{max(1, round(per_s * 3600))} an hour" if per_s > 0 else "0/s"


def span_words(seconds: float) -> str:
    """Return a span to come in whole seconds: "36 s", "2 min 05 s", "3 h 10"."""
    whole = max(1, round(seconds))
    return f"{whole} s" if whole < 60 else duration_words(whole * 1000)


def sentence_of(plan: Plan, usual: Sequence[Usual], *, now: datetime) -> str:
    """Return in one sentence what starting it would do."""
    figures = plan.figures
    if not plan.items_count:
        return "It would send nothing: everything that was selected is left out."
    brokers = sorted({str(one["broker"]) for one in figures.get("destinations", [])})
    over = f" over {brokers[0]}" if len(brokers) == 1 else f" over {len(brokers)} brokers" if brokers else ""
    oldest = f", the oldest {age_words(now - datetime.fromisoformat(figures['oldest']))} old" if figures.get("oldest") else ""  # fmt: skip
    if plan.does == COMPENSATE:
        return f"Undoes what had happened for {counted(plan, plan.items_count)}, by the compensation books of their flows{oldest}; {pace_words(plan)}."
    return (
        f"Sends {counted(plan, plan.items_count)} to {target_of(plan)}{over}, {size_words(figures.get('size_bytes', 0))}"
        f"{oldest}; {pace_words(plan)}{usual_words(usual)}."
    )


def pace_words(plan: Plan) -> str:
    if plan.rate_per_s is None:
        return "as fast as the workers take them" if plan.does == COMPENSATE else "as fast as the broker takes them"
    return f"about {span_words(plan.items_count / plan.rate_per_s)} at {rate_words(plan.rate_per_s)}"


def usual_words(usual: Sequence[Usual]) -> str:
    told = [f"{one.system} normally takes {rate_words(one.per_s)}" for one in usual if one.per_s]
    return "; " + ", ".join(told) if told else ""


def too_fast(plan: Plan, usual: Sequence[Usual]) -> str:
    """Return a warning when the rate is far above what the slowest receiver takes otherwise."""
    slowest = min(usual, key=lambda one: one.per_s, default=None)
    rate = plan.rate_per_s
    if slowest is None or not slowest.per_s or plan.items_count < 20:
        return ""
    if rate is None:
        return f"As fast as the broker takes them: {slowest.system} normally takes {rate_words(slowest.per_s)}."
    times = rate / slowest.per_s
    return f"{rate_words(rate)} is {times:,.0f} times what {slowest.system} normally takes." if times >= 3 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    reason: str
    words: str
    count: int


def left_out_of(plan: Plan, total: Mapping[str, int]) -> list[LeftOut]:
    """Return why items are left out, and how many each; what was found while it ran stands last."""
    reasons = plan.figures.get("left_out", {})
    found = [LeftOut(reason=one, words=words, count=reasons[one]) for one, words in LEFT_OUT.items() if reasons.get(one)]  # fmt: skip
    if meanwhile := total.get("left_out", 0):
        words = "left out when their turn came: not open any more, or the connection lost its approval"
        found.append(LeftOut(reason="", words=words, count=meanwhile))
    return found


def receiver_of(plan: Plan) -> str:
    return str(plan.figures.get("receiver") or "") or "its receiver"


def pieces_of(plan: Plan, total: Mapping[str, int]) -> tuple[Piece, ...]:
    """Return the bar: every item in exactly one piece, so that the counts add up to all of them."""
    receiver = receiver_of(plan)
    if plan.does == COMPENSATE:
        return _pieces_undone(total)
    shares = [
        Share(name=f"processed, proved by {receiver}", look="good", count=total.get("processed", 0)),
        Share(name="sent or confirmed", look="move", count=sum(total.get(one, 0) for one in SENT)),
        Share(name="unknown", look="warn", count=total.get("unknown", 0)),
        Share(name="failed again", look="bad", count=sum(total.get(one, 0) for one in FAILED)),
        Share(name="taken back or left out", look="idle", count=total.get("withdrawn", 0) + total.get("left_out", 0)),
        Share(name="waiting", look="", count=total.get("waiting", 0) + total.get("queued", 0)),
    ]
    always = {"processed, proved by " + receiver, "sent or confirmed", "failed again", "waiting"}
    return stacked([one for one in shares if one.count or one.name in always])


def _pieces_undone(total: Mapping[str, int]) -> tuple[Piece, ...]:
    shares = [
        Share(name="undone", look="good", count=total.get("processed", 0)),
        Share(name="being undone", look="move", count=total.get("sending", 0)),
        Share(name="stuck, or undone in part", look="bad", count=sum(total.get(one, 0) for one in FAILED)),
        Share(name="stopped or left out", look="idle", count=total.get("withdrawn", 0) + total.get("left_out", 0)),
        Share(name="not begun", look="", count=total.get("waiting", 0)),
    ]
    return stacked([one for one in shares if one.count or one.name != "stopped or left out"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """A box: its name, how many items, and a chip."""

    name: str
    items: int
    look: str
    words: str
    now: bool


def waves_of(plan: Plan, progress: Progress) -> list[Wave]:
    firsts = [0, *plan.wave_ends[:-1]]
    made = []
    for number, (begin, end) in enumerate(zip(firsts, plan.wave_ends, strict=False), 1):
        counts = Counter(progress.waves.get(number, {}))
        look, words = _wave_chip(plan, number, counts)
        name = "Canary" if number == 1 and end == CANARY and len(plan.wave_ends) > 1 else f"Wave {number}"
        is_now = plan.state in ("running", "paused", "aborted") and number == plan.wave
        made.append(Wave(name=name, items=end - begin, look=look, words=words, now=is_now))
    return made


def _wave_chip(plan: Plan, number: int, counts: Counter[str]) -> tuple[str, str]:
    failed = sum(counts[one] for one in FAILED)
    begun = plan.state in BEGUN and number <= plan.wave
    if failed:
        return "bad", f"{failed:,} {failed_words(plan)}"
    if counts["processed"] and counts["processed"] == counts.total():
        return "good", word_of(plan.does, "processed") or "processed"
    if counts["withdrawn"] and counts["withdrawn"] + counts["processed"] == counts.total():
        return "idle", "taken back"
    if begun and plan.waits_for == Plan.WaitsFor.CONFIRMED and counts["confirmed"] + counts["processed"] == counts.total():  # fmt: skip
        return "move still", "confirmed"
    if counts["unknown"]:
        return "warn", f"{counts['unknown']:,} unknown"
    if begun and counts.total() != counts["waiting"]:
        moving = plan.state == "running" and number == plan.wave
        return (
            "move" if moving else "move still"
        ), f"{counts['processed']:,} {word_of(plan.does, 'processed') or 'processed'}"
    return "idle", "waiting"


def failed_words(plan: Plan) -> str:
    return "stuck, or undone in part" if plan.does == COMPENSATE else "failed again"


def warning_of(plan: Plan, total: Mapping[str, int]) -> tuple[str, str]:
    """Return (what failed, how near the plan is to stopping itself); both "" while nothing failed. Counted as advance.py counts."""
    since = Counter(total) - Counter(plan.forgiven)
    failed = sum(since[one] for one in FAILED)
    decided = failed + since["processed"] + since["confirmed"]
    if not failed or plan.state not in ("running", "paused"):
        return "", ""
    return f"{failed:,} of {decided:,} {failed_words(plan)}.", (
        f"The plan stops itself above {plan.stop_failed_percent:g} %; it stands at {100 * failed / decided:.1f} %."
    )


def overdue_words(progress: Progress) -> str:
    """Return how many were sent and wait too long for a proof, and how long; "" when none does."""
    if not progress.overdue or progress.oldest_s is None:
        return ""
    many = f"{progress.overdue:,} {'is' if progress.overdue == 1 else 'are'}"
    return f"{many} sent, not confirmed as processed, the oldest for {age_words_s(progress.oldest_s)}."


def age_words_s(seconds: float) -> str:
    """Return a span as one unit: "12 s", "12 min", "3 h"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min" if seconds < 7200 else f"{seconds // 3600:.0f} h"


def tempo_words(plan: Plan, progress: Progress) -> str:
    """Return the rate now and the time left, of a running plan."""
    if plan.state != "running":
        return ""
    total = progress.total
    left = total["waiting"] + total["queued"]
    now = f"{progress.rate_per_s:.1f} a second"
    if not left:
        return f"{now} · all sent, waiting for proof" if any(total[one] for one in SENT) else now
    rate = plan.rate_per_s or progress.rate_per_s
    return f"{now} · about {span_words(left / rate)} left" if rate else now


def is_settled(total: Mapping[str, int]) -> bool:
    """Whether nothing can change any more: every item has its end."""
    return all(outcome in OVER for outcome, count in total.items() if count)


UNDONE = {
    "processed": "everything that had happened is undone",
    "sending": "undoes its steps, one after the other",
    "failed_again": "a step needs a person",
    "refused": "some of what had happened stays",
    "withdrawn": "stopped before any step had begun",
}


def evidence_of(item: Item, plan: Plan) -> str:
    """Return in words why the item has its outcome."""
    receiver = receiver_of(plan)
    if item.left_out:
        why = LEFT_OUT.get(item.left_out, item.left_out)
        return f"{why}: {item.detail}" if item.detail and plan.does == COMPENSATE else why
    if item.outcome == "waiting":
        if item.behind:
            return f"held back behind {item.behind}, same {_key_words(plan.order_key)}"
        return "never sent" if plan.state in ENDED else "waits for its turn"
    if plan.does == COMPENSATE:
        return item.detail or UNDONE[item.outcome]
    told = {
        "queued": item.detail or "waits for a worker",
        "sending": "a worker has it",
        "sent": "waiting for the broker",
        "confirmed": f"waiting for {receiver}",
        "processed": f"{item.prover or receiver} success",
        "failed_again": _death(item),
        "refused": item.detail or "the broker will not take it",
        "unknown": item.detail or "worker lost between send and mark",
        "withdrawn": item.detail or "taken back before it was sent",
    }
    return told[item.outcome]


def _death(item: Item) -> str:
    if item.later is None:
        return item.detail or "it died again"
    return item.later.error_root_type or item.later.error_message[:160] or item.later.reason or "it died again"


def _key_words(key: str) -> str:
    for suffix in ("_no", "_id", "_number", "_nr"):
        key = key.removesuffix(suffix)
    return key.replace("_", " ")


def bounds_words(plan: Plan) -> str:
    said = f"more than {plan.stop_failed_percent:g} % {failed_words(plan)}"
    if plan.does == COMPENSATE:
        return said
    return said + (f", or latency × {plan.stop_latency_times:g}" if plan.stop_latency_times else "")


def order_words(plan: Plan) -> str:
    if not plan.order_key:
        return "none kept: as they come"
    keys = plan.figures.get("keys", 0)
    return f"kept per {_key_words(plan.order_key)}, {keys:,} of them"


def selected_words(plan: Plan) -> str:
    return f"{plan.figures.get('selected', 0):,} matched, {plan.items_count:,} in the plan"


def facts_of(plan: Plan) -> dict[str, Any]:
    """Return the words of the plan's facts."""
    proved = plan.waits_for == Plan.WaitsFor.PROCESSED
    waits = "processed, proved by the receiver" if proved else "confirmed by the broker"
    return {
        "selected": selected_words(plan),
        "order": order_words(plan),
        "bounds": bounds_words(plan),
        "waves": ", ".join(plan.steps),
        "waits": "undone" if plan.does == COMPENSATE else waits,
        "wait": age_words_s(plan.wave_wait_s),
        "rate": pace_words(plan) if plan.rate_per_s is None else rate_words(plan.rate_per_s),
        "checksum": f"{plan.checksum[:4]}…{plan.checksum[-2:]}",
    }
