"""Rows that lie in DEFAULT because their day had no partition: the day gets one, with them in it.

PostgreSQL makes no partition for a day whose rows lie in DEFAULT. So each day's rows move in one transaction that has the table
to itself, a second for 20,000 rows; a process that dies leaves everything as it was. When DEFAULT holds one day and much of
it, nothing is moved at all: the table itself becomes that day's partition and a new, empty DEFAULT takes its place.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import structlog
from django.db import OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper

from messages.ingest.partitions import AHEAD_DAYS, LOCK, TABLES, partition_name

log = structlog.get_logger(__name__)
DAY_COLUMNS = {
    "messaging_event": "occurred_at",
    "messaging_message": "first_seen_on",
    "messaging_trace_link": "occurred_at",
    "messaging_payload": "stored_on",
    "messaging_rollup_minute": "minute",
    "messaging_rollup_hour": "hour",
    "messaging_rollup_latency": "hour",
    "messaging_logged_exception": "occurred_at",
    "messaging_message_text": "day",
}
PAST = timedelta(days=3700)  # ten years: the oldest that a dead letter may be
BECOMES_THE_DAY = 20_000  # rows: about a second of moving


def days_in_default(table: str) -> list[date]:
    """Return the UTC days whose rows lie in this table's DEFAULT partition, oldest first."""
    column = DAY_COLUMNS[table]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT {column}::timestamp::date FROM {table}_default ORDER BY 1 LIMIT 5000")  # noqa: S608
        return [row[0] for row in cursor.fetchall()]


def place_misplaced(today: date | None = None) -> int:
    """Give each day whose rows lie in DEFAULT its partition; return how many were given one, of all tables.

    May run twice at once; a lock that is not to be had in time is left for the next run. Days before PAST were never taken in.
    """
    today = today or datetime.now(UTC).date()
    oldest, newest = today - PAST, today + timedelta(days=AHEAD_DAYS)
    placed = 0
    for table in TABLES:
        days = days_in_default(table)
        for day in days:
            if oldest <= day <= newest:
                placed += _try(table, day, alone=len(days) == 1)
    return placed


def _try(table: str, day: date, *, alone: bool) -> bool:
    try:
        with transaction.atomic():
            _place(table, day, alone=alone)
    except OperationalError as error:  # a lock or statement time-out: the next run
        log.warning("rows_not_placed", table=table, day=str(day), reason=str(error)[:200])
        return False
    log.info("rows_placed", table=table, day=str(day))
    return True


def _place(table: str, day: date, *, alone: bool) -> None:
    default, name = f"{table}_default", partition_name(table, day)
    start, end = f"{day:%Y-%m-%d}", f"{day + timedelta(days=1):%Y-%m-%d}"
    bounds = f"FOR VALUES FROM ('{start}') TO ('{end}')"
    inside = f"{DAY_COLUMNS[table]} >= '{start}' AND {DAY_COLUMNS[table]} < '{end}'"
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '400ms'; SET LOCAL statement_timeout = '100s'")
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        cursor.execute("SELECT to_regclass(%s)", [name])
        if cursor.fetchone()[0] is not None:  # another run was faster
            return
        # The whole table, first: a writer that already waited before DEFAULT would find its row's place gone, and one that has
        # read the table and is about to write would wait for us while we wait for it.
        cursor.execute(f"LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE")
        if alone and _more_than(cursor, default, inside, BECOMES_THE_DAY):
            _become(cursor, table, default, name, inside, bounds)
        else:
            _move(cursor, table, default, name, inside, bounds)


def _more_than(cursor: CursorWrapper, default: str, inside: str, most: int) -> bool:
    cursor.execute(f"SELECT count(*) FROM (SELECT 1 FROM {default} WHERE {inside} LIMIT {most + 1}) counted")  # noqa: S608
    return bool(cursor.fetchone()[0] > most)


def _move(cursor: CursorWrapper, table: str, default: str, name: str, inside: str, bounds: str) -> None:
    cursor.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL){TABLES[table]}")
    cursor.execute(
        f"WITH moved AS (DELETE FROM {default} WHERE {inside} RETURNING *) INSERT INTO {name} SELECT * FROM moved"  # noqa: S608
    )
    cursor.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} {bounds}")


def _become(cursor: CursorWrapper, table: str, default: str, name: str, inside: str, bounds: str) -> None:
    cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {default} WHERE NOT ({inside}))")  # noqa: S608
    if cursor.fetchone()[0]:  # another day's row came meanwhile
        return _move(cursor, table, default, name, inside, bounds)
    cursor.execute(f"ALTER TABLE {table} DETACH PARTITION {default}")
    cursor.execute(f"ALTER TABLE {default} RENAME TO {name}")
    cursor.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} {bounds}")
    cursor.execute(f"CREATE TABLE {default} PARTITION OF {table} DEFAULT{TABLES[table]}")
