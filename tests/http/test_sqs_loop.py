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

from tests.loops import harvesting, tracer
from tests.product import ROOT, Product, call, wait_until

QUEUE = "erp-orders"
ORDERS = 24
CONNECT = """
from console.identity.actor import SYSTEM
from console.identity.models import Environment
from messages.catalog.connections import approve_connection, check_connection, create_connection

production = Environment.objects.get(slug="production")
made = create_connection(
    production, name="aws", kind="sqs", address="sqs+{url}?region=eu-central-1", username="waybill", secret="secret", by=SYSTEM
)
approve_connection(made, by=SYSTEM)
print([answer["answer"] for answer in check_connection(made, by=SYSTEM, destination="erp-orders")])
"""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product.prepared(tmp_path_factory.mktemp("sqs") / "data").start()
    yield product
    product.stop()


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
    product: Product, localstack: str, sqs: Any, tmp_path: Path
):
    api, key = product.api_key(), product.agent_key("exporter")
    shop, erp = tracer(product, key, "shop"), tracer(product, key, "erp")
    queue, dlq = queues(sqs)
    assert product.manage("shell", "-c", CONNECT.format(url=localstack)).splitlines()[-1] == "[True, True, True, True]"
    config = tmp_path / "harvest.toml"
    config.write_text(
        f'console = "{product.base}"\nkey = "{product.agent_key("harvester")}"\nname = "h"\nbatch = 2\n[[broker]]\nname = "aws"\nkind = "sqs"\n'
        f'address = "sqs+{localstack}?region=eu-central-1"\nusername = "waybill"\nsecret = "secret"\n'
        f'[[broker.queue]]\nname = "{QUEUE}-dlq"\nsystem = "erp"\nvisibility_s = 2\n'
    )

    def letters() -> list[dict[str, Any]]:
        found = call("GET", product.base + "/api/v1/dead-letters?limit=200&environment=production", key=api)[1][
            "results"
        ]
        assert isinstance(found, list)
        return found

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
    [letter] = call("GET", product.base + "/api/v1/dead-letters?q=order_no:4711", key=api)[1]["results"]
    status, replay = call(
        "POST",
        f"{product.base}/api/v1/dead-letters/{letter['id']}/replay",
        key=api,
        body={"reason": "the ERP answers again"},
    )
    assert status == 202, replay
    wait_until(lambda: consume(erp, sqs, queue, fails=False, wait_s=1), seconds=30, what="the replayed order")

    def processed() -> Any:
        now = call("GET", f"{product.base}/api/v1/replays/{replay['id']}", key=api)[1]
        return now if now["state"] == "processed" else None

    done = wait_until(processed, seconds=30, what="the proof")

    assert 4 <= before[0] < ORDERS
    assert before[1] > 0  # it was killed in the middle
    orders = sorted(one["keys"]["order_no"] for one in letters())
    assert orders == [str(4711 + number) for number in range(ORDERS)]
    assert (letter["origin"], letter["reason_code"]) == (QUEUE, "delivery_limit")
    assert done["proof_tie"] == "link"
    journey = call("GET", f"{product.base}/api/v1/journeys/{letter['trace_id']}", key=api)[1]
    assert [(station["system"], station["state"]) for station in journey["stations"]] == [
        ("shop", "passed"),
        ("erp", "passed"),
    ]
    known = call("GET", product.base + "/api/v1/messages?q=order_no:4711", key=api)[1]["results"]
    assert len(known) == 2  # SQS gives every sending an id of its own: the order, and its replay
