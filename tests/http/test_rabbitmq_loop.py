"""RabbitMQ from end to end: the standard OpenTelemetry exporter, a real death, harvested, replayed, proved."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pika
import pytest
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tests.loops import Corner, harvesting, tracer
from tests.product import ROOT, wait_until

QUEUE, MORE = "erp.orders", 24


def attributes(operation: str, message_id: str) -> dict[str, str]:
    name = f"{QUEUE}:{QUEUE}" if operation == "process" else QUEUE
    return {
        "messaging.system": "rabbitmq", "messaging.operation.type": operation, "messaging.destination.name": name if operation == "send" else QUEUE,
        "messaging.message.id": message_id, "order_no": "4711",
    }  # fmt: skip


def publish(shop: trace.Tracer, channel: Any, message_id: str) -> None:
    with shop.start_as_current_span("send", kind=SpanKind.PRODUCER, attributes=attributes("send", message_id)):
        headers: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(headers)
        channel.basic_publish(
            "",
            QUEUE,
            b'{"order_no": "4711"}',
            pika.BasicProperties(headers=headers, message_id=message_id, content_type="application/json"),
        )


def _taken(channel: Any) -> Any:
    method, properties, _ = channel.basic_get(QUEUE)
    return (method, properties) if method else None


def consume(erp: trace.Tracer, channel: Any, *, fails: bool) -> None:
    """Take one message; reject it for good when the ERP fails."""
    method, properties = wait_until(lambda: _taken(channel), seconds=30, what="a message")
    sender = trace.get_current_span(TraceContextTextMapPropagator().extract(properties.headers)).get_span_context()
    with erp.start_as_current_span(
        "process", kind=SpanKind.CONSUMER, links=[Link(sender)], attributes=attributes("process", properties.message_id)
    ) as span:
        if fails:
            span.record_exception(TimeoutError("no answer"))
            span.set_status(trace.Status(trace.StatusCode.ERROR))
    channel.basic_reject(method.delivery_tag, requeue=False) if fails else channel.basic_ack(method.delivery_tag)


@pytest.mark.engine
@pytest.mark.fault
@pytest.mark.timeout(240)
def test_rejected_orders_are_each_shown_once_though_the_harvester_is_killed_and_one_is_replayed_and_proved(
    corner: Corner, rabbitmq: str, tmp_path: Path
):
    key = corner.agent_key("exporter")
    shop, erp, message_id = tracer(corner, key, "shop"), tracer(corner, key, "erp"), str(uuid.uuid4())
    host = rabbitmq.split("@")[1]
    corner.connect(name="rabbit", kind="rabbitmq", address=f"amqp://{host}", username="guest", secret="guest")
    config = tmp_path / "harvest.toml"
    config.write_text(
        f'console = "{corner.base}"\nkey = "{corner.agent_key("harvester")}"\nname = "h"\nbatch = 1\n[[broker]]\nname = "rabbit"\nkind = "rabbitmq"\n'
        f'address = "amqp://{host}"\nusername = "guest"\nsecret = "guest"\n[[broker.queue]]\nname = "{QUEUE}.dlq"\nsystem = "erp"\n'
    )

    def every() -> list[dict[str, Any]]:
        return corner.listed("dead-letters")

    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(rabbitmq))) as connection:
        channel = connection.channel()
        channel.queue_declare(f"{QUEUE}.dlq")
        channel.queue_declare(
            QUEUE, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{QUEUE}.dlq"}
        )
        publish(shop, channel, message_id)
        consume(erp, channel, fails=True)
        for number in range(MORE):
            channel.basic_publish(
                "", QUEUE, b'{"order_no": "%d"}' % number, pika.BasicProperties(message_id=f"m-{number:02}")
            )
            channel.basic_reject(
                wait_until(lambda: _taken(channel), seconds=30, what="a message", every=0)[0].delivery_tag,
                requeue=False,
            )
        said = subprocess.run(
            [sys.executable, "-m", "agents", "check", "--config", str(config)], cwd=ROOT, capture_output=True, text=True
        )
        assert said.returncode == 0, said.stdout
        with harvesting(config) as harvester:
            wait_until(every, seconds=30, what="the first letters", every=0.01)
            harvester.kill()
        before = len(every())
        with harvesting(config) as harvester:
            wait_until(lambda: len(every()) > MORE, seconds=60, what="every letter")
            letters = wait_until(
                lambda: corner.listed("dead-letters", "order_no:4711"),
                seconds=30,
                what="the letter",
            )
            replay = corner.replay(letters[0])
            consume(erp, channel, fails=False)

            def processed() -> Any:
                now = corner.ask("GET", f"replays/{replay['id']}")
                return now if now["state"] == "processed" else None

            done = wait_until(processed, seconds=30, what="the proof")
            harvester.terminate()
            assert harvester.wait(timeout=30) == 0

    assert 0 < before < MORE + 1
    assert sorted(one["message_id"] for one in every()) == sorted(
        [message_id, *(f"m-{number:02}" for number in range(MORE))]
    )
    assert done["proof_tie"] == "link"
    journey = corner.ask("GET", f"journeys/{letters[0]['trace_id']}")
    assert [station["system"] for station in journey["stations"]] == ["shop", "erp"]
    assert [station["state"] for station in journey["stations"]] == ["passed", "passed"]
    assert len(corner.listed("messages", "order_no:4711")) == 1
