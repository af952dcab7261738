"""Compensations under faults: workers killed and asleep, receivers that lie, stall and refuse, PostgreSQL and Valkey gone, a real RabbitMQ.

Whatever happens: no step is undone that did not happen, none twice but under the key and the attempts that its row tells, each run keeps its
order, and every completed step is there in a state that says what became of it.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pika
import pytest

from tests.faults.inject import cut_connections, flush_redis, kill_postgres, kill_redis
from tests.faults.test_plans_survive import beside, fails, kill_workers, senders
from tests.faults.undoing import CONNECT, STEPS, Estate
from tests.product import Product, wait_until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


def test_killed_between_the_call_and_its_mark_it_is_unknown_or_called_again_with_the_same_key(estate: Estate):
    """kill -9 of every worker by the receiver, after it did the work and before it answers."""
    killed: set[str] = set()

    def kill_once(handler: Any, count: int) -> None:
        if handler.path not in killed:
            killed.add(handler.path)
            kill_workers(estate.product)
        handler.answer(200)

    estate.receiver.on |= {"killedonce": kill_once, "killedrepeatable": kill_once}
    runs = estate.begin("killedonce") + estate.begin("killedrepeatable", repeatable=True)
    for steps in (2, 3):
        wait_until(lambda: len(killed) >= steps - 1, seconds=60, what="the kill")  # noqa: B023
        wait_until(lambda: senders(estate.product), seconds=60, what="a worker")
        estate.leases_end()

    def settled() -> bool:
        estate.leases_end()
        return estate.states(runs[0])[0] == "stuck" and estate.states(runs[1])[0] == "compensated"

    wait_until(settled, seconds=90, what="both", every=2)
    assert estate.states(runs[0])[1] == {"stock": "unknown", "payment": "waiting"}
    estate.check(runs)
    assert [
        count
        for path, count in Counter(path for path, _ in estate.receiver.calls).items()
        if path.startswith("/killedonce/")
    ] == [1]


def test_500_after_the_work_and_no_answer_at_all_are_unknown_or_repeated_and_a_lasting_no_fails(estate: Estate):
    def lie_once(handler: Any, count: int) -> None:
        handler.answer(500 if count == 1 else 200)

    def stall(handler: Any, count: int) -> None:
        estate.receiver.ending.wait(4)

    estate.receiver.on |= {
        "lies": lambda handler, _: handler.answer(500),
        "liesrepeatable": lie_once,
        "stalls": stall,
        "refuses": lambda handler, _: handler.answer(422),
        "refusesstock": lambda handler, _: handler.answer(422 if "/stock/" in handler.path else 200),
    }
    once = [estate.begin(what)[0] for what in ("lies", "stalls", "refuses")]
    (repeated,) = estate.begin("liesrepeatable", repeatable=True)
    (past,) = estate.begin("refusesstock", on_failure="continue")

    def settled() -> bool:
        estate.calm()
        return (
            all(estate.states(run)[0] == "stuck" for run in (*once, past))
            and estate.states(repeated)[0] == "compensated"
        )

    wait_until(settled, seconds=120, what="all of them", every=1)
    assert [estate.states(run)[1] for run in once] == [
        {"stock": "unknown", "payment": "waiting"},
        {"stock": "unknown", "payment": "waiting"},
        {"stock": "failed", "payment": "waiting"},
    ]
    assert estate.states(past)[1] == {"stock": "failed", "payment": "done"}
    estate.check([*once, repeated, past])
    assert set(estate.receiver.keys().values()) <= {1, 2}


def test_a_message_that_the_broker_confirms_is_done_and_one_that_no_queue_takes_fails(estate: Estate, rabbitmq: str):
    book = """
