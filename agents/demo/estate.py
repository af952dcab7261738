"""The estate's supervisor: set up, wait for the console, start every process, keep them running, stop them together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType

import redis

from agents.demo import place
from agents.demo.alive import EVERY_S, GONE_AFTER_S
from agents.demo.history import is_filled
from agents.demo.names import (
    ALIVE_KEY,
    CONNECTION,
    FAULTS,
    FAULTS_KEY,
    HOP_OF_CONSUMER,
    HOPS,
    RABBIT_CONNECTION,
    SERVICES,
)
from console.core.config import ROOT, Config
from console.runner.supervisor import Child, Supervisor

GRACE_S = 4.0
SET_UP_WITHIN_S = 60


def run_estate(config: Config) -> None:
    """Run until SIGTERM or SIGINT."""
    signal.signal(signal.SIGTERM, _interrupt)
    supervisor = Supervisor(environ=dict(os.environ), grace_s=GRACE_S)
    try:
        _set_up()
        harvest = write_harvest_config(config)
        client = redis.Redis.from_url(config.resolved_redis_url(), socket_timeout=5, socket_connect_timeout=5)
        wait_for_console(config)
        with contextlib.suppress(redis.RedisError):  # a fault that nobody switched counts as on
            for fault in FAULTS:
                client.hsetnx(FAULTS_KEY, fault.name, "1")
        supervisor.start(commands(config, harvest))
        _tend(supervisor, client)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        supervisor.stop()


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def commands(config: Config, harvest: Path) -> dict[str, list[str]]:
    """Return {process: argument vector}: the services, the harvester, and once the fill of the last 24 hours."""
    us = [sys.executable, "-m", "agents.demo"]
    found = {name: [*us, "service", name] for name in SERVICES}
    found["harvester"] = [sys.executable, "-m", "agents", "harvest", "--config", str(harvest)]
    if not is_filled(place.folder(config)):
        found["fill"] = [*us, "fill"]
    return found


def _tend(supervisor: Supervisor, client: redis.Redis) -> None:
    said_at = 0.0
    while True:
        time.sleep(0.5)
        _let_go(supervisor)
        supervisor.tend()
        if time.monotonic() - said_at > EVERY_S:
            said_at = time.monotonic()
            _speak_for_the_harvester(supervisor.children, client)


def _let_go(supervisor: Supervisor) -> None:
    """The fill ends by itself when it is done; only one that failed is started again."""
    for child in list(supervisor.children):
        if child.name == "fill" and child.process and child.process.poll() == 0:
            supervisor.children.remove(child)


def _speak_for_the_harvester(children: list[Child], client: redis.Redis) -> None:
    """The harvester is the product's own and knows nothing of the estate: its sign of life on the demo page comes from here."""
    for child in children:
        if child.name == "harvester" and child.process and child.process.poll() is None:
            since = time.time() - (time.monotonic() - child.started_at)
            said = json.dumps({"pid": child.process.pid, "since": since})
            with contextlib.suppress(redis.RedisError):
                client.set(f"{ALIVE_KEY}harvester", said, ex=GONE_AFTER_S)


def _set_up() -> None:
    """Make what the estate needs in the console; a console that is still starting may need a second try."""
    why = ""
    for pause_s in (1, 3, 0):
        why = _try_to_set_up()
        if not why:
            return
        time.sleep(pause_s)
    raise place.ConfigurationError(f"the demo cannot be set up: {why}")


def _try_to_set_up() -> str:
    """Run the command in a process of its own, because this one stays free of Django; return what went wrong, or nothing."""
    try:
        done = subprocess.run(
            [sys.executable, "manage.py", "setup_demo"],
            cwd=ROOT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "console.settings"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SET_UP_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {SET_UP_WITHIN_S} s"
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or ["no reason given"])[-1][-400:]


def wait_for_console(config: Config) -> None:
    while True:
        try:
            with urllib.request.urlopen(f"{place.console_address(config)}/livez", timeout=2):  # noqa: S310  our own address
                return
        except OSError:
            time.sleep(0.3)


def write_harvest_config(config: Config) -> Path:
    """Write harvest.toml (mode 0600: the broker's address holds its password) and return where it is."""
    text = [
        f"console = {_quoted(place.console_address(config))}",
        f"key_file = {_quoted(str(place.folder(config) / place.HARVESTER_KEY))}",
        'name = "demo harvester"',
        "",
        "[[broker]]",
        f'name = "{CONNECTION}"',
        'kind = "redis-streams"',
        f"address = {_quoted(config.resolved_redis_url())}",
    ]
    for hop in HOPS:
        text += [
            "",
            "[[broker.queue]]",
            f'name = "{hop.dead_letters}"',
            f'system = "{hop.consumer}"',
            'group = "waybill"',
        ]
    if config.demo_rabbitmq_url:
        text += [
            "",
            "[[broker]]",
            f'name = "{RABBIT_CONNECTION}"',
            'kind = "rabbitmq"',
            f"address = {_quoted(config.demo_rabbitmq_url)}",
            "",
            "[[broker.queue]]",
            f'name = "{HOP_OF_CONSUMER["shipping"].dead_letters}"',
            'system = "shipping"',
        ]
    path = place.folder(config) / "harvest.toml"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join(text) + "\n")
    return path


def _quoted(text: str) -> str:
    return json.dumps(text)  # a JSON string is a TOML basic string
