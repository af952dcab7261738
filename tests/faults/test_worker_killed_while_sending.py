"""The worker is killed between send and mark, for real: the receiver has the message and the console does not know."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pika
import psycopg
import pytest

from benchmarks.replay import BATCH, arrived_in_rabbitmq, letter
from benchmarks.replay import CONNECT as CONNECT_BROKERS
from tests.product import Product, call, wait_until

CONNECT = """
from console.identity.actor import SYSTEM
from console.identity.models import Environment
from messages.catalog.connections import approve_connection, create_connection

production = Environment.objects.get(slug="production")
made = create_connection(production, name="endpoint", kind="http", address="{address}", by=SYSTEM)
approve_connection(made, by=SYSTEM)
"""


@pytest.fixture(scope="module")
def product() -> Iterator[Product]:
    product = Product.prepared("worker").start()
    wait_until(lambda: "Waybill is ready" in product.log.read_text(), seconds=60, what="the welcome")
    yield product
    product.stop()


def workers_of(product: Product) -> list[int]:
    return [pid for pid, line in product.descendants().items() if "celery" in line and " beat" not in line]


def kill_nine(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Receiver:
    """An endpoint that takes a message, kills every Celery process, and only then would answer."""

    def __init__(self, product: Product) -> None:
        self.replay_ids: list[str] = []
        self.killing = True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                outer.replay_ids.append(self.headers["replay-id"])
                if outer.killing:
                    outer.killing = False
                    kill_nine(workers_of(product))
                with contextlib.suppress(OSError):
                    self.send_response(200)
                    self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> Receiver:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


def test_it_ends_unknown_or_is_sent_again_with_the_same_replay_id_never_in_silence(product: Product, tmp_path: Path):
    api, key = product.api_key(), product.agent_key("harvester")

    with Receiver(product) as receiver:
        product.manage("shell", "-c", CONNECT.format(address=receiver.address))
        for number, (idempotent, state) in enumerate([(False, "unknown"), (True, "confirmed")]):
            receiver.replay_ids.clear()
            receiver.killing = True
            letter = {
                "id": f"death-{number}", "broker": "endpoint", "family": "http", "queue": "failed", "origin": f"orders-{number}", "system": "erp",
                "message_id": f"message-{number:020d}", "body": "{}", "content_type": "application/json",
            }  # fmt: skip
            status, _ = call("POST", product.base + "/ingest/v1/dead-letters", key=key, body=[letter])
            assert status == 200
            found = call("GET", f"{product.base}/api/v1/dead-letters?q=message_id:{letter['message_id']}", key=api)[1][
                "results"
            ][0]
            product.manage(
                "shell",
                "-c",
                f"from messages.models import Flow; Flow.objects.filter(pk={found['flow_id']}).update(receiver_is_idempotent={idempotent})",
            )

            _, replay = call(
                "POST", f"{product.base}/api/v1/dead-letters/{found['id']}/replay", key=api, body={"reason": "fixed"}
            )
            wait_until(lambda: not receiver.killing, seconds=30, what="the kill")
            now = state_of(product, api, replay["id"])
            assert now["state"] == "sending", now
            end_lease(product, replay["id"])
            done = wait_for_state(product, api, replay["id"], state)

            assert receiver.replay_ids == [replay["id"]] * (2 if idempotent else 1)
            assert done["attempt"] == (2 if idempotent else 1)


def state_of(product: Product, api: str, pk: str) -> Any:
    return call("GET", f"{product.base}/api/v1/replays/{pk}", key=api)[1]


def wait_for_state(product: Product, api: str, pk: str, state: str) -> Any:
    def reached() -> Any:
        now = state_of(product, api, pk)
        return now if now["state"] == state else None

    return wait_until(reached, seconds=60, what=state)


def end_lease(product: Product, pk: str) -> None:
    """A minute passes."""
    with psycopg.connect(product.engines()["database_url"], autocommit=True) as database:
        database.execute("UPDATE messaging_replay SET lease_until = now() - interval '1 second' WHERE id = %s", [pk])


# What request_replay does to one letter, done to all of a queue in one statement.
REQUEST = """
WITH claimed AS (UPDATE messaging_deadletter SET state = 'replaying' WHERE queue = %s AND state = 'open' RETURNING *)
INSERT INTO messaging_replay (id, dead_letter_id, environment_id, connection_id, destination, state, attempt, requested_by, reason,
                              trace_id, span_id, created_at, detail, proof_tie)
