"""The door through which alerts reads: counts of minutes, of messages whose time is up, of letters that wait too long. Plain data, no rows.

Nobody's rights are asked here, for nothing of this is shown as it is: an objective is shown to who may see its flow. A saved search is
counted with the rights of the person who made the promise.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.urls import reverse

from console.core.charts import Mark
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import get_visible_flow_named
from messages.catalog.queries import flow_names
from messages.changes.present import marks_of
from messages.changes.queries import changes_between
from messages.dead_letters.became import (
    MOST_FAILED,
    Became,
    Failed,
    Told,
    Wait,
    causes_told,
    failed_without_letter,
    letters_became,
    letters_that_wait,
)
from messages.journeys.views_links import in_its_environment
from messages.models import Flow, Message, RollupHour, SavedSearch
from messages.models.stream import Operation, Outcome
from messages.retention.policies import accepted_age, letters_age, read_terms, rollups_age
from messages.retention.rules import GRACE, Terms
from messages.saved.access import get_visible_saved_search, visible_saved_searches
from messages.search.window import parse_window
from messages.searched import DAYS_OFF, Minute, Searched, check_searchable, flow_found, meaning_of, searched_minutes
from messages.touched import note_touched, note_touched_no_more, take_touched
from messages.troubles import (
    MOST_TROUBLED,
    Done,
    Troubled,
    done_to_flows,
    flows_of_agents,
    full_disks,
    names_of_flows,
    names_of_visible_flows,
    overdue_replays,
    raised_checks,
    silent_agents,
    teams_of_flows,
    troubled_compensations,
    troubled_groups,
)

REORDERED = timedelta(hours=1)  # between the event that made a message's row and an earlier one that came later
HEARTBEAT_SILENT = timedelta(minutes=10)  # of an agent that sends heartbeats, as on the map
OTHERS_SILENT = timedelta(hours=1)  # of one that only speaks when it has something
SAMPLED = 5_000  # of the newest events, for which agent brings which flow
NEWEST_LETTERS = 50
MOST_LATE = 60


class FlowMinute(NamedTuple):
    """Events of one flow, minute and latency bucket. processed: by receivers, without those that failed."""

    flow_id: int
    minute: datetime
    bucket: int
    processed: int
    failed: int


ROLLUPS = """
SELECT flow_id, extract(epoch FROM minute)::int8, bucket, coalesce(sum(count) FILTER (WHERE operation = %s AND outcome <> %s), 0)::int8,
       coalesce(sum(count) FILTER (WHERE outcome = %s), 0)::int8
FROM messaging_rollup_minute WHERE minute >= %s AND minute < %s AND flow_id = ANY(%s) GROUP BY 1, 2, 3
"""


def flow_minutes(flow_ids: Sequence[int], since: datetime, until: datetime) -> list[FlowMinute]:
    """Return what the minute rollups hold of these flows, since <= minute < until; no order. Events are never read."""
    with connection.cursor() as cursor:
        cursor.execute(ROLLUPS, [Operation.PROCESS, Outcome.ERROR, Outcome.ERROR, since, until, list(flow_ids)])
        # Few minutes and many rows: a time is made once for each minute, not once a row (measured: half of the reading).
        minutes: dict[int, datetime] = {}
        found = []
        for flow_id, epoch, bucket, processed, failed in cursor.fetchall():
            if epoch not in minutes:
                minutes[epoch] = datetime.fromtimestamp(epoch, UTC)
            found.append(FlowMinute(flow_id, minutes[epoch], bucket, processed, failed))
        return found


HOURS = """
SELECT flow_id, coalesce(sum(count) FILTER (WHERE operation = %s AND outcome <> %s), 0)::int8,
       coalesce(sum(count) FILTER (WHERE outcome = %s), 0)::int8
