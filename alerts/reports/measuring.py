"""What each promise of a report attained: a few queries for all of them, twice where a period is too small to judge by. Reads only."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection

from alerts.models import Objective, Standing, Uncounted
from alerts.objectives.counters import hour_of
from alerts.objectives.present import promise_words
from alerts.objectives.queries import ROUNDING, Attained, attained_of
from alerts.objectives.shapes import window_of
from alerts.objectives.windows import Span, clipped, length_of
from alerts.reports.content import Day, Period, Promise, Stands
from alerts.reports.periods import before
from alerts.reports.saying import clean
from messages.queries import flow_sums

AT_RISK_BELOW = 0.25  # of the budget, as on the objectives' page
LONGER = 1.5  # a window that much longer than the period may be judged in its place
SILENT_SHARE = 0.05  # of the period: silent for longer at its end, a promise is not called kept
COUNTS_MESSAGES = ("freshness", "latency", "success")  # the first that a flow has is counted in the days
COUNTED_AGAIN = timedelta(days=7, hours=3)  # after that no hour is counted again: what is missing then stays so
COUNTED_SHARE = 0.99  # of what came: with less, what came late is not counted yet
NAME = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """period, before: of this period and the one before.   judged, judged_before: the same, or of the promise's own window, then `over` says it.

    since  from when on it is judged.   behind  much came late, or waits to be counted, and is not in its counters yet.
    """

    one: Objective
    period: Attained
    before: Attained
    judged: Attained
    judged_before: Attained
    since: datetime
    over: str = ""
    behind: bool = False

    @property
    def counting(self) -> bool:
        """Whether what it is judged by is still being counted: its history, or what came late."""
        return self.behind or self.one.filled_since > max(self.one.fill_from, self.since)


def span_of(period: Period) -> Span:
    """Return the period by whole hours, as counters are read: in zones that are off by half an hour from the full hour before."""
    return Span(since=hour_of(period.since), until=hour_of(period.until))


def measure(objectives: Sequence[Objective], period: Period, *, now: datetime) -> list[Measured]:
    """Return what these attained in the period and before it, in their order.

    A period that allows less than one bad event says nothing of a promise over a longer time: the window that ends with it is judged instead.
    """
    here, there = (_attained(objectives, span_of(one), now) for one in (period, before(period)))
    flows = {one.flow_id for one in objectives if one.flow_id is not None}
    came = flow_sums(sorted(flows), *_ends(period)) if flows else {}
    waiting = _waiting(objectives, span_of(period))
    small = [one for one in objectives if is_too_small(one, here[one.pk], period)]
    wide = attained_of(small, {one.pk: _window_to(one, period.until) for one in small}, now=now)
    wide_before = attained_of(small, {one.pk: _window_to(one, period.since) for one in small}, now=now)
    return [
        Measured(
            one=one,
            period=here[one.pk],
            before=there[one.pk],
            judged=wide.get(one.pk, here[one.pk]),
            judged_before=wide_before.get(one.pk, there[one.pk]),
            since=_window_to(one, period.until).since if one.pk in wide else period.since,
            behind=one.pk in waiting
            or (may_change(one, period, now) and is_behind(one, here[one.pk], came.get(one.flow_id or 0, (0, 0)))),
            over=f"{window_of(one).period.days} days" if one.pk in wide else "",
        )
        for one in objectives
    ]


def _attained(objectives: Sequence[Objective], span: Span, now: datetime) -> dict[int, Attained]:
    return attained_of(objectives, {one.pk: span for one in objectives}, now=now)


def _ends(period: Period) -> tuple[datetime, datetime]:
    span = span_of(period)
    return span.since, span.until


def _waiting(objectives: Sequence[Objective], span: Span) -> set[int]:
    """Return the objectives on saved searches of which more than a little of this span waits to be counted; one query."""
    searches = [one.pk for one in objectives if one.flow_id is None]
    rows = Uncounted.objects.filter(objective__in=searches) if searches else []
    found = {row.pk: [Span(since=a, until=b) for a, b in zip(row.since, row.until, strict=True)] for row in rows}
    most = (1 - COUNTED_SHARE) * span.length
    return {pk for pk, spans in found.items() if length_of(clipped(spans, span)) > most}


def may_change(one: Objective, period: Period, now: datetime) -> bool:
    """Whether the whole period is promised about, and what comes late for it is still counted; of freshness, whether the promise is new."""
    new = now - one.created_at < COUNTED_AGAIN if one.kind == Objective.Kind.FRESHNESS else True
    return new and one.fill_from <= span_of(period).since and now - period.until < COUNTED_AGAIN


def is_behind(one: Objective, found: Attained, came: tuple[int, int]) -> bool:
    """Whether clearly more came in the period than is counted: events that are late are counted within three hours.

    came  (processed, failed) as the rollups have it. Of freshness, which counts messages and no events, only whether anything did.
    """
    processed, failed = came
    counted = found.raw.total
    match one.kind:
        case Objective.Kind.SUCCESS:
            return counted < COUNTED_SHARE * (processed + failed)
        case Objective.Kind.LATENCY:
            return counted < COUNTED_SHARE * processed
        case Objective.Kind.FRESHNESS:
            return not counted and processed > 0
    return False


def is_too_small(one: Objective, found: Attained, period: Period) -> bool:
    longer = window_of(one).period > LONGER * (period.until - period.since)
    return longer and found.adjusted is not None and found.budget.total < 1 - ROUNDING


def _window_to(one: Objective, until: datetime) -> Span:
    return Span(since=hour_of(until - window_of(one).period), until=hour_of(until))


def counted_of(measured: Iterable[Measured]) -> set[int]:
    """Return the objectives whose events are added up: each flow once; of saved searches, where there is nothing else, the one with most."""
    of_flows: dict[int, Measured] = {}
    searches: list[Measured] = []
    for found in measured:
        if found.one.kind not in COUNTS_MESSAGES or not found.period.raw.total:
            continue
        if found.one.flow_id is None:
            searches.append(found)
        elif found.one.flow_id not in of_flows or _order(found) < _order(of_flows[found.one.flow_id]):
            of_flows[found.one.flow_id] = found
    if of_flows:
        return {found.one.pk for found in of_flows.values()}
    return {max(searches, key=lambda found: (found.period.raw.total, -found.one.pk)).one.pk} if searches else set()


def _order(found: Measured) -> tuple[int, int]:
    return COUNTS_MESSAGES.index(found.one.kind), found.one.pk


def promise_of(found: Measured, *, counted: bool, period: Period) -> Promise:
    """Return it as the report says it; what its flow's letters and earlier reports add is left out."""
    one, judged, raw = found.one, found.judged, found.period.raw
    times, unit = _unit_of(one, judged.unit)
    return Promise(
        objective=one.pk,
        name=clean(one.name, NAME),
        words=clean(promise_words(one), 400),
        flow=clean(one.flow.name, NAME) if one.flow else "",
        stands=stands_of(found, period),
        target=float(one.target),
        attained=judged.attained,
        adjusted=judged.adjusted,
        previous=found.judged_before.adjusted,
        good=raw.good,
        late=raw.late,
        lost=raw.lost,
        budget=judged.budget.total * times,
        left=judged.budget.left * times,
        left_ratio=judged.budget.left_ratio,
        unit=unit,
        kind=one.kind,
        over=found.over,
        judged_since=judged.span.since,
        judged_until=judged.span.until,
        counted=counted,
        counting=found.counting,
    )


