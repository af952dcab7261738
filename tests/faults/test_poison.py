"""One poisonous item among five hundred, by every way in; bodies that are bombs, mazes or no text at all. Each runs in this process."""

from __future__ import annotations

import gzip
import json
import os
import random
import string
import time
import tracemalloc
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import zstandard
from django.db import connection
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from messages.ingest import http
from messages.ingest.cloudevents import BATCHED
from messages.ingest.otlp_decode import LooseRequest
from messages.models import Change, DeadLetter, Event, IngestReject
from tests.factories import agent_key, event, letter, push
from tests.faults.checker import check_recount

pytestmark = [pytest.mark.fault, pytest.mark.django_db, pytest.mark.timeout(240)]
MANY, AT = 500, 250
RANDOM_3_KB = "".join(random.Random(3).choices(string.ascii_letters, k=3_000))
# JSON texts of an attribute's value, of a name, and of a time: what is not said is harmless.
POISON: dict[str, dict[str, str]] = {
    "NUL": {"value": '"a\\u0000b"', "name": '"\\u0000"'},
    "a lone surrogate": {"value": '"\\ud83d"', "name": '"cut \\ud83d off \\\\ud83d \\ud83d\\ude00"'},
    "a random key of 3 KB": {"name": json.dumps(RANDOM_3_KB)},
    "1e200000": {"value": "1e200000"},
    "year 1": {"time": '"0001-01-01T00:00:00+14:00"'},
    "year 9999": {"time": '"9999-12-31T23:59:59-14:00"'},
    "depth 5,000": {"value": "[" * 5_000 + "]" * 5_000},
    "a million keys": {"value": "{" + ",".join(f'"{n:x}":1' for n in range(1_000_000)) + "}"},
    "ids of 10 KB": {"name": json.dumps("i" * 10_000)},
    "an error of 5 MB": {"error": json.dumps("m" * 5_000_000)},
}


class Way:
    """One way in: how 500 items are sent, of which one may be poisoned, and how many of them are stored."""

    path, content_type = "/ingest/v1/events", "application/json"

    def item(self, number: int) -> dict[str, Any]:
        return event(message_id=f"m-{number:020d}", correlation_id="NAME", attributes={"x": "VALUE"}, outcome="error",
                     error={"type": "T", "message": "ERROR"}, keys={"order_no": "NAME"}, occurred_at="TIME")  # fmt: skip

    def body(self, poison: dict[str, str]) -> bytes:
        items = [fill(json.dumps(self.item(n)), poison if n == AT else {}) for n in range(MANY)]
        return self.wrap(items)

    def wrap(self, items: list[str]) -> bytes:
        return f"[{','.join(items)}]".encode()

    def stored(self) -> int:
        return Event.objects.count()

    def rejected(self, answer: Any) -> int:
        return len(answer.json()["rejected"])


def fill(item: str, poison: dict[str, str]) -> str:
    now = json.dumps((datetime.now(UTC) - timedelta(seconds=60)).isoformat())
    for mark, harmless in {"NAME": '"n"', "VALUE": '"v"', "ERROR": '"e"', "TIME": now}.items():
        item = item.replace(f'"{mark}"', poison.get(mark.lower(), harmless))
    return item


class Lines(Way):
    content_type = "application/x-ndjson"

    def wrap(self, items: list[str]) -> bytes:
        return "\n".join(items).encode()


class Envelope(Way):
    def wrap(self, items: list[str]) -> bytes:
        return f'{{"batch_id": "b", "events": [{",".join(items)}]}}'.encode()


class DeadLetters(Way):
    path = "/ingest/v1/dead-letters"

    def item(self, number: int) -> dict[str, Any]:
        return letter(message_id=f"m-{number:020d}", correlation_id="NAME", properties={"x": "VALUE"}, failed_at="TIME",
                      error={"type": "T", "message": "ERROR"}, keys={"order_no": "NAME"})  # fmt: skip

    def stored(self) -> int:
        return DeadLetter.objects.count()


class CloudEvents(Way):
    path, content_type = "/ingest/v1/cloudevents", BATCHED

    def item(self, number: int) -> dict[str, Any]:
        return {"specversion": "1.0", "id": f"c-{number}", "source": "https://shop/x", "type": "order.created", "subject": "NAME",
                "time": "TIME", "extension": "VALUE", "data": {"order_no": "NAME", "error": "ERROR"}}  # fmt: skip


class Changes(Way):
    path = "/ingest/v1/changes"

    def item(self, number: int) -> dict[str, Any]:
        return {"id": f"d-{number}", "kind": "deployment", "title": "NAME", "version": "ERROR", "systems": ["NAME"], "started_at": "TIME",
                "author": "VALUE"}  # fmt: skip

    def stored(self) -> int:
        return Change.objects.count()


