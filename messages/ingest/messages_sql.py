"""The message table's set-based upsert, shared by events and dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
from django.db import connection
from psycopg.types.json import Jsonb

from console.core.ids import uuid_of
from messages.ingest.arrays import array_of, arrays_of
from messages.ingest.model import NewEvent
from messages.ingest.status import DEAD, Tally, add_to_tally, of_each_message, settled

LOCK = 7_219_002  # advisory: shared by writers of today's messages, exclusive for any other day
NEAR_MIDNIGHT = timedelta(minutes=5)
LOOK_BACK = timedelta(days=3)
NO_OTHERS: frozenset[int] = frozenset()


def _dumps(value: object) -> bytes:
    return msgspec.json.encode(value)


def json(value: object) -> Jsonb:
    """Return a value that COPY and parameters write as jsonb, encoded by msgspec."""
    return Jsonb(value, dumps=_dumps)  # type: ignore[arg-type]


@contextmanager
def one_round_trip() -> Iterator[None]:
    """Send the statements of this block together; their errors come at its end, or when one of them returns rows."""
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield


def run_set_based(statement: str, rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Run a statement over unnest(%b::…[]) of these rows' columns; return what it is RETURNING.

    On a server-side cursor of psycopg's own with binary arrays: Django's binds in the client, as text, at three times the cost.
    """
    cursor = run(statement, arrays_of(statement, rows))
    with connection.wrap_database_errors:
        return cursor.fetchall() if "RETURNING" in statement else []


def run(statement: str, parameters: Sequence[object]) -> psycopg.Cursor[tuple[Any, ...]]:
    """Run a statement bound and prepared by the server, and return the cursor to fetch from."""
    connection.ensure_connection()
    with connection.wrap_database_errors:
        return psycopg.Cursor(connection.connection).execute(statement, parameters)


COLUMNS = """first_seen_on, id, environment_id, flow_id, message_id, correlation_id, trace_id, first_seen_at, last_seen_at, status,
    decided_at, failed_at, event_count, keys, error_type, error_message, started_at"""
# The first failure that a message's own flow tells, when others told of theirs before.
OWN_FAILURE = """m.told_by IS NOT NULL AND m.flow_id = excluded.flow_id AND excluded.told_by IS NULL
        AND (excluded.error_type IS NOT NULL OR excluded.error_message IS NOT NULL)
        AND NOT messaging_failed_before(m.id, m.flow_id, least(m.started_at, m.first_seen_at), excluded.failed_at)"""
# [when it failed, where that stands, and when it was passed last]: asked only where some say that it was delivered and some that it failed.
FARES = """CASE WHEN (m.status, excluded.status) IN ((1, 2), (2, 1))
             THEN messaging_fares(m.id, least(m.started_at, m.first_seen_at, excluded.started_at), NULL, ARRAY[m.decided_at, excluded.decided_at]) END"""
