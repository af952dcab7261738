"""The events of a journey, each in the few columns that stitching, folding and hops need: 50,000 of them fit. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from messages.journeys.clocks import Clock, Correction
from messages.receivers import is_one_queue

CREATE, SEND, RECEIVE, PROCESS, SETTLE = 1, 2, 3, 4, 5
UNSET, ERROR = 0, 2
ERROR_SHOWN = 2_000  # characters of an error message on the page of a journey
OPERATION_WORDS = {0: "", 1: "create", 2: "send", 3: "receive", 4: "process", 5: "settle"}
OUTCOME_WORDS = {0: "unset", 1: "ok", 2: "error"}
MICROSECOND = timedelta(microseconds=1)
Span = tuple[UUID | None, str | None]  # trace id, span id
Link = tuple[UUID, str, UUID, str]  # trace, span → linked trace, linked span


def gives_back(operation: int, outcome: int) -> bool:
    """Whether an event is a settlement that gives its message back."""
    return operation == SETTLE and outcome == UNSET


def decides(operation: int, outcome: int) -> bool:
    """Whether an event says how its message fared at a system."""
    return operation in (PROCESS, SETTLE) and not gives_back(operation, outcome)


class Seen(NamedTuple):
    """One event, in the order in which its columns are read. error: the same number for the same type and message, as far as a page shows it."""

    id: UUID
    occurred_at: datetime
    trace_id: UUID | None
    span_id: str | None
    parent_span_id: str | None
    message_uid: UUID | None
    agent_id: int | None
    system_id: int
    operation: int
    outcome: int
    destination: str | None
    duration_us: int
    clamped_from: datetime | None
    correlation_id: str | None
    error: int | None = None
    message_id: str | None = None


class Timed(NamedTuple):
    """An event with its corrected times, in µs from the journey's start."""

    seen: Seen
    start_us: int
    end_us: int


def timed(
    events: Iterable[Seen], corrections: Mapping[Clock, Correction]
) -> tuple[list[Timed], datetime | None, datetime | None]:
    """Return (events in order of time, when the first began, when the last ended); times None without events."""
    at = [(_corrected(one, corrections), one) for one in events]
    if not at:
        return [], None, None
    at.sort(key=lambda pair: (pair[0], pair[1].operation, pair[1].id))
    start = at[0][0]
    placed = []
    for when, one in at:
        offset = (when - start) // MICROSECOND
        placed.append(Timed(one, offset, offset + one.duration_us))
    return placed, start, start + timedelta(microseconds=max(one.end_us for one in placed))


def attempts_of(events: Iterable[Timed]) -> dict[UUID, int]:
    """Return {event id: which attempt it was} of the messages that a system processed more than once from one queue. events: in order of time."""
    tries: dict[tuple[int, UUID], list[Timed]] = defaultdict(list)
    for one in events:
        if one.seen.operation == PROCESS and one.seen.message_uid:
            tries[(one.seen.system_id, one.seen.message_uid)].append(one)
    several = [same for many in tries.values() if len(many) > 1 for same in by_queue(many) if len(same) > 1]
    return {event.seen.id: number for same in several for number, event in enumerate(same, 1)}


def by_queue(events: Iterable[Timed]) -> list[list[Timed]]:
    """Return what a system did with a message for each of its queues that the message came from, in the order given."""
    queues: list[list[Timed]] = []
    for one in events:
        same = (many for many in queues if is_one_queue(many[0].seen.destination, one.seen.destination))
        found = next(same, None)
        if found is None:
            queues.append([one])
        else:
            found.append(one)
    return queues


def _corrected(one: Seen, corrections: Mapping[Clock, Correction]) -> datetime:
    found = corrections.get((one.agent_id, one.system_id)) if corrections else None
    return one.occurred_at + found.shift if found is not None and one.clamped_from is None else one.occurred_at
