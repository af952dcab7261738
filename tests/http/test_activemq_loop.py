"""ActiveMQ Classic from end to end: real deaths, a harvester killed in the middle, replayed over STOMP, proved by the consumer."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from messages.connectors.activemq.client import Line
from tests.http.test_rabbitmq_loop import tracer
from tests.loops import harvesting
from tests.product import ROOT, Product, call, wait_until

QUEUE = "own.erp.orders"
COUNT = 60
CONNECT = """
from console.identity.actor import SYSTEM
from console.identity.models import Environment
from messages.catalog.connections import approve_connection, create_connection

production = Environment.objects.get(slug="production")
made = create_connection(
    production, name="amq", kind="activemq", address="{0.url}", username="{0.username}", secret="{0.secret}", by=SYSTEM
)
approve_connection(made, by=SYSTEM)
"""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product.prepared(tmp_path_factory.mktemp("activemq") / "data").start()
    yield product
    product.stop()


def attributes(operation: str, order: int) -> dict[str, str]:
    return {
        "messaging.system": "activemq", "messaging.operation.type": operation, "messaging.destination.name": QUEUE, "order_no": str(order),
    }  # fmt: skip


def publish(shop: trace.Tracer, line: Line) -> None:
    """Send every order; the first in a span of the shop."""
    for order in range(COUNT):
        carrier: dict[str, str] = {}
        if not order:
            with shop.start_as_current_span("send", kind=SpanKind.PRODUCER, attributes=attributes("send", order)):
                TraceContextTextMapPropagator().inject(carrier)
        headers = {
            "destination": f"/queue/{QUEUE}",
            "persistent": "true",
            "correlation-id": f"order:{order}",
            **carrier,
        }
        line.send("SEND", headers | {"content-type": "application/json"}, b'{"order_no": "%d"}' % order)


def consume(erp: trace.Tracer, line: Line, *, fails: bool) -> Any:
    """Take one message and answer it: NACK, which is death on Classic, when the ERP fails. Return its frame."""
    frame = wait_until(lambda: line.next(0.5), seconds=30, what="a message", every=0)
    if context := TraceContextTextMapPropagator().extract(frame.headers):
        sender = trace.get_current_span(context).get_span_context()
        with erp.start_as_current_span(
            "process", kind=SpanKind.CONSUMER, links=[Link(sender)], attributes=attributes("process", 0)
        ) as span:
            if fails:
                span.record_exception(TimeoutError("no answer"))
                span.set_status(trace.Status(trace.StatusCode.ERROR))
    line.send("NACK" if fails else "ACK", {"id": frame.headers["ack"]})
    return frame


def letters_of(product: Product, api: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    url = f"{product.base}/api/v1/dead-letters?limit=100"
    while url:
        page = call("GET", url, key=api)[1]
        found, url = found + page["results"], page.get("next")
    return found


@pytest.mark.engine
@pytest.mark.fault
@pytest.mark.timeout(240)
def test_rejected_orders_are_each_shown_once_and_one_is_replayed_and_proved(
    product: Product, activemq: Any, tmp_path: Path
):
    api, key = product.api_key(), product.agent_key("exporter")
    shop, erp = tracer(product, key, "shop"), tracer(product, key, "erp")
    product.manage("shell", "-c", CONNECT.format(activemq.address))
    config = tmp_path / "harvest.toml"
    config.write_text(
        f'console = "{product.base}"\nkey = "{product.agent_key("harvester")}"\nname = "h"\nbatch = 1\n[[broker]]\nname = "amq"\n'
        f'kind = "activemq"\naddress = "{activemq.address.url}"\nusername = "{activemq.address.username}"\n'
        f'secret = "{activemq.address.secret}"\n[[broker.queue]]\nname = "DLQ.{QUEUE}"\nsystem = "erp"\n'
    )

    with contextlib.closing(Line(activemq.address, timeout_s=10)) as line:
        publish(shop, line)
        line.send("SUBSCRIBE", {"destination": f"/queue/{QUEUE}", "id": "erp", "ack": "client-individual"})
        for _ in range(COUNT):
            consume(erp, line, fails=True)
        said = subprocess.run(
            [sys.executable, "-m", "agents", "check", "--config", str(config)], cwd=ROOT, capture_output=True, text=True
        )
        assert said.returncode == 0, said.stdout
        with harvesting(config) as harvester:
            wait_until(lambda: letters_of(product, api), seconds=30, what="the first letters", every=0.01)
            harvester.kill()
        before = len(letters_of(product, api))
        with harvesting(config) as harvester:
            wait_until(lambda: len(letters_of(product, api)) >= COUNT, seconds=60, what="every letter")
            found = {one["correlation_id"]: one for one in letters_of(product, api)}
            status, replay = call(
                "POST",
                f"{product.base}/api/v1/dead-letters/{found['order:0']['id']}/replay",
                key=api,
                body={"reason": "the ERP answers again"},
            )
            assert status == 202, replay
            again = consume(erp, line, fails=False)

            def processed() -> Any:
                now = call("GET", f"{product.base}/api/v1/replays/{replay['id']}", key=api)[1]
                return now if now["state"] == "processed" else None

            done = wait_until(processed, seconds=30, what="the proof")
            every = letters_of(product, api)
            harvester.terminate()
            harvester.wait(timeout=30)

    assert 0 < before < COUNT
    assert sorted(one["correlation_id"] for one in every) == sorted(f"order:{order}" for order in range(COUNT))
    assert done["proof_tie"] == "link"
    assert (again.body, again.headers["correlation-id"], again.headers["content-type"]) == (
        b'{"order_no": "0"}', "order:0", "application/json",
    )  # fmt: skip
    assert (again.headers["replay-id"], "original-destination" in again.headers) == (replay["id"], False)
