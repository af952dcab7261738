"""Kafka from end to end: a consumer gives up, the harvester is killed while it harvests, each letter is shown once, one is replayed and proved."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tests.engines.kafka import Kafka
from tests.loops import Corner, tracer
from tests.product import ROOT, wait_until

TOPIC, ORDERS = "erp.orders", 40


def attributes(operation: str, number: int) -> dict[str, str]:
    return {
        "messaging.system": "kafka", "messaging.operation.type": operation, "messaging.destination.name": TOPIC,
        "messaging.message.id": f"message-of-order-{number:04d}", "order_no": str(number),
    }  # fmt: skip


def place_order(shop: trace.Tracer, producer: Producer, number: int) -> None:
    with shop.start_as_current_span("send", kind=SpanKind.PRODUCER, attributes=attributes("send", number)):
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        headers = {"message-id": f"message-of-order-{number:04d}", "content-type": "application/json", **carrier}
        producer.produce(
            TOPIC, f'{{"order_no": "{number}"}}', key=f"customer-{number % 7}", headers=headers, partition=number % 3
        )


class Erp:
    """Consumes orders; while it fails, it gives each up to the dead-letter topic, as Spring's recoverer does."""

    def __init__(self, kafka: Kafka, tracer: trace.Tracer) -> None:
        self.tracer = tracer
        self.consumer = Consumer(
            {"bootstrap.servers": kafka.address, "group.id": "erp", "auto.offset.reset": "earliest", "log_level": 0}
        )
        self.consumer.subscribe([TOPIC])
        self.producer = Producer({"bootstrap.servers": kafka.address, "log_level": 0})

    def take(self, *, fails: bool) -> Message:
        message = wait_until(lambda: self.consumer.poll(1), seconds=30, what="an order", every=0)
        assert message.error() is None
        carrier = {name: value.decode() for name, value in message.headers()}
        sender = trace.get_current_span(TraceContextTextMapPropagator().extract(carrier)).get_span_context()
        number = int(carrier["message-id"].rpartition("-")[2])
        with self.tracer.start_as_current_span(
            "process", kind=SpanKind.CONSUMER, links=[Link(sender)], attributes=attributes("process", number)
        ) as span:
            if fails:
                span.record_exception(TimeoutError("no answer"))
                span.set_status(trace.Status(trace.StatusCode.ERROR))
                self._give_up(message)
        return message

    def _give_up(self, message: Message) -> None:
        told = [
            ("kafka_dlt-original-topic", TOPIC.encode()),
            ("kafka_dlt-original-partition", (message.partition() or 0).to_bytes(4, "big")),
            ("kafka_dlt-original-offset", (message.offset() or 0).to_bytes(8, "big")),
            ("kafka_dlt-original-consumer-group", b"erp"),
            ("kafka_dlt-exception-fqcn", b"java.net.SocketTimeoutException"),
            ("kafka_dlt-exception-message", b"no answer"),
        ]
        headers: Any = [*(message.headers() or []), *told]
        self.producer.produce(
            f"{TOPIC}.DLQ", message.value(), key=message.key(), headers=headers, partition=message.partition() or 0
        )

    def close(self) -> None:
        assert self.producer.flush(10) == 0
        self.consumer.close()


@pytest.mark.engine
@pytest.mark.timeout(300)
def test_orders_that_died_are_shown_once_though_the_harvester_is_killed_and_one_is_replayed_and_proved(
    corner: Corner, kafka: Kafka, tmp_path: Path
):
    key = corner.agent_key("exporter")
    corner.connect(name="kafka", kind="kafka", address=f"kafka://{kafka.address},{kafka.address}")
    config = tmp_path / "harvest.toml"
    config.write_text(
        f'console = "{corner.base}"\nkey = "{corner.agent_key("harvester")}"\nname = "h"\nbatch = 5\n[[broker]]\nname = "kafka"\n'
        f'kind = "kafka"\naddress = "kafka://{kafka.address}"\n[broker.options]\n"socket.keepalive.enable" = true\n'
        f'[[broker.queue]]\nname = "{TOPIC}.DLQ"\n'
    )
    kafka.topic(partitions=3, name=TOPIC)
    kafka.topic(partitions=3, name=f"{TOPIC}.DLQ")

    def harvester(command: str = "harvest") -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "agents", command, "--config", str(config)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def letters() -> list[dict[str, Any]]:
        return corner.listed("dead-letters")

    with contextlib.closing(Erp(kafka, tracer(corner, key, "erp"))) as erp:
        shop, producer = tracer(corner, key, "shop"), Producer({"bootstrap.servers": kafka.address, "log_level": 0})
        for number in range(ORDERS):
            place_order(shop, producer, number)
        assert producer.flush(10) == 0
        for _ in range(ORDERS):
            erp.take(fails=True)
        assert erp.producer.flush(10) == 0
        with harvester("check") as checking:
            said = checking.communicate(timeout=60)[0]
        assert checking.returncode == 0, said

        running = harvester()
        try:
            wait_until(letters, seconds=30, what="the first letters", every=0.02)
            running.send_signal(signal.SIGKILL)
            running.communicate()
            shown_at_the_kill = len(letters())
            running = harvester()
            wait_until(lambda: len(letters()) >= ORDERS, seconds=60, what="every letter")
            chosen = next(one for one in letters() if one["message_id"] == "message-of-order-0017")
            replay = corner.replay(chosen)
            back = erp.take(fails=False)

            def processed() -> Any:
                now = corner.ask("GET", f"replays/{replay['id']}")
                return now if now["state"] == "processed" else None

            done = wait_until(processed, seconds=30, what="the proof")
        finally:
            running.terminate()
            running.communicate(timeout=30)

    shown = letters()
    assert 0 < shown_at_the_kill <= ORDERS
    assert sorted(one["message_id"] for one in shown) == [f"message-of-order-{n:04d}" for n in range(ORDERS)]
    assert {(one["origin"], one["system"], one["reason_code"]) for one in shown} == {(TOPIC, "erp", "target_error")}
    assert (back.key(), back.partition(), back.value()) == (b"customer-3", 17 % 3, b'{"order_no": "17"}')
    assert done["proof_tie"] == "link"
