"""Compensations at a running product: receivers that count what they were told, orders that billing refused, and what must be true at the end."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg

from tests.faults.inject import connect
from tests.product import Product, call, wait_until

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
PLAN = """
from console.identity.actor import SYSTEM
from messages.compensation.book import parse_book
from messages.compensation.books import save_book
from messages.models import DeadLetter
from messages.plans.selection import Selection
from messages.plans.services import Options, create_plan, start_plan

letters = list(DeadLetter.objects.filter(origin={origin!r}))
save_book(letters[0].flow, parse_book({book!r}), by=SYSTEM, reason="tests", base=0)
options = Options(does="compensate", rate_per_s=None, steps={steps!r}, stop_failed_percent=100, stop_latency_times=None)
plan = create_plan(Selection(source="ticked", ids=[one.pk for one in letters]), environment=letters[0].environment, by=SYSTEM,
                   reason="billing refused them", options=options)
start_plan(plan, by=SYSTEM)
print([plan.pk])
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
        name, book = self.refused(what, orders=orders, repeatable=repeatable, book=book)
        return self.made(BEGIN.format(origin=name, book=book, on_failure=on_failure))

    def plan(self, what: str, *, orders: int, repeatable: bool = False, steps: tuple[str, ...] = ("100%",)) -> int:
        """Start a plan that compensates so many orders, and does not stop itself; return its number."""
        name, book = self.refused(what, orders=orders, repeatable=repeatable)
        return int(self.made(PLAN.format(origin=name, book=book, steps=steps))[0])

    def made(self, asked: str) -> list[int]:
        return list(json.loads(self.product.manage("shell", "-v", "0", "-c", asked).splitlines()[-1]))

    def _takes(self, path: str, body: Any) -> bool:
        """Push as an agent does: what is answered with 503, while an engine comes back, it sends again."""
        status, said = call("POST", f"{self.product.base}/ingest/v1/{path}", key=self.key, body=body)
        assert status in (200, 503), (status, said)
        return status == 200

    def refused(self, what: str, *, orders: int, repeatable: bool, book: str = "") -> tuple[str, str]:
        """Tell of so many orders that billing refused after both steps; return (the origin of their letters, the book that undoes them)."""
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
        for path, body in (("events", {"events": events}), ("dead-letters", letters)):
            wait_until(partial(self._takes, path, body), seconds=60, what=f"{path} to be taken")
        book = book or "steps:" + "".join(
            STEP.format(step=step, name=name, repeatable=str(repeatable).lower()) for step in STEPS
        )
        return name, book.replace("{name}", name)

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
