"""`make bench-ingest`: events/s over HTTP, beside raw COPY of the same rows in the same run, generator on the same cores.

The whole path: HTTP, OTLP protobuf gzip, dedupe, message upsert, rollups, sealed payload, against two gunicorn workers and an
embedded PostgreSQL. Bodies of 500 spans, five attributes each, four spans a message, are built before the clock starts.
The last line is one JSON object. ratio = ours ÷ raw COPY binary of the same rows into an unindexed table; growth_ratio =
the ratio without payload at ten times the stored data ÷ that at one: minutes lie between the two, in which the machine may become another.
Ours and raw COPY take turns, and the middle one of three rounds counts: one takes a second and a half, in which a checkpoint may fall.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.bodies import build_bodies
from benchmarks.generator import Sent, Target, send_all, send_at
from benchmarks.managing import ROOT, free_port, manage, wait_for
from console.engines import start_engines

SPANS = 500
ROUNDS = 3  # of each run: the middle one by its ratio counts
FEW = 100  # spans of a body in the latency run

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
    return sum(map(len, batches)) / seconds


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
    ask.add_argument("--batches", type=int, default=120, help="requests of 500 events in each measured run")
    ask.add_argument("--worker-class", default="", help="another gunicorn worker class, to compare")
    given = ask.parse_args()
    data = Path(tempfile.mkdtemp(prefix="waybill-bench-"))
    data.chmod(0o711)
    engines, web = None, None
    try:
        engines = start_engines(data)
        port = free_port()
        environ = os.environ | {
            "WAYBILL_DATA": str(data), "WAYBILL_PORT": str(port), "WAYBILL_ADMIN_PASSWORD": "bench-Secret-12", "WAYBILL_LOG_LEVEL": "WARNING",
            "DATABASE_URL": engines.database_url or "", "REDIS_URL": engines.redis_url or "", "WAYBILL_DISK_RESERVE_PERCENT": "1",
        }  # fmt: skip
        manage(environ, "prepare")
        key = manage(environ, "create_key", "agent", "bench", "--environment", "production")
        command = [sys.executable, "-m", "gunicorn", "--config", "console/gunicorn.py", "console.wsgi:application"]
        if given.worker_class:
            command[3:3] = ["--worker-class", given.worker_class]
        web = subprocess.Popen(command, cwd=ROOT, env=environ)
        wait_for(port)
        _measure(engines.database_url or "", Target(port=port, key=key), web.pid, given.batches)
    finally:
        if web is not None:
            web.terminate()
            web.wait()
        if engines is not None:
            engines.stop()
        shutil.rmtree(data, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One run of ours and the raw engine's right before it."""

    ours: Sent
    raw_per_s: float

    def ratio(self) -> float:
        return self.ours.per_s * SPANS / self.raw_per_s


def _beside(database_url: str, target: Target, first: int, batches: int) -> tuple[Beside, Beside]:
    """Return a run with payload and one without: raw COPY takes half a second, in which a machine may be anything."""
    wide = build_bodies(first, batches, 1024)
    raw_wide = raw_copy(database_url, wide, with_payload=True)
    ours_wide = send_all(target, wide)
    return Beside(ours=ours_wide, raw_per_s=raw_wide), _narrow(database_url, target, first + 500_000, batches)


def _narrow(database_url: str, target: Target, first: int, batches: int) -> Beside:
    bodies = build_bodies(first, batches, 0)
    raw = raw_copy(database_url, bodies, with_payload=False)
    return Beside(ours=send_all(target, bodies), raw_per_s=raw)


def _measure(database_url: str, target: Target, web: int, batches: int) -> None:
    send_all(target, build_bodies(0, 16, 0))  # caches, partitions, flows
    rounds = [_beside(database_url, target, 1_000_000 * number, batches) for number in range(1, ROUNDS + 1)]
    wide, narrow = (sorted(pairs, key=Beside.ratio)[ROUNDS // 2] for pairs in zip(*rounds, strict=True))
    few_most = send_all(target, build_bodies(8_000_000, 2 * batches, 1024, FEW))
    few_half = send_at(target, build_bodies(9_000_000, 2 * batches, 1024, FEW), rate=few_most.per_s / 2)
    stored = 2 * ROUNDS * batches + 4 * batches * FEW // SPANS
    for step in range(9):  # ten times what is stored now
        send_all(target, build_bodies(10_000_000 + step * stored, stored, 0))
    late = [_narrow(database_url, target, 50_000_000 + number * batches, batches) for number in range(ROUNDS)]
    grown = sorted(late, key=Beside.ratio)[ROUNDS // 2]
    growth = grown.ratio() / narrow.ratio()
    memory_mb = _memory_mb(target, web)
    bombs_ms = max(_bomb_ms(target, "gzip"), _bomb_ms(target, "zstd"))
    print(f"{'':44}{'events/s':>10}{'raw COPY':>10}{'ratio':>8}{'p50 ms':>8}{'p99 ms':>8}")
    for words, run, spans, raw in (
        ("with a 1 KB payload", wide.ours, SPANS, wide.raw_per_s),
        ("without payload", narrow.ours, SPANS, narrow.raw_per_s),
        (f"batches of {FEW}, 1 KB payload, most", few_most, FEW, 0.0),
        (f"batches of {FEW}, 1 KB payload, at half of it", few_half, FEW, 0.0),
        (f"without payload, {10 * stored * SPANS:,} events stored", grown.ours, SPANS, grown.raw_per_s),
    ):
        beside = f"{raw:10,.0f}{run.per_s * spans / raw:8.2f}" if raw else f"{'':18}"
        print(f"{words:44}{run.per_s * spans:10,.0f}{beside}{run.percentile(50):8.0f}{run.percentile(99):8.0f}")
    print(
        f"most memory of a web process while 20 MiB bodies came: {memory_mb} MB; a bomb of 1 GiB was refused in {bombs_ms:.0f} ms"
    )
    figures = {
        "events_per_s": round(wide.ours.per_s * SPANS), "ratio": round(wide.ratio(), 3), "ratio_without_payload": round(narrow.ratio(), 3),
        "growth_ratio": round(growth, 3), "half_load_p99_ms": round(few_half.percentile(99), 1),
        "web_memory_mb": memory_mb, "bomb_ms": round(bombs_ms, 1),
    }  # fmt: skip
    print(json.dumps(figures))


def _memory_mb(target: Target, web: int) -> int:
    """Return the largest peak of a web process after 16 bodies of just under 20 MiB, four at a time."""
    bodies = build_bodies(70_000_000, 16, 4000, 4160)
    inflated = len(gzip.decompress(bodies[0]))
    if not 19 * 2**20 < inflated < 20 * 2**20:
        raise SystemExit(f"the large body has {inflated:,} bytes")
    send_all(target, bodies)
    children = Path(f"/proc/{web}/task/{web}/children").read_text().split()
    peaks = [Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0] for pid in children]
    return max(int(peak) for peak in peaks) // 1024


def _bomb_ms(target: Target, encoding: str) -> float:
    """Return how long it took to refuse 1 GiB of zeros in a small body."""
    if encoding == "gzip":
        deflater = zlib.compressobj(9, zlib.DEFLATED, 31)
        body = b"".join(deflater.compress(bytes(2**20)) for _ in range(1024)) + deflater.flush()
    else:
        body = zstandard.ZstdCompressor().compress(bytes(2**30))
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=60)
    started = time.perf_counter()
    connection.request("POST", "/v1/traces", body, target.headers(encoding))
    if (status := connection.getresponse().status) != 413:
        raise SystemExit(f"a bomb was answered {status}")
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
