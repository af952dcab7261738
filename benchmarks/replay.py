"""`make bench-replay`: replays/s from PostgreSQL with confirms and marks, beside raw sending without, in the same run.

The whole path by the console as `make run` starts it: dead letters of 1 KB that came through ingest, claimed, opened, their sends
recorded, published with confirms and marked by its Celery workers; to a quorum queue of a private RabbitMQ and a topic of a private
Kafka. A rate is from the start of the plan to the last mark. Every message must have arrived exactly once and every row
be marked, or there is no figure. It is one plan, in one wave, without a rate.
Raw is the same bodies by pika (BlockingConnection, persistent, no confirms), before and after ours, and by
confluent-kafka's producer (its defaults, with delivery callbacks, to the flush's end). Freezing the plan is no part of it, handing its items over is.
Then a plan is paused, stopped for all and stopped over REST while it sends (benchmarks/holding.py), and the most memory of a worker after few and many.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
import psycopg
from confluent_kafka import Producer

from benchmarks.harvest import cpu
from benchmarks.holding import holds, worker_mb
from tests.engines.kafka import JARS, Kafka
from tests.engines.rabbitmq import INSTALLED, RabbitMQ
from tests.product import Product, call, wait_until

WARM = 2_000
BATCH = 500
QUORUM = {"x-queue-type": "quorum"}
CONNECT = """
from console.identity.actor import SYSTEM
from console.identity.models import Environment
from messages.catalog.connections import approve_connection, create_connection

production = Environment.objects.get(slug="production")
for name, kind, address, username in {brokers!r}:
    made = create_connection(production, name=name, kind=kind, address=address, username=username, secret=username, by=SYSTEM)
    approve_connection(made, by=SYSTEM)
"""
# What request_replay does to one letter, done to all of a queue in one statement.
REQUEST = """
WITH claimed AS (UPDATE messaging_deadletter SET state = 'replaying' WHERE queue = %s AND state = 'open' RETURNING *)
INSERT INTO messaging_replay (id, dead_letter_id, environment_id, connection_id, destination, state, attempt, requested_by, reason,
                              trace_id, span_id, created_at, detail, proof_tie)
SELECT uuidv7(), d.id, d.environment_id, c.id, d.origin, 'queued', 0, 'bench', 'bench', uuidv7(),
       substr(md5(d.id::text), 1, 16), now(), '', ''
FROM claimed d JOIN messaging_connection c ON c.environment_id = d.environment_id AND c.name = d.broker
"""
# Freezes and starts one plan over a queue of dead letters; the last line says what it took, and when it was started.
PLAN = """
import time
from console.identity.actor import SYSTEM
from console.identity.models import Environment
from messages.models import DeadLetter, Plan
from messages.plans.selection import Selection
from messages.plans.services import Options, create_plan, start_plan
from messages.search.parse import parse_query

q = "queue:{queue} state:open"
production = Environment.objects.get(slug="production")
options = Options(rate_per_s={rate}, steps=("100%",), waits_for="confirmed")
DeadLetter.objects.exists()  # the connection is made
began = time.perf_counter()
plan = create_plan(Selection(source="query", q=q, query=parse_query(q)), environment=production, by=SYSTEM, reason="bench", options=options)
took = time.perf_counter() - began
at = time.time()
if {start}:
    start_plan(plan, by=SYSTEM)
print(plan.pk, plan.items_count, took, at)
"""
COPIES = """
INSERT INTO messaging_deadletter (id, identity, environment_id, flow_id, system_id, state, received_at, failed_at, broker, family, queue, origin, route,
    reason, reason_code, error_type, error_root_type, error_message, error_stack, message_id, message_uid, correlation_id, span_id, keys, content_type,
    payload_on, size_bytes, attempts)
SELECT uuidv7(), gen_random_uuid(), environment_id, flow_id, system_id, 'open', received_at, failed_at + n * interval '1 second', broker, family, 'plan.dlq',
    origin, route, reason, reason_code, error_type, error_root_type, error_message, error_stack, 'm-' || n, gen_random_uuid(), '', '',
    jsonb_build_object('order_no', n::text), content_type, payload_on, size_bytes, attempts
