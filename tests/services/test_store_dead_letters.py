"""Dead letters in a database that has trouble with them: never a 500, the good ones stored, the bad ones kept as refused."""

from __future__ import annotations

import contextlib
import threading
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import connection

from messages.ingest import clean
from messages.models import DeadLetter, IngestReject, Message
from tests.factories import agent_key, event, letter, push
from tests.product import wait_until
from tests.services.test_replay_database_trouble import other_session

LETTERS = "/ingest/v1/dead-letters"


@pytest.mark.django_db
def test_letters_that_the_database_cannot_hold_are_refused_and_kept_and_the_others_are_stored(
    monkeypatch: pytest.MonkeyPatch,
):
    """Cleaning lets nothing of the kind through today; if a new poison does, it is refused, and not its batch."""
    monkeypatch.setattr(clean, "text", lambda value, most: value)
    poison = {"type": "a\x00b", "message": "", "stack": ""}
    items = [letter(), letter(error=poison), {"id": ""}, letter(), letter(error=poison), letter()]

    answer = push(LETTERS, items, key=agent_key())

    assert answer.status_code == 200
    assert answer.json()["accepted"] == 3
    assert [(r["index"], r["code"]) for r in answer.json()["rejected"]] == [
        (1, "not_storable"), (2, "invalid_item"), (4, "not_storable"),
    ]  # fmt: skip
    assert (DeadLetter.objects.count(), Message.objects.count()) == (3, 3)
    assert sorted(IngestReject.objects.values_list("code", flat=True)) == [
        "invalid_item",
        "not_storable",
        "not_storable",
    ]


def test_a_deadlock_with_another_writer_is_gone_through_and_each_letter_is_stored_once(committed: None):
    key, ids = agent_key(), [f"message-{number:020d}" for number in range(2)]
    push("/ingest/v1/events", [event(message_id=one) for one in ids], key=key)
    first, second = Message.objects.order_by("id").values_list("id", flat=True)
    items = [letter(message_id=one, origin="orders") for one in ids]
    answers: list[Any] = []

    with other_session() as session:
        session.execute("BEGIN")
        lock(session, second)
        storing = threading.Thread(target=store, args=(items, key, answers))
        storing.start()
        wait_until(lambda: waits(session), seconds=10, what="the letters' writer to wait for our lock", every=0.02)
        # Which it holds: it has waited longer, so it is the one that PostgreSQL ends; after a second's stall of this test it is us.
        with contextlib.suppress(psycopg.errors.DeadlockDetected):
            lock(session, first)
        session.execute("COMMIT")
        storing.join()

    assert [(answer.status_code, answer.json()["accepted"]) for answer in answers] == [(200, 2)]
    assert DeadLetter.objects.count() == 2
    assert {message.get_status_display() for message in Message.objects.all()} == {"dead"}


def lock(session: psycopg.Connection[Any], message: UUID) -> None:
    session.execute("UPDATE messaging_message SET event_count = event_count WHERE id = %s", [message])


def waits(session: psycopg.Connection[Any]) -> bool:
    return session.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone() is not None


def store(items: list[dict[str, object]], key: str, answers: list[Any]) -> None:
    try:
        answers.append(push(LETTERS, items, key=key))
    finally:
        connection.close()
