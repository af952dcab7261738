"""What is to be done next in a compensation, by whom, and since when, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from messages.compensation.book import PLACE
from messages.compensation.states import BEGUN, ENDED, UNDONE
from messages.models import Compensation, CompensationStep


def plain_title(title: str) -> str:
    """Return a title of the book for those who may not read values: “refund {amount}” → “refund amount”."""
    return PLACE.sub(lambda place: place[1].replace("_", " "), title)


def undo_words(step: CompensationStep) -> str:
    return plain_title(step.undo_title or step.title)


def is_overdue(step: CompensationStep, *, now: datetime) -> bool:
    """Whether a person should have done this task already."""
    return step.state == "task" and step.due_at is not None and step.due_at < now


def unanswered(run: Compensation) -> list[tuple[int, dict[str, str]]]:
    """Return (place in the list, what was seen) of the late events that nobody has answered."""
    return [(at, one) for at, one in enumerate(run.late) if isinstance(one, dict) and not one.get("answer")]


def late_title(run: Compensation, seen: dict[str, str]) -> str:
    """Return what happened meanwhile, as the book says it."""
    titles = {one["name"]: one.get("title", "") for one in run.book.content.get("steps", [])}
    name = str(seen.get("step", ""))
    return plain_title(titles.get(name) or name)


def step_in_question(steps: Sequence[CompensationStep], *, now: datetime) -> CompensationStep | None:
    """Return the step that a person looks at first: one that failed or is unknown, then an overdue task, then what waits for its proof."""
    ranks = ("failed", "unknown", "overdue", "sent", "task")
    ranked = [("overdue" if is_overdue(step, now=now) else step.state, step) for step in steps]
    found = [(ranks.index(rank), step.ordinal, step) for rank, step in ranked if rank in ranks]
    return min(found, key=lambda one: one[:2])[2] if found else None


def next_step(run: Compensation, steps: Sequence[CompensationStep], *, now: datetime) -> str:
    """Return what a person does next, in words."""
    if run.state in ENDED:
        return _what_stays(run, steps)
    if late := unanswered(run):
        return f"say what becomes of “{late_title(run, late[0][1])}”, which was seen to happen meanwhile"
    if run.state == "proposed":
        bad = next((step for step in steps if step.problem and step.state == "waiting"), None)
        if bad:
            return f"“{undo_words(bad)}” cannot be sent: skip it, or do it by hand"
        return "a second person approves it" if run.approval_why else "start it"
    if run.state == "approved":
        return "start it"
    step = step_in_question(steps, now=now)
    return _of_step(run, step, now=now) if step else _of_run(run)


def _of_run(run: Compensation) -> str:
    if run.state == "paused":
        return "resume it, or stop it"
    return run.why or "look at its steps" if run.state == "stuck" else "nothing: it goes on by itself"


def _of_step(run: Compensation, step: CompensationStep, *, now: datetime) -> str:
    words = undo_words(step)
    if step.state == "failed":
        again = "retry" if not step.problem else "skip"
        return f"“{words}” failed: {again} it, {'skip it, ' if again == 'retry' else ''}or do it by hand"
    if step.state == "unknown":
        return f"ask {step.system} whether “{words}” was done; then say so, or retry it"
    if step.state == "task":
        return f"do “{words}” by hand, and say so{', it is overdue' if is_overdue(step, now=now) else ''}"
    if run.state == "stuck":
        return f"ask {step.system} whether “{words}” was done: it has not proved it in time"
    return _of_run(run)


def _what_stays(run: Compensation, steps: Sequence[CompensationStep]) -> str:
    stays = [plain_title(step.title) for step in steps if step.state not in UNDONE]
    return f"nothing; what stays: {', '.join(stays)}" if stays else "nothing: all of it is undone"


def owner_of(run: Compensation, steps: Sequence[CompensationStep], *, now: datetime) -> str:
    """Return who has the next step: the assignee of the step in question, else who proposed it; "" when it has ended."""
    if run.state in ENDED:
        return ""
    step = step_in_question(steps, now=now) if run.state in BEGUN else None
    return (step.assignee if step else "") or run.created_by
