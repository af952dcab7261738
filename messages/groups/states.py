"""The states of a failure group and the only ways between them. Pure; docs/groups.md draws its diagram from this dict."""

from __future__ import annotations

from collections.abc import Sequence

# state → {what happens: the state that follows}
TRANSITIONS: dict[str, dict[str, str]] = {
    "open": {"acknowledge": "acknowledged", "resolve": "resolved", "grow": "escalating"},
    # somebody is on it; when it grows much faster all the same, everybody should know
    "acknowledged": {"reopen": "open", "resolve": "resolved", "grow": "escalating"},
    "escalating": {"acknowledge": "acknowledged", "resolve": "resolved", "calm": "open"},
    # it was over, and failed again
    "regressed": {"acknowledge": "acknowledged", "resolve": "resolved", "grow": "escalating"},
    "resolved": {"reopen": "open", "fail": "regressed"},
}
STATES = tuple(TRANSITIONS)
BY_PEOPLE = ("acknowledge", "resolve", "reopen")
URGENT = ("escalating", "regressed", "open", "acknowledged", "resolved")  # the most pressing first
WORDS = {
    "open": "nobody has taken it yet",
    "acknowledged": "somebody is on it",
    "escalating": "it fails much more than in the hours before",
    "regressed": "it was resolved and failed again",
    "resolved": "it is over; the next failure makes it regressed",
}

LEAST_GROWN = 10  # failures in an hour: fewer are no escalation, whatever was before
GROWN_TIMES = 2
CALM_HOURS = 2


def next_state(state: str, happening: str) -> str | None:
    """Return the state that follows, None when this cannot happen to a group in this state."""
    return TRANSITIONS[state].get(happening)


def states_before(happening: str) -> list[str]:
    """Return the states in which this can happen, for the guard of a conditional update."""
    return [state for state, ways in TRANSITIONS.items() if happening in ways]


def offered(state: str) -> list[str]:
    """Return what a person can do to a group in this state, in the order of the buttons."""
    return [one for one in BY_PEOPLE if one in TRANSITIONS[state]]


def joined_state(states: Sequence[str]) -> str:
    """Return the state of groups that are merged: the most pressing of theirs, so that nothing unresolved is hidden."""
    return min(states, key=URGENT.index)


def trend_of(hours: Sequence[int], *, age_hours: float) -> str:
    """Return "grow", "calm" or "".

    hours      failures by hour, oldest first, the hour that still runs last; at least 3.
    age_hours  since the first failure: what began within the hour has nothing to be compared with.
    Grows when this hour has at least 10 and more than twice those of each hour before; calm when two hours had none.
    """
    now, before = hours[-1], hours[:-1]
    if age_hours > 1 and now >= LEAST_GROWN and now > GROWN_TIMES * max(before):
        return "grow"
    return "calm" if not any(hours[-CALM_HOURS:]) else ""


def diagram() -> str:
    """Return the Mermaid state diagram of TRANSITIONS."""
    lines = ["stateDiagram-v2", "    [*] --> open"]
    for state, ways in TRANSITIONS.items():
        lines += [f"    {state} --> {after}: {happening}" for happening, after in ways.items()]
    return "\n".join(lines)
