"""Executing compensations: one step after the other, sent, answered, proved; a step that needs a person holds the rest.

All state is rows. Any number of workers may call this at any time: who has the compensation's row acts, the others leave it. At least once,
said out loud: a worker that dies between sending and marking leaves `sending` behind. When its lease ends the step is sent again with the
same idempotency key where the book says that the receiver knows it, else it is `unknown`, and a person decides.

Locks are taken in one order: the compensation, its steps, its dead letter, its message. Seats (seats.py) are only tried, never waited for.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from django.db import DatabaseError, IntegrityError, connection, transaction

from console.core.errors import ConsoleError
from console.identity.actor import SYSTEM
from messages.compensation.book import Book, Undo
from messages.compensation.books import read_book
from messages.compensation.due import Waits, next_look
from messages.compensation.looking import look_at, unanswered
from messages.compensation.proposing import undone_otherwise
from messages.compensation.seats import Seats, seated
from messages.compensation.sending import send_step
from messages.compensation.services import (
    close_target,
    has_begun,
    is_taken,
    move,
    move_step,
    newest_attempt,
    release_letter,
    stop,
    who_has,
)
from messages.compensation.settling import LEASE_S, settle
from messages.compensation.states import BEGUN, end_of
from messages.compensation.steps import plain_title, undo_words
from messages.compensation.turns import Standing, Turn, whose_turn
from messages.models import Compensation, CompensationStep
from messages.plans.stops import why_flow_stopped

log = structlog.get_logger(__name__)
WORKS_S = 10.0  # then another compensation has its turn
SWEEP_S = (
    20.0  # what is not begun by then waits for the next sweep: a task is killed after two minutes, and a call takes one
)
AT_ONCE = 200  # compensations of one sweep
HOLD_THEIRS = ("paused", "aborted")  # states of a plan in which its compensations take no new step
SILENT = timedelta(minutes=10)  # of an agent that a step waits for: then a person is told
OF_EVENT = 7_219_071  # advisory: one claim at a time of what an event proves
AGAIN_S = 60  # after one could not be advanced: those behind it must not wait for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A step that this worker has, under this attempt, and what undoes it."""

    run: Compensation
    step: CompensationStep
    undo: Undo


def work_on(pk: int, seats: Seats | None = None) -> int:
    """Do what is to be done for one compensation now; return how many steps were sent. May be called twice at once."""
    if seats is None:
        with seated() as own:
            return work_on(pk, own)
    sent, until = 0, time.monotonic() + WORKS_S
    while time.monotonic() < until and (claimed := advance(pk, seats)) is not None:
        settle(claimed.step, claimed.undo, send_step(claimed.run, claimed.step, claimed.undo))
        sent += 1
    return sent


def work_on_all() -> int:
    """Look at every compensation that is due, who waits longest first; return how many steps were sent."""
    due = Compensation.objects.filter(due_at__lte=datetime.now(UTC)).order_by("due_at", "pk")
    sent, until = 0, time.monotonic() + SWEEP_S
    with seated() as seats:
        for pk in due.values_list("pk", flat=True)[:AT_ONCE]:
            if time.monotonic() > until:
                break
            try:
                sent += work_on(pk, seats)
            except Exception as error:
                log.exception("compensation_not_advanced", compensation=pk)
                _put_off(pk, error)
    return sent


def _put_off(pk: int, error: Exception) -> None:
    """Have the others their turn before it; a database that is away has all of them wait for the next tick."""
    try:
        later = datetime.now(UTC) + timedelta(seconds=AGAIN_S)
        Compensation.objects.filter(pk=pk, due_at__isnull=False).update(due_at=later)
    except DatabaseError:
        raise error from None


@transaction.atomic
def advance(pk: int, seats: Seats | None = None, *, over: int | None = None) -> Claimed | None:
    """Prove, hand over tasks, stick or end it as its steps say; return the step that is to be sent now, claimed.

    seats  of this worker; None: it needs none.   over  the connection for whose agent it is claimed, and no other step; None: for a worker.
    What is paused, stuck or ended is looked at too: what was lost, proofs, what completed late.
    """
    run = _held_by_us(pk)
    if run is None or run.begins_at is None or run.state in ("proposed", "approved"):
        return None
    waits = Waits()
    claimed = _advanced(run, seats, waits, over) if run.begins_at <= datetime.now(UTC) else None
    due_at = next_look(run, waits, datetime.now(UTC))
    Compensation.objects.filter(pk=pk).update(due_at=due_at)
    return claimed