class TracesJSON(Way):
    path, signal, scopes, items = "/v1/traces", "resourceSpans", "scopeSpans", "spans"

    def item(self, number: int) -> dict[str, Any]:
        attributes = {"messaging.destination.name": "orders", "messaging.message.conversation_id": "NAME", "x": "VALUE"}
        return {"traceId": f"{number + 1:032x}", "spanId": f"{number + 1:016x}", "name": "NAME", "startTimeUnixNano": "NANOS",
                "status": {"code": 2, "message": "ERROR"}, "attributes": [{"key": k, "value": {"stringValue": v}} for k, v in attributes.items()]}  # fmt: skip

    def body(self, poison: dict[str, str]) -> bytes:
        items = []
        for number in range(MANY):
            item = json.dumps(self.item(number))
            if number == AT and "value" in poison:
                item = item.replace('{"stringValue": "VALUE"}', of_any(poison["value"]))
            nanos = {"year 1": "1", "year 9999": str(2**64 - 1)}.get(poison.get("is", "")) if number == AT else None
            item = item.replace("NANOS", nanos or str(time.time_ns() - 60 * 10**9))
            items.append(fill(item, poison if number == AT else {}))
        return f'{{"{self.signal}": [{{"{self.scopes}": [{{"{self.items}": [{",".join(items)}]}}]}}]}}'.encode()

    def rejected(self, answer: Any) -> int:
        return int(answer.json().get("partialSuccess", {}).get("rejectedSpans", 0))


def of_any(value: str) -> str:
    """Return the AnyValue, in OTLP's JSON, of a poison's JSON text."""
    if value[:1] == "[":
        depth = len(value) // 2
        return '{"arrayValue": {"values": [' * depth + '{"stringValue": "x"}' + "]}}" * depth
    if value[:1] == "{":
        return '{"kvlistValue": {"values": [' + ",".join(f'{{"key":"{n:x}"}}' for n in range(1_000_000)) + "]}}"
    return f'{{"{"stringValue" if value[0] == chr(34) else "doubleValue"}": {value}}}'


class TracesProtobuf(Way):
    path, content_type = "/v1/traces", "application/x-protobuf"

    def body(self, poison: dict[str, str]) -> bytes:
        request = ExportTraceServiceRequest()
        spans = request.resource_spans.add().scope_spans.add().spans
        for number in range(MANY):
            span = spans.add(trace_id=(number + 1).to_bytes(16, "big"), span_id=(number + 1).to_bytes(8, "big"), name="n",
                             start_time_unix_nano=time.time_ns() - 60 * 10**9)  # fmt: skip
            span.attributes.add(key="messaging.destination.name").value.string_value = "orders"
        poison_span(spans[AT], poison)
        data = request.SerializeToString()
        if poison["is"] == "depth 5,000":
            loose = LooseRequest.FromString(data)
            loose.resources[0].scopes[0].items[AT] += nested_attribute(5_000)
            data = loose.SerializeToString()
        # What protobuf itself refuses to write, some senders write all the same: text that is not UTF-8.
        return data.replace(b"LONE SURROGATE", b"LONE SURR\xed\xa0\xbd\xed\xa0")

    def rejected(self, answer: Any) -> int:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

        return ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans


def poison_span(span: Any, poison: dict[str, str]) -> None:
    what = poison["is"]
    span.status.code, span.status.message = 2, "m" * 5_000_000 if what == "an error of 5 MB" else "e"
    if what == "a million keys":
        span.attributes.extend(KeyValue(key=f"{n:x}") for n in range(1_000_000))
    if what in ("year 1", "year 9999"):
        span.start_time_unix_nano = 1 if what == "year 1" else 2**64 - 1
    if what == "1e200000":
        span.attributes.add(key="x").value.double_value = float("inf")
    name = "LONE SURROGATE" if what == "a lone surrogate" else json.loads(poison.get("name", '"n"'))
    span.name = name
    span.attributes.add(key="messaging.message.conversation_id").value.string_value = name


def nested_attribute(depth: int) -> bytes:
    """Return an attribute of a span whose value is an array in an array …, as bytes: the library writes none so deep."""

    def framed(tag: int, inner: bytes) -> bytes:
        return bytes([tag]) + varint(len(inner)) + inner

    value = b""
    for _ in range(depth):
        value = framed(0x2A, framed(0x0A, value))  # AnyValue.array_value, ArrayValue.values
    return framed(0x4A, framed(0x0A, b"deep") + framed(0x12, value))  # Span.attributes, KeyValue.key and .value


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


