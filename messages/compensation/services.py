"""What people do to compensations and their steps. Each is audited; execute.py does the rest.

Every change of state is one conditional update under the compensation's row lock, so that of two who press at once one is told.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet

from console.audit.services import record_audit
from console.core.errors import Conflict, Forbidden, Invalid
from console.identity.actor import Actor
from messages import tasks
from messages.compensation.access import check_can_compensate
from messages.compensation.books import newest_book, read_book
from messages.compensation.checksum import checksum_of
from messages.compensation.failing import check_failed
from messages.compensation.proposing import (
    NoBook,
    NothingToUndo,
    preview,
    step_of,
    target_of,
    why_approval,
    write_steps,
)
from messages.compensation.states import BEGUN, ENDED, OPEN_ENDED, STEP_TRANSITIONS, TOOK_EFFECT, next_state
from messages.dead_letters.services import NotOpen, check_reason
from messages.ingest import messages_sql
from messages.ingest.status import COMPENSATED
from messages.models import Compensation, CompensationStep, Connection, DeadLetter, Replay

UNDO_S = 10
UNDER_WAY = ("queued", "sending", "sent", "confirmed")  # of a replay


class CompensationState(Conflict):
    """The compensation, or its step, is not in a state in which this can be done: look at it again."""

    code = "compensation_state"


class CompensationChanged(Conflict):
    """What had happened, or what undoes it, is not what this compensation shows any more: look again."""

    code = "compensation_changed"


class CompensationApproval(Conflict):
    """A second person must approve this compensation before it is started."""

    code = "compensation_approval_needed"


class OwnCompensation(Forbidden):
    """Nobody approves a compensation of their own."""

    code = "own_compensation"


class StepProblem(Conflict):
    """A step cannot be sent as it stands: skip it with a reason, or do it by hand."""

    code = "step_problem"


@transaction.atomic
def look_again(run: Compensation, *, by: Actor) -> Compensation:
    """Read the journey and the newest book anew into a proposal; what was approved is approved no more.

    Raises Forbidden, CompensationState, NoBook, NothingToUndo, TooLarge.
    """
    check_can_compensate(by, run.flow)
    now = locked_run(run)
    if now.state not in ("proposed", "approved"):
        raise CompensationState(
            f"{now.reference} is {now.state.replace('_', ' ')}: only what was not begun is read anew"
        )
    version = newest_book(now.flow)
    if version is None:
        raise NoBook(f"{now.flow.name} has no compensation book any more")
    found = preview(now.environment, read_book(version), target_of(now), of=now.pk)
    if all(one.settled for one in found):
        raise NothingToUndo("nothing of it is left to undo")
    now.book, now.state, now.approved_at, now.approved_by, now.approved_checksum = version, "proposed", None, "", ""
    now.approved_by_user = None
    write_steps(now, found)
    audit(by, "compensation.read_anew", now)
    return now


def approve(run: Compensation, *, by: Actor, checksum: str, reason: str = "") -> Compensation:
    """Approve exactly what this checksum stands for. Raises Forbidden, OwnCompensation, CompensationState."""
    check_can_compensate(by, run.flow)
    if by.user_id is None:
        raise OwnCompensation("a person approves a compensation, not the system")
    if by.user_id == run.created_by_user_id or by.name == run.created_by:
        raise OwnCompensation("nobody approves a compensation that they proposed: ask another operator")
    approval = {
        "approved_by": by.name,
        "approved_by_user_id": by.user_id,
        "approved_at": datetime.now(UTC),
        "approved_checksum": checksum,
    }
    return move(run, "approve", by=by, why=reason, same={"checksum": checksum}, **approval)


NOT_APPROVED: dict[str, Any] = {"approved_by": "", "approved_by_user_id": None, "approved_at": None, "approved_checksum": ""}  # fmt: skip


def refuse(run: Compensation, *, by: Actor, reason: str) -> Compensation:
    """Take an approval back before it is started. Raises Forbidden, CompensationState, ReasonMissing."""
    return move(run, "refuse", by=by, why=check_reason(reason), **NOT_APPROVED)


@transaction.atomic
def start(run: Compensation, *, by: Actor, undo_s: int = 0) -> Compensation:
    """Begin in undo_s seconds, which can be taken back. What had happened is looked at once more.

    Raises Forbidden, CompensationState, CompensationApproval, CompensationChanged, StepProblem, NotOpen, DidNotFail.
    """
    check_can_compensate(by, run.flow)
    now = locked_run(run)
    steps = list(now.steps.order_by("ordinal"))  # type: ignore[attr-defined]
    _check_same(now, steps)
    stuck = [step for step in steps if step.problem and step.state == "waiting"]
    if stuck:
        raise StepProblem(f"step {stuck[0].ordinal}, {stuck[0].title}: {stuck[0].problem}. Skip it, or do it by hand")
    needed = why_approval(now) or now.approval_why
    if needed and (now.approved_at is None or now.approved_checksum != now.checksum):
        raise CompensationApproval(f"{needed}: ask another operator to approve it first")
    check_failed(target_of(now))
    _take_letter(now)
    moment = datetime.now(UTC)
    begins_at = moment + timedelta(seconds=undo_s)
    moved = move(now, "start", by=by, begins_at=begins_at, started_at=moment, due_at=begins_at, looked_at=moment)
    transaction.on_commit(partial(tell_compensation, now.pk, undo_s))
    return moved


def _check_same(run: Compensation, steps: list[CompensationStep]) -> None:
    """Raise CompensationChanged when the rows, or the journey, are not what was shown."""
    if run.checksum != checksum_of(run, steps):
        raise CompensationChanged(f"{run.reference} is not what its checksum says: look again")
    found = [one for one in preview(run.environment, read_book(run.book), target_of(run), of=run.pk) if not one.settled]
    fresh = [step_of(run, one, ordinal) for ordinal, one in enumerate(found, start=1)]
    if checksum_of(run, _with_standing(fresh, steps)) != run.checksum:
        raise CompensationChanged("what had happened is not what is shown here any more: look again")


def _with_standing(fresh: list[CompensationStep], steps: list[CompensationStep]) -> list[CompensationStep]:
    """Give fresh steps the states that people gave those shown: skipped, done by hand."""
    standing = {step.idempotency_key: step.state for step in steps}
    for step in fresh:
        step.state = standing.get(step.idempotency_key, step.state)
    return fresh


def _take_letter(run: Compensation) -> None:
    if run.dead_letter_id is None:
        return
    if Replay.objects.filter(dead_letter=run.dead_letter_id, state__in=UNDER_WAY).exists():
        raise NotOpen("a replay of its dead letter is under way: wait for what becomes of it")
    rows = DeadLetter.objects.filter(pk=run.dead_letter_id)
    taken = rows.filter(state="open").update(state="compensating")
    if not taken and not rows.filter(state="closed", resolution="compensated").exists():  # something completed after it
        raise NotOpen("its dead letter is not open any more: somebody replayed or discarded it")


def undo_start(run: Compensation, *, by: Actor) -> Compensation:
    """Take a start back before anything began. Raises Forbidden, CompensationState when something has."""
    with transaction.atomic():
        now = locked_run(run)
        begun = now.begins_at is None or now.begins_at <= datetime.now(UTC) or has_begun(now)
        if now.state == "running" and begun:
            raise CompensationState(f"{now.reference} has begun: pause or stop it")
        moved = move(now, "undo_approved" if now.approved_at else "undo", by=by, begins_at=None, started_at=None)
        release_letter(moved)
        return moved


def has_begun(run: Compensation) -> bool:
    return run.steps.exclude(attempt=0, state__in=["waiting", "irreversible", "skipped", "by_hand"]).exists()  # type: ignore[attr-defined]


def pause(run: Compensation, *, by: Actor, reason: str = "") -> Compensation:
    """Send nothing more until somebody resumes it; what a worker has goes its way. Raises Forbidden, CompensationState."""
    return move(run, "pause", by=by, why=reason)


def resume(run: Compensation, *, by: Actor, reason: str = "") -> Compensation:
    """Go on where it was held. A step that needs a person still does: it sticks again. Raises Forbidden, CompensationState."""
    moved = move(run, "resume", by=by, why=reason)
    transaction.on_commit(partial(tell_compensation, run.pk))
    return moved


@transaction.atomic
def stop(run: Compensation, *, by: Actor, reason: str) -> Compensation:
    """End it for good; what has not begun is not undone, and its dead letter is open again. Raises Forbidden, CompensationState, ReasonMissing.

    What a worker has goes its way, and what becomes of it is written down; until then the letter is not open: nobody replays it meanwhile.
    """
    stopped = move(run, "stop", by=by, why=check_reason(reason), finished_at=datetime.now(UTC))
    release_letter(stopped)
    transaction.on_commit(partial(tell_compensation, run.pk))
    return stopped


def release_letter(run: Compensation) -> None:
    """Open the dead letter again, which the compensation held: unless a worker still has a step, or another compensation has the letter."""
    if run.dead_letter_id is None or run.steps.filter(state="sending").exists():  # type: ignore[attr-defined]
        return
    others = Compensation.objects.filter(dead_letter_id=OuterRef("pk"), state__in=BEGUN).exclude(pk=run.pk)
    held = DeadLetter.objects.filter(~Exists(others), pk=run.dead_letter_id, state="compensating")
    held.update(state="open")  # one statement: who takes the letter in between is seen with it, or not at all


def close_target(run: Compensation) -> None:
    """Close the dead letter and settle the message of what was compensated in full."""
    now = datetime.now(UTC)
    if run.dead_letter_id is not None:
        DeadLetter.objects.filter(pk=run.dead_letter_id, state="compensating").update(
            state="closed", resolution="compensated", closed_at=now
        )
    if run.message_uid is not None:
        messages_sql.set_status(run.message_uid, COMPENSATED)


# steps ---------------------------------------------------------------------------------------------------------------


def retry_step(step: CompensationStep, *, by: Actor, reason: str) -> CompensationStep:
    """Send a failed or unknown step again, with the same idempotency key; of an unknown one a person takes the risk."""
    reason = check_reason(reason)
    if step.problem:
        raise StepProblem(f"it cannot be sent: {step.problem}")
    moved = _act(step, "retry", by=by, reason=reason, tries=0, not_before=None)
    if step.connection_id is not None:  # who says so wants it now
        Connection.objects.filter(pk=step.connection_id).update(undo_not_before=None)
    return moved


def skip_step(step: CompensationStep, *, by: Actor, reason: str) -> CompensationStep:
    """Leave what happened as it is, and say why: then the whole is compensated in part only."""
    reason = check_reason(reason)
    return _act(step, "skip", by=by, reason=reason, detail=reason, done_by=by.name, finished_at=datetime.now(UTC))


def mark_step(step: CompensationStep, *, by: Actor, reason: str) -> CompensationStep:
    """Say that it was undone by hand, with a note: where, how, by whom."""
    reason = check_reason(reason)
    return _act(step, "by_hand", by=by, reason=reason, detail=reason, done_by=by.name, finished_at=datetime.now(UTC))


@transaction.atomic
def assign_step(step: CompensationStep, *, by: Actor, assignee: str, due_at: datetime | None) -> CompensationStep:
    """Say who does a task, and until when. Raises Forbidden, CompensationState, Invalid."""
    run = step.compensation
    check_can_compensate(by, run.flow)
    assignee = assignee.replace("\x00", "").strip()
    if len(assignee) > 150:
        raise Invalid("an assignee has at most 150 characters")
    changed = CompensationStep.objects.filter(pk=step.pk, state__in=["waiting", "task", "failed", "unknown"]).update(
        assignee=assignee, due_at=due_at
    )
    if not changed:
        raise CompensationState(f"step {step.ordinal} is {step.state.replace('_', ' ')}: nobody has to do it any more")
    step.refresh_from_db()
    audit(by, "compensation.step_assigned", run, details={"step": step.name, "assignee": assignee})
    return step


@transaction.atomic
def _act(step: CompensationStep, happening: str, *, by: Actor, reason: str, **values: Any) -> CompensationStep:
    """Change a step's state because a person says so; a compensation that stuck because of it goes on. Raises Forbidden, CompensationState."""
    check_can_compensate(by, step.compensation.flow)
    run = locked_run(step.compensation)
    settles = step.state in OPEN_ENDED and happening != "retry"  # after the end too: else its key was taken for ever
    if run.state == "approved" or (run.state in ENDED and not settles):
        raise CompensationState(f"{run.reference} is {run.state.replace('_', ' ')}: its steps stay as they are")
    try:
        with transaction.atomic():
            moved = move_step(step, happening, **values)
    except IntegrityError as error:
        raise StepProblem(f"{who_has(step)} may have undone it, or has: look there first") from error
    audit(by, f"compensation.step_{STEP_DONE[happening]}", run, reason=reason, details={"step": step.name})
    if run.state == "proposed":
        run.checksum = checksum_of(run, run.steps.order_by("ordinal"))  # type: ignore[attr-defined]
        run.save(update_fields=["checksum"])
    elif run.state == "stuck":
        move(run, "resume", by=by, why=reason)
    if run.state in BEGUN:
        Compensation.objects.filter(pk=run.pk).update(due_at=datetime.now(UTC))
        transaction.on_commit(partial(tell_compensation, run.pk))
    return moved


