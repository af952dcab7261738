"""Rows that found no partition are moved into their day's, whatever else happens at the time."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, connection, connections, transaction

from messages.ingest import misplaced, writer
from messages.ingest.misplaced import days_in_default, place_misplaced
from messages.ingest.partitions import TABLES, create_partitions, ensure_partitions, existing_days, partition_name
from messages.ingest.watch import rows_in_default
from messages.models import Event
from tests.factories import agent_key, event, push
from tests.product import wait_until
from tests.retention.stored import EVENTS, TODAY, partitions, rows_left, store

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("committed")]


def drop_today() -> None:
    """Tomorrow came and nobody had made its partitions (fault 26)."""
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"DROP TABLE IF EXISTS {partition_name(table, TODAY)}")


@pytest.fixture
def without_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer cannot make the day's partition either: what it would wait for is locked."""
    drop_today()
    monkeypatch.setattr(writer, "ensure_days", lambda days: None)


@pytest.mark.parametrize("becomes", [0, 50_000])
def test_they_are_found_before_and_after_and_the_same_event_again_is_a_duplicate(
    without_partition: None, monkeypatch: pytest.MonkeyPatch, becomes: int
):
    monkeypatch.setattr(misplaced, "BECOMES_THE_DAY", becomes)
    one = event(payload={"content_type": "text/plain", "body": "x"})
    key = agent_key()
    push(EVENTS, [one], key=key)
    before, misplaced_before = rows_left(), rows_in_default()

    placed = place_misplaced()

    assert len(misplaced_before) == 5, misplaced_before  # events, messages, payloads and both rollups
    assert (placed, rows_in_default(), rows_left()) == (5, {}, before)
    assert partition_name("messaging_event", TODAY) in partitions("messaging_event")
    assert push(EVENTS, [one, event()], key=key).json() == {"accepted": 1, "duplicates": 1, "rejected": []}
    assert rows_in_default() == {}
    create_partitions()
    assert TODAY in existing_days()
    assert place_misplaced() == 0


def test_until_they_are_moved_the_day_cannot_be_made_and_the_task_does_both(without_partition: None):
    from messages import tasks

    store()
    assert TODAY not in ensure_partitions({TODAY})

    tasks.create_partitions()

    assert TODAY in existing_days()
    assert rows_in_default() == {}


def test_rows_of_several_days_each_go_to_their_own(without_partition: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(misplaced, "BECOMES_THE_DAY", 0)  # as much as it takes, but DEFAULT holds other days too
    yesterday = TODAY - timedelta(days=1)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {partition_name('messaging_event', yesterday)}")
    store(), store(occurred_at=(datetime.now(UTC) - timedelta(days=1)).isoformat())

    assert days_in_default("messaging_event") == [yesterday, TODAY]
    place_misplaced()

    assert days_in_default("messaging_event") == []
    assert Event.objects.count() == 2


def test_days_that_nobody_ever_sent_stay_where_they_are():
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO messaging_trace_link VALUES ('1999-01-01', 1, gen_random_uuid(), 'a', gen_random_uuid(), 'b')")  # fmt: skip

    assert place_misplaced() == 0
    assert rows_in_default() == {"messaging_trace_link": 1}


def test_when_it_dies_in_the_middle_everything_is_as_it_was(without_partition: None, monkeypatch: pytest.MonkeyPatch):
    store()
    before = rows_left()
    for name in ("_move", "_become"):
        real = getattr(misplaced, name)

        def dying(*arguments: object, real: object = real) -> None:
            real(*arguments)  # type: ignore[operator]
            raise DatabaseError("the connection is gone")

        monkeypatch.setattr(misplaced, name, dying)
        monkeypatch.setattr(misplaced, "BECOMES_THE_DAY", 0 if name == "_become" else 50_000)

        with pytest.raises(DatabaseError):
            place_misplaced()

        assert rows_left() == before
        assert partition_name("messaging_event", TODAY) not in partitions("messaging_event")


@pytest.mark.parametrize("becomes", [0, 50_000])
def test_nothing_that_is_acknowledged_meanwhile_is_lost(
    without_partition: None, monkeypatch: pytest.MonkeyPatch, becomes: int
):
    monkeypatch.setattr(misplaced, "BECOMES_THE_DAY", becomes)
    key = agent_key()
    stop, acknowledged, statuses = threading.Event(), [], set()

    def push_on() -> None:
        while not stop.is_set():
            one = event()
            response = push(EVENTS, [one], key=key)
            statuses.add(response.status_code)
            if response.status_code == 200:
                acknowledged.append(one["message_id"])
        connections.close_all()

    threads = [threading.Thread(target=push_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(acknowledged) > 5, seconds=20, what="traffic")
    placed = sum(place_misplaced() for _ in range(5))
    so_far = len(acknowledged)
    wait_until(lambda: len(acknowledged) > so_far + 5, seconds=20, what="more traffic")
    stop.set()
    for thread in threads:
        thread.join()
    assert placed >= 4, rows_in_default()
    assert statuses <= {200, 503}
    assert sorted(acknowledged) == sorted(Event.objects.values_list("message_id", flat=True))
    assert rows_in_default() == {}


def test_two_movers_and_a_locked_table_are_left_for_the_next_time(without_partition: None):
    store()
    locked, close = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE messaging_event_default IN ACCESS SHARE MODE")
            locked.set()
            close.wait(20)
        connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    assert locked.wait(10)
    placed = place_misplaced()
    close.set()
    thread.join()

    assert placed == 5  # the others of six tables
    assert list(rows_in_default()) == ["messaging_event"]
    assert place_misplaced() == 1
