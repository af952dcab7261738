"""The wish of a receiver to be left alone, which all replays over its connection heed. A column, so that a restart does not forget it."""

from __future__ import annotations

from django.db import connection


def hold_connection(pk: int, wait_s: int) -> None:
    """Send nothing over this connection for so long; a longer wish that was heard before stays."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE messaging_connection SET not_before = greatest(not_before, now() + make_interval(secs => %s)) "
            "WHERE id = %s",
            [wait_s, pk],
        )


def hold_undoing(pk: int, wait_s: int) -> None:
    """Have no compensation use this connection for so long; replays go on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE messaging_connection SET undo_not_before = greatest(undo_not_before, now() + make_interval(secs => %s)) "
            "WHERE id = %s",
            [wait_s, pk],
        )