WAYS = {
    "events": Way(), "NDJSON": Lines(), "an envelope": Envelope(), "dead letters": DeadLetters(), "CloudEvents": CloudEvents(),
    "changes": Changes(), "OTLP JSON": TracesJSON(), "OTLP protobuf": TracesProtobuf(),
}  # fmt: skip


@pytest.mark.parametrize("poison", POISON)
@pytest.mark.parametrize("way", WAYS)
def test_one_poisonous_item_among_five_hundred_costs_at_most_itself(way: str, poison: str):
    """Row 20: 499 are stored, the one is cleaned and stored or refused and kept; what is stored and refused is what was sent."""
    road = WAYS[way]
    body = road.body(POISON[poison] | {"is": poison})
    begun = time.thread_time()

    answer = push(
        road.path, gzip.compress(body, 1), key=agent_key(), content_type=road.content_type, HTTP_CONTENT_ENCODING="gzip"
    )

    assert answer.status_code == 200, answer.content[:500]
    assert time.thread_time() - begun < 12  # at most 2 on a quiet machine
    refused = road.rejected(answer)
    assert refused == 1 if poison == "depth 5,000" else refused <= 1  # stored, it would have lost its depths in silence
    assert road.stored() + refused == MANY
    assert IngestReject.objects.count() == refused
    connection.ensure_connection()
    check_recount(connection.connection)


def bomb(encoding: str) -> bytes:
    """Return 1 GiB of blanks, compressed."""
    if encoding == "zstd":
        return zstandard.compress(b" " * 2**30)
    deflater = zlib.compressobj(9, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
    return b"".join(deflater.compress(b" " * 2**20) for _ in range(1024)) + deflater.flush()


def streamed(data: bytes) -> bytes:
    """Return a zstd frame that does not say how much is in it."""
    packer = zstandard.ZstdCompressor().compressobj()
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "zstd of unsaid size"])
def test_a_bomb_is_put_out_before_it_has_cost_anything(encoding: str):
    """Row 22: a small body of 1 GiB is refused after 20 MiB: measured are this thread's CPU time and the memory that Python got."""
    body = streamed(b" " * 2**30) if "unsaid" in encoding else bomb(encoding)
    name = encoding.split(maxsplit=1)[0]
    tracemalloc.start()
    begun = time.thread_time()

    with pytest.raises(http.TooLarge):
        http.inflate(body, name)

    took_s, peak = time.thread_time() - begun, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert took_s < 0.5  # 0.02 to 0.05 on a quiet machine
    assert peak < 3 * http.INFLATED_BYTES
    answer = push("/ingest/v1/events", body, key=agent_key(), HTTP_CONTENT_ENCODING=name)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


