"""Counters of searches while others write: a writer that commits late, two workers, one that is killed; with real transactions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection, connections, transaction

from alerts.models import Objective, Standing, Uncounted
from alerts.objectives import asking, counting
from messages.ingest.messages_sql import set_status
from messages.models import Message, MessageStatus, TouchedMinutes
from messages.touched import note_touched_no_more
from tests.objectives.searching import counted_anew, counters, on_search, total, triggers
from tests.objectives.stored import DAY, MINUTE, NOW, looked, message
from tests.services.reconciling import flow

BIG = {"size": "big"}
NEXT = timedelta(seconds=15)


@pytest.fixture
def noted(committed: None) -> Iterator[Objective]:
    """An objective on a search that was counted, with real commits."""
    one = on_search()
    looked()
    assert triggers() == 2
    yield one
    note_touched_no_more()


def elsewhere(act: Callable[[], Any]) -> Future[Any]:
    """Do something in a thread and a session of its own."""

    def run() -> Any:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '30s'")
            return act()
        finally:
            connections.close_all()

    return ThreadPoolExecutor(1).submit(run)


WAITS = """
SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database
WHERE NOT granted AND relation IS NOT NULL AND d.datname = current_database() LIMIT 1
"""


@contextmanager
def held_up(lock: str) -> Iterator[Callable[[], int]]:
    """Hold a lock; yields what waits until another session waits for it and returns that session's pid."""

    def waits() -> int:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            cursor.execute(WAITS)
            if row := cursor.fetchone():
                return int(row[0])
            time.sleep(0.01)
        raise AssertionError("nobody waits")

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(lock)
        yield waits


BEFORE_IT_COUNTS = "LOCK TABLE alerts_uncounted IN ACCESS EXCLUSIVE MODE"
BEFORE_IT_WRITES = "LOCK TABLE alerts_objectiveminutes IN SHARE MODE"


def test_what_a_writer_commits_late_is_counted_at_the_next_look(noted: Objective):
    written, commit = threading.Event(), threading.Event()

    def write() -> None:
        with transaction.atomic():
            message(NOW - 3 * DAY, took=MINUTE, keys=BIG)
            written.set()
            commit.wait(30)

    writer = elsewhere(write)
    written.wait(30)
    counting.count(NOW + NEXT)
    before = total(noted)
    commit.set()
    writer.result(30)

    counting.count(NOW + 2 * NEXT)

    assert (before, total(noted)) == ((0, 0, 0), (1, 0, 0))


@pytest.mark.parametrize("lock", [BEFORE_IT_COUNTS, BEFORE_IT_WRITES])
def test_what_is_committed_within_a_look_is_counted_once(noted: Objective, lock: str):
    uid = message(NOW - 3 * DAY, keys=BIG, status=MessageStatus.FAILED)

    with held_up(lock) as waits:
        look = elsewhere(lambda: counting.count(NOW + NEXT))
        waits()  # it has taken the touch of the message
        elsewhere(lambda: set_status(uid, MessageStatus.DELIVERED)).result(30)
    look.result(30)
    first = total(noted)
    counting.count(NOW + 2 * NEXT)

    assert first == ((1, 0, 0) if lock == BEFORE_IT_COUNTS else (0, 0, 1))
    assert total(noted) == (1, 0, 0)


def test_without_its_touch_that_change_would_be_lost(noted: Objective):
    """The negative control: what a look writes is old, and only the touch that came meanwhile says so."""
    uid = message(NOW - 3 * DAY, keys=BIG, status=MessageStatus.FAILED)
    with held_up(BEFORE_IT_WRITES) as waits:
        look = elsewhere(lambda: counting.count(NOW + NEXT))
        waits()
        elsewhere(lambda: set_status(uid, MessageStatus.DELIVERED)).result(30)
    look.result(30)

    TouchedMinutes.objects.all().delete()
    counting.count(NOW + 2 * NEXT)

    assert total(noted) == (0, 0, 1)


def test_a_worker_that_is_killed_puts_back_what_it_took(noted: Objective):
    message(NOW - 3 * DAY, took=MINUTE, keys=BIG)

    with held_up(BEFORE_IT_WRITES) as waits:
        look = elsewhere(lambda: counting.count(NOW + NEXT))
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [waits()])
        with pytest.raises((OperationalError, InterfaceError)):
            look.result(30)
    before = (total(noted), TouchedMinutes.objects.count())
    counting.count(NOW + 2 * NEXT)

    assert before == ((0, 0, 0), 1)
    assert (total(noted), TouchedMinutes.objects.count()) == ((1, 0, 0), 0)


def test_two_workers_at_once_count_once_while_others_write(noted: Objective):
    stop = threading.Event()

    def write(offset: int) -> None:
        for number in range(60):
            uid = message(NOW - (offset + number % 7) * 1000 * MINUTE, keys=BIG, status=MessageStatus.FAILED)
            if number % 3:
                set_status(uid, MessageStatus.DELIVERED)

    def look() -> None:
        while not stop.is_set():
            counting.count(NOW + NEXT)

    workers, writers = [elsewhere(look) for _ in range(2)], [elsewhere(lambda n=n: write(n)) for n in range(2)]
    for one in writers:
        one.result(120)
    stop.set()
    for one in workers:
        one.result(120)
    counting.count(NOW + 2 * NEXT)

    assert total(noted) == (80, 0, 40)
    assert counters(noted) == counted_anew(noted, NOW + 2 * NEXT)


def test_writers_of_one_minute_do_not_wait_for_each_other(noted: Objective):
    flow()
    with transaction.atomic():
        message(NOW, keys=BIG)
        elsewhere(lambda: message(NOW, keys=BIG)).result(30)  # would wait for ever

    assert Message.objects.count() == TouchedMinutes.objects.count() == 2


def test_a_search_that_takes_too_long_is_asked_of_less_time_and_loses_nothing(
    noted: Objective, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(asking, "SEARCH_S", 0.2)
    message(NOW - 3 * DAY, took=MINUTE, keys=BIG)
    steps = []

    with held_up("LOCK TABLE messaging_message IN ACCESS EXCLUSIVE MODE"):
        for number in range(1, 6):
            elsewhere(lambda n=number: counting.count(NOW + n * NEXT)).result(60)
            steps.append(Objective.objects.get().step_minutes)
        words = Standing.objects.get().problem
        assert Uncounted.objects.exists()
    looked(NOW + 6 * NEXT)

    assert steps == [60, 15, 3, 1, 1]
    assert words == "its search took longer than 0.2 s and was given up: narrow it down"
    assert (total(noted), Standing.objects.get().problem) == ((1, 0, 0), "")


def test_a_lock_that_is_not_to_be_had_leaves_it_to_the_next_look(committed: None):
    one = on_search()
    message(NOW - DAY, took=MINUTE, keys=BIG)
    with held_up("LOCK TABLE messaging_message IN ROW EXCLUSIVE MODE"):
        elsewhere(lambda: counting.count(NOW)).result(60)
        before = (triggers(), total(one))
    looked(NOW + NEXT)

    assert before == (0, (0, 0, 0))
    assert (triggers(), total(one)) == (2, (1, 0, 0))
    note_touched_no_more()
