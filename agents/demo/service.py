"""`python -m agents.demo.service NAME SETTINGS`: one process of the estate."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation import set_span_in_context

from agents.demo.landscape import (
    ALIVE_KEY,
    CONSUMES,
    COUNT_KEY,
    FAULTS,
    FAULTS_KEY,
    attributes_of,
    make_order,
    message_id_of,
)
from agents.demo.work import WORK, parse
from messages.connectors.context import make_traceparent, parse_traceparent

GROUP = "estate"
ATTEMPTS = 3
DEAD_AN_HOUR = 45  # a demo left alone for a weekend must not pile up thousands
ORDERS_PER_S = 0.8


class Estate:
    """What every service has: the broker, the tracer, the faults of this second."""

    def __init__(self, name: str, settings: dict[str, str]) -> None:
        self.name = name
        self.redis: Any = redis.Redis.from_url(settings["redis_url"], socket_timeout=20)
        exporter = OTLPSpanExporter(
            endpoint=settings["console"] + "/v1/traces",
            headers={"authorization": f"Bearer {settings['otlp_key']}"},
            compression=Compression.Gzip,
        )
        self.provider = TracerProvider(resource=Resource.create({"service.name": name}))
        self.provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
        self.tracer = self.provider.get_tracer("waybill.demo")
        self.stopping = False
        self._faults: dict[str, bool] = {}
        self._read_at = 0.0

    def faults(self) -> dict[str, bool]:
        if time.monotonic() - self._read_at > 1:
            stored = {name.decode(): value for name, value in self.redis.hgetall(FAULTS_KEY).items()}
            self._faults = {fault.key: stored.get(fault.key, b"1") != b"0" for fault in FAULTS}
            self._read_at = time.monotonic()
        return self._faults

    def beat(self) -> None:
        self.redis.set(ALIVE_KEY + self.name, int(time.time()), ex=15)

    def count(self, what: str) -> None:
        key = f"{COUNT_KEY}{self.name}:{what}:{int(time.time()) // 60}"
        pipe = self.redis.pipeline(transaction=False)
        pipe.incr(key)
        pipe.expire(key, 900)
        pipe.execute()

    def send(self, stream: str, body: bytes, order: dict[str, Any], message_id: str) -> None:
        attributes = attributes_of(order) | _messaging(stream, "send", message_id)
        for number in ("invoice_no", "shipment_no"):
            if number in order:
                attributes[number] = order[number]
        attributes |= {
            "waybill.payload": body.decode(errors="replace"),
            "waybill.payload.content_type": "application/json",
        }
        with self.tracer.start_as_current_span(f"send {stream}", kind=SpanKind.PRODUCER, attributes=attributes) as span:
            context = span.get_span_context()
            traceparent = make_traceparent(f"{context.trace_id:032x}", f"{context.span_id:016x}")
            fields = {
                "body": body,
                "message-id": message_id,
                "content-type": "application/json",
                "traceparent": traceparent,
            }
            self.redis.xadd(stream, fields, maxlen=100_000, approximate=True)
        self.count("sent")


def _messaging(stream: str, operation: str, message_id: str) -> dict[str, Any]:
    return {
        "messaging.system": "redis", "messaging.operation.name": operation, "messaging.operation.type": operation,
        "messaging.destination.name": stream, "messaging.message.id": message_id,
    }  # fmt: skip


def run_shop(estate: Estate) -> None:
    """Send orders, a few of them cut off."""
    chance = random.Random()
    while not estate.stopping:
        number = 20_000 + estate.redis.incr("waybill-demo:order-number")
        order = make_order(number, chance)
        body = json.dumps(order).encode()
        if estate.faults()["poison"] and chance.random() < 0.005:
            body = body[:-1]
        estate.send("orders.new", body, order, str(uuid.uuid4()))
        estate.beat()
        time.sleep(min(4.0, chance.expovariate(ORDERS_PER_S)))


def run_consumer(estate: Estate) -> None:
    """Consume one stream: own unacknowledged entries first, then those of the dead, then new ones."""
    stream = CONSUMES[estate.name]
    try:
        estate.redis.xgroup_create(stream, GROUP, id="0", mkstream=True)
    except redis.ResponseError:
        pass
    pending = True
    while not estate.stopping:
        estate.beat()
        answer = estate.redis.xreadgroup(
            GROUP, estate.name, {stream: "0" if pending else ">"}, count=20, block=None if pending else 2000
        )
        entries = _entries(answer)
        pending = pending and bool(entries)
        for entry_id, fields in entries:
            handle(estate, stream, entry_id, fields)


def _entries(answer: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    if not answer:
        return []
    entries = next(iter(answer.values())) if isinstance(answer, dict) else answer[0][1]
    return list(entries[0]) if entries and isinstance(entries[0], list) else list(entries)


def handle(estate: Estate, stream: str, entry_id: bytes, fields: dict[bytes, bytes]) -> None:
    """Process one entry, three times at most; then let it die into the dead-letter stream."""
    error: Exception | None = None
    first_failed_at = ""
    for attempt in range(1, ATTEMPTS + 1):
        error = process(estate, stream, fields, attempt)
        if error is None:
            break
        first_failed_at = first_failed_at or datetime.now(UTC).isoformat()
        time.sleep(0.1 * attempt)
    pipe = estate.redis.pipeline(transaction=True)
    if error is not None:
        pipe.xadd(
            f"{stream}.dlq",
            dead_letter(estate.name, stream, entry_id, fields, error, first_failed_at),
            maxlen=10_000,
            approximate=True,
        )
    pipe.xack(stream, GROUP, entry_id)
    pipe.xdel(stream, entry_id)
    pipe.execute()
    if error is not None:
        key = f"waybill-demo:dead:{estate.name}:{int(time.time()) // 3600}"
        estate.redis.incr(key)
        estate.redis.expire(key, 7200)
    estate.count("dead" if error else "processed")


def process(estate: Estate, stream: str, fields: dict[bytes, bytes], attempt: int) -> Exception | None:
    """One attempt in its own span, linked to the sender's; returns what went wrong."""
    message_id = fields.get(b"message-id", b"").decode(errors="replace") or str(uuid.uuid4())
    parsed = parse_traceparent(fields.get(b"traceparent", b"").decode(errors="replace"))
    links = [Link(SpanContext(int(parsed[0], 16), int(parsed[1], 16), True, TraceFlags(1)))] if parsed else []
    attributes = _messaging(stream, "process", message_id) | {
        "messaging.consumer.group.name": GROUP,
        "attempt": attempt,
    }
    span = estate.tracer.start_span(
        f"process {stream}",
        context=set_span_in_context(trace.INVALID_SPAN),
        kind=SpanKind.CONSUMER,
        links=links,
        attributes=attributes,
    )
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            faults = estate.faults() if _may_fail(estate) else dict.fromkeys(estate.faults(), False)
            order = parse(fields.get(b"body", b""), faults)
            span.set_attributes(attributes_of(order))
            for number in ("invoice_no", "shipment_no"):
                if number in order:
                    span.set_attribute(number, order[number])
            for target, follow in WORK[estate.name](order, faults):
                estate.send(target, json.dumps(follow).encode(), follow, message_id_of(message_id, target))
        except Exception as error:  # noqa: BLE001  whatever it is, it is this attempt's failure
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, str(error)))
            return error
    return None


