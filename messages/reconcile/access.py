"""Who may see and start reconciliations: whoever sees the flow sees its counts and keys, its operators compare."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from console.core.errors import Forbidden
from console.identity.actor import Actor
from messages.access import can_operate, get_one, of_visible_flows
from messages.models import Reconciliation, ReconciliationCheck


def visible_reconciliations(actor: Actor) -> QuerySet[Reconciliation]:
    """Return the reconciliations of the flows that the actor may see: business keys are metadata, as in the list of messages."""
    rows = Reconciliation.objects.select_related("environment", "flow__team", "system", "of_check").filter(
        removed_at=None
    )
    return of_visible_flows(rows, actor)


def get_visible_reconciliation(actor: Actor, pk: UUID) -> Reconciliation:
    return get_one(visible_reconciliations(actor), "reconciliation", pk=pk)


def check_can_reconcile(actor: Actor, one: Reconciliation | ReconciliationCheck) -> None:
    if not can_operate(actor, one.flow):
        raise Forbidden(
            f"only operators of {one.flow.team or one.environment} may do this to {one.flow.name}; you may look"
        )


def visible_checks(actor: Actor) -> QuerySet[ReconciliationCheck]:
    """Return the scheduled checks of the flows that the actor may see."""
    rows = ReconciliationCheck.objects.select_related("environment", "flow__team", "system", "owner", "waiting_for")
    return of_visible_flows(rows, actor)


def get_visible_check(actor: Actor, pk: int) -> ReconciliationCheck:
    return get_one(visible_checks(actor), "check", pk=pk)


def check_can_own(actor: Actor) -> int:
    """Return whose a new check is: a person's, for they are told; raises Forbidden for a command or the system."""
    if actor.user_id is None:
        raise Forbidden("a check belongs to a person, who is told: sign in, or use a person's key")
    return actor.user_id
