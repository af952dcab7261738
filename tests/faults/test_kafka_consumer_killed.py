"""The consumer is killed at random, the database restarted and the broker killed while a burst waits in Kafka: all of it is stored, once."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import ConsumerGroupState, Producer
from confluent_kafka.admin import AdminClient

from console.engines.postgres import Cluster
from tests.engines.kafka import Kafka
from tests.product import ROOT, Product, wait_until

RECORDS, TOGETHER = 300, 20
DEAD_AFTER_S = (
    8  # the group waits so long for a killed member before it shares out again; the broker takes no less than 6
)


@pytest.fixture
def product() -> Iterator[Product]:
    product = Product.prepared("consumer").start()
    yield product
    product.stop()


def burst(kafka: Kafka, topic: str) -> set[str]:
    """Produce records of twenty events each, every tenth twice; return the ids of the events."""
    producer = Producer({"bootstrap.servers": kafka.address})
    at = (datetime.now(UTC) - timedelta(seconds=30)).isoformat()
    ids = set()
    for number in range(RECORDS):
        common = {"system": "shop", "operation": "send", "occurred_at": at, "destination": "orders"}
        events = [
            common | {"id": f"{number}-{row}", "message_id": f"message-of-{number:04d}-{row:02d}"}
            for row in range(TOGETHER)
        ]
        ids |= {event["message_id"] for event in events}
        for _ in range(1 + (number % 10 == 0)):
            producer.produce(topic, json.dumps(events).encode(), key=str(number))
    producer.flush(30)
    return ids


def members(kafka: Kafka) -> set[str]:
    """Return the names of the group's consumers, killed ones for a while too, once they have their partitions."""
    admin = AdminClient({"bootstrap.servers": kafka.address})
    group = admin.describe_consumer_groups(["waybill"])["waybill"].result(timeout=10)
    return {member.client_id for member in group.members} if group.state == ConsumerGroupState.STABLE else set()


@pytest.mark.fault
@pytest.mark.engine
@pytest.mark.timeout(400)
def test_a_burst_in_kafka_is_stored_exactly_once_whatever_is_killed(kafka: Kafka, product: Product, tmp_path: Path):
    topic = kafka.topic(partitions=2)
    sent = burst(kafka, topic)
    command = [sys.executable, "manage.py", "consume_ingest", topic, "--agent", "kafka", "--environment", "production"]

    def consumer(name: str) -> subprocess.Popen[bytes]:
        properties = tmp_path / f"{name}.properties"
        properties.write_text(f"session.timeout.ms={DEAD_AFTER_S * 1000}\nclient.id={name}\n")
        environ = product.environ | {
            "WAYBILL_KAFKA_BROKERS": kafka.address,
            "WAYBILL_KAFKA_PROPERTIES": str(properties),
        }
        return subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.DEVNULL)

    database = product.engines()["database_url"]

    def stored() -> int:
        with psycopg.connect(database) as connection:
            row = connection.execute("SELECT count(*) FROM messaging_event").fetchone()
            return row[0] if row else 0

    chance, names = random.Random(20261125), ["first", "second"]
    running = [consumer(name) for name in names]
    try:
        for kill in range(4):
            before = stored()
            wait_until(lambda before=before: stored() > before or stored() == len(sent), seconds=120, what="progress")
            threading.Event().wait(chance.uniform(0.0, 0.4))
            place = kill % 2
            running[place].kill()
            running[place].wait()
            if kill == 1:
                Cluster.of(product.data).stop()
                Cluster.of(product.data).start()
            if kill == 2:
                kafka.kill()
                kafka.start()
            names[place] = f"after-{kill}"
            running[place] = consumer(names[place])
        wait_until(lambda: stored() == len(sent), seconds=120, what=f"{len(sent)} events, there are {stored()}")
        wait_until(lambda: set(names) <= members(kafka), seconds=60, what="those that run to be members")
        with psycopg.connect(database) as connection:
            copies = connection.execute("SELECT message_id, count(*) FROM messaging_event GROUP BY 1").fetchall()
            rolled = connection.execute("SELECT sum(count) FROM messaging_rollup_minute").fetchone()
    finally:
        for process in running:
            process.terminate()
        codes = [process.wait(timeout=30) for process in running]

    assert dict(copies) == dict.fromkeys(sent, 1)
    assert rolled == (len(sent),)
    assert codes == [0, 0]
