"""What the demo promises of its flows, and the report of it. Nobody is called for them: the demo fails on purpose."""

from __future__ import annotations

from agents.demo.names import HOP_OF_CONSUMER
from alerts.models import Objective, ReportSchedule
from alerts.objectives.services import add_objective
from alerts.objectives.wishes import NewObjective
from alerts.reports.services import add_schedule
from alerts.reports.wishes import NewSchedule
from console.identity.actor import Actor, actor_of
from console.identity.models import Environment, User
from messages.models import Flow

PROMISES = (
    ("Orders booked", "erp", "0.9"),
    ("Invoices written", "billing", "0.95"),
    ("Parcels sent", "shipping", "0.999"),
)
REPORT = NewSchedule(name="Order team", cadence="daily", hour=6, time_zone="Europe/Berlin", language="en-GB")


def promise_and_report(environment: Environment, *, by: Actor) -> None:
    """Make them once; what somebody changed, or removed while a report of theirs is there, stays as it is."""
    if ReportSchedule.objects.filter(environment=environment).exists():
        return
    for name, consumer, target in PROMISES:
        if not Objective.objects.filter(environment=environment, name=name).exists():
            flow = Flow.objects.get(environment=environment, name=HOP_OF_CONSUMER[consumer].flow)
            said = NewObjective(name=name, kind="success", target=target, pairs=(), sustained=False, exhausted=False)
            add_objective(said, flow=flow, by=by)
    owner = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if owner is not None:
        add_schedule(environment, REPORT, by=actor_of(owner, via="command"))
