"""Sent, and not proved to be processed for too long: a state of its own, counted for plans and for replays that a person asked for alone.

Where receivers never report processing nothing is overdue: a plan that waits for the broker's confirm, and a single replay of a flow in
which nothing was processed for a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.template.loader import render_to_string

from console.identity.actor import SYSTEM
from messages.models import Plan
from messages.plans.services import audit
from messages.plans.telling import about_of, address_of, author_address
from messages.saved.outbox import queue_mail

LOOKED_BACK = timedelta(days=30)  # as long as proofs are looked for
MOST_COUNTED = 10_000
UNPROVED = "r.state IN ('sent', 'confirmed', 'unknown') AND r.finished_at IS NULL AND r.sent_at < %s"
# The index of replays without a proof: few, where receivers report. By plan it would be every item of every plan, each time.
PLANS = f"""
SELECT DISTINCT r.plan_id FROM messaging_replay r WHERE {UNPROVED} AND r.plan_id IS NOT NULL AND r.created_at > %s
"""  # noqa: S608  constants of ours
OF_PLAN = f"""
SELECT count(*), min(sent_at) FROM (
    SELECT r.sent_at FROM messaging_replay r WHERE r.plan_id = %s AND {UNPROVED} LIMIT {MOST_COUNTED}) o
"""  # noqa: S608  constants of ours
# A single replay is overdue where its flow's receivers report: they processed something within a day. The newest are looked at.
EVERYWHERE = f"""
WITH reporting AS MATERIALIZED (
    SELECT DISTINCT h.flow_id FROM messaging_rollup_hour h WHERE h.hour > %s AND h.operation IN (4, 5)
), unproved AS MATERIALIZED (
    SELECT r.environment_id, r.dead_letter_id, r.plan_id FROM messaging_replay r WHERE {UNPROVED} AND r.created_at > %s
    ORDER BY r.id DESC LIMIT {MOST_COUNTED}
)
SELECT e.slug, count(o.environment_id) FROM identity_environment e LEFT JOIN (
    SELECT u.environment_id FROM unproved u JOIN messaging_deadletter d ON d.id = u.dead_letter_id
    LEFT JOIN messaging_plan p ON p.id = u.plan_id
    WHERE CASE WHEN p.id IS NOT NULL THEN p.waits_for = 'processed' ELSE d.flow_id IN (SELECT flow_id FROM reporting) END
) o ON o.environment_id = e.id GROUP BY e.slug ORDER BY e.slug
"""  # noqa: S608  constants of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """count: items, up to 10,000.   since: the first of them was sent; None for none.   minutes: after so many they are."""

    count: int
    since: datetime | None
    minutes: int


def overdue_of(plan: Plan, *, now: datetime | None = None) -> Overdue:
    """Return the items of a plan that were sent and are not proved for too long."""
    minutes = settings.REPLAY_OVERDUE_MINUTES
    if plan.waits_for != Plan.WaitsFor.PROCESSED or plan.started_at is None:
        return Overdue(count=0, since=None, minutes=minutes)
    with connection.cursor() as cursor:
        cursor.execute(OF_PLAN, [plan.pk, _before(now)])
        count, since = cursor.fetchone()
    return Overdue(count=count, since=since, minutes=minutes)


def _before(now: datetime | None) -> datetime:
    return (now or datetime.now(UTC)) - timedelta(minutes=settings.REPLAY_OVERDUE_MINUTES)


def overdue_by_environment(*, now: datetime | None = None) -> dict[str, int]:
    """Return {environment: replays of plans and of persons that are overdue}, of the newest 10,000 without a proof."""
    now = now or datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.execute(EVERYWHERE, [now - timedelta(days=1), _before(now), now - LOOKED_BACK])
        return dict(cursor.fetchall())


def tell_overdue(*, now: datetime | None = None) -> int:
    """Mail the authors of plans with overdue items, once a plan, and audit it; return how many were told. May run twice at once."""
    now = now or datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.execute(PLANS, [_before(now), now - LOOKED_BACK])
        found = [row[0] for row in cursor.fetchall()]
    untold = Plan.objects.filter(pk__in=found, overdue_told_at=None, waits_for="processed")
    return sum(_tell(plan, now) for plan in untold.select_related("environment", "created_by_user").order_by("pk"))


def _tell(plan: Plan, now: datetime) -> int:
    overdue = overdue_of(plan, now=now)
    if not overdue.count:
        return 0
    with transaction.atomic():
        if not Plan.objects.filter(pk=plan.pk, overdue_told_at=None).update(overdue_told_at=now):
            return 0
        words = f"{overdue.count:,} sent, not confirmed as processed for {overdue.minutes} min"
        context = {"plan": plan, "overdue": overdue, "address": address_of(plan)}
        queue_mail(
            about_of(plan),
            f"{about_of(plan)}:overdue",
            to=author_address(plan),
            subject=f"[{plan.environment.name}] {plan.reference}: {words}",
            body=render_to_string("emails/plan_overdue.txt", context),
        )
        audit(SYSTEM, "plan.overdue", plan, reason=words, details={"items": overdue.count})
    return 1
