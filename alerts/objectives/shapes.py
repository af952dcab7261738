"""An objective's row as the pure modules take it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from alerts.models import Exclusion, Objective
from alerts.objectives.budgeting import Method
from alerts.objectives.burn import PAIR_NAMED, Pair
from alerts.objectives.calendars import Calendar
from alerts.objectives.exclusions import Excluded
from alerts.objectives.windows import DAY, Span, Window, merge

LONGEST_PERIOD = 2 * DAY  # of a volume: a working day of 25 hours at most


def method_of(one: Objective) -> Method:
    return Method(
        name=one.method,
        slice_minutes=one.slice_minutes,
        slice_target=one.slice_target,
        empty_is_good=one.empty_is_good,
    )


def unit_of(one: Objective) -> str:
    """Return what its budget is counted in: "slices", or the "events", "periods" or "minutes" of its kind."""
    if method_of(one).counts_time:
        return "slices"
    return {"dead_letter_age": "minutes", "volume": "periods"}.get(one.kind, "events")


def window_of(one: Objective) -> Window:
    return Window(unit=one.unit, days=one.days, zone=ZoneInfo(one.time_zone))


def looks_back_to(one: Objective, now: datetime) -> datetime:
    """Return how far back a promise that begins now looks: to the beginning of its window, or as far as its burn rates do."""
    return min(window_of(one).span_at(now).since, now - timedelta(days=one.days))


def calendar_of(one: Objective) -> Calendar:
    return Calendar(
        days=frozenset(one.work_days or range(1, 8)),
        from_minute=one.from_minute,
        until_minute=one.until_minute,
        holidays=frozenset(one.holidays),
        zone=ZoneInfo(one.time_zone),
    )


def pairs_of(one: Objective) -> list[Pair]:
    return [PAIR_NAMED[name] for name in one.pairs if name in PAIR_NAMED]


def slice_minutes_of(one: Objective) -> int:
    """Return the length of a slice where time is counted, 0 where events are."""
    return one.slice_minutes if method_of(one).counts_time else 0


def excluded_of(rows: Iterable[Exclusion]) -> list[Excluded]:
    return [
        Excluded(
            starts_at=row.starts_at, length=timedelta(minutes=row.minutes), rule=row.rule, zone=ZoneInfo(row.time_zone)
        )
        for row in rows
    ]


def whole_periods(one: Objective, excluded: Iterable[Span]) -> list[Span]:
    """Return the time that an objective is judged without, merged: a volume says nothing of a period of which a part is excluded."""
    if one.kind == Objective.Kind.VOLUME:
        return calendar_of(one).widened(excluded, minutes=one.limit_minutes or 0)
    return merge(excluded)
