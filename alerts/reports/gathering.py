"""A report is gathered: reads only, of what an actor may see; the number of queries does not grow with promises, flows, messages or days.

Nothing here reads an event: counters of objectives, hours of failure groups and the index of dead letters say it all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
from django.db import connection, transaction
from django.db.models import Q

from alerts.models import BreachEntry, Objective
from alerts.objectives.access import visible_objectives
from alerts.objectives.counters import excluded_spans
from alerts.objectives.windows import Span
from alerts.reports.alterations import Altered, altered_since, removed_since
from alerts.reports.causes import causes_of, largest, letters_of, replayed_by_flow
from alerts.reports.content import Audience, Cadence, Content, Period, Promise
from alerts.reports.coverage import agents_of, coverage_of, silences_of
from alerts.reports.excluded import excluded_in
from alerts.reports.history import remembered
from alerts.reports.measuring import (
    NAME,
    Measured,
    counted_of,
    days_of_objectives,
    measure,
    promise_of,
    riskiest_first,
    span_of,
)
from alerts.reports.periods import days_before, days_of
from alerts.reports.quality import quality_of
from alerts.reports.saying import Says, clean
from console.core.errors import NotFound
from console.identity.access import visible_environments
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_flows
from messages.queries import MOST_FAILED, causes_told, failed_without_letter, letters_became, letters_that_wait

MOST_PROMISES = 300  # of one report
TREND_DAYS = {Cadence.DAILY: 13, Cadence.WEEKLY: 21, Cadence.MONTHLY: 0}  # before the period, in its chart


def gather(
    audience: Audience,
    period: Period,
    *,
    actor: Actor,
    now: datetime,
    earlier: Sequence[Content] = (),
    promised: Collection[int] | None = None,
) -> Content:
    """Return what a report of this period says. Raises NotFound for an environment that the actor may not see.

    All of one moment, unless the caller is in a transaction already.
    earlier  frozen reports of the same audience, any order: what “for the first time since” is known from.
    promised  of a revision: the objectives that the report told of which it revises; it tells of no other, nor that another was removed.
    """
    with one_moment():
        return _gathered(audience, period, actor, now, earlier, promised)


@contextmanager
def one_moment() -> Iterator[None]:
    """Read everything as it was at one moment, so that letters that wait in one sentence are those that wait in another. Writes are refused."""
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _gathered(
    audience: Audience,
    period: Period,
    actor: Actor,
    now: datetime,
    earlier: Sequence[Content],
    promised: Collection[int] | None,
) -> Content:
    environment = _environment(actor, audience)
    objectives, more = _objectives(actor, audience, period, promised)
    measured = measure(objectives, period, now=now)
    counted = counted_of(measured)
    excluded, more_excluded = excluded_in(measured, span_of(period), now=now)
    flows = _flows(actor, audience, objectives)
    told = _letters(environment, flows, period)
    promises = [promise_of(one, counted=one.one.pk in counted, period=period) for one in measured]
    says = Says(audience.language, period.zone)
    altered = altered_since(objectives, period, says)
    removed = removed_since(actor, audience, period, earlier=earlier, promised=promised, says=says)
    promises = [
        _with_more(one, found.one, told, altered.get(found.one.pk))
        for one, found in zip(promises, measured, strict=True)
    ]
    harvested = {
        one.flow_id for one in objectives if one.flow_id in flows and one.kind == Objective.Kind.DEAD_LETTER_AGE
    }
    agents = agents_of(flows, period, letters_of=harvested)
    silences = silences_of(agents, period)
    quality = quality_of(measured, silences, period, says)
    quality += [f"Only the first {MOST_PROMISES} promises are in this report."] if more else []
    quality += ["Not all of the excluded times are listed."] if more_excluded else []
    quality += ["There were so many dead letters that only a part of them is counted here."] if told["capped"] else []
    quality += (
        ["There were so many causes that only those with most failures are counted here."] if told["more"] else []
    )
    return Content(
        audience=audience,
        environment=clean(environment.name, NAME),
        colour=environment.colour,
        period=period,
        promises=tuple(riskiest_first(remembered(promises, period, earlier))),
        causes=told["causes"],
        letters=told["letters"],
        **_days(measured, counted, period),
        **_together(measured, counted),
        breaches=_breaches(environment, objectives, period),
        exclusions=tuple(excluded),
        quality=tuple(quality),
        coverage=coverage_of(measured, agents, silences, period),
        frozen_at=now,
        removed=tuple(removed),
    )


def _environment(actor: Actor, audience: Audience) -> Environment:
    found = visible_environments(actor).filter(pk=audience.environment).first()
    if found is None:
        raise NotFound("there is no such environment that you may see")
    return found


def _objectives(
    actor: Actor, audience: Audience, period: Period, promised: Collection[int] | None
) -> tuple[list[Objective], bool]:
    """Return the promises that this report is about and its actor may see, and whether there were more than are taken."""
    rows = visible_objectives(actor).filter(environment=audience.environment, fill_from__lt=period.until)
    rows = rows if promised is None else rows.filter(pk__in=promised)
    if audience.flow_ids or audience.objective_ids:
        rows = rows.filter(Q(flow__in=audience.flow_ids) | Q(pk__in=audience.objective_ids))
    found = list(rows.order_by("pk")[: MOST_PROMISES + 1])
    return found[:MOST_PROMISES], len(found) > MOST_PROMISES


def _flows(actor: Actor, audience: Audience, objectives: Sequence[Objective]) -> dict[int, str]:
    """Return {flow: its name} of the promises' flows, and of those that the audience names, as far as the actor may see them."""
    wanted = {one.flow_id for one in objectives if one.flow_id} | set(audience.flow_ids)
    rows = visible_flows(actor).filter(environment=audience.environment, pk__in=wanted)
    return dict(rows.order_by().values_list("pk", "name"))