steps:
  - name: stock
    title: stock done
    happened: {system: "stock-{name}"}
    undo: {title: release, connection: undo-rabbit, message: {destination: compensation.releases}, body: "{order}",
           inputs: {order: {key: order_no}}}
  - name: payment
    title: payment done
    happened: {system: "payment-{name}"}
    undo: {title: refund, connection: undo-rabbit, message: {destination: compensation.nowhere}, body: "{order}",
           inputs: {order: {key: order_no}}}
"""
    connections = [("undo-rabbit", "rabbitmq", rabbitmq.replace("guest:guest@", ""))]
    estate.product.manage("shell", "-c", CONNECT.format(connections=connections))
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(rabbitmq))) as line:
        line.channel().queue_declare("compensation.releases", durable=True)
        (run,) = estate.begin("rabbit", book=book)

        assert estate.until(run, "stuck") == {"stock": "done", "payment": "failed"}

        channel = line.channel()
        _, properties, body = channel.basic_get("compensation.releases", auto_ack=True)
        assert channel.basic_get("compensation.releases")[0] is None
    ((key,),) = estate.ask(
        "SELECT idempotency_key::text FROM messaging_compensationstep WHERE compensation_id = %s AND name = 'stock'",
        run,
    )
    assert body.startswith(b"rabbit")
    assert properties.headers["x-idempotency-key"] == key
    estate.check([run])


def test_workers_asleep_past_their_lease_wake_beside_their_successor_and_call_nobody_twice_in_silence(estate: Estate):
    """SIGSTOP of every worker while the receiver holds the answer; the lease ends, another takes over, they wake."""
    asleep: list[int] = []

    def hold(handler: Any, count: int) -> None:
        if not asleep:
            asleep.extend(senders(estate.product))
            for pid in asleep:
                os.kill(pid, signal.SIGSTOP)
        handler.answer(200)

    estate.receiver.on["sleeps"] = hold
    (run,) = estate.begin("sleeps")
    wait_until(lambda: asleep, seconds=60, what="the sleep")
    try:
        with beside(estate.product, "worker", "--concurrency", "1"):
            estate.leases_end()
            estate.until(run, "stuck")
            assert estate.states(run)[1]["stock"] == "unknown"
    finally:
        for pid in asleep:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    # Who wakes tells what the receiver had said, and the run goes on by itself.
    def settled() -> bool:
        estate.ask("UPDATE messaging_compensation SET due_at = now() WHERE id = %s", run)
        return estate.states(run)[0] == "compensated"

    wait_until(settled, seconds=60, what="the end", every=1)
    estate.check([run])
    assert all(
        count == 1
        for path, count in Counter(path for path, _ in estate.receiver.calls).items()
        if path.startswith("/sleeps/")
    )


@pytest.mark.parametrize(
    ("name", "faults"),
    [("postgres", [kill_postgres, cut_connections]), ("redis", [flush_redis, kill_redis])],
)
def test_engines_that_go_and_come_back_only_delay_compensations(
    estate: Estate, name: str, faults: list[Callable[[Product, random.Random], None]]
):
    chance = random.Random(5)

    def slowly(handler: Any, count: int) -> None:
        time.sleep(0.1)
        handler.answer(200)

    estate.receiver.on[f"slow{name}"] = slowly
    runs = estate.begin(f"slow{name}", orders=12, repeatable=True)
    for at, fault in enumerate(faults):
        wait_until(lambda: done(estate, runs) >= 4 * (at + 1), seconds=90, what="some of them", every=0.05)  # noqa: B023
        wait_until(lambda: not fails(fault, estate.product, chance), seconds=60, what=name)  # noqa: B023

    def settled() -> bool:
        estate.leases_end()
        return done(estate, runs) == len(STEPS) * len(runs)

    wait_until(settled, seconds=120, what="all of them", every=2)
    for run in runs:
        estate.until(run, "compensated")
    estate.check(runs)


def done(estate: Estate, runs: list[int]) -> int:
    sql = "SELECT count(*) FROM messaging_compensationstep WHERE state = 'done' AND compensation_id = ANY(%s)"
    return int(estate.ask(sql, runs)[0][0])
