"""The schema that migrations make, made once for all workers of a session: it takes half a minute of a core."""

from __future__ import annotations

import atexit
import fcntl
import os
import subprocess
import sys
from pathlib import Path

from console.engines.postgres import Cluster

ROOT = Path(__file__).resolve().parent.parent


def make_schema(folder: Path) -> None:
    """Begin to migrate the empty database of this process and to write into `folder` what came of it."""
    with (folder / "schema.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the child has it too, and its end gives it back
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.schema", folder / "schema.sql"], cwd=ROOT, pass_fds=[lock.fileno()]
        )

    def end() -> None:
        child.kill()
        child.wait()

    atexit.register(end)


def wait_for_schema(folder: Path) -> None:
    with (folder / "schema.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)


def restore_schema(folder: Path, data: Path, url: str) -> bool:
    """Give the empty database at `url`, of the engine in `data`, the schema made in `folder`; False when none was: migrate then."""
    wait_for_schema(folder)
    made = folder / "schema.sql"
    if not made.exists():
        return False
    psql = Cluster.of(data).binaries / "psql"
    whole = ["--no-psqlrc", "--quiet", "--single-transaction", "--set", "ON_ERROR_STOP=1"]
    subprocess.run([psql, *whole, f"--dbname={url}", f"--file={made}"], check=True, stdout=subprocess.DEVNULL)
    return True


def _write_schema(path: Path) -> None:
    import django
    from django.conf import settings
    from django.core.management import call_command

    os.environ["DJANGO_SETTINGS_MODULE"] = "console.settings"
    django.setup()
    call_command("migrate", verbosity=0)
    dump, new = Cluster.of(settings.CONFIG.data).binaries / "pg_dump", path.with_suffix(".new")
    subprocess.run([dump, "--dbname", os.environ["DATABASE_URL"], "--file", new], check=True)
    new.rename(path)


if __name__ == "__main__":
    _write_schema(Path(sys.argv[1]))
