"""Which clocks of a journey are wrong, and by how much: what was measured, and what cannot have been. Pure.

A clock is that of one system as one agent reports it. Corrected only on evidence: ahead by a reading, or behind because a message
would have been received before it was sent, or a child would have begun before its parent. The least that explains it, never a guess: a
receipt counts from its end, as it may be a long poll that began when there was nothing yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

Clock = tuple[int | None, int]  # agent id, system id
Readings = Mapping[tuple[Clock, datetime], timedelta]  # how far a clock was ahead in the hour that began then
TRUSTED = timedelta(milliseconds=100)  # readings within this are the way here, not the clock
NOTICED = timedelta(milliseconds=1)
NONE = timedelta()
SEND, RECEIVE, PROCESS = 2, 3, 4
ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What is added to the times of one clock, and why."""

    clock: Clock
    system: str
    shift: timedelta
    why: str


def clock_of(event: Any) -> Clock:
    return event.agent_id, event.system_id


def corrections_of(events: Sequence[Any], readings: Readings) -> dict[Clock, Correction]:
    """Return the correction of each clock that needs one.

    events    of one journey, with agent_id, system_id, system.name, occurred_at, received_at, duration_us, clamped_from, operation,
              message_uid, trace_id, span_id, parent_span_id.
    """
    found: dict[Clock, Correction] = {}
    for event in events:
        ahead = readings.get((clock_of(event), _hour(event.received_at)), NONE)
        if ahead > TRUSTED and event.clamped_from is None:
            known = found.get(clock_of(event))
            if known is None or ahead > -known.shift:
                found[clock_of(event)] = Correction(
                    clock=clock_of(event), system=event.system.name, shift=-ahead, why="its clock is ahead of ours"
                )
    for _ in range(ROUNDS):
        if sum(_move(found, readings, *pair) for pair in _causes(events)) == 0:
            break
    return found


def corrected(event: Any, corrections: Mapping[Clock, Correction]) -> datetime:
    """Return when an event happened, as far as we know; a clamped one has our own time already."""
    found = corrections.get(clock_of(event))
    return event.occurred_at + found.shift if found is not None and event.clamped_from is None else event.occurred_at


def _move(found: dict[Clock, Correction], readings: Readings, earlier: Any, later: Any) -> bool:
    """Move the later event's clock on when it says that the effect came before its cause; whether it did.

    Never further than the clock can be behind: what it reported arrived so soon after it happened.
    """
    reached = corrected(later, found)
    if later.operation == RECEIVE:
        reached += timedelta(microseconds=later.duration_us)
    missing = corrected(earlier, found) - reached
    clock = clock_of(later)
    known = found.get(clock)
    shift = (known.shift if known else NONE) + missing
    ahead = readings.get((clock, _hour(later.received_at)))
    if missing <= NOTICED or (ahead is not None and shift > max(NONE, -ahead) + TRUSTED):
        return False
    why = f"it would have been at work before {earlier.system.name} began"
    found[clock] = Correction(clock=clock, system=later.system.name, shift=shift, why=why)
    return True


def _causes(events: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield (cause, effect) of different clocks: a message's sending and its receipt there, a span and its child.

    Only what agents reported: the console's own sending of a replay caused none of the attempts before it.
    """
    told = [event for event in events if event.clamped_from is None and event.agent_id is not None]
    sent: dict[Any, Any] = {}
    spans: dict[tuple[Any, Any], Any] = {}
    for event in told:
        if event.operation == SEND and event.message_uid:
            known = sent.get((event.message_uid, event.destination))
            if known is None or event.occurred_at < known.occurred_at:
                sent[(event.message_uid, event.destination)] = event
        if event.span_id:
            spans[(event.trace_id, event.span_id)] = event
    for event in told:
        causes = [spans.get((event.trace_id, event.parent_span_id)) if event.parent_span_id else None]
        if event.operation in (RECEIVE, PROCESS):
            causes.append(sent.get((event.message_uid, event.destination)))
        yield from ((cause, event) for cause in causes if cause is not None and clock_of(cause) != clock_of(event))


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
