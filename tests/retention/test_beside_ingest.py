"""Retention beside everything else: long transactions, late events, a second run, a process that dies anywhere."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, connections, transaction

from messages.ingest.partitions import partition_name
from messages.models import DeadLetter, Event, RetentionPolicy, RetentionRun
from messages.payloads.queries import stored_content
from messages.retention import run
from messages.retention.run import run_retention
from messages.retention.services import place_hold
from tests.factories import ROOT, agent_key, environment, event, push, stored_letter
from tests.product import wait_until
from tests.retention.stored import EVENTS, TODAY, flow_of, in_days, partitions, rows_left, store
from tests.retention.test_run import policy

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("committed")]


def beside(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Start `work` in a thread with a connection of its own; return (thread, a list that gets its result)."""
    results: list[Any] = []

    def body() -> None:
        try:
            results.append(work())
        except Exception as error:
            results.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=body)
    thread.start()
    return thread, results


def waiting_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(cursor.fetchone()[0])


def test_behind_a_long_transaction_it_gives_up_soon_holds_nobody_up_and_goes_on_later():
    store()
    key = agent_key()
    opened, close = threading.Event(), threading.Event()

    def read_for_long() -> None:
        with transaction.atomic():
            Event.objects.count()  # every partition of events
            opened.set()
            close.wait(30)

    reader, _ = beside(read_for_long)
    assert opened.wait(10)
    runner, ran = beside(lambda: run_retention(now=in_days(31)))
    slowest = 0.0
    while runner.is_alive():
        begun = time.monotonic()
        assert push(EVENTS, [event()], key=key).status_code == 200
        slowest = max(slowest, time.monotonic() - begun)
    close.set()
    reader.join()

    assert ran[0].state == "unfinished"
    assert {(one["table"], one["because"]) for one in ran[0].details["left"]} == {
        ("messaging_event", "a lock was not to be had in time")
    }
    assert "payload" not in rows_left()  # what could go went
    assert slowest < 15  # behind the reader it would be 30
    assert run_retention(now=in_days(31)).state == "finished"
    assert "event" not in rows_left()


def test_two_runs_at_once_do_the_work_once():
    for flow in ("a", "b", "c"):
        store(flow)
    threads = [beside(lambda: run_retention(now=in_days(401))) for _ in range(3)]
    for thread, _ in threads:
        thread.join()

    states = [results[0].state for _, results in threads]
    run_retention(now=in_days(401))

    assert set(states) <= {"finished", "unfinished"}, states
    assert rows_left() == {}
    dropped = [
        (one["table"], one["day"])
        for record in RetentionRun.objects.all()
        for one in record.details["done"]
        if one["way"] == "dropped"
    ]
    assert len(dropped) == len(set(dropped))


def test_a_writer_that_waits_for_a_day_that_is_written_anew_wins_and_the_day_is_tried_once_more(
    monkeypatch: pytest.MonkeyPatch,
):
    """The worst moment: the writer stands before the old table when the new one is to take its place."""
    monkeypatch.setattr(run, "FEW", 0)
    policy("staging", payload_days=100, metadata_days=100)
    store(), store(slug="staging")
    key, late = agent_key("late", "staging"), event(id="late")
    answers: list[Any] = []
    real, threads = run._size, []

    def at_the_exchange(cursor: Any, name: str) -> int:
        if name == partition_name("messaging_event", TODAY) and not threads:
            cursor.execute(f"LOCK TABLE {name} IN SHARE MODE")  # as the next line of the run does
            threads.append(beside(lambda: answers.append(push(EVENTS, [late], key=key))))
            wait_until(lambda: waiting_beside(cursor), seconds=10, what="the writer to wait")
        return real(cursor, name)

    def waiting_beside(cursor: Any) -> bool:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])

    monkeypatch.setattr(run, "_size", at_the_exchange)
    record = run_retention(now=in_days(40))
    for thread, _ in threads:
        thread.join()

    assert [answer.status_code for answer in answers] == [200]
    assert record.state == "finished"
    assert Event.objects.count() == 2  # both of staging


