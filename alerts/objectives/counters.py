"""The counters of objectives: minutes in arrays of an hour, and the sums that are folded from them. Every write to both is here.

What is written is a function of the minutes and of the exclusions, so a run may be repeated and may die anywhere; two at once wait for
each other under one advisory lock, which ends with the transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import msgspec
from django.db import connection, transaction
from django.db.models import Q

from alerts.models import Exclusion, FoundMinutes, Objective, ObjectiveMinutes, ObjectiveSum
from alerts.objectives.budgeting import EMPTY, Minutes, Sums, fold
from alerts.objectives.exclusions import excluded_time, flags
from alerts.objectives.shapes import LONGEST_PERIOD, excluded_of, method_of, whole_periods
from alerts.objectives.windows import HOUR, MINUTE, Span, clipped

LOCK = 7_219_060  # advisory: one writer of counters at a time
WAIT_S = 14  # for the lock; a statement may take 15
MINUTES_KEPT = timedelta(days=100)  # what-if replays them, exclusions fold them anew
HOURS_KEPT = timedelta(days=400)

Counts = Mapping[datetime, tuple[int, int, int]]  # minute → good, late, lost


class HourRow(NamedTuple):
    objective_id: int
    hour: datetime
    good: Sequence[int]
    late: Sequence[int]
    lost: Sequence[int]


READ = """
SELECT objective_id, extract(epoch FROM hour)::int8, good, late, lost FROM alerts_objectiveminutes
WHERE objective_id = ANY(%s) AND hour >= %s AND hour < %s
"""
READ_THESE = """
SELECT m.objective_id, extract(epoch FROM m.hour)::int8, m.good, m.late, m.lost FROM unnest(%s::int8[], %s::timestamptz[]) AS asked(objective_id, hour)
JOIN alerts_objectiveminutes m ON m.objective_id = asked.objective_id AND m.hour = asked.hour
"""
# Rows in one JSON: as arrays of parameters they are escaped number by number in Python (measured: half of a look).
WRITE = """
INSERT INTO alerts_objectiveminutes (objective_id, hour, good, late, lost)
SELECT objective_id, hour, good, late, lost FROM jsonb_populate_recordset(NULL::alerts_objectiveminutes, %s::jsonb)
ON CONFLICT (objective_id, hour) DO UPDATE SET good = excluded.good, late = excluded.late, lost = excluded.lost
"""
COLUMNS = (
    "good", "late", "lost", "slices", "slices_good", "kept_good", "kept_late", "kept_lost", "kept_slices", "kept_slices_good",
)  # fmt: skip
_SET = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS)
WRITE_SUMS = f"""
INSERT INTO alerts_objectivesum (objective_id, span, at, {", ".join(COLUMNS)})
SELECT objective_id, 1, at, {", ".join(COLUMNS)} FROM jsonb_populate_recordset(NULL::alerts_objectivesum, %s::jsonb)
ON CONFLICT (objective_id, span, at) DO UPDATE SET {_SET}
"""  # noqa: S608  names of ours
WRITE_DAYS = f"""
INSERT INTO alerts_objectivesum (objective_id, span, at, {", ".join(COLUMNS)})
SELECT d.objective_id, 24, d.day, {", ".join(f"sum(s.{name})" for name in COLUMNS)}
FROM unnest(%s::int8[], %s::timestamptz[]) AS d(objective_id, day)
JOIN alerts_objectivesum s ON s.objective_id = d.objective_id AND s.span = 1 AND s.at >= d.day AND s.at < d.day + interval '24 hours'
GROUP BY 1, 3 ORDER BY 1, 3
ON CONFLICT (objective_id, span, at) DO UPDATE SET {_SET}
"""  # noqa: S608  names of ours
BARE_HOURS = """
SELECT at FROM alerts_objectivesum s WHERE objective_id = %s AND span = 1 AND at >= %s AND at < %s
AND NOT EXISTS (SELECT FROM alerts_objectiveminutes m WHERE m.objective_id = s.objective_id AND m.hour = s.at) ORDER BY at
"""
_RAW = [name for name in COLUMNS if not name.startswith("kept_")]
_KEEP = "UPDATE alerts_objectivesum SET {} WHERE objective_id = %s AND span = 1 AND at = ANY(%s)"
KEEP_ALL = _KEEP.format(", ".join(f"kept_{name} = {name}" for name in _RAW))
KEEP_NONE = _KEEP.format(", ".join(f"kept_{name} = 0" for name in _RAW))


@contextmanager
def one_writer(*, wait: bool = True) -> Iterator[bool]:
    """Hold the counters for a transaction of one's own; yields False, at once, where another has them and `wait` is not set.

    It waits longer than for a table: a look holds them for as long as it counts searches.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        if wait:
            cursor.execute(f"SET LOCAL lock_timeout = '{WAIT_S}s'")
        cursor.execute(f"SELECT pg_{'' if wait else 'try_'}advisory_xact_lock(%s)", [LOCK])
        yield wait or bool(cursor.fetchone()[0])


