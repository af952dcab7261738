"""Which event proves which step: an event of the call's own trace, whatever its clock says, else one of the journey that came after it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from messages.compensation.book import Match
from messages.compensation.matching import Happened, is_match


@dataclass(frozen=True, slots=True, kw_only=True)
class Unproved:
    """A step that may be proved. trace: of its own call. sent_at: the first moment something may have left, None: nothing has.

    held     a worker has it now: an event may be its own, and is not given to another, but it is not marked.
    by_hand  a person says that they did it, which left nothing from here.
    """

    pk: UUID
    match: Match
    trace: UUID
    happened_at: datetime
    sent_at: datetime | None
    held: bool = False
    by_hand: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """tie: trace or link, to the call itself; journey: nothing but the time and the journey says so."""

    event: Happened
    tie: str


def proofs_of(
    steps: Sequence[Unproved],
    calls: Mapping[UUID, Sequence[tuple[Happened, str]]],
    journey: Sequence[Happened],
    spent: Collection[UUID],
) -> dict[UUID, Proof]:
    """Return {step: what proves it}; each event proves one step, and what is of one step's own call no other.

    steps    in the order in which they are undone; calls: {trace: its events}; journey: its events in order of time.
    spent    ids of events that proved something before.
    """
    found: dict[UUID, Proof] = {}
    used = set(spent)

    def give(one: Unproved, candidates: Sequence[tuple[Happened, str]], fits: Callable[[Happened], bool]) -> None:
        for event, tie in candidates:
            if event.id not in used and is_match(one.match, event) and fits(event):
                used.add(event.id)
                found[one.pk] = Proof(event=event, tie=tie)
                return

    for one in steps:
        if one.sent_at is not None:
            give(one, calls.get(one.trace, ()), lambda _: True)
    own = {event.id for events in calls.values() for event, _ in events}
    others = [(event, "journey") for event in journey if event.id not in own]
    # What was sent, or done by hand, comes first: an event after two that fit is rather of the one that somebody did something for.
    for one in sorted(steps, key=lambda one: one.sent_at is None and not one.by_hand):
        if one.pk not in found:
            since = one.sent_at or one.happened_at
            give(one, others, lambda event, since=since: event.at > since)  # type: ignore[misc]
    return {one.pk: found[one.pk] for one in steps if one.pk in found and not one.held}
