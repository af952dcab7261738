"""ActiveMQ Classic from end to end: real deaths, a harvester killed in the middle, replayed over STOMP, proved by the consumer."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from messages.connectors.activemq.client import Line
from tests.loops import Corner, harvesting, tracer
from tests.product import ROOT, call, wait_until

QUEUE = "own.erp.orders"
COUNT = 60


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


def letters_of(corner: Corner) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    url = f"{corner.base}/api/v1/dead-letters?limit=100&environment={corner.environment}"
    while url:
        page = call("GET", url, key=corner.api_key())[1]
        found, url = found + page["results"], page.get("next")
    return found


@pytest.mark.engine
@pytest.mark.fault
@pytest.mark.timeout(240)
def test_rejected_orders_are_each_shown_once_and_one_is_replayed_and_proved(
    corner: Corner, activemq: Any, tmp_path: Path
):
    key, at = corner.agent_key("exporter"), activemq.address
    shop, erp = tracer(corner, key, "shop"), tracer(corner, key, "erp")
    corner.connect(name="amq", kind="activemq", address=at.url, username=at.username, secret=at.secret)
    config = tmp_path / "harvest.toml"
    config.write_text(
        f'console = "{corner.base}"\nkey = "{corner.agent_key("harvester")}"\nname = "h"\nbatch = 1\n[[broker]]\nname = "amq"\n'
        f'kind = "activemq"\naddress = "{at.url}"\nusername = "{at.username}"\n'
        f'secret = "{at.secret}"\n[[broker.queue]]\nname = "DLQ.{QUEUE}"\nsystem = "erp"\n'
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
            wait_until(lambda: letters_of(corner), seconds=30, what="the first letters", every=0.01)
            harvester.kill()
        before = len(letters_of(corner))
        with harvesting(config) as harvester:
            wait_until(lambda: len(letters_of(corner)) >= COUNT, seconds=60, what="every letter")
            found = {one["correlation_id"]: one for one in letters_of(corner)}
            replay = corner.replay(found["order:0"])
            again = consume(erp, line, fails=False)

            def processed() -> Any:
                now = corner.ask("GET", f"replays/{replay['id']}")
                return now if now["state"] == "processed" else None

            done = wait_until(processed, seconds=30, what="the proof")
            every = letters_of(corner)
            harvester.terminate()
            harvester.wait(timeout=30)

    assert 0 < before < COUNT
    assert sorted(one["correlation_id"] for one in every) == sorted(f"order:{order}" for order in range(COUNT))
    assert done["proof_tie"] == "link"
    assert (again.body, again.headers["correlation-id"], again.headers["content-type"]) == (
        b'{"order_no": "0"}', "order:0", "application/json",
    )  # fmt: skip
    assert (again.headers["replay-id"], "original-destination" in again.headers) == (replay["id"], False)
