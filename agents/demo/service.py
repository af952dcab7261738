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
from agents.demo.names import HOP_OF_CONSUMER, HOPS, SHIPMENTS
from agents.demo.place import ESTATE_KEY, console_address, read_key
from agents.demo.shop import Shop
from agents.demo.telemetry import Telemetry, exporter
from agents.demo.work import HANDLERS, UNDO, handler_of
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
    worker = make_worker(name, client, telemetry, config.demo_rabbitmq_url)
    for other in undoers(name, client, telemetry, worker.alive):
        threading.Thread(target=other.run, args=[stop.is_set], daemon=True).start()
    worker.run(stop.is_set)
    _leave(worker.alive, telemetry)


def make_worker(name: str, client: redis.Redis, telemetry: Telemetry, rabbitmq_url: str | None) -> Shop | Consumer:
    """Return what this service runs; with a RabbitMQ, shipments travel over it."""
    if name == "shop":
        return Shop(client, telemetry)
    common = (client, HOP_OF_CONSUMER[name], HANDLERS[name], telemetry)
    if rabbitmq_url is None or name not in {"erp", "shipping"}:
        return Consumer(*common)
    # Imported here: four of five services never need it.
    from agents.demo.rabbit import Rabbit, RabbitConsumer

    rabbit = Rabbit(rabbitmq_url, SHIPMENTS, HOP_OF_CONSUMER["shipping"].dead_letters)
    return RabbitConsumer(rabbit, *common) if name == "shipping" else Consumer(*common, {SHIPMENTS: rabbit})


def undoers(name: str, client: redis.Redis, telemetry: Telemetry, alive: Alive) -> list[Consumer]:
    """Return the consumers of what this service is asked to undo, beside what it does; they are counted as the same process."""
    hops = [hop for hop in HOPS if hop.consumer == name and hop.stream in UNDO]
    consumers = [Consumer(client, hop, handler_of(hop), telemetry) for hop in hops]
    for consumer in consumers:
        consumer.alive = alive
    return consumers


def _leave(alive: Alive, telemetry: Telemetry) -> None:
    with contextlib.suppress(redis.RedisError):
        alive.leave()
    flush = threading.Thread(target=telemetry.stop, daemon=True)
    flush.start()
    flush.join(FLUSH_S)
    os._exit(0)  # the exporter may be waiting for a console that is gone
