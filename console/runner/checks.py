"""What must be true before anything is started; each refusal is one sentence."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import redis

from console.core.errors import ConfigurationError

NEEDED_BYTES = 300 * 1024 * 1024


class CannotStart(ConfigurationError):
    """Something outside stands in the way; the sentence says what to do."""

    code = "cannot_start"


def take_folder(data: Path) -> int:
    """Make the data folder and lock it for this runner; return the descriptor that holds the lock."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Entering (not listing) stays possible for others: PostgreSQL runs as another user when we are root.
        data.chmod(0o711 if os.geteuid() == 0 else 0o700)
        descriptor = os.open(data / "run.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CannotStart(
            f"the data folder {data} cannot be written ({error.strerror}): set WAYBILL_DATA to one that can"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise CannotStart(
            f"Waybill already runs on {data}: stop that one first, or set WAYBILL_DATA to another folder"
        ) from error
    return descriptor


def check_space(data: Path) -> None:
    try:
        (data / "space.probe").write_bytes(b"\0" * 65536)
        (data / "space.probe").unlink()
    except OSError as error:
        raise CannotStart(
            f"the data folder {data} cannot be written ({error.strerror}): free some space or set WAYBILL_DATA"
        ) from error
    free = shutil.disk_usage(data).free
    if free < NEEDED_BYTES:
        raise CannotStart(
            f"the disk of {data} has {free // 2**20} MB free and Waybill needs 300: free some, or set WAYBILL_DATA to another disk"
        )


def check_port(bind: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            raise CannotStart(
                f"port {port} on {bind} cannot be used ({error.strerror}): set WAYBILL_PORT to a free one"
            ) from error


def check_database(url: str) -> None:
    """Connect once; the password is never part of the sentence."""
    if urlsplit(url).scheme not in {"postgres", "postgresql"}:  # psycopg would quote what it cannot read, all of it
        raise CannotStart("DATABASE_URL must begin with postgres://: postgres://user:password@host:5432/name")
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except (psycopg.Error, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise CannotStart(f"PostgreSQL at {_place(url)} cannot be reached: {why}; check DATABASE_URL") from error


def check_redis(url: str) -> None:
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        raise CannotStart(
            f"Redis at {_place(url)} cannot be reached: {' '.join(str(error).split())[:200]}; check REDIS_URL"
        ) from error


def _place(url: str) -> str:
    try:
        parts = urlsplit(url)
        return f"{unquote(parts.hostname or 'its address')}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        return "its address"
