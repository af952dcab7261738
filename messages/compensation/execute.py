"""Executing compensations: one step after the other, sent, answered, proved; a step that needs a person holds the rest.

All state is rows. Any number of workers may call this at any time: who has the compensation's row acts, the others leave it. At least once,
said out loud: a worker that dies between sending and marking leaves `sending` behind. When its lease ends the step is sent again with the
same idempotency key where the book says that the receiver knows it, else it is `unknown`, and a person decides.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from django.db import IntegrityError, OperationalError, transaction

from console.identity.actor import SYSTEM
from messages.compensation.book import Undo
from messages.compensation.books import read_book
from messages.compensation.journey import events_of
from messages.compensation.matching import Happened, is_match
from messages.compensation.proposing import target_of
from messages.compensation.sending import Answer, send_step
from messages.compensation.services import CompensationState, close_target, move, move_step, release_letter
from messages.compensation.states import end_of
from messages.compensation.turns import Standing, whose_turn
from messages.models import Compensation, CompensationStep
from messages.plans.stops import why_flow_stopped

log = structlog.get_logger(__name__)
LEASE_S = 150  # a call takes a minute at most, and the connection to its receiver another
LOOK_S = 2.0  # at a journey for proofs, at most so often
WORKS_S = 20.0  # then another compensation has its turn
AT_ONCE = 200  # compensations of one sweep


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A step that this worker has, under this attempt, and what undoes it."""

    run: Compensation
    step: CompensationStep
    undo: Undo


def work_on(pk: int) -> int:
    """Do what is to be done for one compensation now; return how many steps were sent. May be called twice at once."""
    sent, until = 0, time.monotonic() + WORKS_S
    while time.monotonic() < until and (claimed := advance(pk)) is not None:
        settle(claimed, send_step(claimed.run, claimed.step, claimed.undo))
        sent += 1
    return sent


def work_on_all() -> int:
    """Look at every compensation that runs; return how many steps were sent."""
    due = Compensation.objects.filter(state="running", begins_at__lte=datetime.now(UTC)).order_by("looked_at", "pk")
    sent = 0
    for pk in due.values_list("pk", flat=True)[:AT_ONCE]:
        try:
            sent += work_on(pk)
        except OperationalError:
            raise  # of all alike: the next tick
        except Exception:
            log.exception("compensation_not_advanced", compensation=pk)  # the others must not wait for this one
    return sent


@transaction.atomic
def advance(pk: int) -> Claimed | None:
    """Prove, hand over tasks, stick or end it as its steps say; return the step that is to be sent now, claimed."""
    run = _held_by_us(pk)
    if run is None or run.state != "running" or run.begins_at is None or run.begins_at > datetime.now(UTC):
        return None
    if why_flow_stopped(run.flow):
        return None
    undos = {step.name: step.undo for step in read_book(run.book).steps if step.undo}
    steps = list(run.steps.select_related("connection").order_by("ordinal"))  # type: ignore[attr-defined]
    _take_over_lost(steps, undos)
    _look_for_proofs(run, steps, undos)
    return _next(run, steps, undos)


def _held_by_us(pk: int) -> Compensation | None:
    locked = Compensation.objects.select_for_update(skip_locked=True, of=("self",), no_key=True)
    found = locked.select_related("environment", "flow__environment", "flow__team", "book", "dead_letter__flow")
    return found.filter(pk=pk).first()


def _take_over_lost(steps: Sequence[CompensationStep], undos: dict[str, Undo]) -> None:
    """Say of what a worker lost that it is unknown; what may be sent again is claimed again in its turn."""
    for step in steps:
        lost = step.state == "sending" and step.lease_until is not None and step.lease_until < datetime.now(UTC)
        if lost and not _may_repeat(step, undos[step.name]):
            words = "the worker was lost between send and mark: it may or may not have been done"
            move_step(step, "lose", under=step.attempt, detail=words)


def _may_repeat(step: CompensationStep, undo: Undo) -> bool:
    return undo.repeatable and step.tries <= undo.retries


def _look_for_proofs(run: Compensation, steps: Sequence[CompensationStep], undos: dict[str, Undo]) -> None:
    """Mark as done what the receivers' own events prove; each event proves one step."""
    waiting = [step for step in steps if step.state in ("sent", "unknown") and undos[step.name].proof]
    if not waiting:
        return
    now = datetime.now(UTC)
    if run.looked_at is not None and now - run.looked_at < timedelta(seconds=LOOK_S):
        return
    Compensation.objects.filter(pk=run.pk).update(looked_at=now)
    used: set[object] = {step.proof_event_id for step in steps}
    events = sorted(events_of(target_of(run)), key=lambda event: event.at)
    for step in waiting:
        proof = _proof_of(step, undos[step.name], events, used)
        if proof is not None:
            used.add(proof.id)
            tie = "trace" if proof.trace_id == step.trace_id else "journey"
            move_step(
                step, "done", detail=f"proved by {proof.system}", finished_at=now,
                proof_event_at=proof.at, proof_event_id=proof.id, proof_tie=tie,
            )  # fmt: skip