FROM (SELECT * FROM messaging_deadletter WHERE queue = 'rabbit.warm.dlq' LIMIT 1) d, generate_series(1, 100000) n
"""
RATE = """
SELECT count(*), count(*) FILTER (WHERE r.state = 'confirmed' AND r.attempt = 1), count(*) FILTER (WHERE d.state = 'replaying'),
       extract(epoch FROM min(confirmed_at)), extract(epoch FROM max(confirmed_at))
FROM messaging_replay r JOIN messaging_deadletter d ON d.id = r.dead_letter_id WHERE r.plan_id = %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One queue of dead letters replayed: replays/s, the seconds to freeze them and to the first mark, the CPU time that one took where, in µs,
    and the most memory that a worker has held so far."""

    per_s: float
    freeze_s: float
    first_s: float
    cpu_us: dict[str, float]
    worker_mb: int


def plan_over(
    product: Product, queue: str, *, start: bool = True, rate: float | None = None
) -> tuple[int, int, float, float]:
    """Freeze a plan over every open letter of this queue; return (its id, its items, the seconds it took, when it was started)."""
    said = product.manage("shell", "-c", PLAN.format(queue=queue, start=start, rate=rate)).splitlines()[-1].split()
    return int(said[0]), int(said[1]), float(said[2]), float(said[3])


class Bench:
    """A running console, and dead letters of two brokers in it."""

    def __init__(self, product: Product, brokers: list[tuple[str, str, str, str]]) -> None:
        self.product = product
        product.manage("shell", "-c", CONNECT.format(brokers=brokers))
        self.api, self.agent = product.api_key(), product.agent_key("bench")
        self.database = psycopg.connect(product.engines()["database_url"], autocommit=True)

    def fill(self, broker: str, queue: str, origin: str, count: int) -> None:
        """Push dead letters of 1 KB, as a harvester does."""
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda first: self._push(broker, queue, origin, range(first, min(count, first + BATCH))), range(0, count, BATCH)))  # fmt: skip

    def _push(self, broker: str, queue: str, origin: str, numbers: range) -> None:
        letters = [letter(broker, queue, origin, number) for number in numbers]
        status, answer = call("POST", self.product.base + "/ingest/v1/dead-letters", key=self.agent, body=letters)
        if status != 200 or answer["accepted"] != len(letters):
            raise SystemExit(f"the dead letters were not taken: {status} {answer}")

    def plan(self, queue: str, *, start: bool = True) -> tuple[int, int, float, float]:
        return plan_over(self.product, queue, start=start)

    def replayed(self, queue: str, engine: Any) -> Run:
        """Replay every letter of this queue through one plan and wait until all are marked."""
        assert self.product.process is not None
        self.database.execute("VACUUM ANALYZE messaging_replay, messaging_deadletter")
        before = cpu(0, engine, self.product.process.pid)
        plan, items, freeze_s, started_at = self.plan(queue)
        wait_until(lambda: self._is_done(plan), seconds=600, what="the plan")
        after = cpu(0, engine, self.product.process.pid)
        row = self.database.execute(RATE, [plan]).fetchone()
        assert row is not None
        count, confirmed, replaying, first_at, last_at = row
        if not items == count == confirmed == replaying:
            raise SystemExit(
                f"of {count} replays {confirmed} were confirmed at once, {replaying} letters wait for their proof"
            )
        return Run(
            per_s=count / (float(last_at) - started_at), freeze_s=freeze_s, first_s=float(first_at) - started_at,
            cpu_us={k: (after[k] - before[k]) / count * 1e6 for k in after}, worker_mb=worker_mb(self.product.process.pid),
        )  # fmt: skip

    def _is_done(self, plan: int) -> bool:
        row = self.database.execute("SELECT state = 'finished' FROM messaging_plan WHERE id = %s", [plan]).fetchone()
        return bool(row and row[0])

    def freeze_s(self) -> float:
        """Return the seconds that a plan of 100,000 letters takes to freeze."""
        self.database.execute(COPIES)
        self.database.execute("VACUUM ANALYZE messaging_deadletter")
        _, items, took, _ = self.plan("plan.dlq", start=False)
        if items != 100_000:
            raise SystemExit(f"of 100,000 letters {items} are sent")
        return took

    def check(self, queue: str, arrived: Counter[str]) -> None:
        """Every replay has arrived, and none twice."""
        asked = "SELECT r.id::text FROM messaging_replay r JOIN messaging_deadletter d ON d.id = r.dead_letter_id WHERE d.queue = %s"
        expected = {row[0] for row in self.database.execute(asked, [queue])}
        if set(arrived) != expected or set(arrived.values()) != {1}:
            raise SystemExit(
                f"{len(expected)} replays, {len(arrived)} of them arrived, {arrived.total() - len(arrived)} copies too many"
            )

    def first_message_s(self, queue: str) -> float:
        """Return the longest of five times from the start of a plan to its first message being out and marked."""
        worst = 0.0
        for number in range(5):
            self._push("rabbit", queue, "first", range(number, number + 1))
            plan, _, _, started_at = self.plan(queue)
            wait_until(lambda: self._is_done(plan), seconds=30, what="the plan")  # noqa: B023  called at once
            row = self.database.execute(RATE, [plan]).fetchone()
            assert row is not None
            worst = max(worst, float(row[3]) - started_at)
        return worst


def letter(broker: str, queue: str, origin: str, number: int) -> dict[str, object]:
    identity = f"{queue}-{number:08d}"
    return {
        "id": identity, "broker": broker, "family": "bench", "queue": queue, "origin": origin, "route": {}, "system": "erp",
        "reason": "rejected", "reason_code": "rejected", "message_id": f"message-{identity}", "attempts": 3, "keys": {"order_no": str(number)},
        "trace_id": secrets.token_hex(16), "span_id": secrets.token_hex(8),
        "headers": [{"name": "tenant", "type": "string", "value": "a"}, {"name": "x-first-death-queue", "type": "string", "value": origin}],
        "content_type": "application/json", "body": body(number),
    }  # fmt: skip


def body(number: int) -> str:
    return json.dumps({"order_no": str(number), "text": secrets.token_urlsafe(720)})


def raw_rabbitmq(url: str, count: int) -> float:
    """Return messages/s of basic.publish by pika without confirms, until the broker has read the last."""
    bodies = [body(number).encode() for number in range(count)]
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        channel.queue_declare("raw", durable=True, arguments=QUORUM)
        started = time.perf_counter()
        for one in bodies:
            channel.basic_publish("", "raw", one, pika.BasicProperties(delivery_mode=2, message_id="m"))
        channel.queue_declare("raw", passive=True)
        per_s = count / (time.perf_counter() - started)
        channel.queue_delete("raw")
    return per_s


def raw_kafka(broker: Kafka, count: int) -> float:
    """Return messages/s of the client library's own producer, each with its delivery callback, until all are delivered."""
    topic, delivered = broker.topic(), []
    bodies = [body(number).encode() for number in range(count)]
    producer = Producer({"bootstrap.servers": broker.address, "log_level": 0})
    producer.list_topics(topic, timeout=10)
    started = time.perf_counter()
    for one in bodies:
        while True:
            try:
                producer.produce(topic, one, on_delivery=lambda error, _: delivered.append(error))
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush(60)
    per_s = count / (time.perf_counter() - started)
    if len(delivered) != count or any(delivered):
        raise SystemExit("not everything was delivered")
    return per_s