GOOD = json.dumps(
    [{"id": "1", "system": "s", "operation": "send", "occurred_at": "2026-11-24T00:00:00Z"}] * 3, indent=1
).encode()
LINES = b"\n".join(json.dumps(item).encode() for item in json.loads(GOOD))
WRONG = {
    "gzip in gzip, said once": (gzip.compress(gzip.compress(GOOD)), "gzip", 400),
    "gzip in gzip, said twice": (gzip.compress(gzip.compress(GOOD)), "gzip, gzip", 415),
    "zstd said to be gzip": (zstandard.compress(GOOD), "gzip", 400),
    "gzip said to be zstd": (gzip.compress(GOOD), "zstd", 400),
    "plain said to be gzip": (GOOD, "gzip", 400),
    "gzip said to be plain": (gzip.compress(GOOD), "", 400),
    "gzip, cut": (gzip.compress(LINES)[:-9], "gzip", 400),
    "zstd, cut": (zstandard.compress(LINES)[:-9], "zstd", 400),
    "zstd of unsaid size, cut": (streamed(LINES * 10_000)[:-9], "zstd", 400),
    "gzip and more": (gzip.compress(LINES) + gzip.compress(LINES), "gzip", 400),
    "zstd and more": (zstandard.compress(LINES) + zstandard.compress(LINES), "zstd", 400),
    "zstd with a window of 2 GiB": (b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x01\x00\x00", "zstd", 400),
}


@pytest.mark.parametrize(("body", "encoding", "status"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("content_type", ["application/json", "application/x-ndjson"])
def test_compression_that_is_not_what_it_says_stores_nothing(
    body: bytes, encoding: str, status: int, content_type: str
):
    """Row 22: nested, mis-declared, cut, with something behind it. NDJSON too, where a part would look like a whole."""
    answer = push("/ingest/v1/events", body, key=agent_key(), content_type=content_type, HTTP_CONTENT_ENCODING=encoding)

    # As lines, noise is refused line by line.
    assert answer.status_code == status or answer.json()["accepted"] == 0, answer.content
    assert Event.objects.count() == 0


MAZES = {
    "200,000 deep": b"[" * 200_000 + b"]" * 200_000,
    "200,000 deep and never closed": b'{"a":' * 200_000,
    "a million keys beside the events": b'{"events": [], ' + b",".join(b'"%x": 1' % n for n in range(1_000_000)) + b"}",
    "a million times the same key": b"[{" + b",".join([b'"id": 1'] * 1_000_000) + b"}]",
    "a million empty items": b"[" + b",".join([b"{}"] * 1_000_000) + b"]",
    "quotes that never end": b'["' + b'\\"' * 2_000_000,
}


@pytest.mark.parametrize("body", MAZES.values(), ids=MAZES)
@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/ingest/v1/events", "application/json"),
        ("/ingest/v1/events", "application/x-ndjson"),
        ("/v1/traces", "application/json"),
        ("/v1/logs", "application/json"),
        ("/ingest/v1/cloudevents", BATCHED),
    ],
)
def test_a_maze_of_json_costs_seconds_of_nobody(path: str, content_type: str, body: bytes):
    """Row 23: deep JSON, a million keys, a flood of hashes: an answer with a code, in little CPU time, by a thread that lives on."""
    key = agent_key()
    begun = time.thread_time()

    answer = push(path, body, key=key, content_type=content_type)

    assert answer.status_code in (200, 400, 413), answer.content[:300]
    assert time.thread_time() - begun < 10  # at most 1.5 on a quiet machine
    assert Event.objects.count() == 0
    assert push("/ingest/v1/events", [event()], key=key).json()["accepted"] == 1


def test_keys_of_json_cannot_be_made_to_collide():
    """Row 23: strings are hashed with a seed that nobody outside knows; a fixed one would let a sender choose collisions."""
    assert os.environ.get("PYTHONHASHSEED", "random") == "random"
    from console.core.config import ROOT

    for file in ("Procfile", "console/gunicorn.py", "docker/Dockerfile", "docker/compose.yml"):
        assert "PYTHONHASHSEED" not in (ROOT / file).read_text()


NO_TEXT = {
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-16 without its mark": GOOD.decode().encode("utf-16-le"),
    "UTF-8 with a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "cut in the middle": GOOD[: len(GOOD) // 2],
    "cut in a character": '["ä'.encode()[:-1],
    "a stray byte between the items": GOOD.replace(b"},", b"},\xff"),
    "two documents": GOOD + GOOD,
    "blanks": b"  ",
}


@pytest.mark.parametrize("body", NO_TEXT.values(), ids=NO_TEXT)
@pytest.mark.parametrize(
    "path", ["/ingest/v1/events", "/ingest/v1/dead-letters", "/ingest/v1/changes", "/v1/traces", "/v1/logs"]
)
def test_what_is_no_json_is_refused_whole_and_says_where(path: str, body: bytes):
    """Row 24: not UTF-8, another encoding, a mark before it, cut: 400 in words, and nothing of it is stored."""
    answer = push(path, body, key=agent_key())

    assert answer.status_code == 400, answer.content
    if path.startswith("/ingest"):  # OTLP wants an object, and says that first
        assert any(word in answer.json()["detail"] for word in ("byte", "truncated", "position"))
    assert (Event.objects.count(), DeadLetter.objects.count(), Change.objects.count()) == (0, 0, 0)


def test_one_item_that_is_not_utf_8_is_refused_alone():
    """Row 24: where the items can still be told apart, one of another encoding costs only itself."""
    body = json.dumps([event(), event(name="BAD"), event()]).encode().replace(b"BAD", b"caf\xe9")

    answer = push("/ingest/v1/events", body, key=agent_key()).json()

    assert (answer["accepted"], [refused["index"] for refused in answer["rejected"]]) == (2, [1])


def test_a_log_record_that_cannot_be_read_costs_only_itself():
    """Row 20: the same for logs, whose answer counts what is not kept."""
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for number in range(MANY):
        record = records.add(
            trace_id=(number + 1).to_bytes(16, "big"),
            span_id=(number + 1).to_bytes(8, "big"),
            time_unix_nano=time.time_ns(),
        )
        record.attributes.add(key="exception.type").value.string_value = "LONE SURROGATE" if number == AT else "Timeout"
    body = request.SerializeToString().replace(b"LONE SURROGATE", b"LONE SURR\xed\xa0\xbd\xed\xa0")

    answer = push("/v1/logs", body, key=agent_key(), content_type="application/x-protobuf")

    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

    assert ExportLogsServiceResponse.FromString(answer.content).partial_success.rejected_log_records == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM messaging_logged_exception")
        assert cursor.fetchone() == (MANY - 1,)
