"""What may become of a report and of its mails: two dicts, from which the diagrams in docs/reports.md are drawn. Pure."""

from __future__ import annotations

from collections.abc import Mapping

REPORT_WORDS = {
    "asked": "waits for a worker",
    "making": "a worker gathers its figures and draws it; when its lease ends, another begins anew",
    "frozen": "it says the same for ever; a correction is a revision of its own",
    "failed": "it could not be made, or must not be; the reason is kept, and a person may ask again",
}
REPORT: Mapping[str, tuple[str, ...]] = {
    "asked": ("making",),
    "making": ("making", "asked", "frozen", "failed"),
    "failed": ("asked",),
    "frozen": (),
}
MAIL_WORDS = {
    "queued": "waits for its first try, or for one that a person asked for",
    "sending": "a worker has it; when its lease ends, the same mail is sent again under the same Message-ID",
    "sent": "the mail server took it",
    "failed": "a try failed, and another follows",
    "dead": "given up: refused for good, or tried eleven times",
    "unknown": "workers ended again and again while they sent it: it may have arrived",
    "withdrawn": "it must not go any more: its receiver stopped, or may not get it",
}
MAIL: Mapping[str, tuple[str, ...]] = {
    "queued": ("sending", "withdrawn"),
    "sending": ("sending", "sent", "failed", "dead", "unknown", "withdrawn"),
    "failed": ("sending", "withdrawn"),
    "sent": ("queued",),
    "dead": ("queued",),
    "unknown": ("queued",),
    "withdrawn": ("queued",),
}
REPORT_STATES = [(state, state) for state in REPORT_WORDS]
MAIL_STATES = [(state, state) for state in MAIL_WORDS]
REPORT_OPEN = ("asked", "making")
WAITING = ("queued", "failed")
MAIL_OPEN = (*WAITING, "sending")
AGAIN = tuple(state for state, afters in MAIL.items() if "queued" in afters)


def before(machine: Mapping[str, tuple[str, ...]], state: str) -> tuple[str, ...]:
    """Return the states from which this one may come."""
    return tuple(one for one, afters in machine.items() if state in afters)


def diagram(machine: Mapping[str, tuple[str, ...]], first: str) -> str:
    """Return the transitions as a Mermaid state diagram."""
    lines = [f"    {state} --> {after}" for state, afters in machine.items() for after in afters]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {first}", *lines, "```"])
