"""Letters and causes as ingest and operators would leave them, for reports that are gathered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID, uuid4

from alerts.reports.content import Audience, Cadence, Content, Period
from alerts.reports.gathering import gather
from alerts.reports.periods import last_period
from console.core.ids import uuid7_floor
from console.identity.actor import Actor
from messages.models import DeadLetter, FailureGroup, Flow, GroupHour
from tests.factories import ROOT, environment
from tests.objectives.stored import NOW
from tests.services.reconciling import flow

DAY = last_period(Cadence.DAILY, "Europe/Berlin", NOW)  # 25 November: 24 November 23:00 to 25 November 23:00 UTC
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
_numbers = count(1)


def audience(**changes: object) -> Audience:
    told = {"name": "Order team", "environment": environment().pk, "language": "en-GB", "zone": "Europe/Berlin"}
    return Audience(**(told | changes))  # type: ignore[arg-type]


def gathered(period: Period = DAY, *, by: Actor = ROOT, now: datetime = NOW, **changes: object) -> Content:
    return gather(audience(**changes), period, actor=by, now=now)


def cause(title: str, of: Flow | None = None, **columns: object) -> FailureGroup:
    of = of or flow()
    told = {"failure_class": "transient", "state_at": NOW, "first_seen_at": NOW, "last_seen_at": NOW, "title": title}
    return FailureGroup.objects.create(
        environment=of.environment, flow=of, version=1, fingerprint=uuid4(), **(told | columns)
    )


def letters(
    group: FailureGroup | None,
    number: int,
    resolution: str = "",
    *,
    at: datetime = NOON,
    after: timedelta = timedelta(minutes=38),
    failed_at: datetime | None = None,
) -> None:
    """Store letters that came in then; with a resolution they were closed some time after they had failed."""
    of = group.flow if group is not None else flow()
    closed = {"state": "closed", "resolution": resolution, "closed_at": at + after} if resolution else {"state": "open"}
    DeadLetter.objects.bulk_create(
        DeadLetter(
            id=UUID(int=uuid7_floor(at).int + next(_numbers)), identity=uuid4(), environment=of.environment, flow=of, received_at=at, failed_at=failed_at or at,
            broker="redis", family="redis-streams", queue="erp.orders.dlq", group=group, **closed,
        )
        for _ in range(number)
    )  # fmt: skip


def failed(group: FailureGroup, messages: int, *, letters: int = 0, at: datetime = NOON) -> None:
    """Count failures of a group in an hour."""
    GroupHour.objects.create(group=group, hour=at, shard=0, messages=messages, letters=letters)