def read_hours(objective_ids: Sequence[int], since: datetime, until: datetime) -> list[HourRow]:
    """Return the hours of these objectives, since <= hour < until; no order."""
    with connection.cursor() as cursor:
        cursor.execute(READ, [list(objective_ids), since, until])
        return _hour_rows(cursor.fetchall())


def read_these_hours(hours: Mapping[int, datetime]) -> list[HourRow]:
    """Return one hour of each of these objectives, {objective id: hour}; those that are kept, no order."""
    with connection.cursor() as cursor:
        cursor.execute(READ_THESE, [list(hours), list(hours.values())])
        return _hour_rows(cursor.fetchall())


def _hour_rows(rows: Iterable[tuple[Any, ...]]) -> list[HourRow]:
    """Few hours and many rows: a time is made once for each hour, not once a row."""
    at = cache(lambda epoch: datetime.fromtimestamp(epoch, UTC))
    return [HourRow(pk, at(epoch), *columns) for pk, epoch, *columns in rows]


def write_minutes(objectives: Sequence[Objective], spans: Sequence[Span], counted: Mapping[int, Counts]) -> int:
    """Put what was counted into the minutes of these spans of these objectives, all of them, and fold what changed.

    spans    of whole minutes, apart.
    counted  {objective id: {minute: (good, late, lost)}}: a minute that is not in it is empty.   Returns how many hours changed.
    The caller holds the counters: see `one_writer`.
    """
    hours = minutes_by_hour(spans)
    ids = [one.pk for one in objectives]
    known = {(row.objective_id, row.hour): row for row in read_hours(ids, min(hours), max(hours) + HOUR)}
    changed: list[HourRow] = []
    hour_with = cache(lambda minute: minute.replace(minute=0))
    for one in objectives:
        by_hour: dict[datetime, list[tuple[int, tuple[int, int, int]]]] = {}
        for minute, counts in counted.get(one.pk, {}).items():
            by_hour.setdefault(hour_with(minute), []).append((minute.minute, counts))
        for hour, parts in hours.items():
            row = known.get((one.pk, hour))
            if row is not None or hour in by_hour:
                patched = _patched(row, one.pk, hour, parts, by_hour.get(hour, ()))
                if patched != row:
                    changed.append(patched)
    if changed:
        with connection.cursor() as cursor:
            cursor.execute(WRITE, [_json([row._asdict() for row in changed])])
        fold_hours(objectives, changed)
    return len(changed)


