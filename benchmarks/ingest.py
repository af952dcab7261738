"""`make bench-ingest`: events/s over HTTP, beside raw COPY of the same rows in the same run, generator on the same cores.

The whole path: HTTP, OTLP protobuf gzip, dedupe, message upsert, rollups, sealed payload, against two gunicorn workers and an
embedded PostgreSQL. Bodies of 500 spans, five attributes each, four spans a message, are built before the clock starts.
The last line is one JSON object. ratio = ours ÷ raw COPY binary of the same rows into an unindexed table; growth_ratio =
events/s at ten times the stored data ÷ events/s at one.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import multiprocessing
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import psycopg
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from console.engines import start_engines

ROOT = Path(__file__).resolve().parent.parent
SPANS, GENERATORS = 500, 2
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


def build_body(seed: int, payload_bytes: int) -> bytes:
    """Return one gzipped request of 500 spans: 125 messages, four spans each."""
    chance, request = random.Random(seed), ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = f"service-{seed % 4}"
    scope = resource.scope_spans.add()
    now = time.time_ns() - 60_000_000_000
    for message in range(SPANS // len(OPERATIONS)):
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


def _build(job: tuple[int, int]) -> bytes:
    return build_body(*job)


def build_bodies(first: int, count: int, payload_bytes: int) -> list[bytes]:
    with multiprocessing.Pool(2) as pool:
        return pool.map(_build, [(first + n, payload_bytes) for n in range(count)], chunksize=8)


def _post_all(port: int, key: str, bodies: Sequence[bytes], begin: object, latencies: object) -> None:
    """Post bodies one after the other on one connection; every answer must be 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
    begin.wait()  # type: ignore[attr-defined]
    took = []
    for body in bodies:
        started = time.perf_counter()
        connection.request("POST", "/v1/traces", body, headers)
        answer = connection.getresponse()
        answer.read()
        took.append(time.perf_counter() - started)
        if answer.status != 200:
            raise SystemExit(f"the console answered {answer.status}")
    latencies.put(took)  # type: ignore[attr-defined]


def post_all(port: int, key: str, bodies: Sequence[bytes]) -> tuple[float, float]:
    """Return (events/s, p99 in ms of a request) of posting these bodies from two processes."""
    begin = multiprocessing.Barrier(GENERATORS + 1)
    latencies: multiprocessing.Queue[list[float]] = multiprocessing.Queue()
    halves = [bodies[n::GENERATORS] for n in range(GENERATORS)]
    processes = [multiprocessing.Process(target=_post_all, args=(port, key, half, begin, latencies)) for half in halves]
    for process in processes:
        process.start()
    begin.wait()
    started = time.perf_counter()
    took = sorted(second for _ in processes for second in latencies.get())
    seconds = time.perf_counter() - started
    for process in processes:
        process.join()
    return len(bodies) * SPANS / seconds, took[int(len(took) * 0.99)] * 1000


RAW_COLUMNS = (
    "occurred_at timestamptz, id uuid, received_at timestamptz, environment_id int8, flow_id int8, system_id int8, agent_id int8, "
    "message_uid uuid, message_id text, correlation_id text, trace_id uuid, span_id text, parent_span_id text, operation int2, "
    "outcome int2, duration_us int8, name text, destination text, error_type text, error_message text, error_stack text, keys jsonb, "
    "attributes jsonb, clamped_from timestamptz, payload_on date"
)


