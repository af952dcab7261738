"""What a look at a saved search means for a subscription: its state, and whether its owner is told. Pure.

Told is what differs from what was told last: a state that lasts makes no mail, and one that changes to and fro makes one mail in
five minutes at most. While something matches, news of it make a mail at most once in the digest interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

NEW, CALM, RAISED, BROKEN, STOPPED = "new", "calm", "raised", "broken", "stopped"
DIGEST = "digest"
QUIET = timedelta(minutes=5)  # between two mails of a subscription, but for the first


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the row says before a look."""

    state: str
    told: str
    told_at: datetime | None
    fingerprint: str
    digest_minutes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """state: what it is now. telling: nothing, the state that is told, or `digest`."""

    state: str
    telling: str


def judge(known: Known, state: str, fingerprint: str, *, now: datetime) -> Verdict:
    """Return what a look means. state: as the look found it; fingerprint: of what would be shown."""
    told = known.told or CALM  # nobody needs to hear that nothing has happened yet
    quiet = known.told_at is not None and now - known.told_at < QUIET
    if state != told:
        return Verdict(state=state, telling="" if quiet and state != STOPPED else state)
    if state == RAISED and known.digest_minutes is not None and fingerprint != known.fingerprint:
        due = known.told_at is None or now - known.told_at >= timedelta(minutes=known.digest_minutes)
        return Verdict(state=state, telling=DIGEST if due and not quiet else "")
    return Verdict(state=state, telling="")
