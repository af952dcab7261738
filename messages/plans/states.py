"""The states of a plan and the only ways between them. Pure; docs/replay.md draws its diagram from this dict."""

from __future__ import annotations

# state → {what happens: the state that follows}
TRANSITIONS: dict[str, dict[str, str]] = {
    # frozen and previewed; its edits may still change
    "draft": {
        "request": "awaiting_approval",
        "start": "scheduled",
        "cancel": "cancelled",
        "expire": "expired",
    },
    "awaiting_approval": {
        "approve": "approved",
        "refuse": "draft",
        "change": "draft",
        "cancel": "cancelled",
        "expire": "expired",
    },
    "approved": {"start": "scheduled", "change": "draft", "cancel": "cancelled", "expire": "expired"},
    # begins at a time: in ten seconds, which can be taken back, or later
    "scheduled": {
        "begin": "running",
        "undo": "draft",
        "undo_approved": "approved",
        "cancel": "cancelled",
        "expire": "expired",
    },
    "running": {"pause": "paused", "abort": "aborted", "finish": "finished", "stop": "stopped"},
    "paused": {"resume": "running", "stop": "stopped"},
    # it stopped itself, and says why
    "aborted": {"resume": "running", "stop": "stopped"},
    "finished": {},
    "stopped": {},
    "cancelled": {},
    "expired": {},
}
STATES = tuple(TRANSITIONS)
ENDED = frozenset(state for state, ways in TRANSITIONS.items() if not ways)
BEGUN = frozenset({"running", "paused", "aborted", "finished", "stopped"})
HOLDING = frozenset(
    {"awaiting_approval", "approved", "scheduled", "running", "paused", "aborted"}
)  # its letters are in no other plan
WORDS = {
    "draft": "nothing is sent until it is started",
    "awaiting_approval": "waits for a second person",
    "approved": "a second person approved it; it waits to be started",
    "scheduled": "begins by itself",
    "running": "sends its items, wave by wave",
    "paused": "somebody, or the end of a wait, holds it; nothing is sent",
    "aborted": "it stopped itself; nothing is sent",
    "finished": "every item has gone its way",
    "stopped": "somebody ended it; what had not left was never sent",
    "cancelled": "given up before anything was sent",
    "expired": "nobody started it in time",
}


def next_state(state: str, happening: str) -> str | None:
    """Return the state that follows, None when this cannot happen to a plan in this state."""
    return TRANSITIONS[state].get(happening)


def states_before(happening: str) -> list[str]:
    """Return the states in which this can happen, for the guard of a conditional update."""
    return [state for state, ways in TRANSITIONS.items() if happening in ways]


def diagram() -> str:
    """Return the Mermaid state diagram of TRANSITIONS."""
    lines = ["stateDiagram-v2", "    [*] --> draft"]
    for state, ways in TRANSITIONS.items():
        lines += [f"    {state} --> {after}: {happening}" for happening, after in ways.items()]
        if not ways:
            lines.append(f"    {state} --> [*]")
    return "\n".join(lines)
