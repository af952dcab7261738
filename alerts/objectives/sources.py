"""Where each kind of objective on a flow takes its minutes from. Reads only: rollups, messages whose time is up, letters that wait."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from alerts.models import Objective
from alerts.objectives.counters import hour_of
from alerts.objectives.shapes import calendar_of, looks_back_to
from alerts.objectives.windows import MINUTE, Span
from messages.queries import (
    FlowMinute,
    Freshness,
    Minute,
    flow_minutes,
    fresh_minutes,
    waited_too_long,
)

Kind = Objective.Kind
Found = dict[int, dict[datetime, tuple[int, int, int]]]


def counts_of(objectives: Sequence[Objective], since: datetime, until: datetime, now: datetime) -> Found:
    """Return {objective id: {minute: (good, late, lost)}} of objectives on flows, for since <= minute < until.

    Nothing is counted before it is decided: a message whose time is not up, a period that has not ended, are in no minute yet.
    """
    found: Found = defaultdict(dict)
    _of_rollups([one for one in objectives if one.kind in (Kind.SUCCESS, Kind.LATENCY)], since, until, found)
    _of_messages([one for one in objectives if one.kind == Kind.FRESHNESS], since, min(until, now), found)
    _of_letters([one for one in objectives if one.kind == Kind.DEAD_LETTER_AGE], since, min(until, now), found)
    for one in objectives:
        if one.kind == Kind.VOLUME:
            _of_periods(one, since, min(until, now), found[one.pk])
    return found


def bucket_of(limit_ms: int) -> int:
    """Return the latency bucket whose upper bound this is: 2ⁿ ms; raises ValueError for what is no bound."""
    if limit_ms < 1 or limit_ms & (limit_ms - 1) or limit_ms > 2**24:
        raise ValueError("latency is counted in buckets of 1, 2, 4, 8 … ms")
    return limit_ms.bit_length() - 1


def _of_rollups(objectives: Sequence[Objective], since: datetime, until: datetime, found: Found) -> None:
    """One query for all of them. Success: processed against failed events. Latency: processed in time against processed slower."""
    if not objectives:
        return
    by_flow: dict[int, list[tuple[dict[datetime, tuple[int, int, int]], int | None]]] = defaultdict(list)
    for one in objectives:
        bucket = bucket_of(one.limit_ms or 1) if one.kind == Kind.LATENCY else None
        by_flow[one.flow_id or 0].append((found[one.pk], bucket))
    for row in flow_minutes(list(by_flow), since, until):
        for minutes, bucket in by_flow[row.flow_id]:
            counts = _good_of(row, bucket)
            if any(counts):
                before = minutes.get(row.minute)
                minutes[row.minute] = counts if before is None else _added(before, counts)


def _added(one: tuple[int, int, int], other: tuple[int, int, int]) -> tuple[int, int, int]:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def _good_of(row: FlowMinute, bucket: int | None) -> tuple[int, int, int]:
    if bucket is None:
        return row.processed, 0, row.failed
    return (row.processed, 0, 0) if row.bucket <= bucket else (0, row.processed, 0)


def _of_messages(objectives: Sequence[Objective], since: datetime, until: datetime, found: Found) -> None:
    promises = [
        Freshness(
            key=one.pk,
            environment_id=one.environment_id,
            flow_id=one.flow_id or 0,
            limit=timedelta(minutes=one.limit_minutes or 0),
            recover=timedelta(minutes=one.recover_minutes or 0),
        )
        for one in objectives
    ]
    # the minute that still runs is not over: a message whose time is up in it is counted in the next look
    _add(fresh_minutes(promises, since, until.replace(second=0, microsecond=0)), found)


def _add(minutes: Sequence[Minute], found: Found) -> None:
    for one in minutes:
        found[one.key][one.minute] = (one.good, one.late, one.lost)


def _of_letters(objectives: Sequence[Objective], since: datetime, until: datetime, found: Found) -> None:
    """Each minute is good or lost: whether a dead letter of the flow waited longer than it may at its beginning."""
    promises = [
        (one.pk, one.environment_id, one.flow_id or 0, timedelta(minutes=one.limit_minutes or 0)) for one in objectives
    ]
    for one in objectives:
        found[one.pk] = dict.fromkeys(_minutes(since, until), (1, 0, 0))
    for pk, first, last in waited_too_long(promises, since, until):
        begun = max(first + MINUTE - timedelta(microseconds=1), since).replace(second=0, microsecond=0)
        for minute in _minutes(begun, min(last or until, until)):
            found[pk][minute] = (0, 0, 1)


def _minutes(since: datetime, until: datetime) -> Iterator[datetime]:
    while since < until:
        yield since
        since += MINUTE


def _of_periods(
    one: Objective, since: datetime, until: datetime, minutes: dict[datetime, tuple[int, int, int]]
) -> None:
    """Each period of working time that has ended is one good or lost, in its last minute: whether enough came.

    Where the history is shorter than what the promise looks back to, none that had begun before it: a part of it is not there.
    """
    within = Span(since=since - timedelta(microseconds=1), until=until)
    whole_since = (
        one.fill_from if one.fill_from > hour_of(looks_back_to(one, one.begun_at)) else datetime.min.replace(tzinfo=UTC)
    )
    for period in calendar_of(one).periods(within, minutes=one.limit_minutes or 0):
        if period.since < whole_since:
            continue
        came = sum(row.processed for row in flow_minutes([one.flow_id or 0], period.since, period.until))
        kept = came >= (one.at_least or 0)
        last = (period.until - timedelta(microseconds=1)).replace(second=0, microsecond=0)
        if last >= since:
            minutes[last] = (int(kept), 0, int(not kept))
