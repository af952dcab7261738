"""Plans at a broker that does not take them, over a line that swallows everything, and over tables that somebody else holds (rows 7, 8, 11, 28)."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from urllib.parse import urlsplit

import pika
import pytest

from benchmarks.replay import CONNECT, arrived_in_rabbitmq
from tests.contracts.relay import Relay
from tests.faults.inject import connect
from tests.faults.planned import Run
from tests.product import Product, wait_until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]
FEW = 60
RESUME = """
from console.identity.actor import SYSTEM
from messages.models import Plan
from messages.plans.services import resume_plan
resume_plan(Plan.objects.get(pk={plan}), by=SYSTEM)
"""
OF_LETTERS = """
SELECT r.id::text, r.state, d.state FROM messaging_replay r JOIN messaging_deadletter d ON d.id = r.dead_letter_id WHERE r.plan_id = %s
"""
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


def why(run: Run) -> str:
    return str(run.ask("SELECT why FROM messaging_plan WHERE id = %s", run.plan)[0][0])


def resume(run: Run) -> None:
    run.product.manage("shell", "-c", RESUME.format(plan=run.plan))


def check_refused(run: Run, *, lost: AbstractSet[str] = frozenset()) -> None:
    """What the broker refused never arrived, does not count as sent, and its letter is open; all the rest arrived once.

    lost  what had arrived in a queue that somebody deleted.
    """
    rows = run.ended()
    letters = {pk: letter for pk, _, letter in run.ask(OF_LETTERS, run.plan)}
    refused = {pk for pk, _, state in rows if state == "refused"}
    assert {state for *_, state in rows} == {"confirmed", "refused"}
    assert {letters[pk] for pk in refused} == {"open"}
    assert arrived_in_rabbitmq(run.url, run.name) == dict.fromkeys(run.previewed - refused - lost, 1)


def test_a_queue_that_is_full_pauses_the_plan_and_what_it_did_not_take_goes_when_there_is_room(
    plans: Callable[..., Run],
):
    """Row 7: RabbitMQ nacks what a full queue does not take. Four times, then the plan waits for a person.

    A classic queue: a quorum queue looks at its limit between windows, and takes hundreds more before it says so.
    """
    run = plans("plan.full", items=FEW, x_queue_type="classic", x_max_length=FEW * 2 // 3, x_overflow="reject-publish")

    wait_until(lambda: run.state() == "paused", seconds=90, what="the pause")  # 14 s of waits, and the sweeps between
    assert "it is full or failing" in why(run)
    before = arrived_in_rabbitmq(run.url, run.name)
    assert 0 < len(before) < FEW

    resume(run)
    assert {state for *_, state in run.check(before)} == {"confirmed"}


def test_a_queue_that_is_gone_aborts_the_plan_and_its_letters_are_open(plans: Callable[..., Run]):
    """Row 7: what nothing takes comes back from RabbitMQ; none of it counts as sent."""
    run = plans("plan.gone", items=FEW, rate=20.0)
    run.until_sent(0.1)
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(run.url))) as connection:
        connection.channel().queue_delete(run.name)
    wait_until(lambda: run.state() == "aborted", seconds=60, what="the abort")
    assert "failed again" in why(run)
    gone = run.ask(
        "SELECT count(*) FROM messaging_replay WHERE plan_id = %s AND state = 'refused' AND detail LIKE 'no queue takes%%'", run.plan
    )  # fmt: skip
    assert gone[0][0] > 0

    run.declare()
    lost = {row[0] for row in run.ask(OF_LETTERS, run.plan) if row[1] == "confirmed"}  # they went with their queue
    resume(run)
    check_refused(run, lost=lost)


def test_an_exchange_that_is_not_there_aborts_the_plan_and_the_rest_goes_once_it_is(plans: Callable[..., Run]):
    """Row 7: RabbitMQ closes the channel at the first message; no other is in doubt for it."""
    run = plans("plan.exchange", items=FEW, rate=20.0, route={"exchange": "plan.missing", "routing_key": "any"})
    wait_until(lambda: run.state() == "aborted", seconds=60, what="the abort")
    assert "failed again" in why(run)
    assert arrived_in_rabbitmq(run.url, run.name) == {}

    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(run.url))) as connection:
        channel = connection.channel()
        channel.exchange_declare("plan.missing", "fanout")
        channel.queue_bind(run.name, "plan.missing")
    resume(run)
    check_refused(run)


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
