"""The states of a breach and the only ways between them. Pure; docs/breaches.md draws its diagram from this dict."""

from __future__ import annotations

GONE = "gone"  # no state: what never fired leaves no row

# state → {what happens: the state that follows}
TRANSITIONS: dict[str, dict[str, str]] = {
    "pending": {"fire": "firing", "calm": GONE},
    "firing": {"acknowledge": "acknowledged", "clear": "resolved", "close": "resolved"},
    "acknowledged": {"clear": "resolved", "close": "resolved"},
    "resolved": {"again": "firing"},
}
STATES = tuple(TRANSITIONS)
OPEN = ("pending", "firing", "acknowledged")
FIRED = ("firing", "acknowledged")
WORDS = {
    "pending": "it holds, not yet for long enough",
    "firing": "nobody has taken it yet",
    "acknowledged": "somebody is on it",
    "resolved": "it is over",
}


def states_before(happening: str) -> list[str]:
    """Return the states in which this can happen, for the guard of a conditional update."""
    return [state for state, ways in TRANSITIONS.items() if happening in ways]


def state_after(happening: str) -> str:
    """Return the state that follows; it is the same from wherever it happens. Raises KeyError for what nobody declared."""
    found = {ways[happening] for ways in TRANSITIONS.values() if happening in ways}
    if len(found) != 1:
        raise KeyError(happening)
    return found.pop()


def diagram() -> str:
    """Return the Mermaid state diagram of TRANSITIONS."""
    lines = ["stateDiagram-v2", "    [*] --> pending"]
    for state, ways in TRANSITIONS.items():
        lines += [
            f"    {state} --> {'[*]' if after == GONE else after}: {happening}" for happening, after in ways.items()
        ]
    return "\n".join(lines)
