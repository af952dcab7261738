"""What the demo promises of its flows: one that is kept, one that the ERP's time-outs burn, and one in which late is not lost."""

from __future__ import annotations

from agents.demo.names import HOP_OF_CONSUMER
from alerts.models import Objective
from alerts.objectives.services import add_objective
from alerts.objectives.wishes import NewObjective
from console.audit.models import AuditEntry
from console.core.errors import Conflict
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.models import Flow

PROMISES = {
    "erp": NewObjective(name="Orders reach the ERP", kind=Objective.Kind.SUCCESS, target="0.97"),
    "billing": NewObjective(
        name="Invoices within 15 min",
        kind=Objective.Kind.FRESHNESS,
        target="0.98",
        limit_minutes=15,
        recover_minutes=1440,
    ),
    "shipping": NewObjective(name="Shipments are told", kind=Objective.Kind.SUCCESS, target="0.995"),
}


def promise(environment: Environment, *, by: Actor) -> None:
    """Make the demo's objectives, once: what somebody changed or removed stays so."""
    if AuditEntry.objects.filter(environment=environment, action="objective.added", actor=by.name).exists():
        return
    for system, wish in PROMISES.items():
        flow = Flow.objects.get(environment=environment, name=HOP_OF_CONSUMER[system].flow)
        try:
            add_objective(wish, flow=flow, by=by)
        except Conflict:  # somebody has one of this name
            continue
