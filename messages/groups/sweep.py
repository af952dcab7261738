"""What failed and has no group yet is given one: messages without a dead letter, and what was stored before there were groups.

The queue is the table: partial indexes hold exactly what has no group, so that there is no cursor to lose, a run that dies leaves
nothing undone that the next one does not find, and the first runs after an upgrade are the back-fill.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from console.core.ids import uuid7_floor
from messages.connectors.roots import root_type
from messages.groups.again import A_DAY_OFF, tell_newest_again
from messages.groups.assign import Home, Seen, count_in_hours, find_homes, names_of_flows, rules_of, tell_failed
from messages.groups.fingerprint import Failure
from messages.groups.many import FAILED_OF_MANY
from messages.groups.nameless import counted_twice
from messages.ingest.messages_sql import run
from messages.ingest.status import FAILED
from messages.models import DeadLetter, FailureGroup, Message
from messages.told import words_for_all

LOCK = 7_219_021
CHUNK = 500
MOST_CHUNKS = 20  # in one run: the next one goes on
PATIENCE = timedelta(seconds=60)  # an exception that was logged apart from its span may still come
ELSEWHERE = "it failed in a flow of another team"  # what a group says of what only that told


def sweep_groups(*, most_chunks: int = MOST_CHUNKS) -> int:
    """Give a group to what has none, in chunks of 500 and a transaction each; return how many were given one. May run twice at once."""
    given = sum(_until_done(one, most_chunks) for one in (_letters, _messages))
    tell_newest_again(datetime.now(UTC))
    return given


def _until_done(chunk: Callable[[datetime], int], most: int) -> int:
    done = 0
    for _ in range(most):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
            given = chunk(datetime.now(UTC)) if cursor.fetchone()[0] else 0
        done += given
        if given < CHUNK:
            break
    return done


# letters that were stored before there were groups ---------------------------------------------------------------------

GIVE_LETTERS = """
WITH mine AS (
    SELECT d.id, v.group_id FROM unnest(%b::uuid[], %b::int8[]) AS v (id, group_id) JOIN messaging_deadletter d ON d.id = v.id
    WHERE d.group_id IS NULL ORDER BY d.identity FOR NO KEY UPDATE OF d
)
UPDATE messaging_deadletter d SET group_id = mine.group_id FROM mine WHERE d.id = mine.id RETURNING d.id
"""


def _letters(now: datetime) -> int:
    rows = list(DeadLetter.objects.filter(group=None).select_related("flow", "system").order_by("id")[:CHUNK])
    homes = home_rows(rows, now)
    given = _give(GIVE_LETTERS, {pk: home.group_id for pk, home in homes.items()})
    nameless = [row for row in rows if row.pk in given and row.message_uid is None]
    failures = ((row.flow_id, row.keys, row.failed_at) for row in nameless)
    no_more, again = counted_twice(failures, {row.pk for row in nameless}, are_letters=True)
    letters = ((homes[row.pk].group_id, row.failed_at) for row in rows if row.pk in given)
    count_in_hours(letters=letters, messages=again, told=no_more)
    return len(rows)


def home_rows(rows: Sequence[DeadLetter], now: datetime) -> dict[UUID, Home]:
    """Return {letter id: the group where rules and fingerprint place it}, of letters that are stored; flow and system are read with them."""
    by_environment: dict[int, list[DeadLetter]] = defaultdict(list)
    for row in rows:
        by_environment[row.environment_id].append(row)
    found: dict[UUID, Home] = {}
    for environment_id, letters in by_environment.items():
        seen = [Seen(failure=failure_of_row(one), at=one.failed_at, waits=one.state != "closed") for one in letters]
        homes = find_homes(environment_id, seen, rules_of(environment_id), now, column="letters")
        found |= {one.pk: home for one, home in zip(letters, homes, strict=True)}
    return found


def failure_of_row(row: DeadLetter) -> Failure:
    return Failure(
        flow_id=row.flow_id,
        flow=row.flow.name,
        step=row.system.name if row.system else "",
        error_type=row.error_root_type,
        message=row.error_message or row.reason,
        destination=row.origin or row.queue,
        reason=row.reason_code,
        queue=row.queue,
        broker=row.broker,
        keys=row.keys,
    )


def _give(statement: str, groups: Mapping[UUID, int], *more: Sequence[Any]) -> set[UUID]:
    if not groups:
        return set()
    rows = run(statement, [list(groups), list(groups.values()), *more]).fetchall()
    return {row[0] for row in rows}


# failed messages -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A failed message without a group."""

    id: UUID
    day: date
    environment_id: int
    flow_id: int
    error_type: str
    error_message: str
    failed_at: datetime
    first_seen_at: datetime
    status: int
    keys: dict[str, str]
    is_mixed: bool  # other flows told of it too
    trace_id: UUID | None