def is_taken(step: CompensationStep) -> bool:
    """Whether a step of the same key in another compensation took, or may have taken, effect."""
    return _of_same_key(step).exists()


def _of_same_key(step: CompensationStep) -> QuerySet[CompensationStep]:
    rows = CompensationStep.objects.filter(idempotency_key=step.idempotency_key, state__in=sorted(TOOK_EFFECT))
    return rows.exclude(pk=step.pk)


def newest_attempt(step: CompensationStep) -> int:
    """Return the highest attempt of this key in whichever compensation: what is reported late of one is never taken for another's."""
    rows = CompensationStep.objects.filter(idempotency_key=step.idempotency_key)
    return max(rows.values_list("attempt", flat=True), default=step.attempt)


def who_has(step: CompensationStep) -> str:
    """Return the reference of the other compensation whose step of the same key took, or may have taken, effect."""
    other = _of_same_key(step).values_list("compensation_id", flat=True).first()
    return f"C-{other}" if other else "another compensation"


STEP_DONE = {"retry": "retried", "skip": "skipped", "by_hand": "done_by_hand"}


def move_step(step: CompensationStep, happening: str, *, under: int | None = None, **values: Any) -> CompensationStep:
    """Change a step's state, once. Raises CompensationState. under: the attempt whose claim says so."""
    after = next_state(step.state, happening, STEP_TRANSITIONS)
    rows = CompensationStep.objects.filter(pk=step.pk, state=step.state)
    if under is not None:
        rows = rows.filter(attempt=under)
    values |= {"lease_until": values.get("lease_until")}
    if after is None or not rows.update(state=after, **values):
        raise CompensationState(
            f"step {step.ordinal} is not as it was: somebody was faster, or this cannot be done now"
        )
    step.refresh_from_db()
    return step


