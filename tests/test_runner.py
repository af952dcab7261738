"""`make run`: every refusal is one sentence, nothing is left running, Ctrl-C stops everything, the next start finds the data."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from console.engines.postgres import SHARED_ROOT, Cluster
from console.runner.interrupts import Interrupts
from console.runner.supervisor import Supervisor
from tests.ports import free_port
from tests.product import ROOT, Product, wait_until


def run(tmp_path: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    product = Product(tmp_path / "data", demo=False, **environ)
    try:
        return subprocess.run(
            [sys.executable, "-m", "console.runner"],
            cwd=ROOT,
            env=product.environ,
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        forget(product.data)


def forget(data: Path) -> None:
    """Remove the cluster of a folder that PostgreSQL could not enter: it lies where pytest never removes it."""
    home = Cluster.of(data).directory.parent
    if SHARED_ROOT in home.parents:
        shutil.rmtree(home, ignore_errors=True)


def processes_of(data: Path) -> list[str]:
    """Return the command lines of processes that know this data folder, wherever init has put them and PostgreSQL its data."""
    found, marks = [], (str(data).encode(), str(Cluster.of(data).directory).encode())
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line, environ = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            except OSError:
                continue
            if any(mark in line + environ for mark in marks):
                found.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return found


def test_a_taken_port_is_one_sentence(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run(tmp_path, WAYBILL_PORT=str(taken.getsockname()[1]))

    assert_one_sentence(done, "WAYBILL_PORT")
    assert processes_of(tmp_path / "data") == []


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"WAYBILL_PORT": "http"}, "WAYBILL_PORT must be a whole number"),
        ({"WAYBILL_SECRET_KEY": "short"}, "at least 32 characters"),
        ({"DEMO": "perhaps"}, "DEMO must be 1 or 0"),
        ({"DATABASE_URL": "postgres://u:hidden-Secret@127.0.0.1:1/x"}, "PostgreSQL at 127.0.0.1:1 cannot be reached"),
        ({"REDIS_URL": "redis://:hidden-Secret@127.0.0.1:1/0"}, "Redis at 127.0.0.1:1 cannot be reached"),
        ({"DATABASE_URL": "nonsense://"}, "DATABASE_URL"),
        ({"WAYBILL_ADMIN_PASSWORD": "a"}, "WAYBILL_ADMIN_PASSWORD cannot be used: This password is too short"),
        ({"DATABASE_URL": "mysql://u:hidden-Secret@db/x"}, "DATABASE_URL must begin with postgres://"),
    ],
)
def test_a_wrong_setting_or_a_server_that_is_away_is_one_sentence_without_its_password(tmp_path, environ, words):
    done = run(tmp_path, **environ)

    assert_one_sentence(done, words)
    assert "hidden-Secret" not in done.stdout + done.stderr
    assert processes_of(tmp_path / "data") == []


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")

    done = run(tmp_path, WAYBILL_DATA=str(tmp_path / "file" / "data"))

    assert_one_sentence(done, "cannot be written")


def test_a_full_disk_is_one_sentence():
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = Path("/dev/shm/waybill-full")
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount a file system")
    try:
        done = run(folder)
    finally:
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()

    assert_one_sentence(done, "Waybill needs 300")


def assert_one_sentence(done: subprocess.CompletedProcess[str], words: str) -> None:
    assert done.returncode == 1
    assert done.stderr.startswith("waybill: ")
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert words in done.stderr


@pytest.mark.timeout(240)
def test_started_stopped_killed_and_started_again_below_a_long_path_with_spaces(tmp_path):
    data = tmp_path / ("a folder with spaces and a very long name " * 4).strip() / "data"
    data.parent.mkdir()
    product = Product(data, demo=False).start()
    key = product.agent_key("t")

    second = subprocess.run(
        [sys.executable, "-m", "console.runner"],
        cwd=ROOT,
        env=product.environ | {"WAYBILL_PORT": str(free_port())},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert_one_sentence(second, "already runs on")
    assert product.ready()

    assert product.process is not None
    os.kill(product.process.pid, signal.SIGKILL)  # the runner dies without a word
    product.process.wait()
    wait_until(
        lambda: not any("gunicorn" in line or "celery" in line for line in processes_of(data)),
        seconds=30,
        what="the children's end",
    )
    begun = time.monotonic()
    product.start()  # adopts the engines that still run
    assert time.monotonic() - begun < 60
    body = b'[{"id": "e", "system": "s", "operation": "send", "occurred_at": "2026-11-24T00:00:00Z"}]'
    request = urllib.request.Request(
        product.base + "/ingest/v1/events", body, {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    )
    assert urllib.request.urlopen(request, timeout=10).status == 200

    product.stop()
    assert wait_until(lambda: processes_of(data) == [] or None, seconds=10, what="no process left") is True
    assert "Traceback" not in product.log.read_text()
    forget(data)


@pytest.mark.timeout(500)
def test_an_interrupt_at_any_moment_of_the_start_leaves_nothing_running(tmp_path):
    data = Product.prepared("interrupted").data

    for moment in ("pg_ctl", "valkey-server", "manage.py prepare", "gunicorn", "celery"):
        product = Product(data, demo=False)
        product.log = tmp_path / f"{moment}.log"
        with product.log.open("ab") as out:
            product.process = product._popen(out)
        try:
            # PostgreSQL, interrupted, looks through all its files at its next start, beside whatever else writes
            wait_until(lambda: moment in str(processes_of(data)), seconds=90, what=moment, every=0.01)  # noqa: B023
        except AssertionError as error:
            raise AssertionError(f"{error}: {product.log.read_text()[-2000:]}") from error
        finally:
            product.stop()

        wait_until(lambda: not processes_of(data), seconds=3, what=f"no process, interrupted at {moment}")


def heeds_hangups() -> None:
    """Undo a nohup that the tests themselves were started under: the runner keeps to one."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.timeout(240)