UNGROUPED = """
SELECT id, first_seen_on, environment_id, flow_id, coalesce(error_type, ''), coalesce(error_message, ''), failed_at, first_seen_at, status, keys,
       told_by IS NOT NULL, trace_id
FROM messaging_message WHERE failed_at IS NOT NULL AND group_id IS NULL ORDER BY first_seen_at LIMIT %s
"""
OF_LETTERS = """
SELECT DISTINCT ON (d.message_uid) d.message_uid, g.id, coalesce(g.merged_into_id, g.id)
FROM messaging_deadletter d JOIN messaging_failuregroup g ON g.id = d.group_id WHERE d.message_uid = ANY(%b)
ORDER BY d.message_uid, d.id DESC
"""
SAID = """s.name, coalesce(e.destination, ''), coalesce(e.error_type, ''),
       coalesce(e.error_message, ''), left(coalesce(e.error_stack, ''), 20000), e.received_at"""
OF_THEIR_TEAM = """NOT EXISTS (
    SELECT 1 FROM unnest(%b::uuid[], %b::int8[]) AS own (id, flow) JOIN messaging_flow f ON f.id = own.flow JOIN messaging_flow o ON o.id = e.flow_id
    WHERE own.id = {message} AND o.id <> f.id AND o.team_id IS NOT NULL AND o.team_id IS DISTINCT FROM f.team_id)"""
EVENTS = f"""
SELECT DISTINCT ON (e.message_uid) e.message_uid, {SAID}
FROM messaging_event e JOIN messaging_system s ON s.id = e.system_id
WHERE e.message_uid = ANY(%b) AND e.outcome = 2 AND e.occurred_at BETWEEN %b AND %b
  AND {OF_THEIR_TEAM.format(message="e.message_uid")}
ORDER BY e.message_uid, e.occurred_at, e.id
"""  # noqa: S608  constants of ours
OF_MANY = f"""
SELECT DISTINCT ON (m.id) m.id, {SAID}
FROM unnest(%b::uuid[], %b::int8[], %b::timestamptz[], %b::uuid[]) AS m (id, environment_id, failed_at, trace_id)
CROSS JOIN LATERAL {FAILED_OF_MANY} e JOIN messaging_system s ON s.id = e.system_id
WHERE {OF_THEIR_TEAM.format(message="m.id")}
ORDER BY m.id, e.id
"""  # noqa: S608  constants of ours
GIVE_MESSAGES = """
WITH mine AS (
    SELECT m.id, m.first_seen_on, v.group_id FROM unnest(%b::uuid[], %b::int8[], %b::date[]) AS v (id, group_id, day)
    JOIN messaging_message m ON m.id = v.id AND m.first_seen_on = v.day
    WHERE m.group_id IS NULL ORDER BY m.id FOR NO KEY UPDATE OF m
)
UPDATE messaging_message m SET group_id = mine.group_id FROM mine
WHERE m.id = mine.id AND m.first_seen_on = mine.first_seen_on RETURNING m.id
"""


