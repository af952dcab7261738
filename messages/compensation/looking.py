"""Looking at what the systems told since: proofs that a step is undone, and further steps that completed late.

A call's own trace is looked at with each turn, by an index; the whole journey rarely, since it may have thousands of events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction

from console.identity.actor import SYSTEM
from messages.compensation.book import Book, Undo
from messages.compensation.journey import TooLarge, events_of, events_of_calls
from messages.compensation.matching import Completed, Happened
from messages.compensation.proposing import completed_in, earlier_of, key_of, spent_of, target_of
from messages.compensation.proving import Proof, Unproved, proofs_of
from messages.compensation.services import audit, move_step
from messages.compensation.states import OPEN_ENDED, STEP_OVER, UNDONE
from messages.models import Compensation, CompensationStep

log = structlog.get_logger(__name__)
WHOLE_S = 15.0  # a whole journey is read at most so often
SOON_S, SOON_FOR_S = (
    5.0,
    60.0,
)  # but so often just after a step was answered: its proof may be tied by nothing but the journey
MOST_LATE = 50  # of one compensation: more are no accident, and are there in the journey


@dataclass(slots=True, kw_only=True)
class Look:
    """What one look found. proved: steps that are done now; too_large: the journey has more events than are looked through."""

    proved: list[CompensationStep] = field(default_factory=list)
    whole: bool = False
    too_large: bool = False


def look_at(run: Compensation, steps: Sequence[CompensationStep], book: Book, *, whole: bool = False) -> Look:
    """Mark what is proved, and append to the run's `late` what completed late, with the run's row locked.

    whole  read the whole journey now, however short ago that was.
    """
    found, now = Look(), datetime.now(UTC)
    undos = {step.name: step.undo for step in book.steps if step.undo}
    journey: list[Happened] = []
    if whole or _is_time(run, steps, now):
        Compensation.objects.filter(pk=run.pk).update(looked_at=now)
        run.looked_at, found.whole = now, True
        try:
            journey = sorted(events_of(target_of(run), book), key=lambda event: (event.at, event.id))
        except TooLarge:
            found.too_large = True
            log.warning("compensation_journey_too_large", compensation=run.pk)
    found.proved = _prove(run, steps, undos, journey)
    if journey:
        note_late(run, steps, book, journey)
    return found


def _is_time(run: Compensation, steps: Sequence[CompensationStep], now: datetime) -> bool:
    if run.looked_at is None:
        return True
    soon = now - timedelta(seconds=SOON_FOR_S)
    is_soon = any(step.state == "sent" and step.answered_at and step.answered_at > soon for step in steps)
    return now - run.looked_at >= timedelta(seconds=SOON_S if is_soon else WHOLE_S)


def _prove(
    run: Compensation, steps: Sequence[CompensationStep], undos: dict[str, Undo], journey: Sequence[Happened]
) -> list[CompensationStep]:
    open_ones = [step for step in steps if _waits_for_proof(step) and undos[step.name].proof]
    if not open_ones:
        return []
    unproved = [_unproved(step, undos[step.name]) for step in open_ones]
    sent = {
        step.trace_id: step.sent_at for step in steps if step.sent_at is not None
    }  # of what is over too: no other's proof
    since = min(sent.values(), default=datetime.now(UTC))
    calls = events_of_calls(run.environment_id, list(sent), since)
    looked_at = {event.id for events in calls.values() for event, _ in events} | {event.id for event in journey}
    spent = spent_of(looked_at) | {UUID(one["event"]) for one in run.already if one["event"]}
    proofs = proofs_of(unproved, calls, journey, spent)
    return [step for step in open_ones if step.pk in proofs and _mark(step, proofs[step.pk])]


def _waits_for_proof(step: CompensationStep) -> bool:
    """Whether an event may prove it: also what a person did, so that the event of their work proves no other step."""
    return step.state not in STEP_OVER or (step.state == "by_hand" and step.proof_event_id is None)


def _unproved(step: CompensationStep, undo: Undo) -> Unproved:
    assert undo.proof is not None
    held = step.state == "sending" and step.lease_until is not None and step.lease_until >= datetime.now(UTC)
    return Unproved(
        pk=step.pk, match=undo.proof, trace=step.trace_id, happened_at=step.event_at, sent_at=step.sent_at, held=held,
        by_hand=step.state == "by_hand",
    )  # fmt: skip


def _mark(step: CompensationStep, proof: Proof) -> bool:
    """Write a proof down; False when it changes no state, or another compensation was faster: its event, or its step of the same key."""
    sent = step.state in OPEN_ENDED or step.sent_at is not None
    words = f"proved by {proof.event.system}" if sent else f"undone by somebody else, proved by {proof.event.system}"
    proved: dict[str, Any] = {
        "proof_event_at": proof.event.at,
        "proof_event_id": proof.event.id,
        "proof_tie": proof.tie,
    }
    try:
        with transaction.atomic():
            if step.state == "by_hand":  # it stays the person's word
                CompensationStep.objects.filter(pk=step.pk, state="by_hand").update(**proved)
                return False
            move_step(step, "done", detail=words, finished_at=datetime.now(UTC), **proved)
    except IntegrityError:
        return False
    return True


def note_late(
    run: Compensation, steps: Sequence[CompensationStep], book: Book, journey: Sequence[Happened]
) -> list[dict[str, str]]:
    """Append what completed since the start, is not undone and is no part of this run to its `late`; return what was appended."""
    known = {str(step.idempotency_key) for step in steps}
    known |= {one["key"] for one in run.already} | {one["key"] for one in run.late}
    fresh: list[tuple[str, Completed]] = []
    for one in completed_in(book, journey):
        key = str(key_of(run.environment_id, one.proof, one.step.name))
        if key not in known and one.undone is None:
            fresh.append((key, one))
    others = earlier_of([UUID(key) for key, _ in fresh], but=run.pk) if fresh else {}
    now = datetime.now(UTC).isoformat()
    noted = [
        {
            "step": one.step.name, "title": one.step.title, "event": str(one.proof.id), "at": one.proof.at.isoformat(),
            "key": key, "seen_at": now, "answer": "", "by": "", "reason": "",
        }
        for key, one in fresh
        if others.get(UUID(key), ("", ""))[0] not in UNDONE
    ][: max(0, MOST_LATE - len(run.late))]  # fmt: skip
    if noted:
        run.late = [*run.late, *noted]
        Compensation.objects.filter(pk=run.pk).update(late=run.late)
        for late in noted:
            audit(SYSTEM, "compensation.step_seen_late", run, details={"step": late["step"], "event": late["event"]})
    return noted


def unanswered(run: Compensation) -> list[dict[str, str]]:
    """Return the late steps of which nobody has said whether they are undone too."""
    return [one for one in run.late if not one["answer"]]
