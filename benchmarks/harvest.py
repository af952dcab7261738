"""`make bench-harvest`: dead letters/s from one queue of RabbitMQ into the console, beside raw consuming and acknowledging in the same run.

The whole path: `python -m agents harvest` as it is shipped, a private RabbitMQ, the console as `make run` starts it (web, worker, beat, its
embedded PostgreSQL). Bodies of 1 KB with x-death; once with message ids and once without. CPU time is of everything on this
machine that takes part, by /proc, so that it can be compared when others use the machine too. Before it, sending in windows
with confirms beside raw sending without.
The last line is one JSON object. ratio = letters/s ÷ raw consume-and-acknowledge/s of the same messages by pika.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pika

from benchmarks.managing import ROOT, free_port, manage, wait_for
from messages.connectors.base import Address, Outgoing
from messages.connectors.rabbitmq.connector import RabbitMQConnector
from tests.engines.rabbitmq import INSTALLED, RabbitMQ

WARM = 1000
TICKS_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One queue emptied: letters/s, and the CPU time that a letter took where, in µs."""

    per_s: float
    cpu_us: dict[str, float]


def fill(url: str, queue: str, count: int, *, with_id: bool) -> None:
    death = {
        "count": 1, "reason": "rejected", "queue": "erp.orders", "exchange": "", "routing-keys": ["erp.orders"], "time": datetime.now(UTC),
    }  # fmt: skip
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        for number in range(count):
            body = json.dumps({"order_no": str(number), "text": "x" * 980}).encode()
            properties = pika.BasicProperties(
                message_id=str(uuid.uuid4()) if with_id else None, content_type="application/json", delivery_mode=2,
                headers={"x-death": [death], "x-first-death-queue": "erp.orders", "x-first-death-reason": "rejected", "tenant": "a",
                         "traceparent": f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"},
            )  # fmt: skip
            channel.basic_publish("", queue, body, properties)


def raw_consume(url: str, queue: str, count: int) -> float:
    """Return messages/s of consuming and acknowledging one by one, and nothing else."""
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=1000)
        started = time.perf_counter()
        for number, (method, _, _) in enumerate(channel.consume(queue), start=1):
            channel.basic_ack(method.delivery_tag or 0)
            if number == count:
                break
        channel.queue_declare(queue, passive=True)
        return count / (time.perf_counter() - started)


def publish(url: str, count: int) -> tuple[float, float]:
    """Return messages/s of raw basic.publish without confirms by pika, and of our connector with them."""
    body, queue = b"x" * 1024, "sent"
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        started = time.perf_counter()
        for _ in range(count):
            channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2, message_id="m"))
        channel.queue_declare(queue, passive=True)
        raw = count / (time.perf_counter() - started)
        channel.queue_purge(queue)
        items = [
            Outgoing(id=str(n), destination=queue, body=body, properties={"message_id": "m"}) for n in range(count)
        ]
        with contextlib.closing(RabbitMQConnector(Address(url=url))) as connector:
            started = time.perf_counter()
            results = connector.publish(items, timeout_s=30)
            ours = count / (time.perf_counter() - started)
        channel.queue_delete(queue)
    if any(result.result != "confirmed" for result in results):
        raise SystemExit("not everything was confirmed")
    return raw, ours


