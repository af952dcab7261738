"""`/livez`: the process answers. `/readyz`: what it stands on answers. `/metrics`: for Prometheus."""

from __future__ import annotations

import time

from django.core.cache import cache
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from messages.ingest.gate import disk_words

WORKER_KEY = "heartbeat:worker"
WORKER_SILENT_S = 20
_migrated = False  # once true it stays true for this process: migrations are not unapplied under a running console


def check_database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return f"does not answer: {type(error).__name__}"
    return "ok"


def check_migrations() -> str:
    global _migrated  # noqa: PLW0603
    if not _migrated:
        try:
            executor = MigrationExecutor(connection)
            _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
        except DatabaseError:
            return "unknown: the database does not answer"
    return "ok" if _migrated else "not applied: run `python manage.py prepare`"


def check_cache() -> str:
    try:
        cache.get("readyz")
    except Exception as error:  # noqa: BLE001  any failure of the client means the same here
        return f"does not answer: {type(error).__name__}; work waits for the sweep"
    return "ok"


def check_worker() -> str:
    """Whether a worker ran beat's heartbeat task lately: both of them live, and the broker between them."""
    try:
        last = cache.get(WORKER_KEY)
    except Exception:  # noqa: BLE001
        return "unknown: the cache does not answer"
    if last is None:
        return "no sign of life yet"
    silent = time.time() - float(last)
    return "ok" if silent < WORKER_SILENT_S else f"silent for {silent:.0f} s"


def check_disk() -> str:
    return disk_words() or "ok"


def beat_heart() -> None:
    """Called by a task that beat sends and a worker runs."""
    cache.set(WORKER_KEY, time.time(), timeout=3600)


def readiness() -> tuple[bool, dict[str, str]]:
    """Return (may take traffic, what each part says). Without worker or cache ingest and reading still work, without disk reading."""
    checks = {"database": check_database(), "migrations": "", "cache": check_cache(), "worker": check_worker()}
    checks["disk"] = check_disk()
    checks["migrations"] = check_migrations() if checks["database"] == "ok" else "unknown: the database does not answer"
    return checks["database"] == "ok" and checks["migrations"] == "ok", checks
