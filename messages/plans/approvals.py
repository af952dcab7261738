"""Who may approve a plan, and when a second person is needed at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils.module_loading import import_string

from console.audit.models import AuditEntry
from console.core.errors import Forbidden
from console.identity.actor import Actor
from messages.models import Flow, Plan
from messages.plans.access import can_operate_plan, check_can_operate_plan
from messages.plans.books import why_second
from messages.plans.doing import COMPENSATE
from messages.replay.lately import Sent, hold_count_of, sent_lately

MADE_BY = (
    "plan.created",
    "plan.changed",
    "plan.edited",
    "plan.redirected",
    "plan.options_changed",
)  # whoever did one of these is an author


Budget = tuple[int, str, int]  # flow id, its objective, events that may still fail


class OwnPlan(Forbidden):
    """Nobody approves a plan of their own."""

    code = "own_plan"


def authors_of(plan: Plan) -> list[str]:
    """Return who made the plan or changed it, by name: the only operators of its flows who may not approve it."""
    made = Q(object_kind="plan", object_id=str(plan.pk), action__in=MADE_BY)
    changed = AuditEntry.objects.filter(made).order_by().values_list("actor", flat=True).distinct()
    return sorted({plan.created_by, *changed})


def why_not_approve(by: Actor, plan: Plan) -> str:
    """Return why this actor may not approve the plan, in words; "" when they may. With a key as in the browser: a key is its person."""
    if by.user_id is None:
        return "a person approves a plan, not the system"
    if by.user_id == plan.created_by_user_id or by.name in authors_of(plan):
        return "nobody approves a plan that they made or changed: ask another operator"
    return "" if can_operate_plan(by, plan) else "only operators of every flow in this plan approve it"


def check_may_approve(by: Actor, plan: Plan) -> None:
    """Raise OwnPlan for its authors, and for what is no person; Forbidden for who does not operate every flow of it."""
    check_can_operate_plan(by, plan)
    if why := why_not_approve(by, plan):
        raise OwnPlan(why)


def why_approval(plan: Plan) -> str:
    """Return why a second person is needed, in words; "" when none is. What its author sent within the last hour counts too.

    A replay that would spend what is left of an error budget of a flow, were all of it to fail, needs one as well.
    """
    if plan.does == COMPENSATE and plan.items_count and (why := why_second(plan.sent_flow_ids)):
        return why
    flows = list(_counted(plan))
    budgets = [] if plan.does == COMPENSATE else budgets_left(plan.sent_flow_ids)
    most: int | None = settings.APPROVE_ABOVE
    if not flows and most is None and not budgets:
        return ""
    sent = sent_lately(plan.created_by, but=plan.pk) if plan.automatic_id is None else Sent(Counter(), 0)
    for flow in flows:
        already = sent.by_flow[flow.pk] if flow.approve_above else 0
        if plan.items_count and plan.items_count + already > (flow.approve_above or 0):
            return (
                f"{flow.name} asks for a second person for {_above(flow.approve_above or 0)}{_already(plan, already)}"
            )
    already = sent.total if most else 0
    if most is not None and plan.items_count and plan.items_count + already > most:
        return f"this console asks for a second person for {_above(most)}{_already(plan, already)}"
    return _why_budget(plan, budgets, sent)


def _why_budget(plan: Plan, budgets: Sequence[Budget], sent: Sent) -> str:
    for flow_id, objective, left in budgets:
        already = sent.by_flow[flow_id]
        if plan.items_count and plan.items_count + already >= left:
            return f"the budget of {objective} has {left:,} left: a second person{_already(plan, already)}"
    return ""


def budgets_left(flow_ids: Collection[int]) -> list[Budget]:
    """Return the error budgets of promises about these flows, the smallest first: asked of whoever knows promises."""
    path = settings.CONSOLE_BUDGETS
    if not path or not flow_ids:
        return []
    ask: Callable[[Collection[int]], list[Budget]] = import_string(path)
    return ask(flow_ids)


def hold_count(plan: Plan) -> None:
    """Let its author send nothing else until this transaction ends, where it is counted what they send."""
    if settings.APPROVE_ABOVE is not None or _counted(plan).exists() or budgets_left(plan.sent_flow_ids):
        hold_count_of(plan.created_by)


def _counted(plan: Plan) -> QuerySet[Flow]:
    flows = Flow.objects.filter(pk__in=plan.sent_flow_ids, approve_above__isnull=False)
    return flows.order_by("approve_above", "name")


def _already(plan: Plan, sent: int) -> str:
    return f", and {plan.created_by} sent {sent:,} there within the last hour" if sent else ""


def _above(most: int) -> str:
    return f"more than {most:,} messages" if most else "every plan"
