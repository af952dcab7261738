"""Reads of objectives: lists, budgets, attained figures and minutes of any span. What a report reads is here; see docs/objectives.md."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from zoneinfo import ZoneInfo

from django.db.models import F, FloatField, Min, Q, QuerySet
from django.db.models.functions import Cast

from alerts.models import Exclusion, Objective, ObjectiveSum, Standing, Uncounted
from alerts.objectives.access import visible_exclusions, visible_objectives
from alerts.objectives.budgeting import Sums
from alerts.objectives.burn import Budget, budget_of
from alerts.objectives.counters import excluded_spans, exclusions_of, hour_of, minute_of, read_hours
from alerts.objectives.reading import (
    budgeted,
    count_kept,
    judged_until,
    marked,
    running_hours,
    sums_of_spans,
)
from alerts.objectives.shapes import method_of, pairs_of, slice_minutes_of, unit_of, window_of
from alerts.objectives.whatif import WhatIf, series_of, targets_around, what_if
from alerts.objectives.windows import DAY, HOUR, MINUTE, Span, clipped
from console.core.errors import Invalid
from console.core.paging import InvalidCursor, Page, decode_texts_cursor, decode_time_cursor, encode_cursor
from console.identity.actor import Actor
from console.identity.models import Environment

AT_RISK = (Standing.State.BURNING, Standing.State.SPENT)
UNSURE = (Standing.State.FILLING, Standing.State.NO_DATA)
SHOWS = {
    "all": Q(),
    "risk": Q(standing__state__in=AT_RISK),
    "no-data": Q(standing__state=Standing.State.NO_DATA),
    "kept": Q(standing__state=Standing.State.KEPT),
}
SOON = timedelta(days=7)  # what is broken later is no matter of today
MOST_METRICS = 1_000
ROUNDING = 1e-6  # 0.01 of 1,000 events is 10, whatever 1 - 0.99 is in binary
LONGEST_BY_HOURS = timedelta(days=92)  # a chart of more time has steps of whole days
MOST_REPLAYED = timedelta(days=90)  # minutes that what-if replays


def find_objectives(
    actor: Actor,
    *,
    environments: Sequence[Environment],
    show: str = "all",
    kind: str = "",
    flow: str = "",
    q: str = "",
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Objective]:
    """Return objectives with their standings, those with the least budget left first; two queries. Raises InvalidCursor, Invalid.

    show  all, risk (burning or spent), no-data, kept.   kind, flow  only these; empty for all.   q  part of the name.
    """
    for name, value, known in (("show", show, [*SHOWS]), ("kind", kind, ["", *Objective.Kind.values])):
        if value not in known:
            raise Invalid(f"{name} is one of {', '.join(filter(None, known))}, not “{value[:40]}”")
    rows = visible_objectives(actor).filter(SHOWS[show], environment__in=environments)
    if kind:
        rows = rows.filter(kind=kind)
    if flow:
        rows = rows.filter(flow__name=flow)
    if q:
        rows = rows.filter(name__icontains=q)
    if cursor:
        left, pk = _position(cursor)
        rows = rows.filter(standing__left__gte=left).filter(Q(standing__left__gt=left) | Q(pk__gt=pk))
    found = list(rows.order_by("standing__left", "pk")[: limit + 1])
    last = found[limit - 1] if len(found) > limit else None
    return Page(found[:limit], encode_cursor(repr(last.standing.left), last.pk) if last else None)


def _position(cursor: str) -> tuple[float, int]:
    left, pk = decode_texts_cursor(cursor, 2)
    try:
        found = float(left), int(pk[:18])
    except ValueError as error:
        raise InvalidCursor("this cursor was not made here: start again without one") from error
    if not math.isfinite(found[0]):
        raise InvalidCursor("this cursor was not made here: start again without one")
    return found


def count_at_risk(actor: Actor, environment: Environment) -> int:
    """Return how many objectives burn too fast or have spent their budget."""
    return visible_objectives(actor).filter(SHOWS["risk"], environment=environment).order_by().count()


def next_breaches(flow_ids: Collection[int], *, now: datetime | None = None) -> dict[int, datetime]:
    """Return {flow: when the first budget of its objectives is gone at the present pace}, within a week, of those that are counted and have data.

    Nobody's rights are asked: whoever sees a flow sees its objectives. The default of CONSOLE_NEXT_BREACHES.
    """
    rows = _running_out(Standing.objects.filter(objective__flow__in=list(flow_ids)), now or datetime.now(UTC))
    return dict(rows.order_by().values_list("objective__flow").annotate(first=Min("gone_at")))


def budgets_left(flow_ids: Collection[int]) -> list[tuple[int, str, int]]:
    """Return (flow, objective, events that may still fail) of the success objectives of these flows, the smallest first; 0 when it is spent.

    Those that count events, whose history is counted and whose budget is an event at least: of less than one, nothing is left to protect.
    The default of CONSOLE_BUDGETS. Nobody's rights are asked.
    """
    rows = Standing.objects.filter(
        objective__flow__in=list(flow_ids),
        objective__kind=Objective.Kind.SUCCESS,
        objective__method=Objective.Method.OCCURRENCES,
        budget__gte=1,
    ).exclude(state=Standing.State.FILLING)
    told = rows.order_by("objective").values_list("objective__flow", "objective__name", "budget", "spent")
    found = [(flow, name, max(0, math.floor(budget - spent + ROUNDING))) for flow, name, budget, spent in told]
    return sorted(found, key=lambda one: one[2])


def figures_of_flows() -> list[tuple[str, str, str, float, float]]:
    """Return (environment, flow, objective, share of the budget left, burn) of objectives of flows, the riskiest first, at most 1,000.

    Those whose history is counted and that have data: a figure that stands still would look well. Nobody's rights are asked.
    """
    rows = Standing.objects.filter(objective__flow__isnull=False)
    rows = rows.exclude(state__in=UNSURE).order_by("left", "objective")
    named = rows.values_list("environment__slug", "objective__flow__name", "objective__name", "left", "burn")
    return list(named[:MOST_METRICS])


def minutes_waiting() -> dict[str, int]:
    """Return {environment: minutes of its objectives on searches that changed and are to be counted yet}; those without are left out."""
    rows = Uncounted.objects.values_list("objective__environment__slug", "since", "until")
    found: dict[str, int] = {}
    for slug, since, until in rows:
        found[slug] = found.get(slug, 0) + sum((b - a) // MINUTE for a, b in zip(since, until, strict=True))
    return found


def next_breach(actor: Actor, environment: Environment, *, now: datetime | None = None) -> Standing | None:
    """Return how that objective stands whose budget is gone first at the present pace, within a week; None when none is."""
    seen = visible_objectives(actor).filter(environment=environment).order_by().values("pk")
    rows = _running_out(Standing.objects.filter(objective__in=seen), now or datetime.now(UTC))
    return rows.select_related("objective").order_by("gone_at", "pk").first()


def _running_out(rows: QuerySet[Standing], now: datetime) -> QuerySet[Standing]:
    return rows.filter(gone_at__gt=now, gone_at__lte=now + SOON).exclude(state__in=UNSURE)


def find_exclusions(
    actor: Actor,
    *,
    environments: Sequence[Environment],
    objective: Objective | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Exclusion]:
    """Return exclusions, the newest first, withdrawn ones too; of one objective those of its flow as well. Raises InvalidCursor."""
    rows: QuerySet[Exclusion] = visible_exclusions(actor).filter(environment__in=environments)
    if objective is not None:
        of_flow = Q(flow=objective.flow_id) if objective.flow_id else Q()
        rows = rows.filter(Q(objective=objective) | of_flow) if of_flow else rows.filter(objective=objective)
    if cursor:
        at, pk = decode_time_cursor(cursor)
        rows = rows.filter(created_at__lte=at).filter(Q(created_at__lt=at) | Q(pk__lt=pk))
    found = list(rows.order_by("-created_at", "-pk")[: limit + 1])  # a form brings its id: it says no time
    last = found[limit - 1] if len(found) > limit else None
    return Page(found[:limit], encode_cursor(last.created_at, last.pk) if last else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attained:
    """What an objective attained in a span. raw, kept: events as they came, and without what is excluded.

    attained, adjusted  ratios, None when nothing was measured.   budget  of the adjusted figures, in `unit`.
    """

    span: Span
    raw: Sums
    kept: Sums
    attained: float | None
    adjusted: float | None
    budget: Budget
    unit: str
    excluded: list[Span]


def attained(one: Objective, span: Span, *, now: datetime | None = None) -> Attained:
    """Return what an objective attained in any span, read by whole hours: the window of its promise, a month of a report. Two queries."""
    return attained_of([one], {one.pk: span}, now=now)[one.pk]


def attained_of(
    objectives: Sequence[Objective], spans: dict[int, Span], *, now: datetime | None = None
) -> dict[int, Attained]:
    """Return {objective id: what it attained in its span}; three queries for all of them, a fourth for time slices. One that runs is left out."""
    now = now or datetime.now(UTC)
    if not objectives:
        return {}
    # from the full hour on, as sums are read
    first = hour_of(min(one.since for one in spans.values()))
    whole = Span(since=first, until=max(one.until for one in spans.values()))
    out = excluded_spans(objectives, whole)
    found = sums_of_spans(objectives, spans, now, running_hours(objectives, now, out))
    result = {}
    for one in objectives:
        both, span, gone = found.get(one.pk), spans[one.pk], out.get(one.pk, [])
        raw, kept = (both.raw, both.kept) if both else (Sums(), Sums())
        counted = count_kept(one, kept, span, gone, now=now)
        result[one.pk] = Attained(
            span=span,
            raw=raw,
            kept=kept,
            attained=count_kept(one, raw, span, [], now=now).attained,
            adjusted=counted.attained,
            budget=budget_of(counted.bad, budgeted(one, counted, span, gone), target=float(one.target)),
            unit=unit_of(one),
            excluded=clipped(gone, span),
        )
    return result


def window_at(one: Objective, now: datetime | None = None) -> Span:
    """Return the window of the promise that `now` falls into."""
    return window_of(one).span_at(now or datetime.now(UTC))


def minutes(one: Objective, span: Span, *, kept: bool = True) -> tuple[list[int], list[int], list[int]]:
    """Return (good, late, lost) minute by minute, oldest first, from the full hour in which a span begins; 0 where nothing was.

    kept  without what is excluded.   Minutes are there for 100 days.
    """
    return _counts(one, span, _minutes_out(one, span) if kept else None)


def _counts(one: Objective, span: Span, out: Sequence[bool] | None) -> tuple[list[int], list[int], list[int]]:
    first = hour_of(span.since)
    length = max(0, (span.until - first) // MINUTE)
    columns = ([0] * length, [0] * length, [0] * length)
    for row in read_hours([one.pk], first, span.until):
        at = (row.hour - first) // MINUTE
        for column, part in zip(columns, (row.good, row.late, row.lost), strict=True):
            column[at : at + 60] = list(part)[: max(0, length - at)]
    if out:
        for column in columns:
            column[:] = [0 if gone else count for count, gone in zip(column, out, strict=True)]
    return columns


def _minutes_out(one: Objective, span: Span) -> list[bool] | None:
    """Return which minutes are excluded, from the full hour in which a span begins; None when none is."""
    first = hour_of(span.since)
    spans = excluded_spans([one], Span(since=first, until=span.until)).get(one.pk)
    return marked(spans, first, max(0, (span.until - first) // MINUTE))


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLine:
    """How much of the budget was left at the end of each step, as a share; `steps` are their beginnings."""

    steps: list[datetime]
    left: list[float]
    excluded: list[Span]


def budget_line(one: Objective, standing: Standing, *, now: datetime, most: int = 120) -> BudgetLine:
    """Return the budget over the window so far: what the events of each step spent of what the whole window allows."""
    if standing.since is None:
        return BudgetLine(steps=[], left=[], excluded=[])
    span = Span(since=hour_of(standing.since), until=min(standing.until or now, minute_of(now) + MINUTE))
    steps = _steps(span, window_of(one).zone, most)
    spent = [0.0] * len(steps)
    rows = ObjectiveSum.objects.filter(objective=one, span=1, at__gte=span.since, at__lt=span.until)
    out = excluded_spans([one], span)
    if method_of(one).counts_time:
        rows = rows.filter(at__lt=hour_of(now))
        if span.holds(hour_of(now)):
            kept = [both.kept for both in running_hours([one], now, out).values()]
            spent[-1] += sum(sums.slices - sums.slices_good for sums in kept)
    for at, bad in rows.annotate(bad=_bad_of(one)).exclude(bad=0).values_list("at", "bad"):
        spent[bisect_right(steps, at) - 1] += bad
    left = [Budget(total=standing.budget, spent=gone).left_ratio for gone in accumulate(spent)]
    return BudgetLine(steps=steps, left=left, excluded=out.get(one.pk, []))


def _steps(span: Span, zone: ZoneInfo, most: int) -> list[datetime]:
    """Return the beginnings of at most so many steps: of whole hours, or, behind a quarter, of whole days of a zone, which have 23 to 25 hours."""
    by_days = span.length > LONGEST_BY_HOURS
    unit = DAY if by_days else HOUR
    step = max(1, math.ceil(span.length / unit / most)) * unit
    first = span.since.astimezone(zone if by_days else UTC)  # what is added to a local time leaves its hour as it is
    found = ((first + number * step).astimezone(UTC) for number in range(most + 1))
    return [at for at in found if at < span.until]


def _bad_of(one: Objective) -> Cast:
    if method_of(one).counts_time:
        return Cast(F("kept_slices") - F("kept_slices_good"), FloatField())
    return Cast(F("kept_late") + F("kept_lost"), FloatField())


def what_if_of(one: Objective, *, now: datetime, targets: Sequence[float] = ()) -> list[WhatIf]:
    """Return what other targets would have meant over the window so far, at most the last 90 days."""
    window = window_of(one)
    span = window.span_at(now)
    span = Span(since=max(span.since, now - MOST_REPLAYED), until=min(span.until, judged_until(one, now)))
    out = _minutes_out(one, span)
    bad, total = series_of(*_counts(one, span, out), method_of(one), out)
    current = float(one.target)
    return what_if(
        bad,
        total,
        targets=list(targets) or targets_around(current),
        current=current,
        period=window.period,
        guarded=one.guarded,
        chosen=pairs_of(one),
        slice_minutes=slice_minutes_of(one),
        missed=one.kind == Objective.Kind.VOLUME,
        sustained=one.sustained and one.kind != Objective.Kind.VOLUME,
        out=out,
    )


def exclusions_in_force(one: Objective) -> list[Exclusion]:
    """Return the exclusions in force of one objective, its own and its flow's, oldest first."""
    return exclusions_of([one]).get(one.pk, [])
