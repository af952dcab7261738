"""Web workers, PostgreSQL and Valkey are killed, connections cut, tables locked, while agents send. The rows are those of the fault matrix."""

from __future__ import annotations

import http.cookiejar
import random
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.factories import event
from tests.faults.checker import Fleet, is_green, wait_until_green
from tests.faults.inject import (
    connect,
    cut_connections,
    flush_redis,
    kill,
    kill_postgres,
    kill_redis,
    kill_web_worker,
    web_workers,
)
from tests.product import PASSWORD, Product, call, wait_until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]
EVENTS = "/ingest/v1/events"


def test_a_web_worker_killed_in_the_middle_of_a_batch_loses_and_doubles_nothing(running: Product):
    """Row 1: kill -9 of a web worker at random moments, twenty times."""
    fleet, chance = Fleet(running, agents=3), random.Random(20261125)

    with fleet.sending():
        for _ in range(20):
            time.sleep(chance.uniform(0.02, 0.25))
            kill_web_worker(running, chance)
        fleet.wait_for_acknowledged(3)

    fleet.check()
    assert fleet.statuses()[0] > 0, "no request was cut: the kills met nothing"


def test_killed_between_commit_and_answer_the_second_try_gets_the_first_answer(running: Product):
    """Row 2: kill -9 of the web worker after COMMIT, before its answer: what follows the commit waits behind a lock of ours."""
    key, body = running.agent_key("cut off"), {"batch_id": "cut", "events": [event(), event(), {"id": "bad"}]}
    answers: list[Any] = []

    def post() -> None:
        try:
            answers.append(call("POST", running.base + EVENTS, key=key, body=body))
        except OSError as error:
            answers.append(error)

    with connect(running) as database, database.transaction():
        # The first request of an agent notes, after the commit, that it was heard; foreign keys to the agent do not wait for this lock.
        database.execute("SELECT 1 FROM identity_agent WHERE name = 'cut off' FOR NO KEY UPDATE")
        sender = threading.Thread(target=post)
        sender.start()
        wait_until(lambda: count(database, "cut off"), seconds=10, what="the commit", every=0.01)
        kill(*web_workers(running))
        sender.join()
    assert isinstance(answers[0], OSError), f"it was answered before the kill: {answers[0]}"

    status, again = wait_until(lambda: answered(running, key, body), seconds=30, what="an answer")

    assert (status, again["accepted"], again["duplicates"], len(again["rejected"])) == (200, 2, 0, 1)
    with connect(running) as database:
        assert count(database, "cut off") == 2


def answered(product: Product, key: str, body: Any) -> tuple[int, Any] | None:
    try:
        return call("POST", product.base + EVENTS, key=key, body=body)
    except OSError:
        return None


def count(database: psycopg.Connection[Any], agent: str) -> int:
    row = database.execute(
        "SELECT count(*) FROM messaging_event e JOIN identity_agent a ON a.id = e.agent_id WHERE a.name = %s", [agent]
    ).fetchone()
    return int(row[0]) if row else 0


def test_postgresql_killed_comes_back_with_all_that_was_acknowledged(running: Product):
    """Row 9: kill -9 of the postmaster, twice; the runner starts it again, agents meet 503 with Retry-After meanwhile."""
    fleet, chance = Fleet(running), random.Random()

    with fleet.sending():
        for _ in range(2):
            kill_postgres(running, chance)
            time.sleep(0.2)
            fleet.wait_for_acknowledged(2)

    fleet.check()
    assert fleet.statuses()[503] > 0


def test_connections_that_are_cut_are_made_again_without_a_single_500(running: Product):
    """Row 10: every connection to the database terminated, ten times, while agents send and pages are read."""
    fleet, chance = Fleet(running), random.Random()

    with fleet.sending():
        for _ in range(10):
            cut_connections(running, chance)
            assert status_of(running.base + "/sign-in/") in (200, 503)
            fleet.wait_for_acknowledged(1)

    fleet.check()


