"""Redis Streams and Artemis from end to end: real failures, a harvester killed in the middle, a replay, the proof."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from messages.connectors import get_connector, get_source
from messages.connectors.base import Address, Header, Outgoing
from tests.conftest import need
from tests.loops import Corner, harvesting, tracer
from tests.product import ROOT, Product, wait_until

ORDERS = 24
Carrier = dict[str, str]


class Streams:
    """An ERP that reads a stream by its group; what failed three times it gives up to `….dlq`, as docs/brokers/redis.md has it."""

    kind, name, system = "redis-streams", "streams", "redis"

    def __init__(self, product: Product) -> None:
        url = product.engines()["redis_url"]
        parts = urlsplit(url)
        self.address = Address(
            url=f"redis://{parts.hostname}:{parts.port}/0", username="default", secret=parts.password or ""
        )
        self.client = redis.Redis.from_url(url, decode_responses=True)
        self.queue = "erp.stream-orders"
        self.dead = f"{self.queue}.dlq"
        self.client.xgroup_create(self.queue, "erp", id="0", mkstream=True)

    def send(self, order: str, carrier: Carrier) -> None:
        self.client.xadd(
            self.queue, {"body": f'{{"order_no": "{order}"}}', "message-id": f"m-{order}", "order_no": order, **carrier}
        )

    def fail(self, count: int) -> None:
        """Be given each three times and give it up."""
        for _ in range(3):
            entries = self.client.xreadgroup("erp", "one", {self.queue: ">"}, count=count)
            for given, _ in entries[0][1] if entries else ():
                self.client.xclaim(self.queue, "erp", "one", 0, [given])
        for given, fields in self.client.xrange(self.queue):
            why = {
                "attempts": "3",
                "original-stream": self.queue,
                "error-type": "TimeoutError",
                "error-message": "no answer",
            }
            self.client.xadd(self.dead, {**fields, **why})
            self.client.xack(self.queue, "erp", given)
            self.client.xdel(self.queue, given)

    def take(self) -> Carrier | None:
        entries = self.client.xreadgroup("erp", "one", {self.queue: ">"}, count=1)
        return dict(entries[0][1][0][1]) if entries else None

    def waiting(self) -> int:
        return int(self.client.xlen(self.dead))

    def close(self) -> None:
        self.client.close()


class Artemis:
    """An ERP that fails over AMQP; Artemis moves it to a queue of its own after one try."""

    kind, name, system = "activemq", "artemis", "activemq"

    def __init__(self, broker: Any) -> None:
        need(find_spec("proton") is not None, "python-qpid-proton")
        self.broker, self.address = broker, broker.address
        self.queue = f"auto.orders-{uuid.uuid4().hex[:6]}"
        self.dead = f"DLA::DLQ.{self.queue}"

    def send(self, order: str, carrier: Carrier) -> None:
        headers = tuple(
            Header(name=name, type="string", value=value) for name, value in {**carrier, "order_no": order}.items()
        )
        told = Outgoing(
            id=order, destination=self.queue, body=b'{"order_no": "%s"}' % order.encode(), headers=headers, content_type="application/json",
            properties={"message_id": f"m-{order}"},
        )  # fmt: skip
        with contextlib.closing(get_connector(self.kind, self.broker.amqp)) as connector:
            assert [one.result for one in connector.publish([told], timeout_s=10)] == ["confirmed"]

    def fail(self, count: int) -> None:
        from tests.contracts.test_activemq_amqp10 import reject

        reject(self.broker.amqp, self.queue, count)

    def take(self) -> Carrier | None:
        with contextlib.closing(
            get_source(self.kind, self.broker.amqp, broker="b", queue=self.queue, options={})
        ) as source:
            received: Any = source.receive(1, 1)
            if received:
                source.acknowledge([received[0].token])
        return {one["name"]: str(one["value"]) for one in received[0].letter["headers"]} if received else None

    def waiting(self) -> int:
        from messages.connectors.activemq.management import Manager

        with contextlib.closing(Manager(self.address)) as manager:
            return manager.depth(self.dead) or 0

    def close(self) -> None: ...


@pytest.fixture(params=["redis-streams", "artemis"])
def erp(request: pytest.FixtureRequest, shared: Product) -> Iterator[Any]:
    made: Any = Streams(shared) if request.param == "redis-streams" else Artemis(request.getfixturevalue("artemis"))
    with contextlib.closing(made):
        yield made


def span(
    who: trace.Tracer, erp: Any, operation: str, order: str, links: list[Link] | None = None, *, fails: bool = False
) -> Carrier:
    """Tell of one step as an application does; return the context that it sends with the message."""
    about = {
        "messaging.system": erp.system, "messaging.operation.type": operation, "messaging.destination.name": erp.queue, "order_no": order,
    }  # fmt: skip
    kind = SpanKind.PRODUCER if operation == "send" else SpanKind.CONSUMER
    carrier: Carrier = {}
    with who.start_as_current_span(operation, kind=kind, links=links or [], attributes=about) as step:
        TraceContextTextMapPropagator().inject(carrier)
        if fails:
            step.record_exception(TimeoutError("no answer"))
            step.set_status(trace.Status(trace.StatusCode.ERROR))
    return carrier


def sender_in(carrier: Carrier) -> list[Link]:
    return [Link(trace.get_current_span(TraceContextTextMapPropagator().extract(carrier)).get_span_context())]


@pytest.mark.engine
@pytest.mark.fault
@pytest.mark.timeout(240)
def test_orders_that_died_are_each_shown_once_though_the_harvester_is_killed_and_one_is_replayed_and_proved(
    corner: Corner, erp: Any, tmp_path: Path
):
    key, at = corner.agent_key(f"exporter {erp.name}"), erp.address
    shop, books = tracer(corner, key, "shop"), tracer(corner, key, "erp")
    corner.connect(name=erp.name, kind=erp.kind, address=at.url, username=at.username, secret=at.secret)
    config = tmp_path / "harvest.toml"
    login = f'username = "{erp.address.username}"\nsecret = "{erp.address.secret}"\n' if erp.address.username else ""
    config.write_text(
        f'console = "{corner.base}"\nkey = "{corner.agent_key(f"harvester {erp.name}")}"\nname = "h"\nbatch = 1\n[[broker]]\n'
        f'name = "{erp.name}"\nkind = "{erp.kind}"\naddress = "{erp.address.url}"\n{login}[[broker.queue]]\nname = "{erp.dead}"\nsystem = "erp"\n'
    )

    def letters() -> list[dict[str, Any]]:
        return [one for one in corner.listed("dead-letters") if one["queue"] == erp.dead]

    carriers = {str(order): span(shop, erp, "send", str(order)) for order in range(4711, 4711 + ORDERS)}
    for order, carrier in carriers.items():
        erp.send(order, carrier)
        span(books, erp, "process", order, sender_in(carrier), fails=True)
    erp.fail(ORDERS)
    said = subprocess.run(
        [sys.executable, "-m", "agents", "check", "--config", str(config)], cwd=ROOT, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stdout
    with harvesting(config) as harvester:
        wait_until(letters, seconds=30, what="the first letters", every=0.01)
        harvester.kill()
    before = len(letters())
    with harvesting(config) as harvester:
        wait_until(lambda: len(letters()) >= ORDERS and not erp.waiting(), seconds=60, what="every letter")
        harvester.terminate()
        assert harvester.wait(timeout=30) == 0
    letter = next(
        one for one in letters() if one["keys"].get("order_no") == "4712" or one["message_id"].endswith("m-4712")
    )
    replay = corner.replay(letter)
    back = wait_until(erp.take, seconds=30, what="the replayed order")
    span(books, erp, "process", "4712", sender_in(back))

    def processed() -> Any:
        now = corner.ask("GET", f"replays/{replay['id']}")
        return now if now["state"] == "processed" else None

    done = wait_until(processed, seconds=30, what="the proof")

    assert 0 < before < ORDERS
    assert sorted(one["message_id"].rpartition(":")[2] for one in letters()) == [f"m-{order}" for order in carriers]
    assert (back["replay-id"], back["order_no"], done["proof_tie"]) == (replay["id"], "4712", "link")