def harvested(config: Path, letters: int, broker: RabbitMQ, runner: int) -> Run:
    """Run the harvester until it has harvested so many."""
    command = [sys.executable, "-m", "agents", "harvest", "--config", str(config)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            started, taken, before = 0.0, 0, {}
            for line in process.stderr:
                said = json.loads(line)
                if said["event"] == "started":
                    started, before = time.perf_counter(), cpu(process.pid, broker, runner)
                elif said["event"] == "harvested":
                    taken += said["letters"]
                elif said["event"] != "stopped":
                    print(line, end="", file=sys.stderr)
                if taken >= letters:
                    break
            seconds = time.perf_counter() - started
            after = cpu(process.pid, broker, runner)
        finally:
            process.terminate()
            process.communicate()
    return Run(per_s=letters / seconds, cpu_us={k: (after[k] - before[k]) / letters * 1e6 for k in after})


def cpu(harvester: int, broker: RabbitMQ, runner: int) -> dict[str, float]:
    """Return the CPU seconds used so far: of the harvester, RabbitMQ, and the console's PostgreSQL, web and other processes."""
    used = dict.fromkeys(("harvester", "rabbitmq", "postgres", "web", "others"), 0.0)
    below = set(_below(runner))
    for pid, command, seconds in _processes():
        if pid == harvester:
            used["harvester"] += seconds
        elif broker.process is not None and _session(pid) == broker.process.pid:
            used["rabbitmq"] += seconds
        elif command.startswith("postgres") and "waybill-bench" in _cwd(pid):
            used["postgres"] += seconds
        elif pid in below:
            used["web" if "gunicorn" in command else "others"] += seconds
    return used


def _processes() -> Iterator[tuple[int, str, float]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                used = sum(map(int, fields[11:15]))  # its own, and that of its children that have ended
                yield int(entry.name), command.rpartition("/bin/")[2], used / TICKS_S


def processes_below(runner: int) -> list[tuple[int, str]]:
    """Return (pid, command) of a console's processes."""
    below = set(_below(runner))
    return [(pid, command) for pid, command, _ in _processes() if pid in below]


def _below(root: int) -> Iterator[int]:
    yield root
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{root}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _below(int(child))


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _cwd(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""


@contextlib.contextmanager
def running_console(data: Path) -> Iterator[tuple[int, str, int]]:
    """The whole product in a folder of its own: (port, an agent key, the runner's pid)."""
    port = free_port()
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith("WAYBILL_") and k not in {"DATABASE_URL", "REDIS_URL"}
    }
    environ = kept | {
        "WAYBILL_DATA": str(data), "WAYBILL_PORT": str(port), "WAYBILL_ADMIN_PASSWORD": "bench-Secret-12", "DEMO": "0",
        "WAYBILL_LOG_LEVEL": "WARNING", "WAYBILL_DISK_RESERVE_PERCENT": "1",
    }  # fmt: skip
    with (data / "runner.log").open("ab") as out:
        runner = subprocess.Popen(
            [sys.executable, "-m", "console.runner"], cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(port)
        yield port, manage(environ, "create_key", "agent", "bench", "--environment", "production"), runner.pid
    finally:
        os.killpg(runner.pid, signal.SIGINT)
        runner.wait()


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--letters", type=int, default=20_000, help="dead letters in each measured run")
    count = ask.parse_args().letters
    if not INSTALLED.exists():
        raise SystemExit("RabbitMQ is not installed: `make engines` as root installs it")
    data = Path(tempfile.mkdtemp(prefix="waybill-bench-"))
    data.chmod(0o711)
    try:
        with RabbitMQ() as broker, running_console(data) as (port, key, runner):
            raw_sent, sent = publish(broker.url, count)
            runs, raw = {}, 0.0
            for words, letters in (("warm", WARM), ("with message ids", count), ("without message ids", count // 4)):
                config, queue = data / "harvest.toml", f"{words.replace(' ', '-')}.dlq"
                fill(broker.url, f"raw.{queue}", letters, with_id=True)
                raw = raw or raw_consume(broker.url, f"raw.{queue}", letters) if letters == count else 0.0
                fill(broker.url, queue, letters, with_id="without" not in words)
                config.write_text(
                    f'console = "http://127.0.0.1:{port}"\nkey = "{key}"\n[[broker]]\nname = "bench"\nkind = "rabbitmq"\n'
                    f'address = "{broker.url}"\n[[broker.queue]]\nname = "{queue}"\nsystem = "erp"\n'
                )
                runs[words] = harvested(config, letters, broker, runner)
                if letters == count:
                    beside = raw
    finally:
        shutil.rmtree(data, ignore_errors=True)
    _print(runs, beside, raw_sent, sent)


def _print(runs: dict[str, Run], raw: float, raw_sent: float, sent: float) -> None:
    del runs["warm"]
    places = list(next(iter(runs.values())).cpu_us)
    print(f"{'':22}{'letters/s':>10}{'raw/s':>9}{'ratio':>7}   CPU µs a letter:" + "".join(f"{p:>11}" for p in places))
    for words, run in runs.items():
        shares = "".join(f"{run.cpu_us[place]:11,.0f}" for place in places)
        print(f"{words:22}{run.per_s:10,.0f}{raw:9,.0f}{run.per_s / raw:7.2f}   {'':16}{shares}")
    print(f"sent with confirms: {sent:,.0f}/s, raw without: {raw_sent:,.0f}/s")
    best = runs["with message ids"]
    figures = {
        "letters_per_s": round(best.per_s), "ratio": round(best.per_s / raw, 3), "cpu_us_per_letter": round(sum(best.cpu_us.values())),
        "letters_without_id_per_s": round(runs["without message ids"].per_s), "publish_ratio": round(sent / raw_sent, 3),
    }  # fmt: skip
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
