"""Waiting before a replay is tried again: its own back-off, and the wish of a receiver to be left alone, which all its replays heed.

Both are columns, so that a restart forgets neither.
"""

from __future__ import annotations

from uuid import UUID

from django.db import connection

# Of the row of messaging_replay that a statement is about: its connection may be used now.
NOT_HELD = "NOT EXISTS (SELECT 1 FROM messaging_connection c WHERE c.id = messaging_replay.connection_id AND c.not_before > now())"


def requeue(pk: UUID, attempt: int, detail: str, *, wait_s: int | None = None) -> None:
    """Let this attempt's replay wait for the next: 2, 4, 8 … at most 60 s, and at least wait_s."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE messaging_replay SET state = 'queued', lease_until = NULL, detail = %s, "
            "not_before = now() + make_interval(secs => %s) WHERE id = %s AND state = 'sending' AND attempt = %s",
            [detail, max(min(60, 2**attempt), wait_s or 0), pk, attempt],
        )


def hold_connection(pk: int, wait_s: int) -> None:
    """Send nothing over this connection for so long; a longer wish that was heard before stays."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE messaging_connection SET not_before = greatest(not_before, now() + make_interval(secs => %s)) "
            "WHERE id = %s",
            [wait_s, pk],
        )