SELECT uuidv7(), d.id, d.environment_id, c.id, d.origin, 'queued', 0, 'bench', 'bench', uuidv7(),
       substr(md5(d.id::text), 1, 16), now(), '', ''
FROM claimed d JOIN messaging_connection c ON c.environment_id = d.environment_id AND c.name = d.broker
"""
EACH = 1500
ORIGINS = {"window.repeatable": True, "window.once": False}  # whether the receiver is idempotent


def test_a_window_in_flight_loses_nothing_and_every_copy_has_its_attempt(product: Product, rabbitmq: str):
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(rabbitmq))) as connection:
        channel = connection.channel()
        for origin in ORIGINS:
            channel.queue_declare(origin, durable=True, arguments={"x-queue-type": "quorum"})
        fill(product, rabbitmq)
        with psycopg.connect(product.engines()["database_url"], autocommit=True) as database:
            lost = [killed_in_a_window(product, database, channel, origin) for origin in ORIGINS]
            wait_until(lambda: not in_hand(database), seconds=90, what="every replay to be settled")
            rows = database.execute(
                "SELECT r.id::text, r.attempt, r.state, d.origin, d.state FROM messaging_replay r JOIN messaging_deadletter d ON d.id = r.dead_letter_id "
                "WHERE d.broker = 'rabbit'"
            ).fetchall()
    arrived = arrived_in_rabbitmq(rabbitmq, "window.repeatable") + arrived_in_rabbitmq(rabbitmq, "window.once")

    assert min(lost) > 0  # else nothing was in flight, and this test shows nothing
    assert len(rows) == len(ORIGINS) * EACH
    assert set(arrived) <= {row[0] for row in rows}
    assert {(origin, state) for _, _, state, origin, _ in rows} <= {
        ("window.repeatable", "confirmed"),
        ("window.once", "confirmed"),
        ("window.once", "unknown"),
    }
    assert sum(state == "unknown" for _, _, state, *_ in rows) <= lost[1]  # a mark that was on its way counts
    assert {letter_state for *_, letter_state in rows} == {"replaying"}
    for pk, attempts, state, *_ in rows:
        assert (state == "confirmed") <= arrived[pk] <= attempts, (pk, attempts, state, arrived[pk])


def fill(product: Product, rabbitmq: str) -> None:
    brokers = [("rabbit", "rabbitmq", rabbitmq.replace("guest:guest@", ""), "guest")]
    product.manage("shell", "-c", CONNECT_BROKERS.format(brokers=brokers))
    key = product.agent_key("rabbit harvester")
    for origin in ORIGINS:
        for first in range(0, EACH, BATCH):
            letters = [letter("rabbit", f"{origin}.dlq", origin, number) for number in range(first, first + BATCH)]
            assert call("POST", product.base + "/ingest/v1/dead-letters", key=key, body=letters)[0] == 200
    product.manage(
        "shell",
        "-c",
        "from messages.models import Flow; Flow.objects.filter(name='window.repeatable').update(receiver_is_idempotent=True)",
    )


def killed_in_a_window(product: Product, database: psycopg.Connection[Any], channel: Any, origin: str) -> int:
    """Have one queue replayed, kill the workers while its messages arrive; return how many of it were in their hands."""
    victims = wait_until(
        lambda: len(found := workers_of(product)) > 2 and found, seconds=60, what="a worker and its two processes"
    )

    def in_flight() -> bool:
        return bool(channel.queue_declare(origin, passive=True).method.message_count) and in_hand(database)

    database.execute(REQUEST, [f"{origin}.dlq"])  # the next sweep finds them
    wait_until(in_flight, seconds=60, what="a window in flight", every=0.001)
    kill_nine(victims)
    ended = database.execute(  # a minute passes
        "UPDATE messaging_replay r SET lease_until = now() - interval '1 second' FROM messaging_deadletter d "
        "WHERE r.state = 'sending' AND d.id = r.dead_letter_id RETURNING d.origin"
    )
    lost = [row[0] for row in ended].count(origin)
    return lost


def in_hand(database: psycopg.Connection[Any]) -> bool:
    row = database.execute(
        "SELECT EXISTS (SELECT 1 FROM messaging_replay WHERE state IN ('queued', 'sending'))"
    ).fetchone()
    return bool(row and row[0])
