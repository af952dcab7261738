"""What the demo promises of its flows, and the report of it: one that is kept, one that the ERP's time-outs burn, one in which late is not lost."""

from __future__ import annotations

from agents.demo.names import HOP_OF_CONSUMER
from alerts.models import Objective, ReportSchedule
from alerts.objectives.services import add_objective
from alerts.objectives.wishes import NewObjective
from alerts.reports.services import add_schedule
from alerts.reports.wishes import NewSchedule
from console.audit.models import AuditEntry
from console.core.errors import Conflict
from console.identity.actor import Actor, actor_of
from console.identity.models import Environment, User
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
REPORT = NewSchedule(name="Order team", cadence="daily", hour=6, time_zone="Europe/Berlin", language="en-GB")


def promise(environment: Environment, *, by: Actor) -> None:
    """Make the demo's objectives and their report, once: what somebody changed or removed stays so."""
    if AuditEntry.objects.filter(environment=environment, action="objective.added", actor=by.name).exists():
        return
    for system, wish in PROMISES.items():
        flow = Flow.objects.get(environment=environment, name=HOP_OF_CONSUMER[system].flow)
        try:
            add_objective(wish, flow=flow, by=by)
        except Conflict:  # somebody has one of this name
            continue
    owner = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if owner is not None and not ReportSchedule.objects.filter(environment=environment, name=REPORT.name).exists():
        add_schedule(environment, REPORT, by=actor_of(owner, via="command"))