FROM messaging_rollup_hour WHERE hour >= %s AND hour < %s AND flow_id = ANY(%s) GROUP BY 1
"""


def flow_sums(flow_ids: Sequence[int], since: datetime, until: datetime) -> dict[int, tuple[int, int]]:
    """Return {flow: (processed, failed)} of since <= hour < until, as flow_minutes counts them."""
    with connection.cursor() as cursor:
        cursor.execute(HOURS, [Operation.PROCESS, Outcome.ERROR, Outcome.ERROR, since, until, list(flow_ids)])
        return {flow_id: (processed, failed) for flow_id, processed, failed in cursor.fetchall()}


def hours_with_events(flow_ids: Sequence[int], since: datetime, until: datetime) -> int:
    """Return in how many hours of since <= hour < until something happened in any of these flows."""
    statement = (
        "SELECT count(DISTINCT hour) FROM messaging_rollup_hour WHERE hour >= %s AND hour < %s AND flow_id = ANY(%s)"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [since, until, list(flow_ids)])
        return int(cursor.fetchone()[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """A promise about every message of a flow: in time when processed within `limit`, late within `recover`."""

    key: int
    environment_id: int
    flow_id: int
    limit: timedelta
    recover: timedelta


# In the minute in which its time was up. One whose beginning was told more than REORDERED after the rest stays in the minute that it had: it would be
# looked for in none else. What a replay proved is late whenever it came: without a person it would have been lost.
DUE = """
SELECT key, due, count(*) FILTER (WHERE delivered AND NOT replayed AND took <= "limit"),
       count(*) FILTER (WHERE delivered AND took <= recover AND (replayed OR took > "limit")),
       count(*) FILTER (WHERE NOT delivered OR took > recover)
FROM (
    SELECT w.key, w."limit", w.recover,
           date_trunc('minute', w."limit" + CASE WHEN m.started_at >= m.first_seen_at - %s THEN m.started_at ELSE m.first_seen_at END) AS due,
           m.status = 1 AS delivered, coalesce(m.decided_at, m.last_seen_at) - coalesce(m.started_at, m.first_seen_at) AS took,
           m.status = 1 AND m.failed_at IS NOT NULL AND EXISTS (
               SELECT FROM messaging_deadletter d JOIN messaging_replay r ON r.dead_letter_id = d.id
               WHERE d.message_uid = m.id AND r.state = 'processed') AS replayed
    FROM unnest(%s::int8[], %s::int8[], %s::int8[], %s::interval[], %s::interval[]) AS w(key, environment_id, flow_id, "limit", recover)
    JOIN messaging_message m ON m.environment_id = w.environment_id AND m.flow_id = w.flow_id
    WHERE m.first_seen_at >= %s - w."limit" - %s AND m.first_seen_at < %s - w."limit" + %s
      AND m.first_seen_on >= (%s::timestamptz - %s)::date AND m.first_seen_on <= (%s::timestamptz + %s)::date
) one WHERE due >= %s AND due < %s GROUP BY key, due
"""


def fresh_minutes(promises: Sequence[Freshness], since: datetime, until: datetime) -> list[Minute]:
    """Return the messages whose time was up in since <= minute < until: good in time, late, lost. What waits still is lost."""
    if not promises:
        return []
    names = ("key", "environment_id", "flow_id", "limit", "recover")
    columns: list[Any] = [REORDERED, *([getattr(one, name) for one in promises] for name in names)]
    far = max(one.limit for one in promises)
    times: list[Any] = [since, REORDERED, until, REORDERED, since - far, DAYS_OFF, until, DAYS_OFF, since, until]
    with connection.cursor() as cursor:
        cursor.execute(DUE, [*columns, *times])
        return [Minute(*row) for row in cursor.fetchall()]


WAITED = """
SELECT w.key, lower(one), upper(one) FROM unnest(%s::int8[], %s::int8[], %s::int8[], %s::interval[]) AS w(key, environment_id, flow_id, "limit")
CROSS JOIN LATERAL (
    SELECT range_agg(tstzrange(begins, ends)) AS ranges FROM (
        SELECT greatest(d.failed_at + w."limit", d.received_at) AS begins, d.closed_at AS ends FROM messaging_deadletter d
        WHERE d.environment_id = w.environment_id AND d.flow_id = w.flow_id
          AND (d.closed_at IS NULL OR d.closed_at > %s)
    ) letter WHERE (ends IS NULL OR begins < ends) AND begins < %s
) found CROSS JOIN LATERAL unnest(found.ranges) AS one
"""


def waited_too_long(
    promises: Sequence[tuple[int, int, int, timedelta]], since: datetime, until: datetime
) -> list[tuple[int, datetime, datetime | None]]:
    """Return (key, since, until) of the times in which a dead letter of a flow was older than it may be; until is None while one is.

    promises  (key, environment id, flow id, the oldest that a letter may be while it waits).
    """
    if not promises:
        return []
    with connection.cursor() as cursor:
        columns: list[Any] = [list(column) for column in zip(*promises, strict=True)]
        cursor.execute(WAITED, [*columns, since, until])
        return list(cursor.fetchall())


AGENTS = """
SELECT DISTINCT flow_id, agent_id FROM (
    SELECT flow_id, agent_id FROM messaging_event WHERE environment_id = %s AND occurred_at > %s AND occurred_at <= %s
    ORDER BY occurred_at DESC LIMIT %s
) newest WHERE agent_id IS NOT NULL
"""


def agents_of_flows(environment_id: int, since: datetime, until: datetime) -> list[tuple[int, int]]:
    """Return (flow id, agent id) of who brought the newest 5,000 events of this time."""
    with connection.cursor() as cursor:
        cursor.execute(AGENTS, [environment_id, since, until, SAMPLED])
        return [(flow_id, agent_id) for flow_id, agent_id in cursor.fetchall()]


LATE = """
SELECT array_agg(DISTINCT agent_id), min(late), max(late) FROM (
    SELECT r.agent_id, least(-max(r.ahead_us), %s) AS late FROM messaging_clockreading r JOIN identity_agent a ON a.id = r.agent_id
    WHERE a.environment_id = %s AND a.last_seen_at > %s AND r.system_id IS NOT NULL AND r.hour > %s
    GROUP BY r.agent_id, r.system_id HAVING max(r.ahead_us) < -10000000
) one GROUP BY late / 10000000 ORDER BY 2 LIMIT %s
"""


class Late(NamedTuple):
    """How old the newest events of some of these agents' systems were when they came, alike to ten seconds."""

    agents: Collection[int]
    least: timedelta
    most: timedelta


