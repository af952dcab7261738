"""The order in which the product comes up and goes down."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

from console.core.config import ROOT, Config
from console.engines import Engines, start_engines
from console.runner.checks import CannotStart, check_database, check_port, check_redis, check_space, take_folder
from console.runner.interrupts import Interrupts
from console.runner.supervisor import Supervisor, adopt_orphans, read_procfile, wait_for_orphans

READY_WITHIN_S = 120
ENGINES_END_WITHIN_S = 10.0


def run(config: Config, interrupts: Interrupts) -> None:
    """Start everything, wait until it is ready, say where it is, and keep it running until interrupted.

    Raises ConsoleError with one sentence; nothing is left running then.
    """
    lock = take_folder(config.data)
    try:
        check_space(config.data)
        check_port(config.bind, config.port)
        if config.database_url:
            check_database(config.database_url)
        if config.redis_url:
            check_redis(config.redis_url)
        _run_with_engines(config, interrupts)
    finally:
        os.close(lock)


def _run_with_engines(config: Config, interrupts: Interrupts) -> None:
    _say(f"data lies in {config.data}")
    adopt_orphans()
    engines: Engines | None = None
    try:
        with interrupts.held():
            engines = start_engines(config.data, with_postgres=not config.database_url, with_redis=not config.redis_url)
        _say_where_postgres_is(config, engines)
        _run_processes(config, engines, interrupts)
    finally:
        interrupts.ignore()
        if engines:
            engines.stop()
        wait_for_orphans(ENGINES_END_WITHIN_S)


def _say_where_postgres_is(config: Config, engines: Engines) -> None:
    cluster = engines.postgres
    if cluster and cluster.account and not cluster.directory.is_relative_to(config.data):
        _say(
            f"PostgreSQL must not run as root: it runs as {cluster.account.pw_name} with its data in {cluster.directory}"
        )


def _run_processes(config: Config, engines: Engines, interrupts: Interrupts) -> None:
    environ = _environment(config, engines.database_url, engines.redis_url)
    login = _prepare(environ, interrupts)
    supervisor = Supervisor(environ=environ)
    try:
        with interrupts.held():
            supervisor.start(
                {name: command for name, command in read_procfile().items() if name != "demo" or config.demo}
            )
        _wait_until_ready(config, supervisor)
        _welcome(config, login)
        while True:
            time.sleep(0.5)
            with interrupts.held():
                supervisor.tend()
            engines.tend()  # may take as long as a recovery; cut short, it leaves nothing that stopping does not find
    finally:
        interrupts.ignore()
        _say("Stopping; what is being done is finished first.")
        supervisor.stop()


def _environment(config: Config, database_url: str | None, redis_url: str | None) -> dict[str, str]:
    shutil.rmtree(config.metrics, ignore_errors=True)
    config.metrics.mkdir(mode=0o700)
    environ = dict(os.environ)
    environ.update(
        WAYBILL_DATA=str(config.data),
        PROMETHEUS_MULTIPROC_DIR=str(config.metrics),
        PYTHONUNBUFFERED="1",
        DJANGO_SETTINGS_MODULE="console.settings",
    )
    if config.database_url is None:  # the embedded PostgreSQL shares this disk
        environ.setdefault("WAYBILL_DISK_PATHS", str(config.data))
    environ["DATABASE_URL"] = config.database_url or database_url or ""
    environ["REDIS_URL"] = config.redis_url or redis_url or ""
    return environ


def _prepare(environ: dict[str, str], interrupts: Interrupts) -> dict[str, object]:
    """Migrate, make the first administrator, build static files: one process, because each start of Django costs a second."""
    process: subprocess.Popen[str] | None = None
    try:
        with interrupts.held():
            process = subprocess.Popen(
                [sys.executable, "manage.py", "prepare"],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        out, err = process.communicate(timeout=600)
    except BaseException:
        if process:
            process.kill()
            process.wait()
        raise
    if process.returncode != 0:
        why = (err.strip().splitlines() or ["no reason given"])[-1][-400:].removeprefix("CommandError: ")
        raise CannotStart(f"the console cannot be prepared: {why}")
    return dict(json.loads(out.strip().splitlines()[-1]))


def _wait_until_ready(config: Config, supervisor: Supervisor) -> None:
    until = time.monotonic() + READY_WITHIN_S
    host = "127.0.0.1" if config.bind in {"0.0.0.0", "127.0.0.1"} else config.bind  # noqa: S104
    why = "it did not answer"
    while time.monotonic() < until:
        if (dead := supervisor.first_dead()) is not None:
            raise CannotStart(f"the process `{dead.name}` ended while starting; its last lines are above")
        try:
            with urllib.request.urlopen(f"http://{host}:{config.port}/readyz", timeout=2) as answer:
                body = json.loads(answer.read())
                if answer.status == 200 and body["checks"].get("worker") == "ok":
                    return
                why = str(body["checks"])
        except urllib.error.HTTPError as error:
            why = error.read().decode(errors="replace")[:300]
        except (OSError, ValueError):
            pass
        time.sleep(0.1)
    raise CannotStart(f"the console did not become ready within {READY_WITHIN_S} s: {why}")


def _welcome(config: Config, login: dict[str, object]) -> None:
    _say("")
    _say(f"Waybill is ready: {config.url}")
    if login.get("password"):
        _say(f"Sign in as admin with the password {login['password']} (shown this once)")
    elif login.get("created"):
        _say("Sign in as admin with the password of WAYBILL_ADMIN_PASSWORD")
    else:
        _say(
            "Sign in as admin with the password of the first start (forgotten: .venv/bin/python manage.py changepassword admin)"
        )
    _say("Ctrl-C stops everything; the data stays.")


def _say(line: str) -> None:
    """Print; a terminal or pipe that is gone must not keep us from stopping what we started."""
    with contextlib.suppress(OSError):
        print(line, flush=True)
