"""What may become of a delivery: one dict, from which the diagram in docs/notifications.md is drawn. Pure."""

from __future__ import annotations

WORDS = {
    "queued": "waits for its first try, or for one that a person asked for",
    "sending": "a worker has it; when its lease ends, it is sent again under the same key",
    "delivered": "the receiver took it; of several, who did not is named with the tries",
    "failed": "a try failed, and another follows",
    "dead": "given up: refused, or tried to the end. A person may send it again",
    "superseded": "a newer message stands for it: it was over before it could be told, or only some receivers have it and the newer goes to all",
}
TRANSITIONS: dict[str, tuple[str, ...]] = {
    "queued": ("sending", "superseded"),
    "sending": ("delivered", "failed", "dead", "sending"),
    "failed": ("sending", "superseded"),
    "dead": ("queued",),
    "delivered": (),
    "superseded": (),
}
STATES = [(state, state) for state in WORDS]
WAITING = ("queued", "failed")
OPEN = (*WAITING, "sending")
ENDED = ("delivered", "dead", "superseded")


def diagram() -> str:
    """Return the transitions as a Mermaid state diagram."""
    lines = [f"    {state} --> {after}" for state, afters in TRANSITIONS.items() for after in afters]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> queued", *lines, "```"])
