"""The whole product as a user starts it: `python -m console.runner` in its own data folder, on a free port."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from console.engines import start_engines
from tests.ports import free_port
from tests.schema import restore_schema

ROOT = Path(__file__).resolve().parent.parent
PREPARED = "WAYBILL_TESTS_PREPARED"  # names the folder that all workers share
PASSWORD = "walk-the-Waybill-1"
WELCOME = b"Waybill is ready"


def wait_until(condition: Any, *, seconds: float, what: str, every: float = 0.2) -> Any:
    """Return the first truthy value of `condition()`; fails in words after so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(every)
    raise AssertionError(f"waited {seconds:.0f} s for {what}")


class Product:
    """A running console with its engines, worker and beat; the demo too when asked."""

    def __init__(self, data: Path, *, demo: bool, **environ: str) -> None:
        self.data, self.port = data, free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        kept = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith("WAYBILL_") and k not in {"DATABASE_URL", "REDIS_URL", "DEMO"}
        }
        self.environ = {
            **kept,
            "WAYBILL_DATA": str(data),
            "WAYBILL_PORT": str(self.port),
            "WAYBILL_ADMIN_PASSWORD": PASSWORD,
            "DEMO": "1" if demo else "0",
            **environ,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._api_key = ""

    @classmethod
    def prepared(cls, name: str, *, data: Path | None = None, **environ: str) -> Product:
        """Return one, without the demo, whose data are migrated and have an API key: a copy of what was prepared once.

        data: where it must lie, when not in a folder of that name that all may enter.
        """
        folder, data = _prepared(), data or enterable(name) / "data"
        subprocess.run(["cp", "-a", folder / "data", data], check=True)  # as root PostgreSQL's files are another user's
        product = cls(data, demo=False, **environ)
        product._api_key = (folder / "api-key").read_text()
        return product

    def start(self, seconds: float = 120) -> Product:
        """Start it and wait until it says that it is ready: a process that ends before, killed by a test too, ends the start."""
        self.log = self.data.parent / f"{self.data.name}.log"
        with self.log.open("ab") as out:
            before = out.tell()
            self.process = self._popen(out)
        try:
            wait_until(self.ready, seconds=seconds, what=f"{self.base}/readyz; see {self.log}")
            wait_until(
                lambda: WELCOME in self.log.read_bytes()[before:], seconds=seconds, what=f"the welcome in {self.log}"
            )
        except BaseException:
            self.stop()
            raise
        return self

    def _popen(self, out: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "console.runner"],
            cwd=ROOT, env=self.environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip

    def ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the runner ended: {self.log.read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(self.base + "/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
            self.process.wait(timeout=40)

    def manage(self, *arguments: str, seconds: float = 60) -> str:
        """Run a command; each costs two seconds of a core, so what REST can do is asked of REST."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask REST as the administrator; return its answer, which is no refusal."""
        status, answer = call(method, f"{self.base}/api/v1/{path}", key=self.api_key(), body=body)
        assert status < 300, (status, answer)
        return answer

    def agent_key(self, name: str, environment: str = "production") -> str:
        return str(self.ask("POST", "agents", {"environment": environment, "name": name})["key"])

    def api_key(self) -> str:
        """Return the key of the administrator's that tests use."""
        self._api_key = self._api_key or self.manage("create_key", "api", "tests", "--user", "admin")
        return self._api_key

    def engines(self) -> dict[str, str]:
        return dict(json.loads((self.data / "engines.json").read_text()))

    def descendants(self) -> dict[int, str]:
        """Return {pid: command line} of every process below the runner."""
        assert self.process is not None
        parents: dict[int, list[int]] = {}
        lines: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                    lines[int(entry.name)] = (
                        (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    )
                except (OSError, IndexError):
                    continue
                parents.setdefault(parent, []).append(int(entry.name))
        found, queue = {}, [self.process.pid]
        while queue:
            for child in parents.get(queue.pop(), []):
                found[child] = lines[child]
                queue.append(child)
        return found


def enterable(name: str) -> Path:
    """Make a folder for a product's data that PostgreSQL, another user when we are root, can enter.

    In pytest's own folders it cannot: there its data would lie in /var/lib/waybill, be made anew at each start, and stay.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=os.environ[PREPARED]))
    folder.chmod(0o711)
    return folder


def _prepared() -> Path:
    """Return the folder with prepared data and an API key's text; the first of the workers that needs it makes it for all."""
    folder = Path(os.environ[PREPARED])
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "api-key").exists():
            shutil.rmtree(folder / "data", ignore_errors=True)
            (folder / "api-key").write_text(_prepare(folder / "data"))
    return folder


def _prepare(data: Path) -> str:
    """Prepare data as a first start does, without the processes that would then be started; return an API key."""
    data.mkdir()
    data.chmod(0o711)  # PostgreSQL runs as another user when we are root
    product = Product(data, demo=False)
    engines = start_engines(data)
    try:
        restore_schema(Path(os.environ[PREPARED]), data, str(engines.database_url))
        product.manage("prepare", seconds=600)
        return product.api_key()
    finally:
        engines.stop()


def call(
    method: str, url: str, *, key: str, body: Any = None, content_type: str = "application/json"
) -> tuple[int, Any]:
    """Return (status, decoded JSON body) of one request."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        url, data, {"Authorization": f"Bearer {key}", "Content-Type": content_type}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")