def raw_copy(database_url: str, bodies: Sequence[bytes], *, with_payload: bool) -> float:
    """Return rows/s of COPY binary of the same rows, 500 a transaction, into a table without any index."""
    from messages.ingest.messages_sql import json as jsonb

    batches = []
    for body in bodies:
        request = ExportTraceServiceRequest.FromString(gzip.decompress(body))
        batches.append([_raw_row(span, with_payload, jsonb) for span in request.resource_spans[0].scope_spans[0].spans])
    columns = RAW_COLUMNS + (", payload bytea" if with_payload else "")
    types = [column.split()[1] for column in columns.split(", ")]
    with psycopg.connect(database_url) as connection:
        connection.execute(f"CREATE TABLE raw_copy ({columns})")
        connection.commit()
        started = time.perf_counter()
        for rows in batches:
            with connection.cursor() as cursor, cursor.copy("COPY raw_copy FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(types)
                for row in rows:
                    copy.write_row(row)
            connection.commit()
        seconds = time.perf_counter() - started
        connection.execute("DROP TABLE raw_copy")
    return len(bodies) * SPANS / seconds


def _raw_row(span: object, with_payload: bool, jsonb: object) -> tuple[object, ...]:
    from datetime import UTC, datetime

    attributes = {pair.key: pair.value.string_value for pair in span.attributes}  # type: ignore[attr-defined]
    payload = attributes.pop("waybill.payload", "")
    now = datetime.now(UTC)
    trace = uuid.UUID(bytes=span.trace_id)  # type: ignore[attr-defined]
    row = (
        now, uuid.uuid4(), now, 1, 1, 1, 1, trace, attributes["messaging.message.id"], None, trace, span.span_id.hex(), None, 2, 1, 1000,  # type: ignore[attr-defined]
        span.name, attributes["messaging.destination.name"], None, None, None, jsonb({"order_no": attributes["order_no"]}), jsonb(attributes), None, None,  # type: ignore[attr-defined,operator]
    )  # fmt: skip
    return (*row, payload.encode()) if with_payload else row


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--batches", type=int, default=160, help="requests of 500 events in each measured run")
    ask.add_argument("--worker-class", default="", help="another gunicorn worker class, to compare")
    given = ask.parse_args()
    data = Path(tempfile.mkdtemp(prefix="waybill-bench-"))
    data.chmod(0o711)
    engines, web = None, None
    try:
        engines = start_engines(data)
        port = _free_port()
        environ = os.environ | {
            "WAYBILL_DATA": str(data), "WAYBILL_PORT": str(port), "WAYBILL_ADMIN_PASSWORD": "bench-Secret-12", "WAYBILL_LOG_LEVEL": "WARNING",
            "DATABASE_URL": engines.database_url or "", "REDIS_URL": engines.redis_url or "",
        }  # fmt: skip
        _manage(environ, "prepare")
        key = _manage(environ, "create_key", "agent", "bench", "--environment", "production")
        command = [sys.executable, "-m", "gunicorn", "--config", "console/gunicorn.py", "console.wsgi:application"]
        if given.worker_class:
            command[3:3] = ["--worker-class", given.worker_class]
        web = subprocess.Popen(command, cwd=ROOT, env=environ)
        _wait(port)
        _measure(engines.database_url or "", port, key, given.batches)
    finally:
        if web is not None:
            web.terminate()
            web.wait()
        if engines is not None:
            engines.stop()
        shutil.rmtree(data, ignore_errors=True)


def _measure(database_url: str, port: int, key: str, batches: int) -> None:
    post_all(port, key, build_bodies(0, 8, 0))  # caches, partitions, flows
    narrow, wide = build_bodies(1_000, batches, 0), build_bodies(1_000_000, batches, 1024)
    raw_narrow = raw_copy(database_url, narrow, with_payload=False)
    raw_wide = raw_copy(database_url, wide, with_payload=True)
    ours_wide, p99_wide = post_all(port, key, wide)
    ours_narrow, p99_narrow = post_all(port, key, narrow)
    stored = 2 * batches
    for step in range(9):  # ten times what is stored now
        post_all(port, key, build_bodies(10_000_000 + step * stored, stored, 0))
    grown, p99_grown = post_all(port, key, build_bodies(50_000_000, batches, 0))
    print(f"{'':34}{'events/s':>10}{'raw COPY':>10}{'ratio':>8}{'p99 ms':>8}")
    print(f"{'with a 1 KB payload':34}{ours_wide:10,.0f}{raw_wide:10,.0f}{ours_wide / raw_wide:8.2f}{p99_wide:8.0f}")
    print(
        f"{'without payload':34}{ours_narrow:10,.0f}{raw_narrow:10,.0f}{ours_narrow / raw_narrow:8.2f}{p99_narrow:8.0f}"
    )
    print(f"{f'at {11 * stored * SPANS:,} stored events':34}{grown:10,.0f}{'':18}{p99_grown:8.0f}")
    figures = {
        "events_per_s": round(ours_wide), "ratio": round(ours_wide / raw_wide, 3), "ratio_without_payload": round(ours_narrow / raw_narrow, 3),
        "growth_ratio": round(grown / ours_narrow, 3),
    }  # fmt: skip
    print(json.dumps(figures))


def _manage(environ: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit("the console did not become ready")


if __name__ == "__main__":
    main()