def _unit_of(one: Objective, unit: str) -> tuple[int, str]:
    """Return how many of the report's unit one of the budget is, and that unit."""
    return (one.slice_minutes, "minutes") if unit == "slices" else (1, unit)


def stands_of(found: Measured, period: Period) -> Stands:
    """Return how a promise stands: by its figures, unless they are counted still, but not kept where its data ended before the period did."""
    judged = found.judged
    if judged.adjusted is None or found.counting:
        return Stands.NO_DATA
    if judged.budget.left < -ROUNDING:
        return Stands.MISSED
    if is_silent(found.one, period) or is_uncounted(found.one, period):
        return Stands.NO_DATA
    return Stands.AT_RISK if judged.budget.left_ratio < AT_RISK_BELOW else Stands.KEPT


def is_silent(one: Objective, period: Period) -> bool:
    """Whether what brings its events had been silent for long when the period ended, and is so still."""
    standing: Standing | None = getattr(one, "standing", None)
    if standing is None or standing.state != Standing.State.NO_DATA or not standing.problem:
        return False
    return standing.state_since < _late_in(period)


def is_uncounted(one: Objective, period: Period) -> bool:
    """Whether what came long before the period ended is not counted yet, as when a console is back after a day."""
    return one.counted_to is not None and one.counted_to < _late_in(period)


def _late_in(period: Period) -> datetime:
    return period.until - SILENT_SHARE * (period.until - period.since)


ORDER = {stands: place for place, stands in enumerate(Stands)}


def riskiest_first(promises: Iterable[Promise]) -> list[Promise]:
    return sorted(promises, key=lambda one: (ORDER[one.stands], one.left_ratio, one.name, one.objective))


DAYS = """
SELECT d.place, sum(s.good)::int8, sum(s.late)::int8, sum(s.lost)::int8
FROM unnest(%s::int4[], %s::timestamptz[], %s::timestamptz[]) AS d(place, since, until)
JOIN alerts_objectivesum s ON s.objective_id = ANY(%s) AND s.span = 1 AND s.at >= d.since AND s.at < d.until
GROUP BY 1
"""


def days_of_objectives(
    objective_ids: Collection[int], days: Sequence[tuple[date, datetime, datetime]], excluded: Sequence[Span]
) -> list[Day]:
    """Return what these days add up to, by whole hours; one query."""
    hours = [(hour_of(since), hour_of(until)) for _, since, until in days]
    found: dict[int, tuple[int, int, int]] = {}
    if objective_ids and days:
        columns: list[Any] = [list(range(len(days))), [since for since, _ in hours], [until for _, until in hours]]
        with connection.cursor() as cursor:
            cursor.execute(DAYS, [*columns, sorted(objective_ids)])
            found = {place: (good, late, lost) for place, good, late, lost in cursor.fetchall()}
    made = []
    for place, (day, since, until) in enumerate(days):
        good, late, lost = found.get(place, (0, 0, 0))
        out = any(span.since < until and span.until > since for span in excluded)
        made.append(Day(day=day, good=good, late=late, lost=lost, excluded=out))
    return made
