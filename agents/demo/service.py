"""One service of the estate as a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType

import redis

from agents.demo.alive import Alive
from agents.demo.consumer import Consumer
from agents.demo.names import HOP_OF_CONSUMER
from agents.demo.place import ESTATE_KEY, console_address, read_key
from agents.demo.shop import Shop
from agents.demo.telemetry import Telemetry, exporter
from agents.demo.work import HANDLERS
from console.core.config import Config

FLUSH_S = 2.0  # spans that the console does not take by then are lost, as any service's would be


def run_service(name: str, config: Config) -> None:
    """Run until SIGTERM or SIGINT; then send the spans that wait and end within three seconds."""
    stop = threading.Event()

    def on_signal(signum: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    client = redis.Redis.from_url(config.resolved_redis_url(), socket_timeout=10, socket_connect_timeout=5)
    telemetry = Telemetry(name, exporter(console_address(config), read_key(config, ESTATE_KEY)))
    worker = make_worker(name, client, telemetry)
    worker.run(stop.is_set)
    _leave(worker.alive, telemetry)


def make_worker(name: str, client: redis.Redis, telemetry: Telemetry) -> Shop | Consumer:
    if name == "shop":
        return Shop(client, telemetry)
    return Consumer(client, HOP_OF_CONSUMER[name], HANDLERS[name], telemetry)


def _leave(alive: Alive, telemetry: Telemetry) -> None:
    with contextlib.suppress(redis.RedisError):
        alive.leave()
    flush = threading.Thread(target=telemetry.stop, daemon=True)
    flush.start()
    flush.join(FLUSH_S)
    os._exit(0)  # the exporter may be waiting for a console that is gone