def arrived_in_rabbitmq(url: str, queue: str) -> Counter[str]:
    """Return how often each replay id is in the queue."""
    found: Counter[str] = Counter()
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=1000)
        for method, properties, _ in channel.consume(queue, auto_ack=True, inactivity_timeout=2):
            if method is None:
                break
            found[properties.headers["replay-id"]] += 1  # type: ignore[union-attr,index]
        channel.cancel()
    return found


def arrived_in_kafka(broker: Kafka, topic: str) -> Counter[str]:
    return Counter(dict(record.headers() or ())["replay-id"].decode() for record in broker.records(topic))  # type: ignore[union-attr,call-overload]


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--replays", type=int, default=20_000, help="replays in each measured run")
    count = ask.parse_args().replays
    if not INSTALLED.exists() or not JARS.exists():
        raise SystemExit("RabbitMQ and Kafka are not installed: `make engines` as root installs them")
    folder = Path(tempfile.mkdtemp(prefix="waybill-bench-"))
    folder.chmod(0o711)
    product = Product(folder / "data", demo=False, WAYBILL_LOG_LEVEL="WARNING", WAYBILL_DISK_RESERVE_PERCENT="1")
    try:
        product.start()
        _measure(product, count)
    finally:
        product.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _measure(product: Product, count: int) -> None:
    with RabbitMQ() as rabbit:
        bench = Bench(product, [("rabbit", "rabbitmq", rabbit.url.replace("guest:guest@", ""), "guest")])
        queues = _declare(rabbit.url)
        rabbit_run, rabbit_raw, warm = _beside(bench, "rabbit", rabbit, count, lambda: raw_rabbitmq(rabbit.url, count))
        for queue, origin in queues.items():
            bench.check(queue, arrived_in_rabbitmq(rabbit.url, origin))
        first_s = bench.first_message_s("first.dlq")
        bench.fill("rabbit", "held.dlq", "held", count)
        held = holds(bench, "held.dlq")
        plan_s = bench.freeze_s()
    with Kafka() as kafka:
        bench = Bench(product, [("kafka", "kafka", f"kafka://{kafka.address}", "")])
        for queue in ("warm", "measured"):
            kafka.topic(name=f"kafka.{queue}")
        kafka_run, kafka_raw, _ = _beside(bench, "kafka", kafka, count, lambda: raw_kafka(kafka, count))
        for queue in ("warm", "measured"):
            bench.check(f"kafka.{queue}.dlq", arrived_in_kafka(kafka, f"kafka.{queue}"))
    _print(count, {"RabbitMQ, quorum queue": (rabbit_run, rabbit_raw), "Kafka": (kafka_run, kafka_raw)})
    print(f"from the start of a plan to its first message, out and marked: at most {first_s:.3f} s")
    print(f"a plan of 100,000: frozen in {plan_s:.2f} s")
    print(
        "from the request to the last message that still went out: "
        + ", ".join(f"{how} {took:.3f} s" for how, took in held.items())
    )
    print(
        f"most memory of a worker: {warm.worker_mb} MB after {WARM:,} replays, {rabbit_run.worker_mb} MB after {count:,} more"
    )
    figures = {
        "rabbitmq_ratio": round(rabbit_run.per_s / rabbit_raw, 3), "kafka_ratio": round(kafka_run.per_s / kafka_raw, 3),
        "plan_100k_s": round(plan_s, 2), "first_message_s": round(first_s, 3), "held_s": round(max(held.values()), 3),
        "worker_mb": [warm.worker_mb, rabbit_run.worker_mb],
    }  # fmt: skip
    print(json.dumps(figures))


