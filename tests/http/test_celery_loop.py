"""Celery from end to end: a real worker's task fails, its letter shows the arguments, it is sent again and proved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from tests.loops import Corner
from tests.product import ROOT, wait_until

APP = """
import os, datetime
from pathlib import Path
from celery import Celery
from agents.sdk import Waybill
from agents.sdk.celery_tasks import report_failed_tasks

app = Celery("erp", broker=os.environ["BROKER"])
app.conf.update(task_default_queue=os.environ["QUEUE"], broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)
report_failed_tasks(Waybill(system="erp", strict=True), broker="celery-eu")

@app.task(name="erp.book", bind=True, max_retries=2, default_retry_delay=0)
def book(self, order_no, *, amount, on):
    if not Path(os.environ["FIXED"]).exists():
        try:
            raise TimeoutError("the ERP did not answer")
        except TimeoutError as error:
            raise self.retry(exc=error)
    Path(os.environ["FIXED"]).write_text(f"{order_no} {amount} {on!r} {self.request.id}")
"""
SEND = "import datetime, erp; print(erp.book.delay('4711', amount=12.5, on=datetime.date(2026, 11, 25)).id)"


@pytest.fixture
def broker() -> Iterator[str]:
    """A database of the tests' own Redis that nobody else uses."""
    url = os.environ["REDIS_URL"].rpartition("/")[0] + "/9"
    yield url
    with redis.Redis.from_url(url) as client:
        client.flushdb()


def without_login(url: str) -> str:
    return f"redis://{urlsplit(url).netloc.rpartition('@')[2]}{urlsplit(url).path}"


@pytest.mark.timeout(240)
def test_a_failed_task_is_reported_sent_again_and_proved(corner: Corner, broker: str, tmp_path: Path):
    queue, fixed = f"erp-{uuid.uuid4()}", tmp_path / "fixed"
    (tmp_path / "erp.py").write_text(APP)
    environ = os.environ | {
        "BROKER": broker, "QUEUE": queue, "FIXED": str(fixed), "PYTHONPATH": f"{ROOT}:{tmp_path}",
        "WAYBILL": corner.base, "WAYBILL_AGENT_KEY": corner.agent_key("erp"),
    }  # fmt: skip
    corner.connect(
        name="celery-eu", kind="celery", address=without_login(broker), secret=urlsplit(broker).password or ""
    )
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "erp", "worker", "--concurrency=1", "--without-mingle", "--without-gossip"],
        env=environ, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        sent = subprocess.run([sys.executable, "-c", SEND], env=environ, cwd=tmp_path, capture_output=True, text=True)
        task_id = sent.stdout.strip()
        assert task_id, sent.stderr
        [letter] = wait_until(
            lambda: corner.listed("dead-letters"),
            seconds=60, what="the letter",
        )  # fmt: skip
        letter = corner.ask("GET", f"dead-letters/{letter['id']}")
        fixed.touch()
        replay = corner.replay(letter)

        def processed() -> Any:
            now = corner.ask("GET", f"replays/{replay['id']}")
            return now if now["state"] == "processed" else None

        wait_until(processed, seconds=60, what="the proof")
    finally:
        worker.terminate()
        worker.wait(timeout=30)

    assert (letter["message_id"], letter["queue"], letter["family"], letter["attempts"]) == (
        task_id,
        queue,
        "celery",
        3,
    )
    assert "the ERP did not answer" in json.dumps(letter)
    order, amount, on, *_, new_id = fixed.read_text().split()
    assert (order, amount, on, new_id) == ("4711", "12.5", "datetime.date(2026,", replay["id"])
