"""Promises of volume about a search: how many it found is kept minute by minute, and each period of working time is judged by its sum."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from django.db import connection

from alerts.models import FoundMinutes, Objective
from alerts.objectives.budgeting import EMPTY
from alerts.objectives.counters import hour_of, minute_of, minutes_by_hour
from alerts.objectives.shapes import calendar_of
from alerts.objectives.windows import DAY, HOUR, MINUTE, Span, merge

WRITE = """
INSERT INTO alerts_foundminutes (objective_id, hour, found) VALUES (%s, %s, %s)
ON CONFLICT (objective_id, hour) DO UPDATE SET found = excluded.found
"""

# a walk back from the newest hour of each, which ends at the first one with something in it
NEWEST = """
SELECT o.id, f.hour, f.found FROM unnest(%s::int8[]) AS o(id)
JOIN LATERAL (
    SELECT hour, found FROM alerts_foundminutes WHERE objective_id = o.id AND 0 < ANY (found) ORDER BY hour DESC LIMIT 1
) f ON true
"""


def newest_found(objective_ids: Collection[int]) -> dict[int, datetime]:
    """Return the last minute in which each of these found a message: their counters know the ends of periods alone, missed ones too."""
    if not objective_ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(NEWEST, [list(objective_ids)])
        return {
            pk: hour + max(number for number, count in enumerate(found) if count) * MINUTE
            for pk, hour, found in cursor.fetchall()
        }


def judged_periods(
    one: Objective, spans: Sequence[Span], found: Mapping[datetime, int], now: datetime
) -> tuple[list[Span], dict[datetime, tuple[int, int, int]]]:
    """Keep what was found in these minutes, and judge the periods that they belong to; returns what `write_minutes` takes.

    A period is one good or lost, in its last minute, when it is over and all of it was counted.
    """
    _keep(one, spans, found)
    periods = _periods(one, spans, now)
    counts = {}
    if periods:
        hours = _hours(one, Span(since=min(each.since for each in periods), until=max(each.until for each in periods)))
        for each in periods:
            kept = _sum(hours, each) >= (one.at_least or 0)
            counts[last_minute(each)] = (int(kept), 0, int(not kept))
    ends = [Span(since=at, until=at + MINUTE) for at in counts]
    # what is no end of a period any more is emptied; where older verdicts are to stay, the calendar is the same
    return merge([*(spans if one.kept_before is None else ()), *ends]), counts


def last_minute(period: Span) -> datetime:
    return minute_of(period.until - MINUTE)


def _periods(one: Objective, spans: Sequence[Span], now: datetime) -> list[Span]:
    calendar, found = calendar_of(one), {}
    for span in spans:
        within = Span(since=span.since, until=span.until + 2 * DAY)
        for period in calendar.periods(within, minutes=one.limit_minutes or 0):
            if one.filled_since <= period.since < span.until and period.until <= now:
                found[period.since] = period
    return list(found.values())


def _keep(one: Objective, spans: Sequence[Span], found: Mapping[datetime, int]) -> None:
    parts = minutes_by_hour(spans)
    hours = _hours(one, Span(since=min(parts), until=max(parts) + HOUR))
    changed = []
    for hour, ranges in parts.items():
        minutes = list(hours.get(hour, EMPTY))
        for number in (number for each in ranges for number in each):
            minutes[number] = found.get(hour + number * MINUTE, 0)
        if minutes != list(hours.get(hour, EMPTY)):
            changed.append((one.pk, hour, minutes))
    with connection.cursor() as cursor:
        cursor.executemany(WRITE, changed)


def _hours(one: Objective, within: Span) -> dict[datetime, list[int]]:
    rows = FoundMinutes.objects.filter(objective=one, hour__gte=hour_of(within.since), hour__lt=within.until)
    return dict(rows.values_list("hour", "found"))


def _sum(hours: Mapping[datetime, Sequence[int]], period: Span) -> int:
    return sum(
        sum(hours[hour][part.start : part.stop])
        for hour, ranges in minutes_by_hour([period]).items()
        if hour in hours
        for part in ranges
    )
