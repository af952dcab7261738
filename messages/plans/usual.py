"""What the receivers of a plan take otherwise, from the hourly counts: a plan that sends five times as much is asking for trouble."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Count, Sum

from console.identity.actor import Actor
from messages.access import visible_hours
from messages.models import Plan
from messages.models.stream import Operation

LOOKED_AT = timedelta(days=7)
HOUR_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """A receiving system, and how many messages a second it processed of these flows, in the hours in which it did any."""

    system: str
    per_s: float


def usual_of(actor: Actor, plan: Plan, *, now: datetime | None = None) -> list[Usual]:
    """Return the receivers of the plan's flows in the last seven days, the busiest first, at most three."""
    now = now or datetime.now(UTC)
    rows = (
        visible_hours(actor)
        .filter(environment_id=plan.environment_id, flow_id__in=plan.sent_flow_ids, operation=Operation.PROCESS)
        .filter(hour__gte=now - LOOKED_AT, hour__lte=now)
        .order_by()
        .values_list("system__name")
        .annotate(Sum("count"), Count("hour", distinct=True))
    )
    found = [Usual(system=name, per_s=count / (hours * HOUR_S)) for name, count, hours in rows if hours and name]
    return sorted(found, key=lambda one: (-one.per_s, one.system))[:3]
