"""A private RabbitMQ from Debian's package, on free ports, in a temporary folder; also as root."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import pika
from pika import exceptions as amqp

from tests.ports import free_port, free_ports

INSTALLED = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class RabbitMQ:
    """`with RabbitMQ() as broker:` gives broker.url; kill() and start() again keep its queues.

    plugins  their names; with rabbitmq_management among them, broker.management is where its API answers.
    """

    def __init__(self, *plugins: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="waybill-rabbit-"))
        self.port, self.distribution, self.epmd, management = free_ports(4)
        self.management = f"http://127.0.0.1:{management}"
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"
        home = self.folder / "home"
        home.mkdir()
        cookie = home / ".erlang.cookie"
        cookie.write_text("WAYBILLTESTS")
        cookie.chmod(0o400)
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\nvm_memory_high_watermark.absolute = 400MB\ndisk_free_limit.absolute = 50MB\n"
        )
        (self.folder / "plugins").write_text(f"[{','.join(plugins)}].\n")
        if "rabbitmq_management" in plugins:
            with (self.folder / "rabbitmq.conf").open("a") as more:
                more.write(
                    f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {management}\ncollect_statistics_interval = 1000\n"
                )
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "RABBITMQ_CONF_ENV_FILE": "/nonexistent",
            "RABBITMQ_NODENAME": f"waybill{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution),
            "ERL_EPMD_PORT": str(self.epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "ERL_CRASH_DUMP": str(self.folder / "erl_crash.dump"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, three times when it ends by itself: a port that was free may be some client's for a moment."""
        for left in (2, 1, 0):
            self._spawn()
            if self._is_up(last=not left):
                return
            time.sleep(2)
            self.distribution = free_port()  # that of another engine does not come free
            self.environ["RABBITMQ_DIST_PORT"] = str(self.distribution)

    def _spawn(self) -> None:
        with (self.folder / "out").open("ab") as out:
            self.process = subprocess.Popen(
                [str(INSTALLED)],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def _is_up(self, *, last: bool) -> bool:
        until = time.monotonic() + 60
        while True:
            try:
                pika.BlockingConnection(pika.URLParameters(self.url)).close()
                return True
            except (amqp.AMQPError, OSError) as error:
                ended = self.process is not None and self.process.poll() is not None
                if ended and not last:
                    return False
                if ended or time.monotonic() > until:
                    raise AssertionError((self.folder / "out").read_text()[-2000:]) from error
                time.sleep(0.2)

    def kill(self) -> None:
        """kill -9 of everything it started."""
        if self.process is not None:
            for pid in _of_session(self.process.pid):
                _kill(pid)
            self.process.wait()
            self.process = None

    def __enter__(self) -> RabbitMQ:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        for pid in _with_environ(f"ERL_EPMD_PORT={self.epmd}"):
            _kill(pid)
        shutil.rmtree(self.folder, ignore_errors=True)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _of_session(session: int) -> list[int]:
    return [pid for pid in _pids() if _session(pid) == session]


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return -1


def _with_environ(mark: str) -> list[int]:
    """Find epmd, which init has adopted: it carries this instance's port in its environment."""
    found = []
    for pid in _pids():
        try:
            if mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
        except OSError:
            continue
    return found