def _messages(now: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(UNGROUPED, [CHUNK])
        rows = [_row(row) for row in cursor.fetchall()]
    if not rows:
        return 0
    homes = {uid: Home(group, whole) for uid, group, whole in run(OF_LETTERS, [[row.id for row in rows]]).fetchall()}
    lone = [row for row in rows if row.id not in homes]
    found = _failures(lone, now)
    for environment_id in sorted({row.environment_id for row in lone}):
        here = [row for row in lone if row.environment_id == environment_id and row.id in found]
        seen = [Seen(failure=found[row.id], at=row.failed_at, waits=row.status == FAILED) for row in here]
        of_rows = find_homes(environment_id, seen, rules_of(environment_id), now, column="failed")
        homes |= {row.id: home for row, home in zip(here, of_rows, strict=True)}
    going = [row for row in rows if row.id in homes]
    given = _give(GIVE_MESSAGES, {row.id: homes[row.id].group_id for row in going}, [row.day for row in going])
    alone = {row.id for row in lone}
    _tell([row for row in going if row.id in given and row.id in alone], homes, now)
    return len(going)


def _tell(rows: Sequence[Row], homes: Mapping[UUID, Home], now: datetime) -> None:
    """Count messages that were given a group, and say so to groups that had been resolved before they failed."""
    failures = ((row.flow_id, row.keys, row.failed_at) for row in rows)
    no_more, again = counted_twice(failures, {row.id for row in rows}, are_letters=False)
    latest: dict[int, datetime] = {}
    first: dict[int, datetime] = {}
    for row in rows:
        group = homes[row.id].speaks_for
        latest[group] = max(row.failed_at, latest.get(group, row.failed_at))
        first[group] = min(row.failed_at, first.get(group, row.failed_at))
    tell_failed(latest.items(), now)
    for pk, at in sorted(latest.items()):
        FailureGroup.objects.filter(pk=pk, last_seen_at__lt=at).update(last_seen_at=at)
        FailureGroup.objects.filter(pk=pk, first_seen_at__gt=first[pk]).update(first_seen_at=first[pk])
    failed = [(homes[row.id].group_id, row.failed_at) for row in rows]
    count_in_hours(messages=[*failed, *again], told=no_more)


def _failures(rows: Sequence[Row], now: datetime) -> dict[UUID, Failure]:
    """Return what is known of each message's first failure; without those of which an event of a moment ago may soon say more."""
    if not rows:
        return {}
    for_all = _words_for_all(rows)
    rows = [replace(row, **for_all[row.id]) if row.id in for_all else row for row in rows]
    own = {row.id: row.flow_id for row in rows if row.id in for_all}
    told = _first_failures(rows, own)
    names, found = names_of_flows(row.flow_id for row in rows), {}
    for row in rows:
        step, destination, kind, message, stack, received_at = told.get(row.id, ("", "", "", "", "", None))
        kind, message = kind or row.error_type, message or row.error_message
        if row.id in own and row.id not in told:
            message = message or ELSEWHERE
        if not (kind or message) and received_at is not None and received_at > now - PATIENCE:
            continue
        found[row.id] = Failure(
            flow_id=row.flow_id,
            flow=names.get(row.flow_id, ""),
            step=step,
            error_type=root_type(stack) or kind,
            message=message,
            destination=destination,
            keys=row.keys,
        )
    return found


def _first_failures(rows: Sequence[Row], own: Mapping[UUID, int]) -> dict[UUID, tuple[Any, ...]]:
    """Return {message: (system, destination, class, message, stack, when it came) of its first failure}. own: {message that others told of: its flow}."""
    since, until = min(row.first_seen_at for row in rows) - A_DAY_OFF, max(row.failed_at for row in rows) + A_DAY_OFF
    mixed = [list(own), list(own.values())]
    told = {row[0]: row[1:] for row in run(EVENTS, [[row.id for row in rows], since, until, *mixed]).fetchall()}
    rest = [(row.id, row.environment_id, row.failed_at, row.trace_id) for row in rows if row.id not in told]
    if rest:
        columns = [list(column) for column in zip(*rest, strict=True)]
        told |= {row[0]: row[1:] for row in run(OF_MANY, [*columns, *mixed]).fetchall()}
    return told


def _words_for_all(rows: Sequence[Row]) -> dict[UUID, dict[str, Any]]:
    """Return what a group of its flow may say of these, of those of which other teams' flows told."""
    mixed = {row.id: row.day for row in rows if row.is_mixed}
    messages = Message.objects.filter(id__in=list(mixed), first_seen_on__in=set(mixed.values())) if mixed else []
    return {
        pk: {"keys": words.keys, "error_type": words.error_type or "", "error_message": words.error_message or ""}
        for pk, words in words_for_all(list(messages)).items()
    }


def _row(row: tuple[Any, ...]) -> Row:
    keys = json.loads(row[9]) if isinstance(row[9], str) else row[9]
    return Row(row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], keys, *row[10:])


def oldest_ungrouped(now: datetime) -> tuple[int, bool]:
    """Return (letters, whether there are failed messages) that have no group yet, the first at most 10,001: the back-fill's rest."""
    letters = DeadLetter.objects.filter(group=None, pk__lt=uuid7_floor(now))[:10_001].count()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM messaging_message WHERE failed_at IS NOT NULL AND group_id IS NULL)"
        )
        return letters, bool(cursor.fetchone()[0])