def _letters(environment: Environment, flows: dict[int, str], period: Period) -> dict[str, Any]:
    """Return the causes, the letters, and by flow what waits and what a replay delivered; four queries."""
    became, capped = letters_became(environment.pk, flows, period.since, period.until)
    waits = letters_that_wait(environment.pk, flows, period.since, period.until)
    span = span_of(period)
    with_letters = {one.group_id for one in became}
    without = failed_without_letter(environment.pk, flows, span.since, span.until, most=MOST_FAILED + 1)
    failed = [one for one in without[:MOST_FAILED] if one.group_id not in with_letters]
    return {
        "causes": causes_of(became, failed, causes_told(largest(became, failed)), flows),
        "letters": letters_of(became, waits),
        "waiting": {one.flow_id: one.count for one in waits},
        "replayed": replayed_by_flow(became),
        "capped": capped,
        "more": len(without) > MOST_FAILED,
    }


def _with_more(promise: Promise, one: Objective, told: dict[str, Any], altered: Altered | None) -> Promise:
    return msgspec.structs.replace(
        promise,
        waiting=told["waiting"].get(one.flow_id, 0),
        replayed=told["replayed"].get(one.flow_id, 0),
        target_before=altered.target_before if altered else None,
        changed=altered.changed if altered else (),
    )


def _days(measured: Sequence[Measured], counted: set[int], period: Period) -> dict[str, Any]:
    """Return the days of the period, and those before it that its chart shows; nothing where no events are added up."""
    if not counted:
        return {"days": (), "trend": ()}
    before = days_before(period, TREND_DAYS[period.cadence])
    shown = [*before, *days_of(period)]
    mine = [found.one for found in measured if found.one.pk in counted]
    excluded = excluded_spans(mine, Span(since=shown[0][1], until=shown[-1][2]))
    days = days_of_objectives(counted, shown, [span for spans in excluded.values() for span in spans])
    return {"days": tuple(days[len(before) :]), "trend": tuple(days[: len(before)])}


def _together(measured: Sequence[Measured], counted: set[int]) -> dict[str, Any]:
    """Return the ratios of everything that is added up, without what is excluded."""
    mine = [found for found in measured if found.one.pk in counted]
    return {
        "attained": _ratio([(found.period.kept.good, found.period.kept.total) for found in mine]),
        "previous": _ratio([(found.before.kept.good, found.before.kept.total) for found in mine]),
    }


def _ratio(parts: Sequence[tuple[int, int]]) -> float | None:
    total = sum(whole for _, whole in parts)
    return sum(good for good, _ in parts) / total if total else None


def _breaches(environment: Environment, objectives: Sequence[Objective], period: Period) -> int:
    """Return how often an alert of these promises fired, for the first time or again."""
    rows = BreachEntry.objects.filter(
        breach__environment=environment,
        breach__source="objective",
        breach__key__in=[str(one.pk) for one in objectives],
        breach__opened_at__lt=period.until,
        kind__in=(BreachEntry.Kind.FIRED, BreachEntry.Kind.FLAPPED),
        at__gte=period.since,
        at__lt=period.until,
    )
    return rows.filter(Q(breach__resolved_at=None) | Q(breach__resolved_at__gt=period.since)).count()
