"""Plans under the faults of the matrix (rows 3 to 6, 10, 12, 27): workers killed, stopped and woken, PostgreSQL and Valkey gone, two beats."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

import psycopg
import pytest
import redis

from tests.faults.inject import children_of, cut_connections, flush_redis, kill, kill_postgres, kill_redis
from tests.faults.planned import ITEMS, Run
from tests.product import ROOT, Product, wait_until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]


def senders(product: Product) -> list[int]:
    """Return the pids of the processes that do Celery's tasks, without their master."""
    masters = [pid for pid, line in product.descendants().items() if "celery" in line and " worker " in line]
    found = {child for pid in masters if os.path.exists(f"/proc/{pid}") for child in children_of(pid)}
    return sorted(found & set(masters)) or sorted(found)


def kill_workers(product: Product) -> None:
    kill(*(pid for pid, line in product.descendants().items() if "celery" in line and " worker " in line))


def test_workers_killed_again_and_again_lose_nothing_of_a_plan(plans: Callable[..., Run], running: Product):
    """Rows 3 and 4: kill -9 before and after the message is out; what was lost in between is sent again, or unknown."""
    chance = random.Random(7)
    runs = [plans("plan.killed.once"), plans("plan.killed.repeatable", idempotent=True)]

    for share in (0.1, 0.4):
        for run in runs:
            run.until_sent(share)
        time.sleep(chance.uniform(0, 0.3))
        kill_workers(running)
        for run in runs:
            run.a_minute_passes()

    for run in runs:
        run.check()


@pytest.mark.parametrize("idempotent", [True, False])
def test_workers_killed_while_they_take_windows_of_a_plan_without_a_rate(
    plans: Callable[..., Run], running: Product, idempotent: bool
):
    """Rows 3 and 4, where what is handed over is in the sender's hands at once: a kill may cost 2,000 of each of two senders."""
    chance = random.Random(11)
    run = plans(f"plan.taken.{idempotent}", idempotent=idempotent, items=12_000, rate=None)

    for share in (0.05, 0.4):
        run.until_sent(share)
        time.sleep(chance.uniform(0, 0.1))
        kill_workers(running)
        run.a_minute_passes()
    rows = run.check()

    again = sum(attempts > 1 for _, attempts, _ in rows)
    unknown = sum(state == "unknown" for *_, state in rows)
    assert (unknown == 0) if idempotent else (again == 0)


def test_killed_while_it_is_paused_nothing_leaves_until_it_goes_on(plans: Callable[..., Run], running: Product):
    run = plans("plan.paused")
    run.until_sent(0.2)
    run.set("paused")
    kill_workers(running)
    run.a_minute_passes()
    wait_until(lambda: senders(running), seconds=60, what="a worker")
    before = run.sent()
    time.sleep(2)  # two ticks: nothing may happen, so there is nothing to wait for
    assert run.sent() - before == 0
    run.set("running")
    run.check()


def test_workers_stopped_past_their_lease_wake_beside_their_successor_and_mark_nothing(
    plans: Callable[..., Run], running: Product
):
    """Row 5: SIGSTOP of every process that sends, their leases end, another worker takes over, they wake."""
    run = plans("plan.stopped", idempotent=True)
    run.until_sent(0.2)
    asleep = senders(running)
    with beside(running, "worker", "--concurrency", "1"):
        for pid in asleep:
            os.kill(pid, signal.SIGSTOP)
        run.a_minute_passes()
        # Who sleeps may hold the plan's row, then nothing goes on meanwhile; no assertion hangs on it.
        until = time.monotonic() + 5
        while run.ask("SELECT 1 FROM messaging_replay WHERE state = 'sending' AND plan_id = %s", run.plan) and time.monotonic() < until:  # fmt: skip
            time.sleep(0.1)
        for pid in asleep:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        run.check()


@contextlib.contextmanager
def beside(product: Product, *arguments: str) -> Iterator[None]:
    """Another process of Celery on the product's engines."""
    addresses = product.engines()
    environ = product.environ | {"DATABASE_URL": addresses["database_url"], "REDIS_URL": addresses["redis_url"]}
    command = [sys.executable, "-m", "celery", "--quiet", "--app", "console", *arguments, "--loglevel", "ERROR"]
    process = subprocess.Popen(command, cwd=ROOT, env=environ, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize(
    ("name", "faults"),
    [("postgres", [kill_postgres, cut_connections]), ("redis", [flush_redis, kill_redis, flush_redis])],
)
def test_engines_that_go_and_come_back_only_delay_a_plan(
    plans: Callable[..., Run], running: Product, name: str, faults: list[Callable[[Product, random.Random], None]]
):
    """Rows 10 and 12."""
    chance, run = random.Random(3), plans(f"plan.{name}", idempotent=True)
    for at, fault in enumerate(faults):
        run.until_sent(0.1 + 0.2 * at)
        wait_until(lambda: not fails(fault, running, chance), seconds=60, what=name)  # noqa: B023
    time.sleep(0.5)
    run.a_minute_passes()
    run.check()


def fails(fault: Callable[[Product, random.Random], None], product: Product, chance: random.Random) -> bool:
    try:
        fault(product, chance)
    except (OSError, psycopg.Error, redis.RedisError):
        return True
    return False


def test_two_beats_and_a_second_worker_send_each_item_once(plans: Callable[..., Run], running: Product):
    """Row 27."""
    schedule = str(running.data / "second-beat")
    with beside(running, "worker", "--concurrency", "1"), beside(running, "beat", "--schedule", schedule):
        rows = plans("plan.two").check()
    assert Counter((attempts, state) for _, attempts, state in rows) == {(1, "confirmed"): ITEMS}
