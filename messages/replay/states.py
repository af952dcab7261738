"""The states of a replay, the only ways between them, and which way a result leads. Pure; docs/replay.md draws its diagram from this dict."""

from __future__ import annotations

from dataclasses import dataclass

from messages.connectors.base import Published

MOST_ATTEMPTS = 10  # one that ends every worker is not sent for ever
WITHHELD_S = 2  # else who claims would meet it again at once, until what holds it is there for its claim to see

TRANSITIONS: dict[str, frozenset[str]] = {
    # claimed by a worker; or its plan is stopped: withdrawn, or unknown when an attempt before may have left
    "queued": frozenset({"sending", "withdrawn", "unknown"}),
    # what the broker said, or that nobody said anything; back to queued when it was surely not sent
    "sending": frozenset({"sending", "queued", "confirmed", "sent", "refused", "unknown", "processed", "failed_again"}),
    "sent": frozenset({"confirmed", "processed", "failed_again"}),
    "confirmed": frozenset({"processed", "failed_again"}),
    # the receiver's event, or a person, ends the doubt
    "unknown": frozenset({"queued", "processed", "failed_again"}),
    "processed": frozenset(),
    "failed_again": frozenset(),
    "refused": frozenset(),
    "withdrawn": frozenset(),
}

IN_FLIGHT = frozenset({"queued", "sending", "sent", "confirmed"})
AWAITING_PROOF = frozenset({"sending", "sent", "confirmed", "unknown"})
FINAL = frozenset(state for state, following in TRANSITIONS.items() if not following)

WORDS = {
    "queued": "waits for a worker",
    "sending": "a worker has it",
    "sent": "handed over, not confirmed",
    "confirmed": "the broker took it, no proof of processing yet",
    "processed": "proved by the receiver's own event",
    "failed_again": "died again: see the later dead letter",
    "refused": "the broker or endpoint will not take it",
    "unknown": "may or may not have been sent",
    "withdrawn": "taken back before it was sent",
}


def can_move(before: str, after: str) -> bool:
    return after in TRANSITIONS[before]


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a replay goes from `sending`, words for the operator, and how long it waits before its next attempt."""

    state: str
    detail: str
    wait_s: int = 0


def mark_of(result: Published, attempt: int, *, idempotent: bool) -> Mark:
    """Return what the result of this attempt leads to. attempt: of those that count; idempotent: the receiver takes a second copy without harm.

    It waits 2, 4, 8 … at most 60 s before it is tried again, and as long as the receiver asks.
    """
    detail = result.detail.replace("\x00", "")[:1000]
    wait_s = max(min(60, 2**attempt), result.retry_after_s or 0)
    if result.result == "confirmed":
        return Mark("confirmed", detail)
    if result.result == "refused":
        return Mark("refused", detail)
    if result.result == "withheld":
        return Mark("queued", detail, WITHHELD_S)
    if result.result == "unavailable":
        if attempt < MOST_ATTEMPTS:
            return Mark("queued", detail, wait_s)
        return Mark("refused", f"given up after {attempt} attempts: {detail}")
    if idempotent and attempt < MOST_ATTEMPTS:
        again = "sent again with the same replay id, because the receiver is idempotent"
        return Mark("queued", f"{detail}; {again}", wait_s)
    return Mark("unknown", detail)


def diagram() -> str:
    """Return the Mermaid state diagram of TRANSITIONS."""
    lines = ["stateDiagram-v2", "    [*] --> queued"]
    for before, following in TRANSITIONS.items():
        lines += [f"    {before} --> {after}" for after in sorted(following)]
        if not following:
            lines.append(f"    {before} --> [*]")
    return "\n".join(lines)
