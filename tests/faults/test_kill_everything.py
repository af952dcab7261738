"""Web, worker and harvester are killed at random while traffic flows: what was acknowledged is there, exactly once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import redis

from tests.product import ROOT, Product, wait_until

EVENTS, BATCH, LETTERS = 20_000, 200, 500


@pytest.fixture
def product() -> Iterator[Product]:
    product = Product.prepared("kill-everything").start()
    yield product
    product.stop()


class Sender(threading.Thread):
    """Posts batches until each is acknowledged, as an agent must; remembers what the console acknowledged."""

    def __init__(self, product: Product, key: str, batches: range) -> None:
        super().__init__()
        self.product, self.key, self.batches = product, key, batches
        self.acknowledged: set[str] = set()
        self.resets = 0
        self.surprises: list[bytes] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        for number in self.batches:
            ids = [f"event-{number}-{row}" for row in range(BATCH)]
            body = json.dumps({"batch_id": f"batch-{number}", "events": [self.event(i) for i in ids]}).encode()
            while not self.stopping.is_set() and not self.post(body):
                self.resets += 1
                self.stopping.wait(0.1)
            if self.stopping.is_set():
                return
            self.acknowledged.update(ids)

    def event(self, identity: str) -> dict[str, object]:
        at = datetime.now(UTC) - timedelta(seconds=30)
        number = identity.rsplit("-", 1)[1]
        return {
            "id": identity, "system": "shop", "operation": "send", "occurred_at": at.isoformat(), "destination": "orders",
            "message_id": f"message-of-{identity}", "keys": {"order_no": number},
        }  # fmt: skip

    def post(self, body: bytes) -> bool:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.product.base + "/ingest/v1/events", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            self.surprises += [] if error.code in (429, 502, 503) else [error.read()]
            return False
        except OSError:
            return False


def through(senders: list[Sender]) -> int:
    return sum(len(sender.acknowledged) for sender in senders)


def harvester(product: Product, config: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "agents", "harvest", "--config", str(config)],
        cwd=ROOT,
        env=product.environ,
        stderr=subprocess.DEVNULL,
    )


def victims(product: Product) -> list[int]:
    """Return the pids of web and Celery workers (not of the runner, the engines or the gunicorn master)."""
    lines = product.descendants()
    marks = ("gunicorn", "celery")
    named = {pid: line for pid, line in lines.items() if any(mark in line for mark in marks) and " beat" not in line}
    return list(named)


@pytest.mark.fault
@pytest.mark.timeout(300)
def test_everything_acknowledged_is_stored_exactly_once_whatever_is_killed(product: Product, tmp_path: Path):
    key, harvest_key = product.agent_key("sender"), product.agent_key("harvest")
    addresses = product.engines()
    streams = redis.Redis.from_url(addresses["redis_url"])
    for number in range(LETTERS):
        streams.xadd(
            "erp.orders.dlq",
            {
                "body": json.dumps({"order_no": str(number)}),
                "message-id": f"letter-{number:016d}",
                "original-stream": "erp.orders",
            },
        )
    config = tmp_path / "harvest.toml"
    config.write_text(
        f'console = "{product.base}"\nkey = "{harvest_key}"\nname = "harvest"\n'
        f'[[broker]]\nname = "redis"\nkind = "redis-streams"\naddress = "{addresses["redis_url"]}"\n'
        '[[broker.queue]]\nname = "erp.orders.dlq"\nsystem = "erp"\ngroup = "waybill"\n'
    )
    chance = random.Random(20261124)
    half = EVENTS // BATCH // 2
    senders = [Sender(product, key, range(half)), Sender(product, key, range(half, 2 * half))]
    harvest = harvester(product, config)
    kills = 0

    try:
        for sender in senders:
            sender.start()
        while any(sender.is_alive() for sender in senders) or kills < 8:
            stood = through(senders)
            threading.Event().wait(chance.uniform(0.3, 1.2))
            wait_until(  # a busy machine needs longer to come back than it is left alone for
                lambda stood=stood: through(senders) > stood or not any(sender.is_alive() for sender in senders),
                seconds=60, what="an acknowledged batch between two kills",
            )  # fmt: skip
            if chance.random() < 0.4:
                harvest.kill()
                harvest.wait()
                harvest = harvester(product, config)
            else:
                there = wait_until(lambda: victims(product), seconds=60, what="a process to kill")
                os.kill(chance.choice(there), signal.SIGKILL)
            kills += 1
            assert kills < 200, "the senders do not get through"
        with psycopg.connect(addresses["database_url"], autocommit=True) as database:

            def stored_letters() -> int:
                row = database.execute("SELECT count(*) FROM messaging_deadletter").fetchone()
                return row[0] if row else 0

            wait_until(lambda: stored_letters() == LETTERS, seconds=90, what=f"{LETTERS} dead letters")
            wait_until(lambda: streams.xlen("erp.orders.dlq") == 0, seconds=30, what="an empty dead-letter stream")
            rows = database.execute("SELECT message_id, count(*) FROM messaging_event GROUP BY 1").fetchall()
            letters = database.execute("SELECT message_id, count(*) FROM messaging_deadletter GROUP BY 1").fetchall()
            rolled = database.execute("SELECT sum(count) FROM messaging_rollup_minute WHERE operation = 2").fetchone()
            counted = database.execute(
                "SELECT sum(event_count) FROM messaging_message m WHERE message_id LIKE 'message-of-%'"
            ).fetchone()
    finally:
        for sender in senders:
            sender.stopping.set()
            sender.join()
        harvest.terminate()
        harvest.wait(timeout=20)

    acknowledged = set().union(*(sender.acknowledged for sender in senders))
    assert [surprise for sender in senders for surprise in sender.surprises] == []
    assert len(acknowledged) == EVENTS
    assert dict(rows) == {f"message-of-{identity}": 1 for identity in acknowledged}
    assert dict(letters) == {f"letter-{number:016d}": 1 for number in range(LETTERS)}
    assert rolled == (EVENTS,)
    assert counted == (EVENTS,)
