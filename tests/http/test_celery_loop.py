"""Celery from end to end: a real worker's task fails, its letter shows the arguments, it is sent again and proved."""

from __future__ import annotations

import json
import os
import re
import signal
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

PAGE = ROOT / "docs" / "brokers" / "celery.md"
APP = """
import os, datetime
from pathlib import Path
from celery import Celery

app = Celery("erp", broker=os.environ["BROKER"])
app.conf.update(task_default_queue=os.environ["QUEUE"], broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)

@app.task(name="erp.book", bind=True, max_retries=2, default_retry_delay=0)
def book(self, order_no, *, amount, on=None):
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


def block(language: str, instead: dict[str, str]) -> str:
    """Return the page's block in this language, as a reader pastes it, with what is theirs put in."""
    [lines] = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.S)
    for written, ours in instead.items():
        assert written in lines
        lines = lines.replace(written, ours)
    return str(lines)


@pytest.mark.timeout(240)
def test_a_failed_task_is_reported_sent_again_and_proved(corner: Corner, broker: str, tmp_path: Path):
    queue, fixed = f"erp-{uuid.uuid4()}", tmp_path / "fixed"
    reporting = block("python", {"/var/lib/erp/waybill": str(tmp_path / "spool")})
    starting = block("sh", {"http://127.0.0.1:8000": corner.base, "=…": f"={corner.agent_key('erp')}"})
    (tmp_path / "erp.py").write_text(APP + reporting)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("WAYBILL")} | {
        "BROKER": broker, "QUEUE": queue, "FIXED": str(fixed), "PYTHONPATH": f"{ROOT}:{tmp_path}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    corner.connect(
        name="celery-eu", kind="celery", address=without_login(broker), secret=urlsplit(broker).password or ""
    )
    worker = subprocess.Popen(
        ["bash", "-euc", starting], env=environ, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        exports = starting.splitlines()[0]
        sent = subprocess.run(
            ["bash", "-euc", f'{exports}; python -c "{SEND}"'],
            env=environ,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
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
        os.killpg(worker.pid, signal.SIGTERM)
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
