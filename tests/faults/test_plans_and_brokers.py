"""Plans over a line that swallows everything, and over tables that somebody else holds (rows 8, 11, 28)."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from benchmarks.replay import CONNECT
from tests.contracts.relay import Relay
from tests.faults.inject import connect
from tests.faults.planned import Run
from tests.product import Product, wait_until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]
FEW = 60
NEW_COLUMNS = ("messaging_plan", "messaging_planitem", "messaging_replay", "messaging_deadletter")


class BlackHole(Relay):
    """A line on which nothing arrives any more while it stalls, and nobody hangs up."""

    def __init__(self, port: int) -> None:
        self.flows = threading.Event()
        self.flows.set()
        super().__init__(port)

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:  # type: ignore[override]
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                self.flows.wait()
                other.sendall(data)
        for wire in (one, other):
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)


def time_passes(run: Run) -> None:
    """The wait before the next attempt is over."""
    run.ask(
        "UPDATE messaging_replay SET not_before = NULL WHERE state = 'queued' AND plan_id = %s RETURNING id", run.plan
    )


def test_a_line_that_swallows_everything_holds_its_own_plan_alone_and_loses_nothing(
    plans: Callable[..., Run],
    running: Product,
    rabbitmq: str,
):
    """Row 8: the broker is there and says nothing: after its time the window is in doubt, and sent again with the same id."""
    hole = BlackHole(urlsplit(rabbitmq).port or 5672)
    address = rabbitmq.replace("guest:guest@", "").replace(f":{urlsplit(rabbitmq).port}", f":{hole.port}")
    running.manage("shell", "-c", CONNECT.format(brokers=[("holed", "rabbitmq", address, "guest")]))
    run = plans("plan.hole", items=FEW, rate=20.0, broker="holed", idempotent=True)
    try:
        run.until_sent(0.2)
        hole.flows.clear()
        plans("plan.beside", items=FEW).check()
        in_doubt = (
            "SELECT 1 FROM messaging_replay WHERE plan_id = %s AND (attempt > 1 OR state = 'queued' AND attempt = 1)"
        )
        wait_until(lambda: run.ask(in_doubt, run.plan), seconds=90, what="the end of the window's time")
    finally:
        hole.flows.set()
    run.a_minute_passes()
    time_passes(run)
    if run.state() == "paused":
        run.set("running")
    run.check()
    hole.cut()


def test_a_table_that_is_locked_only_delays_a_plan(plans: Callable[..., Run], running: Product):
    """Row 11: nobody can claim, mark or hand over meanwhile; what was out before its mark is in doubt, and none is lost."""
    run = plans("plan.locked", items=FEW * 4, rate=50.0, idempotent=True)
    run.until_sent(0.1)
    with connect(running) as locker, locker.transaction():
        locker.execute("LOCK TABLE messaging_replay IN ACCESS EXCLUSIVE MODE")
        time.sleep(8)  # four times lock_timeout
    run.a_minute_passes()
    run.check()


def test_a_migration_under_load_lets_a_plan_go_on_and_old_code_runs_on_its_tables(
    plans: Callable[..., Run],
    running: Product,
):
    """Row 28: new columns come while the plan runs; processes that do not know them hand over, send and mark as before."""
    run = plans("plan.deploy", items=FEW * 4, rate=50.0, idempotent=True)
    run.until_sent(0.1)
    try:
        with connect(running) as database, database.transaction():
            for table in NEW_COLUMNS:
                database.execute(f"ALTER TABLE {table} ADD COLUMN of_the_next_release integer NOT NULL DEFAULT 0")
            time.sleep(3)  # the rest of the migration, with its locks held
        before = run.sent()
        assert before < run.items
        run.a_minute_passes()
        run.check()
    finally:
        with connect(running) as database:
            for table in NEW_COLUMNS:
                database.execute(f"ALTER TABLE {table} DROP COLUMN IF EXISTS of_the_next_release")
