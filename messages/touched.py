"""Touched minutes: in which minutes the messages were first seen that were written or changed since somebody looked.

What is counted by the minute counts these again, so that a look costs what happened and not what is stored. Triggers note them in the
transaction of the change, and the minute of a message never changes, so that a change is counted when its touch is taken: take touches
first and count afterwards, in one transaction. A touch committed between the two stays for the next look; a worker that dies puts all back.
"""

from __future__ import annotations

from datetime import datetime

from django.db import connection, transaction

from messages.statement_triggers import StatementTrigger, count_made, drop, make

MOST_TAKEN = 200_000  # rows of a look: after a long absence of the worker the rest has its turn in the next ones
TRIGGERS = {
    f"touched_message_{word}": StatementTrigger(event, "messaging_message", "NEW", "messaging_note_minutes")
    for word, event in (("made", "INSERT"), ("changed", "UPDATE"))
}
TAKE = """
WITH taken AS (
    DELETE FROM messaging_touchedminutes WHERE id = ANY(ARRAY(SELECT id FROM messaging_touchedminutes LIMIT %s)) RETURNING environment_id, minutes
) SELECT DISTINCT environment_id, minute FROM taken CROSS JOIN LATERAL unnest(minutes) AS minute
"""


def note_touched() -> bool:
    """Note touched minutes from now on; return whether that is new: then what was counted before has missed some."""
    if count_made(TRIGGERS) == len(TRIGGERS):
        return False
    with transaction.atomic():
        make(TRIGGERS)
    return True


def note_touched_no_more() -> None:
    if not count_made(TRIGGERS):
        return
    with transaction.atomic(), connection.cursor() as cursor:
        drop(TRIGGERS)
        cursor.execute("DELETE FROM messaging_touchedminutes")


def take_touched() -> dict[int, set[datetime]]:
    """Take what was touched out of the table, in the caller's transaction; return {environment id: minutes}."""
    found: dict[int, set[datetime]] = {}
    with connection.cursor() as cursor:
        cursor.execute(TAKE, [MOST_TAKEN])
        for environment_id, minute in cursor.fetchall():
            found.setdefault(environment_id, set()).add(minute)
    return found
