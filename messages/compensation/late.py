"""Answering for what completed late: a person says whether it is undone too, or left as it is, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction

from console.core.errors import Invalid
from console.identity.actor import Actor
from messages.compensation.access import check_can_compensate
from messages.compensation.books import read_book
from messages.compensation.proposing import Proposed, preview, step_of, target_of
from messages.compensation.services import (
    CompensationState,
    OwnCompensation,
    audit,
    locked_run,
    move,
    tell_compensation,
)
from messages.compensation.states import BEGUN
from messages.dead_letters.services import check_reason
from messages.models import Compensation, CompensationStep

ANSWERED = {True: "add", False: "leave"}


@transaction.atomic
def answer_late(run: Compensation, index: int, *, add: bool, by: Actor, reason: str) -> Compensation:
    """Say of what completed late whether it is undone too; return the compensation as it is then.

    index  in run.late, from 0. add: it becomes a step, before those that it comes before in the order of undoing and that have not begun;
           else it stays as it is, and the whole is compensated in part only. Of one that has ended nothing is added: propose another.
    Raises Forbidden, ReasonMissing, Invalid, CompensationState, OwnCompensation: what a second person approved takes no more from one.
    """
    check_can_compensate(by, run.flow)
    reason = check_reason(reason)
    now = locked_run(run)
    if not 0 <= index < len(now.late):
        raise Invalid(f"nothing that completed late has the number {index}")
    if now.late[index]["answer"]:
        raise CompensationState(f"{now.late[index]['by']} answered already: {now.late[index]['reason']}")
    if add:
        _add(now, now.late[index], by)
    answered = {**now.late[index], "answer": ANSWERED[add], "by": by.name, "reason": reason}
    now.late = [*now.late[:index], answered, *now.late[index + 1 :]]
    Compensation.objects.filter(pk=now.pk).update(late=now.late)
    details: dict[str, Any] = {"step": answered["step"], "event": answered["event"]}
    audit(by, f"compensation.late_step_{'added' if add else 'left'}", now, reason=reason, details=details)
    if now.state == "stuck":
        move(now, "resume", by=by, why=reason)
    if now.state in BEGUN:
        Compensation.objects.filter(pk=now.pk).update(due_at=datetime.now(UTC))
        transaction.on_commit(partial(tell_compensation, now.pk))
    return now


def _add(run: Compensation, late: dict[str, str], by: Actor) -> None:
    if run.state not in BEGUN:
        raise CompensationState(
            f"{run.reference} is {run.state.replace('_', ' ')}: propose another compensation for it"
        )
    if run.approval_why and by.user_id is not None and by.user_id == run.created_by_user_id:
        raise OwnCompensation(f"{run.approval_why}: another operator adds what they did not approve")
    found = preview(run.environment, read_book(run.book), target_of(run), of=run.pk)
    mine = next((one for one in found if str(one.key) == late["key"]), None)
    if mine is None or mine.settled:
        raise CompensationState(f"{late['title']}: it is undone already, or is not there any more: leave it")
    steps = list(run.steps.order_by("ordinal"))  # type: ignore[attr-defined]
    ordinal = _place(mine, found, steps)
    for step in reversed([step for step in steps if step.ordinal >= ordinal]):
        CompensationStep.objects.filter(pk=step.pk).update(ordinal=step.ordinal + 1)
    step = step_of(run, mine, ordinal)
    if step.problem:  # a start would have refused it
        step.state, step.detail = "failed", f"it cannot be sent: {step.problem}"
    try:
        with transaction.atomic():
            step.save(force_insert=True)
    except IntegrityError as error:
        raise CompensationState(f"{late['title']}: another compensation has it: leave it") from error


def _place(mine: Proposed, found: list[Proposed], steps: list[CompensationStep]) -> int:
    """Return its ordinal: before the first step that has not begun and that the order of undoing puts behind it, else the last."""
    order = {one.key: at for at, one in enumerate(found)}
    behind = [
        step.ordinal
        for step in steps
        if step.state == "waiting" and step.attempt == 0 and order.get(step.idempotency_key, -1) > order[mine.key]
    ]
    return min(behind, default=len(steps) + 1)