# What another flow tells is noted to be that flow's, so that whoever may not see it is not shown it; of two values of a key its own counts.
UPSERT = f"""
INSERT INTO messaging_message AS m ({COLUMNS}, told_by, also_in)
SELECT {COLUMNS}, told_by::bigint[], also_in::bigint[]
FROM unnest(%b::date[], %b::uuid[], %b::int8[], %b::int8[], %b::text[], %b::text[], %b::uuid[], %b::timestamptz[],
            %b::timestamptz[], %b::int2[], %b::timestamptz[], %b::timestamptz[], %b::int4[], %b::jsonb[], %b::text[], %b::text[],
            %b::timestamptz[], %b::text[], %b::text[]) AS v ({COLUMNS}, told_by, also_in)
ON CONFLICT (id, first_seen_on) DO UPDATE SET
    last_seen_at = greatest(m.last_seen_at, excluded.last_seen_at),
    (status, decided_at) = (
        SELECT CASE WHEN m.status = 3 OR excluded.status = 3 THEN 3
                    WHEN fares[1] IS NOT NULL THEN 2
                    WHEN fares[2] IS NOT NULL THEN 1
                    WHEN excluded.decided_at IS NULL OR excluded.decided_at < m.decided_at THEN m.status
                    ELSE excluded.status END,
               coalesce(fares[1], greatest(m.decided_at, excluded.decided_at, fares[2]))
        FROM (SELECT {FARES}) AS asked (fares)),
    failed_at = least(m.failed_at, excluded.failed_at),
    event_count = m.event_count + excluded.event_count,
    keys = CASE WHEN m.flow_id = excluded.flow_id AND excluded.told_by IS NULL THEN m.keys || excluded.keys ELSE excluded.keys || m.keys END,
    trace_id = coalesce(m.trace_id, excluded.trace_id),
    correlation_id = coalesce(m.correlation_id, excluded.correlation_id),
    error_type = CASE WHEN {OWN_FAILURE} THEN excluded.error_type ELSE coalesce(m.error_type, excluded.error_type) END,
    error_message = CASE WHEN {OWN_FAILURE} THEN excluded.error_message ELSE coalesce(m.error_message, excluded.error_message) END,
    -- least() passes over null; first_seen_at is indexed and stays, so that the update stays HOT
    started_at = least(m.started_at, m.first_seen_at, excluded.started_at),
    told_by = CASE WHEN m.flow_id = excluded.flow_id AND excluded.told_by IS NULL THEN m.told_by ELSE (
        SELECT array_agg(DISTINCT flow) FROM unnest(m.told_by || excluded.told_by || CASE
            WHEN excluded.keys <> '{{}}' OR excluded.error_type IS NOT NULL OR excluded.error_message IS NOT NULL
            THEN excluded.flow_id END) AS flow WHERE flow <> m.flow_id) END,
    also_in = CASE WHEN m.flow_id = excluded.flow_id AND excluded.also_in IS NULL THEN m.also_in
                   WHEN (excluded.also_in || excluded.flow_id) <@ (m.also_in || m.flow_id) THEN m.also_in ELSE (
        SELECT array_agg(DISTINCT flow) FROM unnest(m.also_in || excluded.also_in || excluded.flow_id) AS flow WHERE flow <> m.flow_id) END
"""  # noqa: S608  constants of ours
ERROR_TYPE, ERROR_MESSAGE = 14, 15  # places in a row


def rows_of(
    environment_id: int, events: Iterable[tuple[NewEvent, int, int]], now: datetime
) -> list[tuple[object, ...]]:
    """Return what UPSERT takes to fold these (event, flow id, system id) into their messages' rows, each placed in its partition."""
    tallies: dict[bytes, _Told] = {}
    for event, flow_id, system_id in events:
        for one in (event,) if not event.batch else of_each_message(event):
            if one.message_uid is not None:
                tallies[one.message_uid] = _add(tallies.get(one.message_uid), one, flow_id, system_id)
    if not tallies:
        return []
    by_uid = {uuid_of(uid): tallies[uid] for uid in sorted(tallies)}
    days = place({uid: told.tally.first_at for uid, told in by_uid.items()}, now)
    return [_row(environment_id, uid, days[uid], told) for uid, told in by_uid.items()]


class _Told(NamedTuple):
    """What one batch tells of a message: `flow` is that of the first event in it, `also` those of the others, `others` of which say something."""

    tally: Tally
    flow: int
    others: frozenset[int] = NO_OTHERS
    also: frozenset[int] = NO_OTHERS


def _add(told: _Told | None, event: NewEvent, flow_id: int, system_id: int) -> _Told:
    if told is None:
        return _Told(add_to_tally(None, event, system_id), flow_id)
    if told.flow != flow_id and flow_id not in told.also:
        told = told._replace(also=told.also | {flow_id})
    if told.flow == flow_id or not (event.keys or event.error_type or event.error_message):
        add_to_tally(told.tally, event, system_id)
        return told
    own = dict(told.tally.keys)
    add_to_tally(told.tally, event, system_id).keys.update(own)
    return told._replace(others=told.others | {flow_id})