def late_agents(environment_id: int, since: datetime) -> list[Late]:
    """Return the agents heard since then whose clock is behind or that are late, by more than ten seconds; the 60 that are least so.

    Of what many bring, the newest events before a time are of seconds.   What is older than events may be was moved to that age.
    """
    oldest_us = accepted_age(environment_id) // timedelta(microseconds=1)
    with connection.cursor() as cursor:
        cursor.execute(LATE, [oldest_us, environment_id, since, since - timedelta(hours=2), MOST_LATE])
        return [Late(agents, *(timedelta(microseconds=late) for late in span)) for agents, *span in cursor.fetchall()]


# Ordered by flow, which is one: by id alone the primary key is read back to the first letter for a flow that the statistics do not know.
BROUGHT = """
SELECT f.id, d.agent_id, max(d.received_at) FROM messaging_flow f CROSS JOIN LATERAL (
    SELECT agent_id, received_at FROM messaging_deadletter
    WHERE environment_id = f.environment_id AND flow_id BETWEEN f.id AND f.id ORDER BY flow_id, id DESC LIMIT %s
) d WHERE f.id = ANY(%s) AND d.agent_id IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
"""


def letters_brought_by(flow_ids: Collection[int]) -> list[tuple[int, int, datetime]]:
    """Return (flow id, agent id, when) of who brought the newest 50 dead letters of each of these flows."""
    with connection.cursor() as cursor:
        cursor.execute(BROUGHT, [NEWEST_LETTERS, sorted(flow_ids)])
        return list(cursor.fetchall())


class Kept(NamedTuple):
    """Since when everything is still there: messages, dead letters that waited, rollups."""

    messages: datetime
    letters: datetime
    rollups: datetime


def kept_since(environment_id: int, now: datetime) -> Kept:
    """Return since when nothing is let go yet by the policy of an environment."""
    return Kept(
        messages=now - accepted_age(environment_id),
        letters=now - letters_age(environment_id),
        rollups=now - rollups_age(environment_id),
    )