def test_whatever_is_acknowledged_while_days_are_let_go_is_there_afterwards(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run, "FEW", 0)
    policy(payload_days=1, metadata_days=2, rollup_days=7)
    policy("staging", payload_days=100, metadata_days=100)
    keys = {slug: agent_key("late", slug) for slug in ("production", "staging")}
    stop, acknowledged = threading.Event(), []
    statuses = set()

    def push_late() -> None:
        chance = random.Random(7)
        while not stop.is_set():
            slug = chance.choice(["production", "staging"])
            at = datetime.now(UTC) - timedelta(days=chance.choice([0, 1, 2, 3, 4, 5, 30]))
            one = event(occurred_at=at.isoformat(), destination=slug)
            response = push(EVENTS, [one], key=keys[slug])
            statuses.add(response.status_code)
            if response.status_code == 200:
                acknowledged.append(one["message_id"])

    threads = [beside(push_late) for _ in range(3)]
    for _ in range(6):
        run_retention()
    stop.set()
    for thread, _ in threads:
        thread.join()

    assert statuses <= {200, 429, 503}  # 429: three push at once, and one had more than its share
    assert len(acknowledged) > 20
    assert set(acknowledged) <= set(Event.objects.values_list("message_id", flat=True))


def test_killed_anywhere_and_run_again_it_keeps_what_is_held_and_lets_go_the_rest():
    for number in range(40):
        store("orders" if number % 2 else "invoices")
    waiting = [stored_letter() for _ in range(5)]
    place_hold(environment(), flow_of("orders"), by=ROOT, reason="case 7")
    held = set(Event.objects.filter(flow__name="orders").values_list("id", flat=True))
    chance = random.Random(3)
    killed = 0
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", WORKER], env=environ(), stdout=subprocess.PIPE)
        assert process.stdout
        process.stdout.readline()  # it has begun
        time.sleep(chance.random() * 0.15)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        process.stdout.close()

    record = run_retention(now=in_days(50))

    assert killed
    assert record.state == "finished"
    assert set(Event.objects.values_list("id", flat=True)) == held
    for letter in waiting:
        assert stored_content(letter.environment_id, letter.id, letter.payload_on)
    assert DeadLetter.objects.count() == 5
    for one in Event.objects.all():
        content = stored_content(one.environment_id, one.id, one.payload_on)
        assert content
    assert all("_new" not in name for name in partitions("messaging_event") | partitions())


WORKER = """
import django; django.setup()
from datetime import UTC, datetime, timedelta
from messages.retention import run
run.FEW = 0
print("begun", flush=True)
run.run_retention(now=datetime.now(UTC) + timedelta(days=50))
"""


def environ() -> dict[str, str]:
    address = settings.DATABASES["default"]
    url = os.environ["DATABASE_URL"]
    base, _, query = url.partition("?")
    return os.environ | {
        "DATABASE_URL": base.rsplit("/", 1)[0] + "/" + str(address["NAME"]) + (f"?{query}" if query else ""),
        "DJANGO_SETTINGS_MODULE": "console.settings",
    }


def test_a_hold_waits_for_the_step_under_way_and_nothing_goes_after_it():
    store()
    begun, go_on = threading.Event(), threading.Event()

    def step_of_another_run() -> None:
        with run.step("50s"):
            begun.set()
            go_on.wait(10)

    other, _ = beside(step_of_another_run)
    assert begun.wait(10)
    holder, placed = beside(lambda: place_hold(environment(), None, by=ROOT, reason="case 7"))
    wait_until(waiting_for_a_lock, seconds=10, what="the hold to wait for the step")
    assert not placed
    go_on.set()
    other.join()
    holder.join()

    assert placed[0].pk
    before = rows_left()
    run_retention(now=in_days(900))
    assert rows_left() == before


def test_partitions_are_there_again_for_the_tests_that_follow():
    """Not about retention: what the tests above dropped is made again by the fixture."""
    assert partition_name("messaging_event", TODAY) in partitions("messaging_event")
    assert RetentionPolicy.objects.count() == 0
