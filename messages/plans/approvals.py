"""Who may approve a plan, and when a second person is needed at all."""

from __future__ import annotations

from django.conf import settings
from django.db.models import Q

from console.audit.models import AuditEntry
from console.core.errors import Forbidden
from console.identity.actor import Actor
from messages.models import Flow, Plan

MADE_BY = ("plan.created", "plan.changed", "plan.edited", "plan.redirected")  # whoever did one of these is an author


class OwnPlan(Forbidden):
    """Nobody approves a plan of their own."""

    code = "own_plan"


def is_author(by: Actor, plan: Plan) -> bool:
    """Whether the actor made the plan or changed it, in the browser or with a key: a key is its person."""
    if by.user_id == plan.created_by_user_id or by.name == plan.created_by:
        return True
    made = Q(object_kind="plan", object_id=str(plan.pk), actor=by.name, action__in=MADE_BY)
    return AuditEntry.objects.filter(made).exists()


def check_may_approve(by: Actor, plan: Plan) -> None:
    """Raise OwnPlan for its authors, and for what is no person."""
    if by.user_id is None:
        raise OwnPlan("a person approves a plan, not the system")
    if is_author(by, plan):
        raise OwnPlan("nobody approves a plan that they made or changed: ask another operator")


def why_approval(plan: Plan) -> str:
    """Return why a second person is needed, in words; "" when none is."""
    flows = Flow.objects.filter(
        pk__in=plan.sent_flow_ids, approve_above__isnull=False, approve_above__lt=plan.items_count
    )
    flow = flows.order_by("approve_above", "name").first()
    if flow is not None:
        return f"{flow.name} asks for a second person for {_above(flow.approve_above or 0)}"
    most: int | None = settings.APPROVE_ABOVE
    if most is not None and most < plan.items_count:
        return f"this console asks for a second person for {_above(most)}"
    return ""


def _above(most: int) -> str:
    return f"more than {most:,} messages" if most else "every plan"
