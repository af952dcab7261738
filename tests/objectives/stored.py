"""Rollups, messages and letters as ingest would leave them, and objectives over them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import connection

from alerts.models import Objective, ObjectiveSum, Standing
from alerts.objectives import assess, counters, counting
from alerts.objectives.services import add_objective
from alerts.objectives.wishes import NewObjective
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.models import Flow, Message, MessageStatus
from tests.factories import ROOT
from tests.services.reconciling import flow

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 11, 26, 12, 30, 20, tzinfo=UTC)
PROCESS, OK, ERROR = 4, 1, 2


def rolled(
    at: datetime, good: int = 0, failed: int = 0, *, of: Flow | None = None, bucket: int = 5, minutes: int = 1
) -> None:
    """Put this many processed and failed events into each of so many minutes from `at` on."""
    of = of or flow()
    first = at.replace(second=0, microsecond=0)
    with connection.cursor() as cursor:
        for outcome, count in ((OK, good), (ERROR, failed)):
            if count:
                cursor.execute(
                    "INSERT INTO messaging_rollup_minute (minute, environment_id, flow_id, operation, outcome, bucket, shard, count, duration_us) "
                    "SELECT %s + n * interval '1 minute', %s, %s, %s, %s, %s, 0, %s, 0 FROM generate_series(0, %s) n "
                    "ON CONFLICT (minute, flow_id, operation, outcome, bucket, shard) DO UPDATE SET count = messaging_rollup_minute.count + excluded.count",
                    [first, of.environment_id, of.pk, PROCESS, outcome, bucket, count, minutes - 1],
                )


def message(
    began: datetime,
    *,
    took: timedelta | None = None,
    status: MessageStatus | None = None,
    of: Flow | None = None,
    failed: bool = False,
    **columns: Any,
) -> UUID:
    """Store a message that began then; with `took` it was processed after that, else it moves."""
    of, pk = of or flow(), uuid4()
    status = status if status is not None else MessageStatus.MOVING if took is None else MessageStatus.DELIVERED
    decided = began + took if took is not None else None
    Message.objects.bulk_create(
        [
            Message(
                first_seen_on=began.date(), id=pk, environment_id=of.environment_id, flow=of, message_id=f"message {pk}", first_seen_at=began,
                started_at=began, last_seen_at=decided or began, status=status, decided_at=decided, event_count=1,
                failed_at=began if failed or status in (MessageStatus.FAILED, MessageStatus.DEAD) else None, keys=columns.get("keys", {}),
            )
        ]
    )  # fmt: skip
    return pk


def promised(
    name: str = "Orders arrive", *, of: Flow | None = None, by: Actor = ROOT, now: datetime = NOW, **said: Any
) -> Objective:
    wish = {"kind": "success", "target": "0.99"} | said
    of = of or flow()
    long_known()
    return add_objective(NewObjective(name=name, **wish), flow=of, by=by, now=now)


def long_known(since: datetime = NOW - 400 * DAY) -> None:
    """Have every flow and environment been made here long ago: tests make them now, which is after NOW."""
    Flow.objects.update(created_at=since)
    Environment.objects.update(created_at=since)


def looked(now: datetime = NOW) -> dict[str, Any]:
    """Count and assess; return {(objective name, severity): what holds}."""
    filled: set[tuple[datetime, datetime]] = set()
    while True:
        before, _ = filled, counting.count(now)
        filled = set(Objective.objects.order_by().values_list("filled_since", "fill_from"))
        if filled == before or all(since <= begins for since, begins in filled):
            break
    return {f"{one.title}: {one.severity}": one.holds.value for one in assess.assess(now)}


def standing(name: str = "Orders arrive") -> Standing:
    return Standing.objects.get(objective__name=name)


def a_month_of_traffic(a_minute: int = 20) -> None:
    rolled(NOW - 30 * DAY, a_minute, minutes=30 * 1440 - 60)


@contextmanager
def counters_held_elsewhere() -> Iterator[None]:
    """Hold the counters in another connection, as a look does that counts for long."""
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with counters.one_writer():
                held.set()
                over.wait(30)
        finally:
            connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    try:
        yield
    finally:
        over.set()
        thread.join()


def totals(one: Objective, span: int = 1) -> tuple[int, int, int]:
    rows = ObjectiveSum.objects.filter(objective=one, span=span).values_list("good", "late", "lost")
    return tuple(sum(column) for column in zip(*rows, strict=True)) if rows else (0, 0, 0)  # type: ignore[return-value]
