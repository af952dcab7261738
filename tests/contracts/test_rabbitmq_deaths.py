"""Deaths as RabbitMQ itself makes them, read by the source; and messages whose headers end other clients."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pika
import pytest

from messages.connectors import get_connector, get_source
from messages.connectors.base import Address
from messages.connectors.headers import Epoch
from messages.connectors.rabbitmq.queue_facts import words_of
from tests.product import wait_until


class Deaths:
    """A dead-letter queue, and queues that send to it."""

    def __init__(self, url: str) -> None:
        self.url, self.name = url, f"t-{uuid.uuid4()}"
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel: Any = self.connection.channel()
        self.channel.queue_declare(f"{self.name}.dlq", durable=True)
        self.queues: list[str] = [f"{self.name}.dlq"]

    def queue(self, what: str, **arguments: object) -> str:
        name = f"{self.name}.{what}"
        to = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{self.name}.dlq"}
        self.channel.queue_declare(name, durable=True, arguments={**to, **arguments})
        self.queues.append(name)
        return name

    def publish(self, queue: str, **properties: Any) -> str:
        self.channel.basic_publish("", queue, b"{}", pika.BasicProperties(message_id="m", **properties))
        return queue

    def reject(self, queue: str, *, requeue: bool = False) -> None:
        def taken() -> Any:
            method = self.channel.basic_get(queue)[0]
            return method and [method]

        [method] = wait_until(taken, seconds=10, what="a message", every=0.02)
        self.channel.basic_reject(method.delivery_tag, requeue=requeue)

    def letters(self, count: int) -> list[dict[str, Any]]:
        found: list[Any] = []
        with contextlib.closing(
            get_source("rabbitmq", Address(url=self.url), broker="b", queue=f"{self.name}.dlq", options={})
        ) as source:
            wait_until(lambda: found.extend(source.receive(50, 0.1)) or len(found) >= count, seconds=15, what="letters")
            source.acknowledge([one.token for one in found])
        return [one.letter for one in found]


@pytest.fixture
def deaths(rabbitmq: str) -> Iterator[Deaths]:
    made = Deaths(rabbitmq)
    yield made
    for queue in made.queues:
        made.channel.queue_delete(queue)
    made.connection.close()


@pytest.mark.engine
def test_every_way_to_die_is_named_with_its_queue(deaths: Deaths):
    deaths.reject(deaths.publish(deaths.queue("rejected"), expiration="60000"))
    deaths.publish(deaths.queue("ttl", **{"x-message-ttl": 20}))
    deaths.publish(deaths.queue("expired"), expiration="20")
    full = deaths.queue("full", **{"x-max-length": 1})
    deaths.publish(full)
    deaths.publish(full)
    limited = deaths.publish(deaths.queue("limited", **{"x-queue-type": "quorum", "x-delivery-limit": 1}))
    for _ in range(2):
        deaths.reject(limited, requeue=True)

    letters = {str(one["origin"]).rpartition(".")[2]: one for one in deaths.letters(5)}

    assert {name: one["reason_code"] for name, one in letters.items()} == {
        "rejected": "rejected", "ttl": "expired", "expired": "expired", "full": "overflow", "limited": "delivery_limit",
    }  # fmt: skip
    assert {name: one["properties"].get("original_expiration") for name, one in letters.items()} == {
        "rejected": "60000", "ttl": None, "expired": "20", "full": None, "limited": None,
    }  # fmt: skip
    assert all(one["route"] == {"exchange": "", "routing_key": one["origin"]} for one in letters.values())
    assert all({"first_failed_at", "failed_at"} <= one.keys() for one in letters.values())


@pytest.mark.engine
def test_headers_that_end_other_clients_hold_up_nothing(deaths: Deaths):
    odd = {"late": Epoch(10**13), "half": 0.5, "blob": b"\xff"}
    dead = deaths.queues[0]
    for headers in ({}, odd, {}):
        deaths.publish(dead, headers=headers)

    letters = deaths.letters(3)

    assert [json.loads(json.dumps(one, allow_nan=False)) for one in letters] == letters
    assert {h["name"]: (h["type"], h["value"]) for h in letters[1]["headers"]} == {
        "late": ("timestamp", 10**13),
        "half": ("float", 0.5),
        "blob": ("bytes", base64.b64encode(b"\xff").decode()),
    }


# The management API: its answer as recorded from RabbitMQ 3.10.8, less what is not looked at.

RECORDED = {
    "name": "q 1",
    "type": "classic",
    "vhost": "/",
    "arguments": {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "d",
        "x-max-length": 10,
        "x-message-ttl": 60000,
        "x-overflow": "reject-publish",
    },
}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            RECORDED,
            "classic; its dead letters go to the default exchange with key d; messages expire in it after 60000 ms; "
            "it holds at most 10 messages, then it refuses",
        ),
        (
            {"type": "quorum", "consumers": 0, "effective_policy_definition": {"delivery-limit": 5, "max-length": 3}},
            "quorum; nobody consumes from it; it holds at most 3 messages, then the oldest leave; a message dies after 5 deliveries",
        ),
        ({"arguments": "odd", "effective_policy_definition": [], "consumers": "many", "type": None}, "classic"),
        ({"consumers": 2}, "classic; 2 consumers"),
    ],
)
def test_what_the_management_api_tells_of_a_queue(found: dict[str, Any], words: str):
    assert words_of(found) == words


@pytest.mark.engine
def test_a_check_asks_the_management_api_when_it_knows_where(deaths: Deaths):
    asked: list[tuple[str, str]] = []

    class Management(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, base64.b64decode(self.headers["Authorization"].split()[1]).decode()))
            body = json.dumps([RECORDED | {"name": deaths.queues[0]}]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Management)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    options = {"management": f"http://127.0.0.1:{server.server_port}"}
    try:
        address = Address(url=deaths.url, options=options)
        with contextlib.closing(get_connector("rabbitmq", address)) as connector:
            told = connector.check(deaths.queues[0])[-1]
        with contextlib.closing(
            get_source("rabbitmq", Address(url=deaths.url), broker="b", queue=deaths.queues[0], options=options)
        ) as source:
            same = source.check()[-1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    assert told == same
    assert "then it refuses" in told.detail
    assert [(path.partition("?")[0], login) for path, login in asked] == [("/api/queues/%2F", "guest:guest")] * 2


@pytest.mark.engine
@pytest.mark.parametrize("management", ["http://127.0.0.1:1", "ftp://x", "nonsense"])
def test_a_management_api_that_cannot_be_asked_is_said_and_is_no_no(deaths: Deaths, management: str):
    address = Address(url=deaths.url, options={"management": management})

    with contextlib.closing(get_connector("rabbitmq", address)) as connector:
        told = connector.check(deaths.queues[0])[-1]

    assert (told.answer, "management API does not answer" in told.detail) == (None, True)