def _proof_of(step: CompensationStep, undo: Undo, events: Sequence[Happened], used: set[object]) -> Happened | None:
    """Return the event that proves the step: one of its own call's trace, else the first that came after it was sent."""
    assert undo.proof is not None
    since = step.sent_at or step.event_at
    fitting = [one for one in events if one.id not in used and one.at > since and is_match(undo.proof, one)]
    own = [one for one in fitting if one.trace_id == step.trace_id]
    return next(iter(own or fitting), None)


def _next(run: Compensation, steps: Sequence[CompensationStep], undos: dict[str, Undo]) -> Claimed | None:
    """Return the step whose turn it is, claimed; end or stick the run when there is none, and nothing is under way."""
    standing = [
        Standing(name=step.name, state=step.state, after=step.after, overdue=_is_overdue(step, undos)) for step in steps
    ]
    turn = whose_turn(standing, go_on=run.on_failure == Compensation.OnFailure.CONTINUE)
    if turn.kind == "go":
        step = steps[turn.at]
        return _claimed(run, step, undos[step.name])
    if turn.kind == "stick":
        move(run, "stick", by=SYSTEM, why=_why_stuck(steps[turn.at]))
    if turn.kind == "end":
        _end(run, steps)
    return None


def _is_overdue(step: CompensationStep, undos: dict[str, Undo]) -> bool:
    """Whether a step that was answered has waited for its proof as long as its book says."""
    since = step.answered_at
    if step.state != "sent" or since is None:
        return False
    return datetime.now(UTC) - since > timedelta(seconds=undos[step.name].proof_within_s)


def _claimed(run: Compensation, step: CompensationStep, undo: Undo) -> Claimed | None:
    now = datetime.now(UTC)
    if step.state == "sending":
        if step.lease_until and step.lease_until >= now:
            return None
    elif undo.manual is not None:
        move_step(
            step, "hand_over", assignee=step.assignee or undo.manual.assignee,
            due_at=step.due_at or now + timedelta(minutes=undo.manual.due_minutes),
        )  # fmt: skip
        return None
    elif step.not_before is not None and step.not_before > now:
        return None
    try:
        with transaction.atomic():
            move_step(
                step, "claim", under=step.attempt, attempt=step.attempt + 1, tries=step.tries + 1,
                lease_until=now + timedelta(seconds=LEASE_S), sent_at=step.sent_at or now, not_before=None,
            )  # fmt: skip
    except IntegrityError:  # another compensation has, or had, a step of this key
        CompensationStep.objects.filter(pk=step.pk).update(
            problem="another compensation may have undone it: look there"
        )
        move(run, "stick", by=SYSTEM, why=f"{step.title}: another compensation may have undone it")
        return None
    return Claimed(run=run, step=step, undo=undo)


def _why_stuck(step: CompensationStep) -> str:
    words = {
        "sent": f"{step.system} has not proved “{step.undo_title}” in time",
        "unknown": f"“{step.undo_title}” may or may not have been done: {step.detail}",
    }
    return words.get(step.state, f"“{step.undo_title}” failed: {step.detail}")[:1000]


def _end(run: Compensation, steps: Sequence[CompensationStep]) -> None:
    happening = end_of(step.state for step in steps)
    move(run, happening, by=SYSTEM, finished_at=datetime.now(UTC))
    if happening == "finish":
        close_target(run)
    else:
        release_letter(run)


def settle(claimed: Claimed, answer: Answer) -> None:
    """Write down what became of a step, unless somebody else has it now."""
    step, now = claimed.step, datetime.now(UTC)
    values: dict[str, object] = {"detail": answer.detail.replace("\x00", "")[:1000], "under": step.attempt}
    happening = answer.leads_to(claimed.undo, step.tries)
    if happening == "put_back":
        values["not_before"] = now + timedelta(seconds=answer.wait_s(step.tries))
    if happening in ("answer", "done"):
        values["answered_at"] = now
    if happening == "done":
        values["finished_at"] = now
    try:
        move_step(step, happening, **values)  # type: ignore[arg-type]
    except CompensationState:
        log.warning("compensation_step_not_marked", step=str(step.pk), attempt=step.attempt, became=happening)
