"""Reads of what charts show: throughput, failures and latency by step, and the replays among them. Rollups only, never events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Count, DateTimeField, F, Func, Q, QuerySet, Sum, Value

from console.core.ids import uuid7_floor
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import seen_flow_ids, visible_replays
from messages.figures.percentiles import merged, percentile
from messages.figures.ranges import Range
from messages.figures.settled import FOLDED, LATELY, Counted, counted_once
from messages.models import Flow, RollupHour, RollupLatency, RollupMinute
from messages.models.stream import Operation, Outcome

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

PROCESSED = Q(operation=Operation.PROCESS)
FAILED = Q(outcome=Outcome.ERROR)
STOOD = {
    "delivered": Sum("count", filter=PROCESSED & ~FAILED),
    "failed": Sum("count", filter=FAILED),
    "processed": Sum("count", filter=PROCESSED),
}


@dataclass(slots=True, kw_only=True)
class Step:
    """What happened in one step, which begins at `at`. buckets: processed events by latency bucket.

    Of long ranges they are from hours that a task has folded: what is reported late is not in them yet, or after a week never is.
    """

    at: datetime
    delivered: int = 0
    failed: int = 0
    replays: int = 0
    processed: int = 0
    buckets: dict[int, int] = field(default_factory=dict)

    @property
    def in_percentiles(self) -> int:
        """Return of how many of the processed events the percentiles are."""
        return sum(self.buckets.values())

    def latency_ms(self, name: str) -> float | None:
        """Return p50, p95 or p99 of the time that receivers took, None when nothing was processed."""
        return percentile(self.buckets, SHARES[name])


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The steps of a range, without gaps, and all of them together."""

    range: Range
    steps: list[Step]
    total: Step


def read_figures(actor: Actor, environment: Environment, span: Range, *, flow: Flow | None = None) -> Figures:
    """Return what went through one flow, or through all that the actor may see, step by step.

    flow       one that the caller has fetched for this actor; None for every one that they may see.
    delivered  events of receivers that processed and did not fail.   failed  events that failed, of senders and receivers.
    The last hours are read from the minutes each time: the task that folds them into hours may not have run yet.
    """
    steps = [Step(at=at) for at in span.steps]
    flows = seen_flow_ids(actor, environment) if flow is None else None
    asked = Asked(environment.pk, flow.pk if flow else None, flows, span.step, span.since)
    settled = max(span.since, min(span.until, _hour_of(datetime.now(UTC)) - (FOLDED if span.by_hour else LATELY)))
    counts = _of_minutes(asked, settled, span.until)
    if settled > span.since:
        read = _of_hours if span.by_hour else _of_minutes
        counts += counted_once((*asked, settled, read.__name__), lambda: read(asked, span.since, settled))
    for one in counts:
        step = steps[span.position(one.at)]
        step.delivered += one.delivered
        step.failed += one.failed
        step.processed += one.processed
        step.buckets = merged((step.buckets, one.buckets)) if step.buckets else one.buckets
    for at, count in _replays(actor, environment, span, flow):
        if 0 <= (position := span.position(at)) < len(steps):
            steps[position].replays += count
    return Figures(range=span, steps=steps, total=joined(steps))


def joined(steps: Sequence[Step]) -> Step:
    """Return several steps, at least one, as one."""
    if len(steps) == 1:
        return steps[0]
    return Step(
        at=steps[0].at,
        delivered=sum(step.delivered for step in steps),
        failed=sum(step.failed for step in steps),
        replays=sum(step.replays for step in steps),
        processed=sum(step.processed for step in steps),
        buckets=merged(step.buckets for step in steps),
    )


class Asked(NamedTuple):
    """What is counted. flow: None for all. flows: the ids of those that the reader may see, None for all. Steps begin at `origin`."""

    environment: int
    flow: int | None
    flows: list[int] | None
    step: timedelta
    origin: datetime

    def of(self, rows: QuerySet[Any], column: str, since: datetime, until: datetime) -> QuerySet[Any]:
        """Return these rows of a rollup with the step that their time falls into; since ≤ time < until."""
        rows = rows.filter(**{f"{column}__gte": since, f"{column}__lt": until}, environment=self.environment)
        if self.flow is not None:
            rows = rows.filter(flow=self.flow)
        if self.flows is not None:
            rows = rows.filter(flow_id__in=self.flows)
        return rows.annotate(step=_step_of(column, self.step, self.origin))


def _of_minutes(asked: Asked, since: datetime, until: datetime) -> list[Counted]:
    rows = asked.of(RollupMinute.objects.all(), "minute", since, until).values_list("step", "bucket")
    found: dict[datetime, Counted] = {}
    for at, bucket, delivered, failed, processed in rows.annotate(**STOOD):
        one = found.setdefault(at, Counted(at))
        one.delivered += int(delivered or 0)
        one.failed += int(failed or 0)
        if processed:
            one.processed += int(processed)
            one.buckets[bucket] = int(processed)
    return list(found.values())


def _of_hours(asked: Asked, since: datetime, until: datetime) -> list[Counted]:
    """Return the same from two tables: outcomes of all events, and latency buckets of those that were processed."""
    outcomes = asked.of(RollupHour.objects.all(), "hour", since, until).values_list("step").annotate(**STOOD)
    latency = asked.of(RollupLatency.objects.all(), "hour", since, until).values_list("step", "bucket")
    found = {
        at: Counted(at, int(delivered or 0), int(failed or 0), processed=int(processed or 0))
        for at, delivered, failed, processed in outcomes
    }
    for at, bucket, count in latency.annotate(Sum("count")):
        found.setdefault(at, Counted(at)).buckets[bucket] = int(count)
    return list(found.values())


def _hour_of(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _step_of(column: str, step: timedelta, origin: datetime) -> Func:
    return Func(Value(step), F(column), Value(origin), function="date_bin", output_field=DateTimeField())


def _replays(actor: Actor, environment: Environment, span: Range, flow: Flow | None) -> list[tuple[datetime, int]]:
    """Return (step, how many) of the replays that were asked for; their ids tell the time, so the primary key finds them."""
    rows = visible_replays(actor).filter(
        environment=environment, id__gte=uuid7_floor(span.since), id__lt=uuid7_floor(span.until)
    )
    if flow:
        rows = rows.filter(dead_letter__flow=flow)
    counted = (
        rows.select_related(None)
        .order_by()
        .annotate(step=_step_of("created_at", span.step, span.since))
        .values_list("step")
    )
    return list(counted.annotate(Count("pk")))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRun:
    """Steps with replays one after the other: from the first one's beginning to the last one's end."""

    at: datetime
    until: datetime
    count: int


def replay_runs(figures: Figures) -> list[ReplayRun]:
    """Return when there were replays, oldest first: neighbouring steps are one run."""
    runs: list[ReplayRun] = []
    step: timedelta = figures.range.step
    for one in figures.steps:
        if not one.replays:
            continue
        if runs and runs[-1].until == one.at:
            runs[-1] = ReplayRun(at=runs[-1].at, until=one.at + step, count=runs[-1].count + one.replays)
        else:
            runs.append(ReplayRun(at=one.at, until=one.at + step, count=one.replays))
    return runs