def _declare(url: str) -> dict[str, str]:
    """Make the queues; return {dead-letter queue: where its letters go}."""
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        for queue in ("first", "held"):
            connection.channel().queue_declare(queue, durable=True, arguments=QUORUM)
        for queue in ("warm", "measured"):
            connection.channel().queue_declare(f"rabbit.{queue}", durable=True, arguments=QUORUM)
    return {f"rabbit.{queue}.dlq": f"rabbit.{queue}" for queue in ("warm", "measured")}


def _beside(bench: Bench, broker: str, engine: Any, count: int, raw: Callable[[], float]) -> tuple[Run, float, Run]:
    """Return ours, the mean of raw before and after it, and what warmed up before: WARM of ours."""
    bench.fill(broker, f"{broker}.warm.dlq", f"{broker}.warm", WARM)
    warm = bench.replayed(f"{broker}.warm.dlq", engine)
    bench.fill(broker, f"{broker}.measured.dlq", f"{broker}.measured", count)
    before = raw()
    run = bench.replayed(f"{broker}.measured.dlq", engine)
    return run, (before + raw()) / 2, warm


def _print(count: int, runs: dict[str, tuple[Run, float]]) -> None:
    print(
        f"{f'{count:,} replays':24}{'replays/s':>10}{'raw/s':>9}{'ratio':>7}{'frozen in s':>13}{'first in s':>12}",
        end="",
    )
    print(f"   CPU µs a replay:{'broker':>9}{'postgres':>10}{'others':>10}")
    for words, (run, raw) in runs.items():
        us = "".join(f"{run.cpu_us[place]:10,.0f}" for place in ("rabbitmq", "postgres", "others"))
        print(
            f"{words:24}{run.per_s:10,.0f}{raw:9,.0f}{run.per_s / raw:7.2f}{run.freeze_s:13.2f}{run.first_s:12.3f}   {'':15}{us}"
        )


if __name__ == "__main__":
    main()
