"""Loaded by pytest before Django's settings: real engines in a temporary folder, unless the environment names others."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import psycopg

from console.engines import start_engines
from tests.product import PREPARED

OURS = "WAYBILL_TESTS_ENGINES"


def _start() -> None:
    data = Path(tempfile.mkdtemp(prefix="waybill-tests-"))
    data.chmod(0o711)  # PostgreSQL runs as another user when we are root
    (data / "static").mkdir()
    os.environ["WAYBILL_DATA"] = str(data)
    os.environ.setdefault("WAYBILL_LOG_LEVEL", "ERROR")
    os.environ["WAYBILL_DISK_RESERVE_PERCENT"] = (
        "1"  # a machine that runs tests may be fuller than one that stores money
    )
    if not os.environ.get("PYTEST_XDIST_WORKER"):
        (data / "prepared").mkdir()
        (data / "prepared").chmod(0o711)
        os.environ[PREPARED] = str(data / "prepared")
    # Tests start some two hundred processes of ours: compiling the sources anew costs each a third of a second.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in ("WAYBILL_URL", "WAYBILL_PORT", "WAYBILL_ADMIN_PASSWORD", "DEMO"):
        os.environ.pop(name, None)
    if os.environ.get("PYTEST_XDIST_WORKER") and os.environ.get(OURS):  # each worker has engines of its own
        for name in ("DATABASE_URL", "REDIS_URL"):
            os.environ.pop(name, None)
    os.environ[OURS] = "" if "DATABASE_URL" in os.environ else "1"
    engines = start_engines(
        data, with_postgres="DATABASE_URL" not in os.environ, with_redis="REDIS_URL" not in os.environ
    )
    if engines.database_url:
        _forget_durability(engines.database_url)
    os.environ.setdefault("DATABASE_URL", engines.database_url or "")
    os.environ.setdefault("REDIS_URL", engines.redis_url or "")

    def stop() -> None:
        engines.stop()
        shutil.rmtree(data, ignore_errors=True)

    atexit.register(stop)


def _forget_durability(url: str) -> None:
    """Let our PostgreSQL, whose data end with the session, wait for no disk: emptying the tables takes a quarter of the time.

    Products that tests start have a PostgreSQL of their own, as it is shipped.
    """
    with psycopg.connect(url, autocommit=True) as database:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            database.execute(f"ALTER SYSTEM SET {setting} = off")
        database.execute("SELECT pg_reload_conf()")


_start()
