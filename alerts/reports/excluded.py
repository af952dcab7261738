"""What of a period did not count, with reason and by whom, and how many events that were. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from alerts.models import Exclusion, Objective
from alerts.objectives.counters import HOURS_KEPT, exclusions_of
from alerts.objectives.exclusions import occurrences
from alerts.objectives.shapes import excluded_of, whole_periods
from alerts.objectives.windows import Span
from alerts.reports.content import Excluded
from alerts.reports.measuring import NAME, Measured
from alerts.reports.saying import clean

MOST_EXCLUDED = 60  # times that a report lists; a month of one each day, twice
REASON = 300
COUNTS_MOST = {"freshness": 0, "success": 1, "latency": 2}  # latency knows no failures

# Of an hour whose minutes are gone, what it adds up to with and without what is excluded: of one that several of these times share in part
# nobody knows whose that was.
EVENTS = """
WITH p AS (SELECT * FROM unnest(%s::int4[], %s::int8[], %s::timestamptz[], %s::timestamptz[]) AS p(place, objective_id, since, until)),
counted AS (
    SELECT p.place, (u.good + u.late + u.lost)::int8 AS events, false AS shared
    FROM p JOIN alerts_objectiveminutes m ON m.objective_id = p.objective_id AND m.hour > p.since - interval '1 hour' AND m.hour < p.until
    CROSS JOIN LATERAL unnest(m.good, m.late, m.lost) WITH ORDINALITY AS u(good, late, lost, number)
    WHERE m.hour + (u.number - 1) * interval '1 minute' >= p.since AND m.hour + (u.number - 1) * interval '1 minute' < p.until
    UNION ALL
    SELECT p.place, s.good + s.late + s.lost - s.kept_good - s.kept_late - s.kept_lost,
        count(*) OVER (PARTITION BY s.objective_id, s.at) > 1 AND (s.at < p.since OR s.at + interval '1 hour' > p.until)
    FROM p JOIN alerts_objectivesum s ON s.objective_id = p.objective_id AND s.span = 1 AND s.at > p.since - interval '1 hour' AND s.at < p.until
    WHERE NOT EXISTS (SELECT FROM alerts_objectiveminutes m WHERE m.objective_id = s.objective_id AND m.hour = s.at)
)
SELECT place, CASE WHEN bool_or(shared AND events > 0) THEN NULL ELSE sum(events)::int8 END FROM counted GROUP BY 1
"""


def excluded_in(measured: Sequence[Measured], span: Span, *, now: datetime) -> tuple[list[Excluded], bool]:
    """Return the times that did not count, oldest first, and whether there were more than are listed: the newest are. Two queries.

    Of the period, `span`; of a promise that is judged over a longer time, of that.
    """
    objectives = [found.one for found in measured]
    of_each = exclusions_of(objectives)
    rows = {row.pk: row for found in of_each.values() for row in found}
    since = dict.fromkeys(rows, span.since)
    for found in measured:
        for row in of_each.get(found.one.pk, []):
            since[row.pk] = min(since[row.pk], found.judged.span.since)
    looked_at = {pk: Span(since=first, until=span.until) for pk, first in since.items()}
    times = [(time, row) for pk, row in rows.items() for time in occurrences(excluded_of([row])[0], looked_at[pk])]
    times.sort(key=lambda one: (one[0].since, one[0].until, one[1].pk))
    shown = times[-MOST_EXCLUDED:]
    events = _events([_left_out(_subject(row, objectives), time) for time, row in shown])
    return [
        Excluded(
            since=time.since,
            until=time.until,
            reason=clean(row.reason, REASON) or row.get_category_display(),
            by=clean(row.made_by, NAME),
            events=events.get(place, 0) if time.since >= now - HOURS_KEPT else None,
            about=_about(row, objectives),
        )
        for place, (time, row) in enumerate(shown)
    ], len(times) > len(shown)


def _subject(row: Exclusion, objectives: Sequence[Objective]) -> Objective:
    """Return the promise whose events an exclusion's are: of a flow's the one that counts most of what happens."""
    mine = [one for one in objectives if one.pk == row.objective_id or (row.flow_id and one.flow_id == row.flow_id)]
    return min(mine, key=lambda one: (COUNTS_MOST.get(one.kind, len(COUNTS_MOST)), one.pk))


def _left_out(one: Objective, time: Span) -> tuple[int, Span]:
    [span] = whole_periods(one, [time])
    return one.pk, span


def _about(row: Exclusion, objectives: Sequence[Objective]) -> str:
    for one in objectives:
        if one.pk == row.objective_id:
            return clean(one.name, NAME)
        if row.flow_id is not None and one.flow_id == row.flow_id and one.flow is not None:
            return clean(one.flow.name, NAME)
    return ""


def _events(asked: Sequence[tuple[int, Span]]) -> dict[int, int | None]:
    """Return {place: events of that span}; None where they are not known any more."""
    if not asked:
        return {}
    columns: list[Any] = [
        list(range(len(asked))),
        [pk for pk, _ in asked],
        [span.since for _, span in asked],
        [span.until for _, span in asked],
    ]
    with connection.cursor() as cursor:
        cursor.execute(EVENTS, columns)
        return dict(cursor.fetchall())