def _may_fail(estate: Estate) -> bool:
    dead = estate.redis.get(f"waybill-demo:dead:{estate.name}:{int(time.time()) // 3600}")
    return int(dead or 0) < DEAD_AN_HOUR


def dead_letter(
    name: str, stream: str, entry_id: bytes, fields: dict[bytes, bytes], error: Exception, first_failed_at: str
) -> dict[Any, Any]:
    """Return the dead-letter entry: the message as it was, and why it died."""
    return fields | {
        b"original-stream": stream,
        b"dead-entry-id": entry_id,
        b"error-type": type(error).__name__,
        b"error-message": str(error),
        b"error-stack": "".join(traceback.format_exception(error)),
        b"dead-reason": f"failed after {ATTEMPTS} attempts",
        b"attempts": str(ATTEMPTS),
        b"first-failed-at": first_failed_at,
        b"failed-at": datetime.now(UTC).isoformat(),
        b"failed-system": name,
    }


def main() -> int:
    name, settings = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    estate = Estate(name, settings)

    def stop(*_: object) -> None:
        estate.stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    run = run_shop if name == "shop" else run_consumer
    try:
        while not estate.stopping:
            try:
                run(estate)
            except redis.RedisError as error:
                print(f"demo {name}: the broker is away: {error}", file=sys.stderr, flush=True)
                time.sleep(1)
    finally:
        estate.provider.shutdown()
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