def known_since(environment_id: int, flow_id: int | None, *, since: datetime, now: datetime) -> datetime:
    """Return since when the console hears of a flow, or without one of anything in an environment; `since` when it is earlier, `now` at the latest.

    That is when it was made here, or the time of what was told of it that is older.
    """
    made = Environment.objects.filter(pk=environment_id) if flow_id is None else Flow.objects.filter(pk=flow_id)
    created = min(now, made.values_list("created_at", flat=True).get())
    if created <= since:
        return since
    if flow_id is None:
        days = {"first_seen_on__gte": (since - DAYS_OFF).date(), "first_seen_on__lte": (created + DAYS_OFF).date()}
        rows = Message.objects.filter(environment_id=environment_id, first_seen_at__gte=since, **days)
        first = rows.order_by("first_seen_at").values_list("first_seen_at", flat=True).first()
    else:
        hours = RollupHour.objects.filter(flow_id=flow_id, hour__gte=since, hour__lt=created)
        first = hours.order_by("hour").values_list("hour", flat=True).first()
    return min(created, first or created)


def counted_again_since(environment_id: int, now: datetime) -> datetime:
    """Return since when everything is still there: what is older may have been let go in part, and is not counted again."""
    return kept_since(environment_id, now).messages + timedelta(days=1)


def letters_whole_since(environment_id: int, now: datetime) -> datetime:
    """Return since when every dead letter that waited is still there: of those that were closed before, some may have been let go."""
    return kept_since(environment_id, now).letters + timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """The failure group that failed most in a flow. share: of all failures that are counted by group there."""

    title: str
    path: str
    share: float


CAUSES = """
SELECT g.id, g.error_type, g.title, sum(h.letters + h.messages), sum(sum(h.letters + h.messages)) OVER ()
FROM messaging_grouphour h JOIN messaging_failuregroup g ON g.id = h.group_id
WHERE h.hour >= %s AND g.flow_id = %s GROUP BY g.id ORDER BY 4 DESC, 1 LIMIT 1
"""


def top_cause(flow_id: int, since: datetime) -> Cause | None:
    """Return what failed most in a flow since then, None when nothing failed. The caller has checked that the flow may be seen."""
    with connection.cursor() as cursor:
        cursor.execute(CAUSES, [since, flow_id])
        row = cursor.fetchone()
    if row is None or not row[3]:
        return None
    pk, error_type, title, count, whole = row
    words = (error_type.rsplit(".", 1)[-1] or title or f"G-{pk}")[:80]
    return Cause(title=words, path=reverse("group", args=[f"G-{pk}"]), share=float(count) / float(whole))


def marks_of_flow(actor: Actor, environment: Environment, flow: Flow, since: datetime, until: datetime) -> list[Mark]:
    """Return the deployments and other changes of a flow that the actor may see, as marks of a chart."""
    found = changes_between(actor, [environment], since=since, until=until, flows=[flow.name], most=20)
    return marks_of(found, now=until)


def searches_of_messages(actor: Actor, environment: Environment, *, most: int = 200) -> list[tuple[int, str]]:
    """Return (id, name) of the saved searches of messages that an actor may see there."""
    rows = visible_saved_searches(actor).filter(environment=environment, of=SavedSearch.Of.MESSAGES)
    return list(rows.order_by("name", "pk").values_list("pk", "name")[:most])


__all__ = [
    "GRACE",
    "MOST_FAILED",
    "MOST_TROUBLED",
    "Became",
    "Cause",
    "Done",
    "Failed",
    "Flow",
    "FlowMinute",
    "Freshness",
    "Minute",
    "SavedSearch",
    "Searched",
    "Terms",
    "Told",
    "Troubled",
    "Wait",
    "agents_of_flows",
    "causes_told",
    "check_searchable",
    "counted_again_since",
    "done_to_flows",
    "failed_without_letter",
    "flow_found",
    "flow_minutes",
    "flow_names",
    "flow_sums",
    "flows_of_agents",
    "fresh_minutes",
    "full_disks",
    "get_visible_flow_named",
    "get_visible_saved_search",
    "hours_with_events",
    "in_its_environment",
    "kept_since",
    "known_since",
    "late_agents",
    "letters_became",
    "letters_brought_by",
    "letters_that_wait",
    "letters_whole_since",
    "marks_of_flow",
    "meaning_of",
    "names_of_flows",
    "names_of_visible_flows",
    "note_touched",
    "note_touched_no_more",
    "overdue_replays",
    "parse_window",
    "raised_checks",
    "read_terms",
    "searched_minutes",
    "searches_of_messages",
    "silent_agents",
    "take_touched",
    "teams_of_flows",
    "top_cause",
    "troubled_compensations",
    "troubled_groups",
    "waited_too_long",
]