def minutes_by_hour(spans: Iterable[Span]) -> dict[datetime, list[range]]:
    """Return {hour: its minutes that lie in these spans}, of whole minutes."""
    found: dict[datetime, list[range]] = {}
    for span in spans:
        hour = hour_of(span.since)
        while hour < span.until:
            part = range(max(0, (span.since - hour) // MINUTE), min(60, (span.until - hour) // MINUTE))
            found.setdefault(hour, []).append(part)
            hour += HOUR
    return found


def _patched(
    row: HourRow | None,
    objective_id: int,
    hour: datetime,
    parts: Sequence[range],
    counts: Iterable[tuple[int, tuple[int, int, int]]],
) -> HourRow:
    columns = [list(column) for column in (row.good, row.late, row.lost)] if row else [list(EMPTY) for _ in range(3)]
    for part in parts:
        for column in columns:
            column[part.start : part.stop] = EMPTY[part.start : part.stop]
    for minute, found in counts:
        if any(minute in part for part in parts):
            for column, count in zip(columns, found, strict=True):
                column[minute] = count
    return HourRow(objective_id, hour, *columns)


def fold_hours(objectives: Sequence[Objective], rows: Sequence[HourRow]) -> None:
    """Write the sums of these hours and of their days. The caller holds the counters."""
    by_id = {one.pk: one for one in objectives}
    whole = Span(since=min(row.hour for row in rows), until=max(row.hour for row in rows) + HOUR)
    out = excluded_spans(objectives, whole)
    sums: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda one: (one.objective_id, one.hour)):
        method, minutes = method_of(by_id[row.objective_id]), Minutes(good=row.good, late=row.late, lost=row.lost)
        raw = fold(minutes, method)
        spans = out.get(row.objective_id)
        marked = flags(spans, row.hour) if spans else None
        kept = fold(minutes, method, excluded=marked) if marked else raw
        told = dict(zip(COLUMNS, _columns(raw) + _columns(kept), strict=True))
        sums.append({"objective_id": row.objective_id, "at": row.hour} | told)
    days = sorted({(row.objective_id, row.hour.astimezone(UTC).replace(hour=0)) for row in rows})
    with connection.cursor() as cursor:
        cursor.execute(WRITE_SUMS, [_json(sums)])
        cursor.execute(WRITE_DAYS, [[pk for pk, _ in days], [day for _, day in days]])


def _json(rows: Sequence[dict[str, Any]]) -> str:
    return msgspec.json.encode(rows).decode()


def _columns(sums: Sums) -> tuple[float, ...]:
    return (sums.good, sums.late, sums.lost, sums.slices, sums.slices_good)


def exclusions_of(objectives: Collection[Objective]) -> dict[int, list[Exclusion]]:
    """Return the exclusions in force of these objectives, their own and their flow's; one query."""
    ids, flows = [one.pk for one in objectives], {one.flow_id for one in objectives if one.flow_id}
    theirs = Exclusion.objects.filter(Q(objective__in=ids) | Q(flow__in=flows), withdrawn_at=None)
    rows = list(theirs.order_by("created_at", "pk"))
    found: dict[int, list[Exclusion]] = {}
    for one in objectives if rows else ():
        mine = [row for row in rows if row.objective_id == one.pk or (row.flow_id and row.flow_id == one.flow_id)]
        if mine:
            found[one.pk] = mine
    return found


def excluded_spans(objectives: Collection[Objective], within: Span) -> dict[int, list[Span]]:
    """Return the time that does not count, merged, of those of these objectives that have some; of a volume each period of which a part does not."""
    rows = exclusions_of(objectives)
    about = Span(since=within.since - LONGEST_PERIOD, until=within.until + LONGEST_PERIOD)
    found = {}
    for one in objectives:
        if one.pk in rows and (spans := whole_periods(one, excluded_time(excluded_of(rows[one.pk]), about))):
            found[one.pk] = clipped(spans, within)
    return {pk: spans for pk, spans in found.items() if spans}


def fold_again(objectives: Sequence[Objective], within: Span | None = None) -> None:
    """Fold the hours of these objectives anew after an exclusion or the method of counting has changed; waits for the counters.

    An hour whose minutes are gone counts whole or not at all; one that is excluded in part stays as it was folded.
    """
    since = hour_of(within.since) if within else datetime(2000, 1, 1, tzinfo=UTC)
    until = within.until if within else datetime(9000, 1, 1, tzinfo=UTC)
    with one_writer():
        for one in objectives:
            # a period counts in its last minute
            ends = until + LONGEST_PERIOD if one.kind == Objective.Kind.VOLUME else until
            if rows := read_hours([one.pk], since, ends):
                fold_hours([one], rows)
            _keep_again(one, Span(since=since, until=ends))


def _keep_again(one: Objective, within: Span) -> None:
    with connection.cursor() as cursor:
        cursor.execute(BARE_HOURS, [one.pk, within.since, within.until])
        hours: list[datetime] = [hour for (hour,) in cursor.fetchall()]
        if not hours:
            return
        spans = excluded_spans([one], Span(since=hours[0], until=hours[-1] + HOUR)).get(one.pk, [])
        out = {hour: sum(map(len, minutes)) for hour, minutes in minutes_by_hour(spans).items()}
        cursor.execute(KEEP_ALL, [one.pk, [hour for hour in hours if hour not in out]])
        cursor.execute(KEEP_NONE, [one.pk, [hour for hour in hours if out.get(hour) == 60]])
        days = sorted({hour.astimezone(UTC).replace(hour=0) for hour in hours})
        cursor.execute(WRITE_DAYS, [[one.pk] * len(days), days])


def forget_counted(one: Objective) -> None:
    """Delete everything that was counted of an objective that promises something else now. The caller holds the counters.

    What its new history does not reach would else stand there as if it were of the new promise.
    """
    for rows in (ObjectiveMinutes, ObjectiveSum, FoundMinutes):
        rows.objects.filter(objective=one).delete()


def forget_old(now: datetime) -> None:
    """Delete minutes and hours that nothing reads any more; days stay as long as their objective."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM alerts_objectiveminutes WHERE objective_id IN (SELECT id FROM alerts_objective) AND hour < %s",
            [now - MINUTES_KEPT],
        )
        cursor.execute("DELETE FROM alerts_foundminutes WHERE hour < %s", [now - MINUTES_KEPT])
        # whole days: one of which hours are gone would be summed up without them
        day = hour_of(now - HOURS_KEPT).replace(hour=0)
        cursor.execute("DELETE FROM alerts_objectivesum WHERE span = 1 AND at < %s", [day])


def hour_of(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def minute_of(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(second=0, microsecond=0)
