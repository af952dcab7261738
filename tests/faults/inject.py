"""The faults that tests and the soak share, each done to a running product from outside."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import psycopg
import redis

from console.engines.postgres import Cluster
from tests.product import Product, wait_until


def connect(product: Product) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(product.engines()["database_url"], autocommit=True)


def kill(*pids: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def web_workers(product: Product) -> list[int]:
    """Return the pids of the gunicorn workers, without their master."""
    lines = product.descendants()
    gunicorns = [pid for pid, line in lines.items() if "gunicorn" in line]
    return [child for pid in gunicorns if os.path.exists(f"/proc/{pid}") for child in children_of(pid)]


def kill_web_worker(product: Product, chance: random.Random) -> None:
    kill(chance.choice(wait_until(lambda: web_workers(product), seconds=60, what="a web worker")))


def kill_web(product: Product, chance: random.Random) -> None:
    kill(*(pid for pid, line in product.descendants().items() if "gunicorn" in line))


def kill_tasks(product: Product, chance: random.Random) -> None:
    """Kill Celery's worker or beat, with its children."""
    which = chance.choice([" worker ", " beat "])
    kill(*(pid for pid, line in product.descendants().items() if "celery" in line and which in line))


def kill_postgres(product: Product, chance: random.Random) -> None:
    pid_file = Cluster.of(product.data).directory / "postmaster.pid"
    kill(int(wait_until(pid_file.exists, seconds=60, what="a postmaster") and pid_file.read_text().split()[0]))


def kill_backend(product: Product, chance: random.Random) -> None:
    """Kill one server process of PostgreSQL, which then starts all of them anew."""
    with connect(product) as database:
        rows = database.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'waybill'").fetchall()
    kill(*(row[0] for row in rows[:1]))


def cut_connections(product: Product, chance: random.Random) -> None:
    with connect(product) as database:
        database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'waybill'")


def lock_events(product: Product, chance: random.Random) -> None:
    """Lock the table of events for longer than lock_timeout."""
    with connect(product) as database, database.transaction():
        database.execute("LOCK TABLE messaging_event IN ACCESS EXCLUSIVE MODE")
        time.sleep(5)


def flush_redis(product: Product, chance: random.Random) -> None:
    redis.Redis.from_url(product.engines()["redis_url"]).flushall()


def kill_redis(product: Product, chance: random.Random) -> None:
    pid_file = product.data / "valkey" / "valkey.pid"
    kill(int(wait_until(pid_file.exists, seconds=60, what="a Valkey") and pid_file.read_text()))


FAULTS: tuple[Callable[[Product, random.Random], None], ...] = (
    kill_web_worker,
    kill_web,
    kill_tasks,
    kill_postgres,
    kill_backend,
    cut_connections,
    lock_events,
    flush_redis,
    kill_redis,
)
