"""A bench for each family: a real broker, or a receiver of ours, with a destination that takes messages and one that does not."""

from __future__ import annotations

import base64
import contextlib
import os
import ssl
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from typing import Any

import boto3
import pika
import redis

from messages.connectors import get_source
from messages.connectors.base import Address
from messages.connectors.memory import QUEUES
from tests.conftest import need
from tests.engines.kafka import Kafka


@dataclass
class Bench:
    """A connector, a destination that takes messages, one that does not, and a way to look at what arrived."""

    kind: str
    address: Address
    good: str
    received: Any
    refused: str | None = None
    other: bytes = b"\x00\xff"  # a second body, as odd as this kind of broker carries


def redis_bench() -> Iterator[Bench]:
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    stream, text = f"t-{uuid.uuid4()}", f"s-{uuid.uuid4()}"
    client.set(text, "no stream")
    yield Bench(
        "redis-streams",
        Address(url=os.environ["REDIS_URL"]),
        stream,
        lambda: [(f.pop(b"body"), {k.decode(): v.decode() for k, v in f.items()}) for _, f in client.xrange(stream)],
        text,
    )
    client.delete(stream, text)
    client.close()


def memory_bench() -> Iterator[Bench]:
    address = Address(url=f"memory://{uuid.uuid4()}", options={"refuse": "closed"})
    yield Bench(
        "memory",
        address,
        "open",
        lambda: [(o.body, {h.name: str(h.value) for h in o.headers}) for o in QUEUES[address.url]["open"]],
        "closed",
    )


def http_bench(guard: ssl.SSLContext | None = None) -> Iterator[Bench]:
    seen: list[tuple[bytes, dict[str, str]]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            code = (
                422
                if self.path.endswith("/closed")
                else 302
                if self.path.endswith("/moved")
                else 503
                if self.path.endswith("/busy")
                else 202
            )
            if code == 202:
                seen.append((body, {k.lower(): v for k, v in self.headers.items()}))
            self.send_response(code)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # one that will not trust us hangs up
    if guard:
        server.socket = guard.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Bench("http", Address(url=f"http://127.0.0.1:{server.server_port}/base"), "open", lambda: seen, "closed")
    server.shutdown()
    thread.join()
    server.server_close()


def rabbitmq_bench(url: str) -> Iterator[Bench]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    queue = channel.queue_declare(f"t-{uuid.uuid4()}").method.queue

    def received() -> list[tuple[bytes, dict[str, str]]]:
        found = []
        while (got := channel.basic_get(queue, auto_ack=True))[0]:
            found.append((got[2], {k: str(v) for k, v in got[1].headers.items()}))
        return found

    yield Bench("rabbitmq", Address(url=url), queue, received, "no-such-queue")
    connection.close()


def sqs_bench(url: str) -> Iterator[Bench]:
    client = boto3.client(
        "sqs", endpoint_url=url, region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    queue = f"t-{uuid.uuid4()}"
    where = client.create_queue(QueueName=queue)["QueueUrl"]

    def received() -> list[tuple[bytes, dict[str, str]]]:
        answer = client.receive_message(
            QueueUrl=where, MaxNumberOfMessages=10, MessageAttributeNames=["All"], WaitTimeSeconds=1
        )
        return [
            (m["Body"].encode(), {k: v["StringValue"] for k, v in m.get("MessageAttributes", {}).items()})
            for m in answer["Messages"]
        ]

    address = Address(url=f"sqs+{url}?region=eu-central-1", username="a", secret="b")
    yield Bench("sqs", address, queue, received, "no-such-queue", other="{é\t\U0001f4e6".encode())
    client.delete_queue(QueueUrl=where)
    client.close()


def kafka_bench(broker: Kafka) -> Iterator[Bench]:
    topic = broker.topic()
    yield Bench(
        "kafka",
        Address(url=f"kafka://{broker.address}"),
        topic,
        lambda: [(m.value(), {k: v.decode() for k, v in m.headers()}) for m in broker.records(topic)],
        "no-such-topic",
    )


def activemq_bench(broker: Any) -> Iterator[Bench]:
    from messages.connectors.activemq.client import Line
    from messages.connectors.activemq.names import wire_name

    queue = f"t.{uuid.uuid4()}"

    def received() -> list[tuple[bytes, dict[str, str]]]:
        found = []
        with contextlib.closing(Line(broker.address, timeout_s=5)) as line:
            line.send("SUBSCRIBE", {"destination": wire_name(queue, artemis=line.artemis), "id": "1", "ack": "auto"})
            while frame := line.next(0.5):
                found.append((frame.body, frame.headers))
        return found

    yield Bench("activemq", broker.address, queue, received, "forbidden.queue")


def amqp10_bench(broker: Any) -> Iterator[Bench]:
    need(find_spec("proton") is not None, "python-qpid-proton")
    queue = f"t.{uuid.uuid4()}"

    def received() -> list[tuple[bytes, dict[str, str]]]:
        with contextlib.closing(get_source("activemq", broker.amqp, broker="b", queue=queue, options={})) as source:
            letters = [one.letter for one in source.receive(10, 5)]
        return [(_body(letter), {h["name"]: str(h["value"]) for h in letter["headers"]}) for letter in letters]

    yield Bench("activemq", broker.amqp, queue, received, "forbidden.queue")


def _body(letter: dict[str, Any]) -> bytes:
    return letter["body"].encode() if "body" in letter else base64.b64decode(letter["body_base64"])


BENCHES = {"redis-streams": redis_bench, "memory": memory_bench, "http": http_bench}
ENGINES = {  # the fixture of a real broker, and the bench that stands on it
    "rabbitmq": ("rabbitmq", rabbitmq_bench),
    "sqs": ("localstack", sqs_bench),
    "kafka": ("kafka", kafka_bench),
    "activemq": ("activemq", activemq_bench),
    "artemis": ("artemis", activemq_bench),
    "artemis-amqp10": ("artemis", amqp10_bench),
}
