"""Day partitions: made ahead by a task that may run twice, on demand by the writer, caught by DEFAULT when neither did."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import psycopg
import structlog
from django.db import DatabaseError, connection, transaction

log = structlog.get_logger(__name__)

TABLES: dict[str, str] = {
    "messaging_event": "",
    "messaging_message": " WITH (fillfactor = 80)",
    "messaging_trace_link": "",
    "messaging_payload": "",
    "messaging_rollup_minute": " WITH (fillfactor = 80)",
    "messaging_rollup_hour": " WITH (fillfactor = 80)",
    "messaging_logged_exception": "",
    "messaging_rollup_latency": " WITH (fillfactor = 80)",
    "messaging_message_text": "",
}
BY_RECEIPT = "messaging_payload"  # the one table whose day is that of receipt: the past gets no new rows
LOCK = 7_219_001  # advisory: one maker of partitions at a time
AHEAD_DAYS = 7


def partition_name(table: str, day: date) -> str:
    return f"{table}_{day:%Y%m%d}"


def ensure_partitions(days: Iterable[date]) -> set[date]:
    """Make the missing partitions of these UTC days in one short transaction; return the days that have theirs.

    A day whose rows already lie in DEFAULT, or whose lock is not to be had in time, is left out: DEFAULT takes its rows.
    """
    made = set()
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    for day in sorted(set(days)):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '2s'")
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
                for table, options in TABLES.items():
                    if table == BY_RECEIPT and day < yesterday:
                        continue
                    cursor.execute(
                        f"CREATE TABLE IF NOT EXISTS {partition_name(table, day)} PARTITION OF {table} "
                        f"FOR VALUES FROM ('{day:%Y-%m-%d}') TO ('{day + timedelta(days=1):%Y-%m-%d}'){options}"
                    )
            made.add(day)
        except DatabaseError as error:
            if isinstance(
                error.__cause__,
                psycopg.errors.CheckViolation | psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected,
            ):
                log.warning("partition_not_made", day=str(day), reason=str(error)[:200])
            else:
                raise
    return made


def existing_days() -> set[date]:
    """Return the days for which every table has its partition; that of payloads may have been let go before the others."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT right(c.relname, 8) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = ANY(%s::regclass[]) AND c.relname ~ '_[0-9]{8}$' GROUP BY 1 HAVING count(*) = %s",
            [[table for table in TABLES if table != BY_RECEIPT], len(TABLES) - 1],
        )
        return {datetime.strptime(row[0], "%Y%m%d").replace(tzinfo=UTC).date() for row in cursor.fetchall()}


def create_partitions(today: date | None = None) -> int:
    """Make the partitions of yesterday to a week ahead that are not there; return how many days were made.

    A day whose rows lie in DEFAULT gets its partition by messages.ingest.misplaced, which the same task calls first.
    """
    today = today or datetime.now(UTC).date()
    wanted = {today + timedelta(days=offset) for offset in range(-1, AHEAD_DAYS + 1)}
    return len(ensure_partitions(wanted - existing_days()))
