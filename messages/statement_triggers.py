"""Triggers that fire once a statement and are there only while somebody needs them: a write costs nothing more otherwise.

They see every write, whoever makes it, in its transaction. Making or dropping one waits for the writers under way and holds up new
ones meanwhile: for two seconds at most, else it raises OperationalError.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from django.db import connection


class StatementTrigger(NamedTuple):
    """rows: NEW or OLD, which of its rows a statement shows to the function, as the table `changed`."""

    event: str
    table: str
    rows: str
    function: str


def count_made(names: Collection[str]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_trigger WHERE tgname = ANY(%s) AND NOT tgisinternal AND tgparentid = 0",
            [list(names)],
        )
        return int(cursor.fetchone()[0])


def make(triggers: Mapping[str, StatementTrigger]) -> None:
    """Make these triggers in the caller's transaction, in place of those of the same names; readers go on meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '2s'")
        for name, (event, table, rows, function) in triggers.items():
            cursor.execute(
                f"CREATE OR REPLACE TRIGGER {name} AFTER {event} ON {table} REFERENCING {rows} TABLE AS changed "
                f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
            )


def drop(triggers: Mapping[str, StatementTrigger]) -> None:
    """Drop these triggers in the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '2s'")
        for name, trigger in triggers.items():
            cursor.execute(f"DROP TRIGGER IF EXISTS {name} ON {trigger.table}")
