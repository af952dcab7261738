"""A plan over letters of a queue of its own, at a running product and a real broker, and what must be true of it at its end."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import pika
import psycopg

from benchmarks.replay import BATCH, QUORUM, arrived_in_rabbitmq, letter, plan_over
from tests.faults.inject import connect
from tests.product import Product, call, wait_until

ITEMS = 1_000
RATE = 500.0
Rows = list[tuple[str, int, str]]


class Run:
    """One plan over a queue of its own, and what is known of it at the end."""

    def __init__(
        self, product: Product, url: str, name: str, *, idempotent: bool = False, items: int = ITEMS, rate: float | None = RATE,
        broker: str = "plans", route: dict[str, str] | None = None, **arguments: Any,
    ) -> None:  # fmt: skip
        """route: what its letters say of their way back.   arguments: of its queue, such as x_max_length."""
        self.product, self.url, self.name, self.items = product, url, name, items
        self.arguments = QUORUM | {key.replace("_", "-"): value for key, value in arguments.items()}
        self.declare()
        key = product.agent_key(f"harvester of {name}")
        for first in range(0, items, BATCH):
            numbers = range(first, min(items, first + BATCH))
            letters = [letter(broker, f"{name}.dlq", name, number) | {"route": route or {}} for number in numbers]
            wait_until(lambda: call("POST", product.base + "/ingest/v1/dead-letters", key=key, body=letters)[0] == 200, seconds=30, what="the letters")  # noqa: B023  # fmt: skip
        self.ask("UPDATE messaging_flow SET receiver_is_idempotent = %s WHERE name = %s RETURNING id", idempotent, name)
        self.plan, frozen, *_ = plan_over(product, f"{name}.dlq", rate=rate)
        assert frozen == items
        self.previewed = {row[0] for row in self.ask("SELECT replay_id::text FROM messaging_planitem WHERE plan_id = %s", self.plan)}  # fmt: skip

    def declare(self) -> None:
        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(self.url))) as connection:
            connection.channel().queue_declare(self.name, durable=True, arguments=self.arguments)

    def ask(self, sql: str, *asked: Any) -> list[Any]:
        """Ask the database, as soon as there is one."""

        def answer() -> list[Any] | None:
            try:
                with connect(self.product) as database:
                    return [database.execute(sql, asked).fetchall()]
            except psycopg.OperationalError:
                return None

        return wait_until(answer, seconds=60, what="the database")[0]

    def state(self) -> str:
        return str(self.ask("SELECT state FROM messaging_plan WHERE id = %s", self.plan)[0][0])

    def sent(self) -> int:
        return int(self.ask("SELECT count(*) FROM messaging_replay WHERE plan_id = %s AND confirmed_at IS NOT NULL", self.plan)[0][0])  # fmt: skip

    def until_sent(self, share: float) -> None:
        try:
            wait_until(lambda: self.sent() >= share * self.items, seconds=60, what=f"{share:.0%} of it", every=0.02)
        except AssertionError as error:
            states = self.ask("SELECT state, count(*) FROM messaging_replay WHERE plan_id = %s GROUP BY 1", self.plan)
            log = self.product.log.read_text()[-2000:]
            raise AssertionError(
                f"{error}; the plan is {self.state()}, its replays {states}; the end of the log: {log}"
            ) from error

    def a_minute_passes(self) -> None:
        self.ask(
            "UPDATE messaging_replay SET lease_until = now() - interval '1 second' WHERE state = 'sending' AND plan_id = %s RETURNING id",
            self.plan,
        )

    def set(self, state: str) -> None:
        """What pausing and resuming do, of a process that needs no start of its own."""
        self.ask("UPDATE messaging_plan SET state = %s WHERE id = %s RETURNING id", state, self.plan)

    def ended(self) -> Rows:
        """Wait for the end, and return (replay id, attempts, state) of all that was previewed, and of nothing else."""
        self.ask("UPDATE messaging_plan SET wave_wait_s = 5 WHERE id = %s RETURNING id", self.plan)
        wait_until(lambda: self.state() == "finished", seconds=90, what="the end of the plan")
        rows = self.ask("SELECT id::text, attempt, state FROM messaging_replay WHERE plan_id = %s", self.plan)
        assert {pk for pk, *_ in rows} == self.previewed
        assert len(rows) == self.items
        return rows

    def check(self, taken: Counter[str] | None = None) -> Rows:
        """Nothing is stuck; what is marked was received; no copy lacks its attempt; all that was previewed, and nothing else.

        taken  what somebody took out of the queue before.
        """
        rows = self.ended()
        arrived = arrived_in_rabbitmq(self.url, self.name) + (taken or Counter())
        assert set(arrived) <= self.previewed
        assert {state for *_, state in rows} <= {"confirmed", "unknown"}
        for pk, attempts, state in rows:
            assert (state == "confirmed") <= arrived[pk] <= attempts, (pk, attempts, state, arrived[pk])
        return rows
