"""The states of a compensation and of its steps, and the only ways between them. Pure; docs/compensation.md draws its diagrams from these dicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Ways = Mapping[str, Mapping[str, str]]

# state → {what happens: the state that follows}
TRANSITIONS: dict[str, dict[str, str]] = {
    # what would be undone is listed; nothing was sent
    "proposed": {"approve": "approved", "start": "running", "stop": "stopped"},
    "approved": {"start": "running", "refuse": "proposed", "stop": "stopped"},
    "running": {
        "undo": "proposed",
        "undo_approved": "approved",
        "pause": "paused",
        "stick": "stuck",
        "finish": "compensated",
        "finish_partly": "partially_compensated",
        "stop": "stopped",
    },
    "paused": {"resume": "running", "stop": "stopped"},
    # a step needs a person
    "stuck": {"resume": "running", "stop": "stopped"},
    "compensated": {},
    "partially_compensated": {},
    "stopped": {},
}
# One step of it.
STEP_TRANSITIONS: dict[str, dict[str, str]] = {
    # done: its receiver's event proves it, of an earlier try or because somebody else undid it
    "waiting": {"claim": "sending", "hand_over": "task", "done": "done", "skip": "skipped", "by_hand": "by_hand"},
    "sending": {
        "claim": "sending",  # what a worker lost, where the receiver takes a second call without harm
        "put_back": "waiting",
        "answer": "sent",
        "done": "done",
        "fail": "failed",
        "lose": "unknown",
    },
    # the receiver took it; its own event has to prove it
    "sent": {"done": "done", "by_hand": "by_hand", "skip": "skipped"},
    "failed": {"retry": "waiting", "done": "done", "skip": "skipped", "by_hand": "by_hand"},
    # answer, fail: the worker that was taken for lost came back with what the receiver had said
    "unknown": {
        "retry": "waiting",
        "answer": "sent",
        "done": "done",
        "fail": "failed",
        "skip": "skipped",
        "by_hand": "by_hand",
    },
    # a person does it
    "task": {"done": "done", "by_hand": "by_hand", "skip": "skipped"},
    "done": {},
    "by_hand": {},
    "skipped": {},
    "irreversible": {},
}
STATES = tuple(TRANSITIONS)
STEP_STATES = tuple(STEP_TRANSITIONS)
ENDED = frozenset(state for state, ways in TRANSITIONS.items() if not ways)
OPEN = frozenset(STATES) - ENDED
BEGUN = frozenset({"running", "paused", "stuck"})
STEP_OVER = frozenset(state for state, ways in STEP_TRANSITIONS.items() if not ways)
UNDONE = frozenset({"done", "by_hand"})
# May have had its effect: nobody may start another of the same key beside it.
TOOK_EFFECT = frozenset({"sending", "sent", "unknown", "done", "by_hand"})
# Something left, or may have left, and nobody has said what became of it: also after the end a proof, or a person, may settle it.
OPEN_ENDED = frozenset({"sending", "sent", "unknown"})
NEEDS_A_PERSON = frozenset({"failed", "unknown", "task"})

WORDS = {
    "proposed": "nothing is undone until it is started",
    "approved": "a second person approved it; it waits to be started",
    "running": "undoes its steps, one after the other",
    "paused": "somebody holds it; nothing is sent",
    "stuck": "a step needs a person",
    "compensated": "everything that had happened is undone",
    "partially_compensated": "some of what had happened stays: it was skipped, or cannot be undone",
    "stopped": "somebody ended it; what had not begun was not undone",
}
STEP_WORDS = {
    "waiting": "waits for its turn",
    "sending": "a worker has it",
    "sent": "taken, not proved yet",
    "done": "undone",
    "failed": "failed for good",
    "unknown": "may or may not have been done",
    "task": "waits for a person to do it",
    "by_hand": "done by hand",
    "skipped": "skipped",
    "irreversible": "cannot be undone",
}


def next_state(state: str, happening: str, ways: Ways = TRANSITIONS) -> str | None:
    """Return the state that follows, None when this cannot happen in this state."""
    return ways[state].get(happening)


def states_before(happening: str, ways: Ways = STEP_TRANSITIONS) -> list[str]:
    """Return the states in which this can happen, for the guard of a conditional update."""
    return [state for state, following in ways.items() if happening in following]


def end_of(steps: Iterable[str], *, left: bool = False) -> str:
    """Return what happens to a compensation whose steps are all over: finish, or finish_partly. Partial is never shown as done.

    steps  their states. Of no step at all nothing had to be undone: finish.
    left   a step that completed late was left as it is, or nobody can see whether there is one.
    """
    return "finish" if not left and all(state in UNDONE for state in steps) else "finish_partly"


def diagram(ways: Ways = TRANSITIONS, first: str = "proposed") -> str:
    """Return the Mermaid state diagram of one of the dicts."""
    lines = ["stateDiagram-v2", f"    [*] --> {first}"]
    for state, following in ways.items():
        lines += [f"    {state} --> {after}: {happening}" for happening, after in following.items()]
        if not following:
            lines.append(f"    {state} --> [*]")
    return "\n".join(lines)