def _row(environment_id: int, uid: UUID, day: date, told: _Told) -> tuple[object, ...]:
    tally = told.tally
    status, decided_at = settled(tally)
    return (
        day,
        uid,
        environment_id,
        told.flow,
        tally.first.message_id or str(uid),
        tally.correlation_id,
        tally.trace_id or None,
        tally.first_at,
        tally.last_at,
        status,
        decided_at,
        tally.failed_at,
        tally.count,
        json(tally.keys),
        tally.error_type,
        tally.error_message,
        tally.first_at,
        _array(told.others),
        _array(told.also),
    )


def _array(flows: frozenset[int]) -> str | None:
    return f"{{{','.join(map(str, sorted(flows)))}}}" if flows else None


def place(first_seen: Mapping[UUID, datetime], now: datetime) -> dict[UUID, date]:
    """Return the partition day of each message: that of its row when it has one, else the day it is first seen.

    A unique key cannot span partitions, so two writers on either side of midnight could each make a row. Writers of
    messages of today share a lock; a batch with another day, or near midnight, takes it alone and looks afterwards.
    """
    days = {uid: at.date() for uid, at in first_seen.items()}
    today = now.date()
    midnight = datetime(now.year, now.month, now.day, tzinfo=UTC)
    calm = NEAR_MIDNIGHT < now - midnight < timedelta(days=1) - NEAR_MIDNIGHT and set(days.values()) == {today}
    # Of messages of today alone the upsert itself meets today's rows, and no later day has any.
    latest = today - timedelta(days=1) if calm else max(days.values()) + LOOK_BACK
    with one_round_trip():  # the second statement has its own snapshot, taken after the lock was given
        run(f"SELECT pg_advisory_xact_lock{'_shared' if calm else ''}(%s)", [LOCK])
        known = run(
            "SELECT id, first_seen_on FROM messaging_message WHERE id = ANY(%b) AND first_seen_on BETWEEN %b AND %b",
            [array_of("uuid", list(days)), min(days.values()) - LOOK_BACK, latest],
        )
        found: Sequence[tuple[UUID, date]] = known.fetchall()
    return days | dict(found)


def mark_dead(
    environment_id: int, deaths: Mapping[UUID, tuple[object, ...]], first_seen: Mapping[UUID, datetime], now: datetime
) -> list[tuple[object, ...]]:
    """Set these messages dead, making the rows that no event made yet; return what was written, as UPSERT takes it.

    deaths  {message uid: (flow id, message id, correlation id, trace id, failed at, keys, error type, error message)}
    """
    if not deaths:
        return []
    days = place(first_seen, now)
    rows: list[tuple[object, ...]] = []
    for uid in sorted(deaths):
        flow_id, message_id, correlation_id, trace_id, failed_at, keys, error_type, error_message = deaths[uid]
        rows.append(
            (
                days[uid],
                uid,
                environment_id,
                flow_id,
                message_id,
                correlation_id,
                trace_id,
                first_seen[uid],
                failed_at,
                DEAD,
                failed_at,
                failed_at,
                0,
                json(keys),
                error_type,
                error_message,
                None,
                None,
                None,
            )
        )
    run_set_based(UPSERT, rows)
    return rows


STATUS = """
UPDATE messaging_message m SET (status, decided_at) = (
    SELECT CASE WHEN EXISTS (SELECT FROM messaging_deadletter d WHERE d.message_uid = m.id AND d.state <> 'closed') THEN 3
                WHEN fares[1] IS NOT NULL THEN 2
                WHEN fares[2] IS NOT NULL THEN 1
                ELSE %(status)s END,
           coalesce(fares[1], fares[2], now())
    FROM (SELECT CASE WHEN %(status)s IN (1, 2) THEN
              messaging_fares(m.id, least(m.started_at, m.first_seen_at), CASE WHEN %(status)s = 1 THEN now() END, NULL) END) AS asked (fares))
WHERE id = %(uid)s"""


def set_status(uid: UUID, status: int) -> None:
    """Set a message's status because of what a person or a proof decided about its dead letter.

    Dead it is while another letter waits. Else what events and letters say together: no proof speaks for another receiver that failed, and what
    was processed after it died, under the eyes of nobody here, did not fail.
    """
    with connection.cursor() as cursor:
        cursor.execute(STATUS, {"uid": uid, "status": status})
