"""One running product for every fault that it survives; a second web process beside it where a fault needs its own."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from benchmarks.replay import CONNECT
from tests.faults.checker import wait_until_green
from tests.faults.inject import children_of
from tests.faults.planned import Run
from tests.faults.undoing import CONNECT as CONNECT_UNDO
from tests.faults.undoing import Estate, Receiver
from tests.ports import free_port
from tests.product import ROOT, Product, wait_until


@pytest.fixture(scope="package")
def running() -> Iterator[Product]:
    """The product, started once for the whole folder. A test that broke it for good makes the others fail: that is what they say."""
    product = Product.prepared("faults", WAYBILL_DISK_RESERVE_PERCENT="1").start()
    wait_until_green(product)
    yield product
    product.stop()


@pytest.fixture(scope="package")
def plans(running: Product, rabbitmq: str) -> Callable[..., Run]:
    brokers = [("plans", "rabbitmq", rabbitmq.replace("guest:guest@", ""), "guest")]
    running.manage("shell", "-c", CONNECT.format(brokers=brokers))
    return lambda name, **more: Run(running, rabbitmq, name, **more)


@pytest.fixture(scope="package")
def estate(running: Product) -> Iterator[Estate]:
    """What compensations undo, with a receiver of their calls."""
    with Receiver() as receiver:
        address = f"http://127.0.0.1:{receiver.server.server_port}"
        running.manage("shell", "-c", CONNECT_UNDO.format(connections=[("undo-http", "http", address)]))
        yield Estate(running, receiver, running.agent_key("estate of compensations"))


@contextmanager
def web_beside(
    product: Product, *, config: str = "console/gunicorn.py", **environ: str
) -> Iterator[tuple[str, list[int]]]:
    """Another web server on the product's engines: (its address, the pids of its workers)."""
    port = free_port()
    addresses = product.engines()
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--config", config, "console.wsgi:application"],
        cwd=ROOT,
        env=product.environ
        | {"DATABASE_URL": addresses["database_url"], "REDIS_URL": addresses["redis_url"], "WAYBILL_PORT": str(port)}
        | environ,
        start_new_session=True,
    )
    base = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, "the web server ended"
        try:
            with urllib.request.urlopen(base + "/livez", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_until(answers, seconds=60, what="the other web server")
        yield base, children_of(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process ever had resident (VmHWM)."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