def _advanced(run: Compensation, seats: Seats | None, waits: Waits, over: int | None) -> Claimed | None:
    try:
        book = read_book(run.book)
    except ConsoleError as error:
        if run.state == "running":
            move(run, "stick", by=SYSTEM, why=f"its book cannot be read: {error}")
        return None
    if (
        run.plan is not None
        and run.plan.state == "stopped"
        and run.state in ("running", "paused", "stuck")
        and not has_begun(run)
    ):
        stop(run, by=SYSTEM, reason=f"{run.plan.reference} was stopped before any step of it had begun")
        return None
    steps = list(run.steps.select_related("connection__agent").order_by("ordinal"))  # type: ignore[attr-defined]
    undos = {step.name: step.undo for step in book.steps if step.undo}
    _take_over_lost(run, steps, undos)
    seen = look_at(run, steps, book)
    if run.state == "stuck" and (why := _why_unstuck(run, steps, undos, book)):
        move(run, "resume", by=SYSTEM, why=why)
    if run.state == "stopped":
        release_letter(run)  # which waited for what a worker had
    if run.state != "running":
        return None
    turn = _turn_of(run, steps, undos)
    if turn.kind == "end" and not seen.whole:  # nothing may complete between the last look and the end
        seen = look_at(run, steps, book, whole=True)
    if turn.kind == "go" and (why := _why_not_now(run, steps[turn.at], book)):
        move(run, "stick", by=SYSTEM, why=why)
        return None
    if turn.kind == "go":
        return _claimed(run, steps[turn.at], undos[steps[turn.at].name], seats, waits, over)
    if turn.kind == "wait":
        waits.for_proof = any(step.state == "sent" for step in steps)
    if turn.kind == "stick":
        move(run, "stick", by=SYSTEM, why=_why_stuck(steps[turn.at]))
    if turn.kind == "end":
        _end(run, steps, too_large=seen.too_large)
    return None


def _held_by_us(pk: int) -> Compensation | None:
    locked = Compensation.objects.select_for_update(skip_locked=True, of=("self",), no_key=True)
    found = locked.select_related("environment", "flow__environment", "flow__team", "book", "dead_letter__flow", "plan")
    return found.filter(pk=pk).first()


def _take_over_lost(run: Compensation, steps: Sequence[CompensationStep], undos: dict[str, Undo]) -> None:
    """Say of what a worker lost that it is unknown; what may be sent again is claimed again in its turn."""
    for step in steps:
        lost = step.state == "sending" and step.lease_until is not None and step.lease_until < datetime.now(UTC)
        waits_for_its_turn = run.state in BEGUN and _may_repeat(step, undos)
        if lost and not waits_for_its_turn:
            words = "the worker was lost between send and mark: it may or may not have been done"
            move_step(step, "lose", under=step.attempt, detail=words)


def _may_repeat(step: CompensationStep, undos: dict[str, Undo]) -> bool:
    undo = undos.get(step.name)
    return undo is not None and undo.repeatable and step.tries <= undo.retries


def _turn_of(run: Compensation, steps: Sequence[CompensationStep], undos: dict[str, Undo]) -> Turn:
    standing = [
        Standing(name=step.name, state=step.state, after=step.after, overdue=_is_overdue(step, undos)) for step in steps
    ]
    return whose_turn(standing, go_on=run.on_failure == Compensation.OnFailure.CONTINUE)


