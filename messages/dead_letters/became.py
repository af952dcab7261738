"""What became of the dead letters of a time, cause by cause: what a report says. Reads only, each query by an index.

Nobody's rights are asked here: the caller names flows that its actor may see.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.urls import reverse

from console.core.ids import uuid7_floor
from messages.groups.classes import CLASSES
from messages.models import FailureGroup

MOST_LETTERS = 500_000  # of one time: more are a sample, the caller is told
SLACK = timedelta(hours=1)  # between the id of a letter, which its harvester's clock makes, and when it was received
LATE = timedelta(days=7)  # after a time: letters that came later than that are not asked for
MOST_FAILED = 200


@dataclass(frozen=True, slots=True)
class Became:
    """Letters of one flow and cause that were received in a time. group_id: that speaks for them, None where none was made.

    The six counts are all of them.   after_s  mean time from the failure to the proof that a replay delivered it.
    """

    flow_id: int
    group_id: int | None
    processed: int
    compensated: int
    discarded: int
    failed_again: int
    gone: int
    waiting: int
    after_s: float | None

    @property
    def count(self) -> int:
        return self.processed + self.compensated + self.discarded + self.failed_again + self.gone + self.waiting


BECAME = """
SELECT d.flow_id, coalesce(g.merged_into_id, g.id), count(*) FILTER (WHERE d.resolution = 'processed'),
       count(*) FILTER (WHERE d.resolution = 'compensated'), count(*) FILTER (WHERE d.resolution = 'discarded'),
       count(*) FILTER (WHERE d.resolution = 'failed_again'), count(*) FILTER (WHERE d.resolution = 'gone'),
       count(*) FILTER (WHERE d.resolution IS NULL),
       avg(extract(epoch FROM greatest(d.closed_at - coalesce(d.first_failed_at, d.failed_at), interval '0')))
           FILTER (WHERE d.resolution = 'processed')::float8
FROM (
    SELECT flow_id, group_id, resolution, closed_at, first_failed_at, failed_at FROM messaging_deadletter
    WHERE environment_id = %s AND flow_id = ANY(%s) AND id >= %s AND id < %s AND received_at >= %s AND received_at < %s LIMIT %s
) d LEFT JOIN messaging_failuregroup g ON g.id = d.group_id
GROUP BY 1, 2 ORDER BY 1, 2
"""


def letters_became(
    environment_id: int, flow_ids: Collection[int], since: datetime, until: datetime, *, most: int = MOST_LETTERS
) -> tuple[list[Became], bool]:
    """Return what became of the letters received in since <= time < until, and whether there were more than are looked at."""
    if not flow_ids:
        return [], False
    first, last = uuid7_floor(since - SLACK), uuid7_floor(until + SLACK)
    with connection.cursor() as cursor:
        cursor.execute(BECAME, [environment_id, sorted(flow_ids), first, last, since, until, most])
        found = [Became(*row) for row in cursor.fetchall()]
    return found, sum(one.count for one in found) >= most


@dataclass(frozen=True, slots=True)
class Wait:
    """Letters of a flow that wait now, of those received until a time. older: of them, received before another."""

    flow_id: int
    count: int
    older: int
    oldest_at: datetime


WAITING = """
SELECT flow_id, count(*), count(*) FILTER (WHERE received_at < %s), min(failed_at) FROM messaging_deadletter
WHERE environment_id = %s AND closed_at IS NULL AND flow_id = ANY(%s) AND received_at < %s GROUP BY 1 ORDER BY 1
"""


def letters_that_wait(environment_id: int, flow_ids: Collection[int], since: datetime, until: datetime) -> list[Wait]:
    """Return the letters of these flows received before `until` that wait now, older those before `since`; the index of what waits is read."""
    if not flow_ids:
        return []
    with connection.cursor() as cursor:
        cursor.execute(WAITING, [since, environment_id, sorted(flow_ids), until])
        return [Wait(*row) for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class Failed:
    """Failures of a flow and cause of which no dead letter came in the same time. later: of the count, whose letter came after it."""

    flow_id: int
    group_id: int
    count: int
    later: int = 0


FAILED = """
WITH failed AS (
    SELECT g.flow_id, coalesce(g.merged_into_id, g.id) AS group_id, sum(h.messages)::int8 AS messages
    FROM messaging_grouphour h JOIN messaging_failuregroup g ON g.id = h.group_id
    WHERE h.hour >= %s AND h.hour < %s AND g.flow_id = ANY(%s) GROUP BY 1, 2
), later AS (
    SELECT g.flow_id, coalesce(g.merged_into_id, g.id) AS group_id, count(*) AS letters FROM (
        SELECT group_id FROM messaging_deadletter
        WHERE environment_id = %s AND flow_id = ANY(%s) AND id >= %s AND id < %s AND received_at >= %s
          AND coalesce(first_failed_at, failed_at) >= %s AND coalesce(first_failed_at, failed_at) < %s LIMIT %s
    ) d JOIN messaging_failuregroup g ON g.id = d.group_id GROUP BY 1, 2
)
SELECT flow_id, group_id, greatest(coalesce(messages, 0), 0) + coalesce(later.letters, 0), coalesce(later.letters, 0)
FROM failed FULL JOIN later USING (flow_id, group_id)
WHERE messages > 0 OR later.letters > 0 ORDER BY 3 DESC, 2 LIMIT %s
"""


def failed_without_letter(
    environment_id: int, flow_ids: Collection[int], since: datetime, until: datetime, *, most: int = MOST_FAILED
) -> list[Failed]:
    """Return the causes of which no letter came for what failed in since <= hour < until, those that failed most first.

    A cause with letters that came in that time may be among them: the caller knows those.
    """
    if not flow_ids:
        return []
    flows = sorted(flow_ids)
    ids = uuid7_floor(until - SLACK), uuid7_floor(until + LATE)
    later: list[Any] = [environment_id, flows, *ids, until, since, until, MOST_LETTERS]
    with connection.cursor() as cursor:
        cursor.execute(FAILED, [since, until, flows, *later, most])
        return [Failed(*row) for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A cause as people say it: what its failures say, without the exception's name. It may hold anything that a program wrote."""

    title: str
    path: str


def causes_told(group_ids: Collection[int]) -> dict[int, Told]:
    """Return {group: how it is told}."""
    rows = FailureGroup.objects.filter(pk__in=list(group_ids)).select_related(None).order_by()
    return {row.pk: _told(row) for row in rows}


def _told(row: FailureGroup) -> Told:
    said = row.name or row.title or row.message or CLASSES[row.failure_class].words
    return Told(title=said[:1000], path=reverse("group", args=[row.reference]))
