"""The states of a replay and the only ways between them. Pure; docs/replay.md draws its diagram from this dict."""

from __future__ import annotations

TRANSITIONS: dict[str, frozenset[str]] = {
    # claimed by a worker
    "queued": frozenset({"sending"}),
    # what the broker said, or that nobody said anything; back to queued when it was surely not sent
    "sending": frozenset({"sending", "queued", "confirmed", "sent", "refused", "unknown", "processed", "failed_again"}),
    "sent": frozenset({"confirmed", "processed", "failed_again"}),
    "confirmed": frozenset({"processed", "failed_again"}),
    # the receiver's event, or a person, ends the doubt
    "unknown": frozenset({"queued", "processed", "failed_again"}),
    "processed": frozenset(),
    "failed_again": frozenset(),
    "refused": frozenset(),
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
}


def can_move(before: str, after: str) -> bool:
    return after in TRANSITIONS[before]


def diagram() -> str:
    """Return the Mermaid state diagram of TRANSITIONS."""
    lines = ["stateDiagram-v2", "    [*] --> queued"]
    for before, following in TRANSITIONS.items():
        lines += [f"    {before} --> {after}" for after in sorted(following)]
        if not following:
            lines.append(f"    {before} --> [*]")
    return "\n".join(lines)
