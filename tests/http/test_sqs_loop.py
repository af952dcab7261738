"""SQS from end to end: an application that fails, SQS' own redrive, a harvester killed in the middle, a replay, the proof."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tests.loops import Corner, harvesting, tracer
from tests.product import ROOT, wait_until

QUEUE = "erp-orders"
ORDERS = 24
CONNECT = """
from console.identity.actor import SYSTEM
from console.identity.models import Environment
from messages.catalog.connections import approve_connection, check_connection, create_connection

production = Environment.objects.get(slug="{slug}")
made = create_connection(
    production, name="aws", kind="sqs", address="sqs+{url}?region=eu-central-1", username="waybill", secret="secret", by=SYSTEM
)
approve_connection(made, by=SYSTEM)
print([answer["answer"] for answer in check_connection(made, by=SYSTEM, destination="erp-orders")])
"""


@pytest.fixture
def sqs(localstack: str) -> Iterator[Any]:
    login = {"region_name": "eu-central-1", "aws_access_key_id": "app", "aws_secret_access_key": "app"}
    with contextlib.closing(boto3.client("sqs", endpoint_url=localstack, **login)) as client:
        yield client


def attributes(operation: str, order: str) -> dict[str, str]:
    return {
        "messaging.system": "aws_sqs", "messaging.operation.type": operation, "messaging.destination.name": QUEUE, "order_no": order,
    }  # fmt: skip


def send(shop: trace.Tracer, sqs: Any, queue: str, order: str) -> None:
    with shop.start_as_current_span("send", kind=SpanKind.PRODUCER, attributes=attributes("send", order)) as span:
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        told = {name: {"DataType": "String", "StringValue": value} for name, value in carrier.items()}
        sent = sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"order_no": order}), MessageAttributes=told)
        span.set_attribute("messaging.message.id", sent["MessageId"])


def consume(erp: trace.Tracer, sqs: Any, queue: str, *, fails: bool, wait_s: int = 0) -> int:
    """Take what waits; the ERP deletes it when it did its work, and leaves it to SQS when it fails. Return how many came."""
    answer = sqs.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"], WaitTimeSeconds=wait_s
    )
    for message in answer.get("Messages", ()):
        carrier = {"traceparent": message["MessageAttributes"]["traceparent"]["StringValue"]}
        sender = trace.get_current_span(TraceContextTextMapPropagator().extract(carrier)).get_span_context()
        about = attributes("process", json.loads(message["Body"])["order_no"])
        about["messaging.message.id"] = message["MessageId"]
        with erp.start_as_current_span(
            "process", kind=SpanKind.CONSUMER, links=[Link(sender)], attributes=about
        ) as span:
            if fails:
                span.record_exception(TimeoutError("no answer"))
                span.set_status(trace.Status(trace.StatusCode.ERROR))
        if not fails:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return len(answer.get("Messages", ()))


def queues(sqs: Any) -> tuple[str, str]:
    """Make a queue whose messages die when they were received twice, and its dead-letter queue; return their URLs."""
    dlq = sqs.create_queue(QueueName=f"{QUEUE}-dlq")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dlq, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "2"})
    made = sqs.create_queue(QueueName=QUEUE, Attributes={"VisibilityTimeout": "0", "RedrivePolicy": policy})
    return made["QueueUrl"], dlq


def waiting(sqs: Any, queue: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    told = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return sum(int(told[name]) for name in names)


@pytest.mark.engine
@pytest.mark.fault
@pytest.mark.timeout(240)
def test_orders_that_died_are_each_shown_once_whatever_is_killed_and_one_is_replayed_and_proved(
    corner: Corner, localstack: str, sqs: Any, tmp_path: Path
):
    key = corner.agent_key("exporter")
    shop, erp = tracer(corner, key, "shop"), tracer(corner, key, "erp")
    queue, dlq = queues(sqs)
    said = corner.product.manage("shell", "-c", CONNECT.format(url=localstack, slug=corner.environment))
    assert said.splitlines()[-1] == "[True, True, True, True]"
    config = tmp_path / "harvest.toml"
    config.write_text(
        f'console = "{corner.base}"\nkey = "{corner.agent_key("harvester")}"\nname = "h"\nbatch = 2\n[[broker]]\nname = "aws"\nkind = "sqs"\n'
        f'address = "sqs+{localstack}?region=eu-central-1"\nusername = "waybill"\nsecret = "secret"\n'
        f'[[broker.queue]]\nname = "{QUEUE}-dlq"\nsystem = "erp"\nvisibility_s = 2\n'
    )

    def letters() -> list[dict[str, Any]]:
        return corner.listed("dead-letters")

    for number in range(ORDERS):
        send(shop, sqs, queue, str(4711 + number))
    while consume(erp, sqs, queue, fails=True):
        pass
    said = subprocess.run(
        [sys.executable, "-m", "agents", "check", "--config", str(config)], cwd=ROOT, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stdout
    with harvesting(config) as harvester:
        wait_until(lambda: len(letters()) >= 4, seconds=30, what="some letters", every=0.02)
        harvester.kill()
    before = (len(letters()), waiting(sqs, dlq))
    with harvesting(config) as harvester:
        wait_until(lambda: len(letters()) >= ORDERS and not waiting(sqs, dlq), seconds=60, what="every letter")
        harvester.terminate()
        assert harvester.wait(timeout=30) == 0
    [letter] = corner.listed("dead-letters", "order_no:4711")
    replay = corner.replay(letter)
    wait_until(lambda: consume(erp, sqs, queue, fails=False, wait_s=1), seconds=30, what="the replayed order")

    def processed() -> Any:
        now = corner.ask("GET", f"replays/{replay['id']}")
        return now if now["state"] == "processed" else None

    done = wait_until(processed, seconds=30, what="the proof")

    assert 4 <= before[0] < ORDERS
    assert before[1] > 0  # it was killed in the middle
    orders = sorted(one["keys"]["order_no"] for one in letters())
    assert orders == [str(4711 + number) for number in range(ORDERS)]
    assert (letter["origin"], letter["reason_code"]) == (QUEUE, "delivery_limit")
    assert done["proof_tie"] == "link"
    journey = corner.ask("GET", f"journeys/{letter['trace_id']}")
    assert [(station["system"], station["state"]) for station in journey["stations"]] == [
        ("shop", "passed"),
        ("erp", "passed"),
    ]
    known = corner.listed("messages", "order_no:4711")
    assert len(known) == 2  # SQS gives every sending an id of its own: the order, and its replay
