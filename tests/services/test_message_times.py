"""When a message began: its earliest event, in whatever order the batches come, and at no cost to the updates of its row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.db.models import Q
from django.test import Client

from messages.dead_letters.services import discard_dead_letter
from messages.models import Message
from messages.models.stream import MessageStatus
from tests.factories import ROOT, agent_key, api_key, event, letter, person, push, stored_letter
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
ID = "message-out-of-order"


def arrive(*seconds_ago: float) -> tuple[datetime, ...]:
    """Push one event a batch, each so many seconds old, all of one message; return their times."""
    now = datetime.now(UTC).replace(microsecond=0)
    times = tuple(now - timedelta(seconds=seconds) for seconds in seconds_ago)
    for at in times:
        item = event(message_id=ID, occurred_at=at.isoformat(), operation="process")
        assert push("/ingest/v1/events", [item], key=agent_key()).json()["accepted"] == 1
    return times


def test_a_message_began_with_its_earliest_event_though_the_consumers_batch_came_first():
    later, earlier, between = arrive(60, 63, 61)

    [message] = Message.objects.all()

    assert (message.began_at, message.last_seen_at) == (earlier, later)
    assert message.first_seen_at == later  # indexed: it is what made the row, and does not move
    assert between not in (message.began_at, message.last_seen_at)


def test_the_list_and_the_page_say_how_long_it_took_and_when_it_was_first_seen_whoever_reported_first():
    _, earlier = arrive(60, 63)
    client = signed_in(superuser=True)

    took = text_of(client.get("/messages/"))
    page = client.get(f"/messages/{Message.objects.get().id}/").content.decode()

    assert "3.0 s" in took
    assert f'First seen</dt><dd><time datetime="{earlier:%Y-%m-%dT%H:%M:%S}' in page


def test_rest_says_when_it_began_too():
    _, earlier = arrive(60, 63)
    user = person("root")
    user.is_superuser = True
    user.save(update_fields=["is_superuser"])

    [found] = Client().get("/api/v1/messages", HTTP_AUTHORIZATION=f"Bearer {api_key(user)}").json()["results"]

    assert datetime.fromisoformat(found["started_at"]) == earlier


def test_a_dead_letter_tells_of_no_event_so_the_first_event_says_when_the_message_began():
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=90)
    body = letter(message_id=ID, origin="orders", failed_at=(at + timedelta(seconds=5)).isoformat())
    assert push("/ingest/v1/dead-letters", [body], key=agent_key()).json()["accepted"] == 1
    assert Message.objects.get().started_at is None

    push("/ingest/v1/events", [event(message_id=ID, occurred_at=at.isoformat())], key=agent_key())

    assert Message.objects.get().began_at == at


def test_a_later_batch_updates_the_row_in_place_without_touching_an_index():
    arrive(60)
    before = updates()

    arrive(63)

    assert [now - then for now, then in zip(updates(), before, strict=True)] == [1, 1]


def updates() -> tuple[int, int]:
    """Return how many rows of messages this session updated, and how many of them without touching an index."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(pg_stat_get_xact_tuples_updated(t)), sum(pg_stat_get_xact_tuples_hot_updated(t)) "
            "FROM (SELECT DISTINCT tableoid AS t FROM messaging_message) tables"
        )
        updated, hot = cursor.fetchone()
    return int(updated), int(hot)


def test_every_message_that_stands_as_failed_or_has_an_error_is_in_the_index_of_those_that_failed():
    """messages.search.postgres relies on it: it says so in the condition to be led to that index."""
    key = agent_key()
    error = {"type": "Timeout", "message": "no answer"}
    common = {"operation": "process", "system": "erp", "error": error}
    push("/ingest/v1/events", [event(message_id="an error, then fine", outcome="error", **common)], key=key)
    push("/ingest/v1/events", [event(message_id="an error, then fine", **common)], key=key)
    push("/ingest/v1/events", [event(message_id="a word of an error that was none", **common)], key=key)
    stored_letter(message_id="only a dead letter tells of it", error=error)
    discarded = stored_letter(message_id="discarded", error=error)
    discard_dead_letter(discarded, by=ROOT, reason="a test")

    failed = Message.objects.filter(
        Q(status__in=[MessageStatus.FAILED, MessageStatus.DEAD])
        | Q(error_type__isnull=False)
        | Q(error_message__isnull=False)
    )

    assert failed.filter(failed_at__isnull=True).count() == 0
    assert failed.count() == Message.objects.filter(failed_at__isnull=False).count() == 3