def status_of(url: str, timeout: float = 20) -> int:
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_behind_a_locked_table_requests_do_not_pile_up_and_health_still_answers(running: Product):
    """Row 11: a table locked for four times lock_timeout: 503, at most one waiting statement a thread, then everything is taken."""
    fleet, waiting, health = Fleet(running, agents=8, batch=5), [], []

    with fleet.sending(), connect(running) as watcher:
        with connect(running) as locker, locker.transaction():
            locker.execute("LOCK TABLE messaging_event IN ACCESS EXCLUSIVE MODE")
            until = time.monotonic() + 8
            while time.monotonic() < until:
                row = watcher.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()
                waiting.append(row[0] if row else 0)
                health += [status_of(running.base + path, timeout=10) for path in ("/livez", "/readyz")]
                time.sleep(0.1)
        fleet.wait_for_acknowledged(2)

    fleet.check()
    assert set(health) == {200}
    assert max(waiting) <= 2 * 4 + 2  # threads of two web processes, and the worker's two tasks
    # Pushed back at once while the lock is known, not after another two seconds of waiting each.
    assert fleet.statuses()[503] > 8 * 8 / 2


def test_without_redis_ingest_goes_on_sessions_live_and_quotas_are_counted_alone(running: Product):
    """Row 12: FLUSHALL, then kill -9 of Valkey; the runner starts it again under its address."""
    browser, key = signed_in(running), running.agent_key("limited")
    with connect(running) as database:
        database.execute("UPDATE identity_agent SET events_per_s = 20 WHERE name = 'limited'")
    fleet, chance = Fleet(running), random.Random()

    with fleet.sending():
        flush_redis(running, chance)
        assert "Sign out" in browser("/")
        kill_redis(running, chance)
        statuses = [
            call("POST", running.base + EVENTS, key=key, body=[event() for _ in range(150)])[0] for _ in range(8)
        ]
        assert "Sign out" in browser("/")
        fleet.wait_for_acknowledged(3)

    fleet.check()
    assert set(statuses) == {200, 429}
    assert set(fleet.statuses()) == {200}, "agents noticed that Redis was away"


def signed_in(product: Product) -> Callable[[str], str]:
    """Sign in as admin; return what reads a page."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def read(path: str, form: dict[str, str] | None = None) -> str:
        data = urllib.parse.urlencode(form).encode() if form else None
        return opener.open(product.base + path, data, timeout=20).read().decode()

    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', read("/sign-in/"))
    assert found
    read("/sign-in/", {"csrfmiddlewaretoken": found[1], "username": "admin", "password": PASSWORD})
    return read


def test_passwords_are_not_guessed_faster_when_redis_is_emptied(running: Product):
    """Row 12: the throttle of sign-ins is counted in PostgreSQL, so a FLUSHALL between the guesses forgives none."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    statuses = []
    for guess in range(12):
        page = opener.open(running.base + "/sign-in/", timeout=20).read().decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token
        form = {"csrfmiddlewaretoken": token[1], "username": "mallory", "password": f"guess-{guess}"}
        try:
            statuses.append(opener.open(running.base + "/sign-in/", urllib.parse.urlencode(form).encode()).status)
        except urllib.error.HTTPError as error:
            statuses.append(error.code)
        flush_redis(running, random.Random())

    assert statuses[-1] in (403, 429)
    wait_until_green(running)


def test_the_same_batch_ten_times_at_once_is_stored_once_and_answered_alike(running: Product):
    """Row 13: ten requests with the same body at the same moment, over both web processes."""
    key, body = running.agent_key("eager"), [event() for _ in range(200)] + [{"id": "bad"}]
    start, answers = threading.Barrier(10), []

    def post() -> None:
        start.wait()
        answers.append(call("POST", running.base + EVENTS, key=key, body=body))

    threads = [threading.Thread(target=post) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [answers[0]] * 10
    assert (answers[0][0], answers[0][1]["accepted"], len(answers[0][1]["rejected"])) == (200, 200, 1)
    with connect(running) as database:
        assert count(database, "eager") == 200


def test_a_batch_id_that_comes_again_with_another_body_stores_nothing(running: Product):
    """Row 14: 409, at once and while the first one is still being stored."""
    key, bodies = (
        running.agent_key("confused"),
        [{"batch_id": "b-1", "events": [event() for _ in range(100)]} for _ in range(4)],
    )
    start, statuses = threading.Barrier(4), []

    def post(body: Any) -> None:
        start.wait()
        statuses.append(call("POST", running.base + EVENTS, key=key, body=body)[0])

    threads = [threading.Thread(target=post, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200, 409, 409, 409]
    with connect(running) as database:
        assert count(database, "confused") == 100
    assert is_green(running)
