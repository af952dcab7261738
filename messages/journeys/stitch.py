"""A journey from its parts: which event follows which, why they belong together, where it stands. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from messages.journeys.clocks import Clock, Correction, clock_of, corrected

SEND, RECEIVE, PROCESS, SETTLE = 2, 3, 4, 5
OPERATION_WORDS = {0: "", 1: "create", 2: "send", 3: "receive", 4: "process", 5: "settle"}


@dataclass(slots=True, kw_only=True)
class Step:
    """One bar of the waterfall. Times in µs from the journey's start; `queue_us` is the wait before it, None when unknown.

    at  when it happened, as far as we know: what its clock said, and the correction of that clock.
    """

    event: Any
    at: datetime
    system: str
    label: str
    offset_us: int
    duration_us: int
    queue_us: int | None
    outcome: str  # ok, error, unset
    tie: str  # trace, link, message id, correlation id, or "order_no=4711"
    attempt: int = 0
    clamped: bool = False
    correction: Correction | None = None
    logged: list[Any] = field(default_factory=list)  # exceptions that the system logged inside this span


@dataclass(slots=True, kw_only=True)
class Station:
    """A system on the way: passed, failed, moving or unreached, and how long the hop to it took."""

    system: str
    state: str
    note: str
    hop_us: int | None


@dataclass(slots=True, kw_only=True)
class Journey:
    """Everything known of one journey, in order of time."""

    steps: list[Step] = field(default_factory=list)
    stations: list[Station] = field(default_factory=list)
    unreached: list[str] = field(
        default_factory=list
    )  # systems where such messages usually go on, when this one stopped
    ties: list[str] = field(default_factory=list)
    dead_letters: list[Any] = field(default_factory=list)
    replays: list[Any] = field(default_factory=list)
    changes: list[Any] = field(default_factory=list)  # to its systems and flows, during it or just before
    trace_ids: list[UUID] = field(default_factory=list)
    corrections: list[Correction] = field(
        default_factory=list
    )  # of its clocks; empty too when times are shown as reported
    started_at: datetime | None = None
    ended_at: datetime | None = None
    truncated: bool = False

    @property
    def duration_us(self) -> int:
        return _us(self.ended_at, self.started_at) if self.started_at and self.ended_at else 0


def _us(later: datetime | None, earlier: datetime | None) -> int:
    if later is None or earlier is None:
        return 0
    delta = later - earlier
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def build_journey(
    events: Sequence[Any],
    ties: dict[UUID, str],
    *,
    corrections: Mapping[Clock, Correction] | None = None,
    dead_letters: Sequence[Any] = (),
    truncated: bool = False,
) -> Journey:
    """Return the journey of these events, in order of their corrected times.

    events  with occurred_at, duration_us, system.name, operation, outcome, message_uid, span_id; any order.
    ties    {event id: evidence}; events without one were found by trace.
    """
    corrections = corrections or {}
    at = {event.id: corrected(event, corrections) for event in events}
    ordered = sorted(events, key=lambda e: (at[e.id], e.operation, e.id))
    journey = Journey(dead_letters=list(dead_letters), truncated=truncated, corrections=list(corrections.values()))
    if not ordered:
        return journey
    journey.started_at = journey.ended_at = at[ordered[0].id]
    attempts: dict[tuple[object, ...], int] = {}
    sent_at: dict[UUID, int] = {}
    for event in ordered:
        step = _step(event, at[event.id], journey.started_at, ties.get(event.id, "trace"), sent_at, attempts)
        if step.at != event.occurred_at:
            step.correction = corrections[clock_of(event)]
        journey.steps.append(step)
        end = step.offset_us + step.duration_us
        if end > _us(journey.ended_at, journey.started_at):
            journey.ended_at = step.at + timedelta(microseconds=event.duration_us)
        if event.message_uid and event.operation == SEND:
            sent_at[event.message_uid] = end
    _number_attempts(journey.steps, attempts)
    journey.stations = stations_of(journey.steps)
    journey.ties = list(dict.fromkeys(step.tie for step in journey.steps))
    journey.trace_ids = list(dict.fromkeys(e.trace_id for e in ordered if e.trace_id))
    return journey


def _step(
    event: Any,
    at: datetime,
    start: datetime,
    tie: str,
    sent_at: dict[UUID, int],
    attempts: dict[tuple[object, ...], int],
) -> Step:
    system, offset = event.system.name, _us(at, start)
    word = OPERATION_WORDS[event.operation]
    queue = None
    if event.operation in (RECEIVE, PROCESS) and event.message_uid in sent_at:
        queue = max(0, offset - sent_at[event.message_uid])
    key = (system, event.operation, event.message_uid)
    if event.operation == PROCESS and event.message_uid:
        attempts[key] = attempts.get(key, 0) + 1
    return Step(
        event=event,
        at=at,
        system=system,
        label=f"{system} {word or event.name}".strip(),
        offset_us=offset,
        duration_us=event.duration_us,
        queue_us=queue,
        outcome={0: "unset", 1: "ok", 2: "error"}[event.outcome],
        tie=tie,
        attempt=attempts.get(key, 0) if event.operation == PROCESS else 0,
        clamped=event.clamped_from is not None,
    )


def _number_attempts(steps: Sequence[Step], attempts: dict[tuple[object, ...], int]) -> None:
    for step in steps:
        if step.attempt and attempts[(step.system, PROCESS, step.event.message_uid)] > 1:
            step.label = f"{step.label} · attempt {step.attempt}"
        else:
            step.attempt = 0


def stations_of(steps: Sequence[Step]) -> list[Station]:
    """Return the systems in the order the journey reached them; the console's own replay is no station."""
    by_system: dict[str, list[Step]] = {}
    for step in steps:
        if step.system != "waybill":
            by_system.setdefault(step.system, []).append(step)
    stations: list[Station] = []
    before: Step | None = None
    for system, own in by_system.items():
        last = [s for s in own if s.event.operation in (PROCESS, SETTLE)] or own
        failed = last[-1].outcome == "error"
        tries = sum(s.outcome == "error" for s in own)
        note = f"failed, {tries} attempts" if failed and tries > 1 else "failed" if failed else _did(last[-1])
        hop = own[0].offset_us - (before.offset_us + before.duration_us) if before else None
        stations.append(
            Station(
                system=system,
                state="failed" if failed else "passed",
                note=note,
                hop_us=max(0, hop) if hop is not None else None,
            )
        )
        before = own[-1]
    return stations


def _did(step: Step) -> str:
    return {SEND: "sent", RECEIVE: "received", PROCESS: "processed", SETTLE: "settled", 1: "created"}.get(
        step.event.operation, "passed"
    )