def test_a_terminal_that_is_closed_stops_everything(tmp_path):
    product = Product.prepared("closed")
    data, product.log = product.data, tmp_path / "log"
    runner = subprocess.Popen(
        [sys.executable, "-m", "console.runner"], cwd=ROOT, env=product.environ, start_new_session=True,
        preexec_fn=heeds_hangups,  # noqa: PLW1509
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    product.process = runner
    try:
        wait_until(product.ready, seconds=60, what="/readyz")
        assert runner.stdout
        runner.stdout.close()  # nobody hears its last words

        runner.send_signal(signal.SIGHUP)

        runner.wait(timeout=90)
        wait_until(lambda: not processes_of(data), seconds=3, what="no process left")
    finally:
        product.stop()


def test_an_interrupt_that_is_held_back_comes_when_the_block_has_ended():
    interrupts, done = Interrupts(), []

    def block() -> None:
        with interrupts.held():
            interrupts._take(signal.SIGINT, None)
            done.append("the rest of the block")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == ["the rest of the block"]


POOL_OF_ONE = """
import signal, subprocess, sys
from pathlib import Path
task = subprocess.Popen([sys.executable, "-c", "import time, pathlib; time.sleep(1); pathlib.Path('done').touch()"])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(task.wait()))
Path("up").touch()
signal.pause()
"""


def test_stopping_lets_a_child_finish_what_its_own_children_do(tmp_path):
    """The worker is one process with a pool below it: a signal to the pool would end the task that the worker waits for."""
    supervisor = Supervisor(environ=os.environ)
    supervisor.start({"worker": [sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r})\n{POOL_OF_ONE}"]})
    wait_until((tmp_path / "up").exists, seconds=10, what="the child", every=0.05)

    supervisor.stop()

    assert (tmp_path / "done").exists()


def test_a_worker_that_dies_is_started_again():
    product = Product.prepared("worker-dies").start()
    try:

        def workers() -> list[int]:
            return [
                pid
                for pid, line in product.descendants().items()
                if "celery" in line and " worker" in line and "ForkPool" not in line
            ]

        before = workers()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: [pid for pid in workers() if pid not in before], seconds=20, what="a new worker")
    finally:
        product.stop()