@transaction.atomic
def move(
    run: Compensation, happening: str, *, by: Actor, why: str = "", same: dict[str, Any] | None = None, **values: Any
) -> Compensation:
    """Change the compensation's state, once, and audit it; return it as it is then. Raises Forbidden, CompensationState.

    same  values that the row must still have.
    """
    check_can_compensate(by, run.flow)
    now = locked_run(run)
    after = next_state(now.state, happening)
    if after is None or any(getattr(now, name) != value for name, value in (same or {}).items()):
        raise CompensationState(
            f"{now.reference} is {now.state.replace('_', ' ')}: somebody was faster, or this cannot be done now"
        )
    why = why.replace("\x00", "").strip()[:1000]
    moment = datetime.now(UTC)
    due_at = moment if now.started_at and after not in ("proposed", "approved") else None
    values = {"due_at": due_at, **values, "state": after, "state_at": moment, "state_by": by.name, "why": why}
    Compensation.objects.filter(pk=run.pk).update(**values)
    run.refresh_from_db()
    audit(by, f"compensation.{DONE[happening]}", run, reason=why, details={"was": now.state})
    return run


DONE = {
    "approve": "approved",
    "refuse": "refused",
    "start": "started",
    "undo": "start_undone",
    "undo_approved": "start_undone",
    "pause": "paused",
    "resume": "resumed",
    "stick": "stuck",
    "finish": "compensated",
    "finish_partly": "partially_compensated",
    "stop": "stopped",
}


def locked_run(run: Compensation) -> Compensation:
    rows = Compensation.objects.select_for_update(of=("self",))
    return rows.select_related("environment", "flow__environment", "flow__team", "book", "dead_letter").get(pk=run.pk)


def audit(
    by: Actor, action: str, run: Compensation, *, reason: str = "", details: dict[str, Any] | None = None
) -> None:
    record_audit(
        by, action, run, environment=run.environment, team_id=run.flow.team_id, reason=reason,
        details={"checksum": run.checksum, **(details or {})},
    )  # fmt: skip


def tell_compensation(pk: int, in_s: int = 0) -> None:
    """Say "look" to a worker; when the broker is away the next beat does."""
    try:
        tasks.work_on_compensation.apply_async([pk], countdown=in_s)
    except Exception:  # noqa: BLE001  any broker failure means the same: the beat will
        return
