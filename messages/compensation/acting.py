"""The buttons of a compensation and of its steps: which stand in which state, what each does, and in which state a second press finds its work done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from console.core.errors import Invalid
from console.identity.actor import Actor
from messages.compensation import services
from messages.compensation.access import can_compensate
from messages.compensation.late import answer_late
from messages.compensation.services import UNDO_S
from messages.compensation.states import ENDED, STEP_TRANSITIONS
from messages.models import Compensation, CompensationStep

Said = Mapping[str, str]


def parse_due(text: str) -> datetime | None:
    """Return the time of "2026-11-26T22:00", in UTC unless it names its zone; None for nothing. Raises Invalid."""
    if not text.strip():
        return None
    try:
        at = datetime.fromisoformat(text.strip()[:40])
    except ValueError as error:
        raise Invalid(f"“{text[:40]}” is no time: say 2026-11-26T22:00, in UTC") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _start(run: Compensation, by: Actor, said: Said) -> str:
    services.start(run, by=by, undo_s=UNDO_S)
    return f"{run.reference} begins in {UNDO_S} s. Nothing is sent before."


def _undo(run: Compensation, by: Actor, said: Said) -> str:
    services.undo_start(run, by=by)
    return "Taken back: nothing was sent."


def _approve(run: Compensation, by: Actor, said: Said) -> str:
    services.approve(run, by=by, checksum=said.get("checksum", ""), reason=said.get("reason", ""))
    return f"{run.reference} is approved, exactly as its checksum says."


def _refuse(run: Compensation, by: Actor, said: Said) -> str:
    services.refuse(run, by=by, reason=said.get("reason", ""))
    return f"The approval of {run.reference} is taken back."


def _pause(run: Compensation, by: Actor, said: Said) -> str:
    services.pause(run, by=by, reason=said.get("reason", ""))
    return f"{run.reference} is paused. What a worker has already goes its way."


def _resume(run: Compensation, by: Actor, said: Said) -> str:
    services.resume(run, by=by, reason=said.get("reason", ""))
    return f"{run.reference} goes on. A step that needs a person still does."


def _stop(run: Compensation, by: Actor, said: Said) -> str:
    services.stop(run, by=by, reason=said.get("reason", ""))
    return f"{run.reference} is stopped. What had not begun is not undone."


def _look(run: Compensation, by: Actor, said: Said) -> str:
    services.look_again(run, by=by)
    return f"{run.reference} shows what had happened as it is known now."


ACTIONS: dict[str, Callable[[Compensation, Actor, Said], str]] = {
    "start": _start,
    "undo": _undo,
    "approve": _approve,
    "refuse": _refuse,
    "pause": _pause,
    "resume": _resume,
    "stop": _stop,
    "look-again": _look,
}
AFTER: dict[str, frozenset[str]] = {
    "start": frozenset({"running"}),
    "undo": frozenset({"proposed", "approved"}),
    "approve": frozenset({"approved"}),
    "refuse": frozenset({"proposed"}),
    "pause": frozenset({"paused"}),
    "resume": frozenset({"running"}),
    "stop": frozenset({"stopped"}),
    "look-again": frozenset(),
}
OF_STATE: dict[str, frozenset[str]] = {
    "proposed": frozenset({"start", "approve", "look-again", "stop"}),
    "approved": frozenset({"start", "refuse", "look-again", "stop"}),
    "running": frozenset({"undo", "pause", "stop"}),
    "paused": frozenset({"resume", "stop"}),
    "stuck": frozenset({"resume", "stop"}),
}


def offered_to(actor: Actor, run: Compensation, *, now: datetime) -> set[str]:
    """Return the actions whose buttons this reader sees."""
    if not can_compensate(actor, run.flow):
        return set()
    found = set(OF_STATE.get(run.state, frozenset()))
    if run.state == "proposed":
        found -= {"start"} if run.approval_why else {"approve"}
    if is_author(actor, run):
        found -= {"approve"}
    if run.state == "running":
        found -= {"pause"} if run.begins_at and run.begins_at > now else {"undo"}
    return found


def is_author(actor: Actor, run: Compensation) -> bool:
    """Whether the actor may not approve it: they proposed it, or are no person."""
    return actor.user_id is None or actor.user_id == run.created_by_user_id or actor.name == run.created_by


# steps ---------------------------------------------------------------------------------------------------------------


def _retry(step: CompensationStep, by: Actor, said: Said) -> str:
    services.retry_step(step, by=by, reason=said.get("reason", ""))
    return f"Step {step.ordinal} is sent again, with the same idempotency key."


def _skip(step: CompensationStep, by: Actor, said: Said) -> str:
    services.skip_step(step, by=by, reason=said.get("reason", ""))
    return f"Step {step.ordinal} is skipped: the whole is undone in part only."


def _mark(step: CompensationStep, by: Actor, said: Said) -> str:
    services.mark_step(step, by=by, reason=said.get("reason", ""))
    return f"Step {step.ordinal} is done by hand."


def _assign(step: CompensationStep, by: Actor, said: Said) -> str:
    assignee = said.get("assignee", "")
    services.assign_step(step, by=by, assignee=assignee, due_at=parse_due(said.get("due", "")))
    return f"Step {step.ordinal} is for {assignee.strip()}." if assignee.strip() else f"Step {step.ordinal} is for nobody."  # fmt: skip


STEP_ACTIONS: dict[str, Callable[[CompensationStep, Actor, Said], str]] = {
    "retry": _retry,
    "skip": _skip,
    "mark": _mark,
    "assign": _assign,
}
HAPPENING = {"retry": "retry", "skip": "skip", "mark": "by_hand"}
AFTER_STEP: dict[str, frozenset[str]] = {
    "retry": frozenset({"waiting", "sending"}),
    "skip": frozenset({"skipped"}),
    "mark": frozenset({"by_hand"}),
    "assign": frozenset(),
}
ASSIGNABLE = frozenset({"waiting", "task", "failed", "unknown"})


def step_actions(run: Compensation, step: CompensationStep) -> list[str]:
    """Return the verbs that somebody who may act can use on this step now."""
    if run.state in ENDED:
        return []
    ways = STEP_TRANSITIONS[step.state]
    found = [verb for verb, happening in HAPPENING.items() if happening in ways and run.state != "approved"]
    if step.problem and "retry" in found:
        found.remove("retry")
    return found + (["assign"] if step.state in ASSIGNABLE and run.state != "approved" else [])


# late events ---------------------------------------------------------------------------------------------------------


def answer(run: Compensation, by: Actor, *, index: int, add: bool, reason: str) -> str:
    """Add what was seen to happen meanwhile as a step, or leave it with a reason. Raises what answer_late raises."""
    answer_late(run, index, add=add, by=by, reason=reason)
    return "It is a step now, and undone in its turn." if add else "It is left as it is, with your reason."
