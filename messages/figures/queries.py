"""Reads of what charts show: throughput, failures and latency by step, and the replays among them. Rollups only, never events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, DateTimeField, F, Func, Q, QuerySet, Sum, Value

from console.core.ids import uuid7_floor
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import seen_flow_ids, visible_hours, visible_latencies, visible_minutes, visible_replays
from messages.figures.percentiles import merged, percentile
from messages.figures.ranges import HOUR, Range
from messages.figures.settled import SETTLED, Counted, counted_once
from messages.models import Flow, RollupMinute
from messages.models.stream import Operation, Outcome

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
JUST_NOW = 2 * HOUR  # so young hours are read from the minutes: the task that folds them may not have run yet

PROCESSED = Q(operation=Operation.PROCESS)
FAILED = Q(outcome=Outcome.ERROR)


@dataclass(slots=True, kw_only=True)
class Step:
    """What happened in one step, which begins at `at`. buckets: processed events by latency bucket."""

    at: datetime
    delivered: int = 0
    failed: int = 0
    replays: int = 0
    buckets: dict[int, int] = field(default_factory=dict)

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
    """Return what went through one flow, or through all that the actor may see, step by step; two queries, four by the hour.

    delivered  events of receivers that processed and did not fail.   failed  events that failed, of senders and receivers.
    """
    steps = [Step(at=at) for at in span.steps]
    read = _by_hour if span.by_hour else _by_minute
    read(actor, environment, span, flow, steps)
    for at, count in _replays(actor, environment, span, flow):
        if 0 <= (position := span.position(at)) < len(steps):
            steps[position].replays += count
    return Figures(range=span, steps=steps, total=joined(steps))


def joined(steps: Sequence[Step]) -> Step:
    """Return several steps, at least one, as one."""
    return Step(
        at=steps[0].at,
        delivered=sum(step.delivered for step in steps),
        failed=sum(step.failed for step in steps),
        replays=sum(step.replays for step in steps),
        buckets=merged(step.buckets for step in steps),
    )


def _by_minute(actor: Actor, environment: Environment, span: Range, flow: Flow | None, steps: list[Step]) -> None:
    flows = seen_flow_ids(actor, environment)
    settled = span.since + (datetime.now(UTC) - SETTLED - span.since) // span.step * span.step
    settled = max(span.since, min(span.until, settled))
    counts = _count(environment, span, flow, flows, settled, span.until)
    if settled > span.since:
        asked = [environment.pk, flow and flow.pk, flows, span.since, settled, span.step]
        counts += counted_once(asked, lambda: _count(environment, span, flow, flows, span.since, settled))
    for one in counts:
        step = steps[span.position(one.at)]
        step.delivered += one.delivered
        step.failed += one.failed
        if one.processed:
            step.buckets[one.bucket] = one.processed


def _count(
    environment: Environment, span: Range, flow: Flow | None, flows: list[int] | None, since: datetime, until: datetime
) -> list[Counted]:
    """Return the counts of these minutes by step and bucket, of `flows` alone when they are given."""
    rows = _of(RollupMinute.objects.all(), environment, flow).filter(minute__gte=since, minute__lt=until)
    if flows is not None:
        rows = rows.filter(flow_id__in=flows)
    counted = (
        rows.annotate(step=_step_of("minute", span))
        .values_list("step", "bucket")
        .annotate(
            delivered=Sum("count", filter=PROCESSED & ~FAILED),
            failed=Sum("count", filter=FAILED),
            processed=Sum("count", filter=PROCESSED),
        )
    )
    return [Counted(at, bucket, *(int(one or 0) for one in sums)) for at, bucket, *sums in counted]


def _by_hour(actor: Actor, environment: Environment, span: Range, flow: Flow | None, steps: list[Step]) -> None:
    rows = _of(visible_hours(actor), environment, flow).filter(hour__gte=span.since, hour__lt=span.until)
    counted = (
        rows.annotate(step=_step_of("hour", span))
        .values_list("step")
        .annotate(delivered=Sum("count", filter=PROCESSED & ~FAILED), failed=Sum("count", filter=FAILED))
    )
    for at, delivered, failed in counted:
        step = steps[span.position(at)]
        step.delivered, step.failed = delivered or 0, failed or 0
    young = max(span.since, min(span.until, _hour_of(datetime.now(span.since.tzinfo)) - JUST_NOW))
    folded = _of(visible_latencies(actor), environment, flow).filter(hour__gte=span.since, hour__lt=young)
    minutes = _of(visible_minutes(actor), environment, flow).filter(PROCESSED, minute__gte=young, minute__lt=span.until)
    for found, column in ((folded, "hour"), (minutes, "minute")):
        by_bucket = found.annotate(step=_step_of(column, span)).values_list("step", "bucket").annotate(Sum("count"))
        for at, bucket, count in by_bucket:
            buckets = steps[span.position(at)].buckets
            buckets[bucket] = buckets.get(bucket, 0) + int(count)


def _hour_of(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _of(rows: QuerySet[Any], environment: Environment, flow: Flow | None) -> QuerySet[Any]:
    rows = rows.filter(environment=environment)
    return rows.filter(flow=flow) if flow else rows


def _step_of(column: str, span: Range) -> Func:
    return Func(Value(span.step), F(column), Value(span.since), function="date_bin", output_field=DateTimeField())


def _replays(actor: Actor, environment: Environment, span: Range, flow: Flow | None) -> list[tuple[datetime, int]]:
    """Return (step, how many) of the replays that were asked for; their ids tell the time, so the primary key finds them."""
    rows = visible_replays(actor).filter(
        environment=environment, id__gte=uuid7_floor(span.since), id__lt=uuid7_floor(span.until)
    )
    if flow:
        rows = rows.filter(dead_letter__flow=flow)
    counted = rows.select_related(None).order_by().annotate(step=_step_of("created_at", span)).values_list("step")
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