def _why_not_now(run: Compensation, step: CompensationStep, book: Book) -> str:
    """Return why a person has to look before this step is sent, in words: another compensation may have undone what it would, or its agent
    is silent. Of two at once one waits for the other.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", [step.event_id.hex, OF_EVENT])
    if is_taken(step):
        return f"“{undo_words(step)}”: {who_has(step)} may have undone it, or has: look there"
    if other := undone_otherwise([step.event_id], book, but=run.pk).get(step.event_id):
        return other
    return _why_silent(step)


def _why_silent(step: CompensationStep) -> str:
    line, since = step.connection, datetime.now(UTC) - SILENT
    if line is None or line.agent is None or step.state != "waiting":
        return ""
    if line.approved_at is None:
        return f"“{undo_words(step)}”: the connection {line.name} is not approved any more"
    if line.agent_asked_at is not None and line.agent_asked_at > since:
        return ""
    return f"“{undo_words(step)}”: the agent {line.agent}, which sends over {line.name}, has not asked for {SILENT.seconds // 60} minutes"


def _why_unstuck(run: Compensation, steps: Sequence[CompensationStep], undos: dict[str, Undo], book: Book) -> str:
    """Return what lets it go on by itself, in words: a proof that came late, a worker that came back; "" when a person still has to decide."""
    turn = _turn_of(run, steps, undos)
    if turn.kind == "stick" or (turn.kind == "end" and unanswered(run)):
        return ""
    if turn.kind == "go" and _why_not_now(run, steps[turn.at], book):
        return ""
    settled = [step for step in steps if step.state in ("done", "sent")]
    return f"“{undo_words(settled[-1])}”: {settled[-1].detail}"[:1000] if settled else "no step needs a person any more"


def _is_overdue(step: CompensationStep, undos: dict[str, Undo]) -> bool:
    """Whether a step that was answered has waited for its proof as long as its book says."""
    since = step.answered_at
    if step.state != "sent" or since is None:
        return False
    return datetime.now(UTC) - since > timedelta(seconds=undos[step.name].proof_within_s)


def _claimed(
    run: Compensation, step: CompensationStep, undo: Undo, seats: Seats | None, waits: Waits, over: int | None
) -> Claimed | None:
    """Claim the step whose turn it is; None when it is not to be sent just now, and then in `waits` until when."""
    now = datetime.now(UTC)
    if step.state == "sending" and step.lease_until and step.lease_until >= now:
        waits.until = step.lease_until
        return None
    if _is_held(run):
        waits.for_others = True
        return None
    if undo.manual is not None:
        move_step(
            step, "hand_over", assignee=step.assignee or undo.manual.assignee,
            due_at=step.due_at or now + timedelta(minutes=undo.manual.due_minutes),
        )  # fmt: skip
        return None
    waits.until = _held_until(step, now)
    if waits.until is not None:
        return None
    if over != (step.connection_id if step.connection and step.connection.agent_id else None):
        return None  # an agent asks for what is its own, and for nothing else
    if seats and step.connection and not seats.take(step.connection.pk, step.connection.undo_at_once):
        waits.for_others = True
        return None
    lease_until = now + timedelta(seconds=LEASE_S)
    try:
        with transaction.atomic():
            move_step(
                step, "claim", under=step.attempt, attempt=newest_attempt(step) + 1, tries=step.tries + 1,
                lease_until=lease_until, sent_at=step.sent_at or now, not_before=None,
            )  # fmt: skip
    except IntegrityError:  # another compensation has, or had, a step of this key
        move(
            run, "stick", by=SYSTEM, why=f"“{undo_words(step)}”: {who_has(step)} may have undone it, or has: look there"
        )
        return None
    waits.until = lease_until
    return Claimed(run=run, step=step, undo=undo)


def _is_held(run: Compensation) -> bool:
    """Whether nothing of its flow, or of its plan, is sent just now."""
    return bool(why_flow_stopped(run.flow)) or (run.plan is not None and run.plan.state in HOLD_THEIRS)


def _held_until(step: CompensationStep, now: datetime) -> datetime | None:
    """Return until when the step waits, or its receiver is left alone; None when it may be sent now."""
    line = step.connection
    held = [step.not_before, line.not_before if line else None, line.undo_not_before if line else None]
    return max((one for one in held if one is not None and one > now), default=None)


def _why_stuck(step: CompensationStep) -> str:
    words = {
        "sent": f"{step.system} has not proved “{undo_words(step)}” in time",
        "unknown": f"“{undo_words(step)}” may or may not have been done: {step.detail}",
    }
    return words.get(step.state, f"“{undo_words(step)}” failed: {step.detail}")[:1000]


def _end(run: Compensation, steps: Sequence[CompensationStep], *, too_large: bool) -> None:
    """End it, unless something completed late of which nobody has said what becomes of it."""
    if late := unanswered(run):
        titles = ", ".join(plain_title(one["title"]) for one in late)
        move(run, "stick", by=SYSTEM, why=f"{titles}: that completed since the start. Say whether it is undone too")
        return
    left = too_large or any(one["answer"] == "leave" for one in run.late)
    happening = end_of((step.state for step in steps), left=left)
    why = "its journey has grown too large to look for what completed late: look there yourself" if too_large else ""
    move(run, happening, by=SYSTEM, why=why, finished_at=datetime.now(UTC))
    if happening == "finish":
        close_target(run)
    else:
        release_letter(run)
