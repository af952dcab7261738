"""Compensations under faults: workers killed and asleep, receivers that lie, stall and refuse, PostgreSQL and Valkey gone, a real RabbitMQ.

Whatever happens: no step is undone that did not happen, none twice but under the key and the attempts that its row tells, each run keeps its
order, and every completed step is there in a state that says what became of it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pika
import psycopg
import pytest

from tests.faults.inject import connect, cut_connections, flush_redis, kill_postgres, kill_redis
from tests.faults.test_plans_survive import beside, fails, kill_workers, senders
from tests.product import Product, call, wait_until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]
CONNECT = """
from console.identity.actor import SYSTEM
from console.identity.models import Environment
from messages.catalog.connections import approve_connection, create_connection

production = Environment.objects.get(slug="production")
for name, kind, address in {connections!r}:
    made = create_connection(production, name=name, kind=kind, address=address, username="guest" * (kind != "http"),
                             secret="guest" * (kind != "http"), by=SYSTEM)
    approve_connection(made, by=SYSTEM)
"""
BEGIN = """
from console.identity.actor import SYSTEM
from messages.compensation.book import parse_book
from messages.compensation.books import newest_book, save_book
from messages.compensation.proposing import propose, target_of_letter
from messages.compensation.services import start
from messages.models import DeadLetter

runs = []
for letter in DeadLetter.objects.filter(origin={origin!r}).order_by("id"):
    if newest_book(letter.flow) is None:
        save_book(letter.flow, parse_book({book!r}), by=SYSTEM, reason="tests", base=0)
    run = propose(target_of_letter(letter), by=SYSTEM, reason="billing refused it", on_failure={on_failure!r})
    start(run, by=SYSTEM)
    runs.append(run.pk)
print(runs)
"""
STEP = """
  - name: {step}
    title: {step} done
    happened: {{system: {step}-{name}}}
    undo:
      title: undo {step}
      connection: undo-http
      http: {{path: "/{name}/{step}/{{order}}"}}
      body: {{order: "{{order}}"}}
      inputs: {{order: {{key: order_no}}}}
      repeatable: {repeatable}
      timeout_s: 2
