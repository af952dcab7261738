"""Which steps of a book really completed in a journey, proved by which event, and in which order they are undone. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any
from uuid import UUID

from messages.compensation.book import Book, BookStep, Match
from messages.journeys.seen import ERROR, OPERATION_WORDS, gives_back


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """An event, as matching needs it. owner: whose it is, its message or its span: two events of one owner are one happening."""

    id: UUID
    at: datetime
    system: str
    operation: int
    outcome: int
    destination: str
    name: str
    attributes: Mapping[str, Any]
    keys: Mapping[str, str]
    owner: object
    trace_id: UUID | None = None
    payload_on: Any = None
    flow_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A step that completed: the earliest event that proves it. undone: the later event that proves that it was undone already."""

    step: BookStep
    proof: Happened
    undone: Happened | None = None


def is_match(match: Match, event: Happened) -> bool:
    """Whether the event did not fail and is all that the match says."""
    return (
        may_match(
            match,
            system=event.system,
            operation=event.operation,
            outcome=event.outcome,
            destination=event.destination,
        )
        and _is_like(event.name, match.name)
        and all(_is_value(event.attributes.get(name), wanted) for name, wanted in match.attributes.items())
    )


def may_match(match: Match, *, system: str, operation: int, outcome: int, destination: str) -> bool:
    """Whether an event of which no more is known may be all that the match says."""
    return (
        outcome != ERROR
        and not gives_back(operation, outcome)
        and (not match.operation or OPERATION_WORDS.get(operation) == match.operation)
        and _is_like(system, match.system)
        and _is_like(destination, match.destination)
    )


def matches_of(book: Book) -> list[Match]:
    """Return everything that the book asks of a journey: what happened, and what proves that it is undone."""
    proofs = [step.undo.proof for step in book.steps if step.undo and step.undo.proof]
    return [step.happened for step in book.steps] + proofs


def _is_like(is_: str, wanted: str) -> bool:
    return not wanted or fnmatchcase(is_, wanted.replace("[", "[[]"))


def _is_value(value: Any, wanted: str) -> bool:
    if value is None:
        return False
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    return wanted in ("*", text)


def completed_steps(
    book: Book, events: Iterable[Happened], *, known: Collection[UUID] = (), spent: Collection[UUID] = ()
) -> list[Completed]:
    """Return every happening of every step of the book, in order of time: what was done twice is there twice.

    known  ids of events by which a compensation knows a happening already: an earlier event of the same owner that came late does not
           make another one of it, with another idempotency key.
    spent  ids of events that proved a step of a compensation: they say of no other happening that it was undone.
    """
    ordered = sorted(events, key=lambda event: (event.at, event.id))
    found = [one for step in book.steps for one in _of_step(step, ordered, known, spent)]
    return sorted(found, key=lambda one: (one.proof.at, one.proof.id, one.step.name))


def _of_step(
    step: BookStep, events: Sequence[Happened], known: Collection[UUID], spent: Collection[UUID]
) -> list[Completed]:
    first: dict[object, Happened] = {}
    for event in events:
        if is_match(step.happened, event) and (event.owner not in first or _is_known(event, first[event.owner], known)):
            first[event.owner] = event
    proof_of = step.undo.proof if step.undo else None
    undone = [event for event in events if proof_of and event.id not in spent and is_match(proof_of, event)]
    found = []
    for event in sorted(first.values(), key=lambda event: (event.at, event.id)):
        proof = next((one for one in undone if one.at > event.at), None)
        if proof is not None:
            undone.remove(proof)  # one refund undoes one payment
        found.append(Completed(step=step, proof=event, undone=proof))
    return found


def _is_known(event: Happened, instead: Happened, known: Collection[UUID]) -> bool:
    return event.id in known and instead.id not in known


def in_order_of_undoing(completed: Sequence[Completed]) -> list[Completed]:
    """Return the latest first, but each after every one that its book says must be undone before it."""
    left = sorted(completed, key=lambda one: (one.proof.at, one.proof.id), reverse=True)
    ordered: list[Completed] = []
    while left:
        names = {one.step.name for one in left}
        turn = next((one for one in left if not names & set(one.step.after)), left[0])
        left.remove(turn)
        ordered.append(turn)
    return ordered
