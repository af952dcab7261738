"""A database in trouble while a replay is prepared says nothing about the message: it is tried again, and nothing has left."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from django.db import connection

from messages.connectors import memory
from messages.replay.sending import send_due
from messages.replay.services import request_replay
from tests.factories import ROOT, memory_connection, stored_letter


def other_session() -> psycopg.Connection[Any]:
    known = connection.settings_dict
    names = {"host": "HOST", "port": "PORT", "dbname": "NAME", "user": "USER", "password": "PASSWORD"}
    return psycopg.connect(**{name: known[key] for name, key in names.items() if known[key]}, autocommit=True)


def lock_payloads(session: psycopg.Connection[Any]) -> None:
    session.execute("BEGIN; LOCK TABLE messaging_payload IN ACCESS EXCLUSIVE MODE")


def cut_the_line(session: psycopg.Connection[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    session.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


@pytest.mark.parametrize("trouble", [lock_payloads, cut_the_line])
def test_it_is_unavailable_and_tried_again_not_refused(committed: None, trouble: Any):
    found, stored = memory_connection(), stored_letter()
    replay = request_replay(stored, by=ROOT, reason="fixed")

    with other_session() as session:

        def once(execute: Any, sql: str, *rest: Any) -> Any:
            if "messaging_payload" in sql and not met:
                met.append(sql)
                trouble(session)
            return execute(sql, *rest)

        met: list[str] = []
        with connection.execute_wrapper(once):
            send_due(replay.connection_id)
    replay.refresh_from_db()
    stored.refresh_from_db()

    assert (replay.state, replay.attempt, stored.state, len(met)) == ("queued", 1, "replaying", 1)
    assert replay.detail.startswith("nothing was sent, the database said: ")
    assert not memory.QUEUES[found.address]
    type(replay).objects.filter(pk=replay.pk).update(not_before=None)
    send_due(replay.connection_id)
    replay.refresh_from_db()
    assert (replay.state, len(memory.QUEUES[found.address]["erp.orders"])) == ("confirmed", 1)