"""
STEPS = ("payment", "stock")
_names = itertools.count(1)


class Receiver:
    """Undoes what it is told, and counts by Idempotency-Key. on: {first part of the path: what is done instead of a plain answer}."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []  # path, key; in the order in which the work was done
        self.on: dict[str, Callable[[BaseHTTPRequestHandler, int], None]] = {}
        self.ending = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                outer.calls.append((self.path, self.headers["Idempotency-Key"]))
                act = outer.on.get(self.path.split("/")[1])
                with contextlib.suppress(OSError):
                    if act:
                        act(self, outer.keys()[self.headers["Idempotency-Key"]])
                    else:
                        self.answer(200)

            def answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)

    def keys(self) -> Counter[str]:
        return Counter(key for _, key in list(self.calls))

    def __enter__(self) -> Receiver:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Estate:
    """The product, its receivers, and orders that billing refused after others had done their part."""

    def __init__(self, product: Product, receiver: Receiver, key: str) -> None:
        self.product, self.receiver, self.key = product, receiver, key

    def begin(
        self, what: str, *, orders: int = 1, repeatable: bool = False, on_failure: str = "stop", book: str = ""
    ) -> list[int]:
        """Start a compensation of so many orders; return their numbers. Their calls go to /<what>/<step>/<order>."""
        name = f"{what}{next(_names)}" if what not in self.receiver.on else what
        events, letters, at = [], [], datetime.now(UTC) - timedelta(minutes=5)
        for number in range(orders):
            trace, keys = f"{random.getrandbits(128) or 1:032x}", {"order_no": f"{name}-{number}"}
            letters.append({
                "id": f"death-{name}-{number}", "broker": "undo-rabbit", "family": "rabbitmq", "queue": f"{name}.dlq", "origin": name,
                "system": "billing", "message_id": f"order-{name}-{number:012d}", "trace_id": trace, "keys": keys, "body": "{}",
            })  # fmt: skip
            events += [
                {"id": f"{name}-{number}-{step}", "system": f"{step}-{name}", "operation": "process", "outcome": "ok", "trace_id": trace,
                 "message_id": f"{step}-{name}-{number:012d}", "occurred_at": (at + timedelta(seconds=place)).isoformat(), "keys": keys,
                 "destination": step}
                for place, step in enumerate(STEPS)
            ]  # fmt: skip
        assert call("POST", f"{self.product.base}/ingest/v1/events", key=self.key, body={"events": events})[0] == 200
        assert call("POST", f"{self.product.base}/ingest/v1/dead-letters", key=self.key, body=letters)[0] == 200
        book = book or "steps:" + "".join(
            STEP.format(step=step, name=name, repeatable=str(repeatable).lower()) for step in STEPS
        )
        asked = BEGIN.format(origin=name, book=book.replace("{name}", name), on_failure=on_failure)
        return list(json.loads(self.product.manage("shell", "-v", "0", "-c", asked).splitlines()[-1]))

    def ask(self, sql: str, *asked: Any) -> list[Any]:
        """Ask the database, as soon as there is one."""

        def answer() -> list[Any] | None:
            try:
                with connect(self.product) as database:
                    cursor = database.execute(sql, asked)
                    return [cursor.fetchall() if cursor.description else []]
            except psycopg.OperationalError:
                return None

        return list(wait_until(answer, seconds=60, what="the database")[0])

    def states(self, run: int) -> tuple[str, dict[str, str]]:
        ((state,),) = self.ask("SELECT state FROM messaging_compensation WHERE id = %s", run)
        steps = "SELECT name, state FROM messaging_compensationstep WHERE compensation_id = %s ORDER BY ordinal"
        return state, dict(self.ask(steps, run))

    def until(self, run: int, state: str, seconds: float = 60) -> dict[str, str]:
        """Wait until the run is in this state; return those of its steps."""
        wait_until(
            lambda: self.states(run)[0] == state, seconds=seconds, what=f"C-{run} {state}, it is {self.states(run)}"
        )
        return self.states(run)[1]

    def leases_end(self) -> None:
        """What a dead or sleeping worker had is free, and everything is due."""
        self.ask(
            "UPDATE messaging_compensationstep SET lease_until = now() - interval '1 second' WHERE state = 'sending'"
        )
        self.ask("UPDATE messaging_compensation SET due_at = now() WHERE due_at IS NOT NULL")
        self.calm()

    def calm(self) -> None:
        """Receivers are forgiven."""
        self.ask("UPDATE messaging_connection SET undo_not_before = NULL")

    def check(self, runs: list[int]) -> None:
        """The invariants, of these runs; nothing may be on its way."""
        steps = self.ask(
            "SELECT s.compensation_id, s.ordinal, s.idempotency_key::text, s.state, s.attempt, s.kind, e.outcome, r.state "
            "FROM messaging_compensationstep s JOIN messaging_compensation r ON r.id = s.compensation_id "
            "LEFT JOIN messaging_event e ON e.id = s.event_id WHERE r.id = ANY(%s) ORDER BY 1, 2", runs,
        )  # fmt: skip
        counts, began = (
            self.receiver.keys(),
            {key: at for at, (_, key) in reversed(list(enumerate(self.receiver.calls)))},
        )
        assert len(steps) == len(STEPS) * len(runs), "a completed step is missing"
        last: dict[int, int] = {}
        for run, ordinal, key, state, attempts, kind, outcome, of_run in steps:
            assert outcome == 1, f"C-{run}/{ordinal} did not happen"
            assert state in ("done", "failed", "unknown", "waiting", "skipped", "by_hand"), (
                f"C-{run}/{ordinal} hangs as {state}"
            )
            if kind == "http":
                assert (state == "done") <= counts[key] <= attempts, (run, ordinal, state, attempts, counts[key])
                assert state != "waiting" or counts[key] == 0 or attempts > 0
            if key in began:
                assert last.get(run, -1) < began[key], f"C-{run} did not keep its order"
                last[run] = began[key]
            if state in ("failed", "unknown"):
                assert of_run == "stuck", f"C-{run} hides that {ordinal} is {state}"
            assert of_run != "compensated" or state in ("done", "by_hand")


@pytest.fixture(scope="module")
def estate(running: Product) -> Iterator[Estate]:
    with Receiver() as receiver:
        address = f"http://127.0.0.1:{receiver.server.server_port}"
        running.manage("shell", "-c", CONNECT.format(connections=[("undo-http", "http", address)]))
        yield Estate(running, receiver, running.agent_key("estate of compensations"))


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
