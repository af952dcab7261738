"""A journey from its parts: which event follows which, why they belong together. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from messages.journeys.clocks import Clock, Correction, clock_of, corrected
from messages.journeys.evidence import START, Evidence, NotFollowed, words_of_tie
from messages.journeys.fold import Fold, opened_at
from messages.journeys.hops import Hop
from messages.journeys.seen import OPERATION_WORDS, OUTCOME_WORDS
from messages.journeys.stations import Station


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
    tie: str  # trace, link, message id, answer, request, correlation id, or "order_no=4711"
    evidence: Evidence = START
    why: str = ""  # the evidence as a sentence, naming the event that brought this one
    brought_by: UUID | None = None  # that event, when it is in the journey
    brought_in: str = ""  # of a folded journey: what opens that event's fold at it
    attempt: int = 0  # 0 of a message with one attempt
    clamped: bool = False
    correction: Correction | None = None
    logged: list[Any] = field(default_factory=list)  # exceptions that the system logged inside this span


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
    tied: dict[UUID, Evidence] = field(default_factory=dict)  # {dead letter: why} of those that a number alone ties
    groups: list[Any] = field(default_factory=list)  # failure groups of what failed in it
    replays: list[Any] = field(default_factory=list)
    changes: list[Any] = field(default_factory=list)  # to its systems and flows, during it or just before
    trace_ids: list[UUID] = field(default_factory=list)
    corrections: list[Correction] = field(
        default_factory=list
    )  # of its clocks; empty too when times are shown as reported
    started_at: datetime | None = None
    ended_at: datetime | None = None
    truncated: bool = False  # a limit was reached
    not_followed: list[NotFollowed] = field(default_factory=list)  # ties that more share than are followed
    more_letters: bool = False  # there are more dead letters than the 50 that are here
    total: int = 0  # events found; steps are all of them, unless it is folded
    own: set[UUID] = field(default_factory=set)  # the message ids that the page is about
    hops: list[Hop] = field(default_factory=list)
    folds: list[Fold] = field(default_factory=list)  # every event, when it is folded: then steps are some of each
    evidence: dict[UUID, Evidence] = field(default_factory=dict)  # of every event, when it is folded
    attempts: dict[UUID, int] = field(default_factory=dict)  # of every event, as attempts_of has them
    errors: int = 0  # different ones: system, type and message
    times: dict[UUID, int] = field(default_factory=dict)  # of each step that failed, how often its error came in all

    @property
    def more(self) -> bool:
        """Whether there is more than was looked at."""
        return self.truncated or bool(self.not_followed)

    @property
    def letters(self) -> list[tuple[Any, Evidence | None]]:
        """Return each dead letter with the number that ties it; None where its message or trace does."""
        return [(one, self.tied.get(one.pk)) for one in self.dead_letters]

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
    evidence: Mapping[UUID, Evidence],
    *,
    corrections: Mapping[Clock, Correction] | None = None,
    dead_letters: Sequence[Any] = (),
    truncated: bool = False,
    waits: Mapping[UUID, int] | None = None,
    attempts: Mapping[UUID, int] | None = None,
    span: tuple[datetime | None, datetime | None] = (None, None),
    folds: Sequence[Fold] = (),
) -> Journey:
    """Return the journey of these events, in order of their corrected times.

    events    with occurred_at, duration_us, system.name, operation, outcome, message_uid, span_id; any order.
    evidence  {event id: why it is here}; events without it were found by the trace.
    waits     {event id: µs that its message had waited}.   attempts  {event id: which attempt}, of messages with several.
    span      when the whole journey began and ended; without it, these events.   folds  of a folded journey: every event.
    """
    corrections = corrections or {}
    at = {event.id: corrected(event, corrections) for event in events}
    ordered = sorted(events, key=lambda e: (at[e.id], e.operation, e.id))
    journey = Journey(
        dead_letters=list(dead_letters), truncated=truncated, corrections=list(corrections.values()), folds=list(folds)
    )
    if not ordered:
        return journey
    journey.started_at = span[0] or at[ordered[0].id]
    for event in ordered:
        step = _step(
            event, at[event.id], journey.started_at, evidence.get(event.id, START), waits or {}, attempts or {}
        )
        if step.at != event.occurred_at:
            step.correction = corrections[clock_of(event)]
        journey.steps.append(step)
    last = max(step.offset_us + step.duration_us for step in journey.steps)
    journey.ended_at = span[1] or journey.started_at + timedelta(microseconds=last)
    _say_why(journey.steps, folds, attempts or {})
    journey.ties = list(dict.fromkeys(step.tie for step in journey.steps))
    journey.trace_ids = list(dict.fromkeys(e.trace_id for e in ordered if e.trace_id))
    return journey


def _step(
    event: Any,
    at: datetime,
    start: datetime,
    evidence: Evidence,
    waits: Mapping[UUID, int],
    attempts: Mapping[UUID, int],
) -> Step:
    system, attempt = event.system.name, attempts.get(event.id, 0)
    return Step(
        event=event,
        at=at,
        system=system,
        label=_label(system, OPERATION_WORDS[event.operation] or event.name, attempt),
        offset_us=_us(at, start),
        duration_us=event.duration_us,
        queue_us=waits.get(event.id),
        outcome=OUTCOME_WORDS[event.outcome],
        tie=evidence.tie,
        evidence=evidence,
        attempt=attempt,
        clamped=event.clamped_from is not None,
    )


def _label(system: str, did: str, attempt: int) -> str:
    label = f"{system} {did}".strip()
    return f"{label} · attempt {attempt}" if attempt else label


def _say_why(steps: Sequence[Step], folds: Sequence[Fold], attempts: Mapping[UUID, int]) -> None:
    labels = {step.event.id: step.label for step in steps}
    bringers = {step.evidence.by for step in steps}
    opened: dict[UUID, str] = {}
    for fold in folds:
        for one, _, _ in fold.events:
            if one.id in bringers:
                opened[one.id] = opened_at(fold, one)
                labels.setdefault(one.id, _label(fold.system, fold.operation, attempts.get(one.id, 0)))
    for step in steps:
        by, label = step.evidence.by, ""
        if by is not None and by in labels:
            step.brought_by, step.brought_in, label = by, opened.get(by, ""), labels[by]
        step.why = words_of_tie(step.evidence, label)
