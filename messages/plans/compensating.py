"""A plan that compensates: how many may begin now, and each item's own compensation, proposed and started in its turn.

The rate, the room, the wave and the row lock are those of release.py; what undoes an item is messages.compensation.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from django.db import connection, transaction

from console.core.errors import ConsoleError
from console.identity.actor import SYSTEM, Actor
from messages.compensation.failing import DidNotFail
from messages.compensation.proposing import AlreadyOpen, NoBook, NothingToUndo, propose, target_of_letter
from messages.compensation.services import CompensationApproval, move, start, tell_compensation
from messages.dead_letters.services import NotOpen
from messages.models import Compensation, Plan, PlanItem
from messages.plans.release import MOST_AT_ONCE, allowed, rate_of

AT_A_TURN = 20  # each reads a journey: so long somebody who wants to pause may have to wait
WHY: dict[type[ConsoleError], str] = {
    NothingToUndo: "nothing_to_undo",
    NoBook: "no_book",
    NotOpen: "not_open",
    DidNotFail: "processed",
    AlreadyOpen: "being_undone",
    CompensationApproval: "needs_second",
}
UNDER_WAY = "SELECT count(*) FROM messaging_compensation c WHERE c.plan_id = %s AND c.state IN ('proposed', 'approved', 'running', 'paused')"


class BookChanged(ConsoleError):
    """The flow's compensation book is not the one that the plan was made with."""


def under_way(plan: Plan) -> int:
    """Return how many of its compensations have begun and are not at their end."""
    with connection.cursor() as cursor:
        cursor.execute(UNDER_WAY, [plan.pk])
        return int(cursor.fetchone()[0])


def compensate_items(plan: Plan, way: int) -> int | None:
    """Begin what the wave, the rate and the room allow, with the plan's row locked; return how many were looked at, None when none may be."""
    now, rate = datetime.now(UTC), rate_of(plan)
    allowance = allowed(plan, rate, now)
    most = min(AT_A_TURN, MOST_AT_ONCE, plan.concurrency - way, int(allowance))
    if most < 1:
        return None
    end = plan.wave_ends[plan.wave - 1]
    rows = PlanItem.objects.filter(plan=plan, left_out="", ordinal__gt=plan.released_to, ordinal__lte=end)
    items = list(
        rows.select_related("dead_letter__flow__environment", "dead_letter__flow__team").order_by("ordinal")[:most]
    )
    for item in sorted(items, key=lambda one: one.dead_letter_id):  # letters are locked in one order
        _compensate(plan, item)
    plan.allowance, plan.allowance_at = (0.0 if rate is None else allowance - len(items)), now
    plan.released_to = items[-1].ordinal if len(items) == most else end
    plan.wave_released_at = None if items else plan.wave_released_at
    plan.save(update_fields=["allowance", "allowance_at", "released_to", "wave_released_at"])
    return len(items)


def _compensate(plan: Plan, item: PlanItem) -> None:
    by = replace(SYSTEM, name=f"{plan.created_by}, {plan.reference}"[:150])
    try:
        with transaction.atomic():
            target = target_of_letter(item.dead_letter)
            run = propose(target, by=by, reason=plan.reason, ticket=plan.ticket, uid=item.replay_id, plan_id=plan.pk)
            if plan.figures["books"].get(str(run.flow_id)) != run.book.version:
                raise BookChanged(f"it is version {run.book.version} now")
            if run.approval_why and plan.approved_at is not None:
                _approve(plan, run, by)
            start(run, by=by)
    except ConsoleError as refusal:
        item.left_out = "book_changed" if isinstance(refusal, BookChanged) else WHY.get(type(refusal), "not_proposed")
        item.detail = str(refusal)[:1000]
        item.save(update_fields=["left_out", "detail"])


def _approve(plan: Plan, run: Compensation, by: Actor) -> None:
    """Who approved the plan approved this version of the book for each of its messages."""
    move(
        run, "approve", by=by, why=f"approved with {plan.reference}", approved_by=plan.approved_by,
        approved_by_user_id=plan.approved_by_user_id, approved_at=plan.approved_at, approved_checksum=run.checksum,
    )  # fmt: skip


def look_at_runs(plan: Plan) -> None:
    """Have the engine look at the plan's compensations now: it was resumed, or stopped, and theirs is it to go on or to end."""
    rows = Compensation.objects.filter(plan=plan, due_at__isnull=False)
    rows.update(due_at=datetime.now(UTC))
    for pk in rows.order_by("due_at").values_list("pk", flat=True)[:AT_A_TURN]:
        transaction.on_commit(partial(tell_compensation, pk))  # the sweep has the others
