"""Bodies to send: OTLP protobuf, gzipped, five attributes a span, four spans a message, built before any clock starts."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import random
import time
import uuid

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

OPERATIONS = ("send", "receive", "process", "settle")
WORDS = [
    "order",
    "line",
    "price",
    "total",
    "customer",
    "street",
    "city",
    "country",
    "article",
    "quantity",
    "invoice",
    "delivery",
    "note",
    "remark",
]


def build_body(seed: int, payload_bytes: int, spans: int = 500) -> bytes:
    """Return one gzipped request: a quarter as many messages as spans, four spans each."""
    chance, request = random.Random(seed), ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = f"service-{seed % 4}"
    scope = resource.scope_spans.add()
    now = time.time_ns() - 60_000_000_000
    for message in range(spans // len(OPERATIONS)):
        trace, message_id = chance.randbytes(16), str(uuid.UUID(bytes=chance.randbytes(16)))
        for step, operation in enumerate(OPERATIONS):
            start = now + message * 1_000_000 + step * 200_000
            span = scope.spans.add(
                trace_id=trace, span_id=chance.randbytes(8), name=f"{operation} orders", kind=4 if step == 0 else 5
            )
            span.start_time_unix_nano, span.end_time_unix_nano = start, start + chance.randrange(50_000_000)
            attributes = {
                "messaging.system": "kafka",
                "messaging.destination.name": f"orders-{seed % 8}",
                "messaging.operation.type": operation,
                "messaging.message.id": message_id,
                "order_no": f"{seed}-{message}",
            }
            if payload_bytes:
                attributes["waybill.payload"] = json.dumps(
                    {chance.choice(WORDS) + str(n): chance.choice(WORDS) * 2 for n in range(payload_bytes // 24)}
                )
            for key, value in attributes.items():
                span.attributes.add(key=key).value.string_value = value
    return gzip.compress(request.SerializeToString(), 6)


def build_bodies(first: int, count: int, payload_bytes: int, spans: int = 500) -> list[bytes]:
    """Return so many bodies of different messages; `first` keeps two calls apart."""
    with multiprocessing.Pool(2) as pool:
        return pool.starmap(build_body, [(first + n, payload_bytes, spans) for n in range(count)], chunksize=8)
