"""An application's own view of SQS and SNS, for tests: boto3 as it is, queues and topics of fresh names."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Sequence
from typing import Any

import boto3

from messages.connectors.base import Address, Header, Outgoing, Received
from messages.connectors.headers import from_dicts
from messages.connectors.hygiene import stamp_headers, strip_headers
from messages.connectors.sqs.connector import SQSConnector
from messages.connectors.sqs.source import SQSSource
from tests.product import wait_until

REGION = "eu-central-1"
ACCOUNT = "000000000000"


class Estate:
    """An application's own view of the cloud: boto3 as it is, queues and topics of fresh names."""

    def __init__(self, url: str) -> None:
        login = {"region_name": REGION, "aws_access_key_id": "app", "aws_secret_access_key": "app"}
        self.sqs, self.sns = (boto3.client(service, endpoint_url=url, **login) for service in ("sqs", "sns"))
        self.address = Address(url=f"sqs+{url}?region={REGION}", username="waybill", secret="s")
        self.urls: dict[str, str] = {}

    def queue(self, ending: str = "", **attributes: str) -> str:
        """Return the name of a fresh queue; its messages come back at once when they are not deleted."""
        name = f"t-{uuid.uuid4().hex[:12]}{ending}"
        fifo = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        made = self.sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "0"} | fifo | attributes)
        self.urls[name] = made["QueueUrl"]
        return name

    def pair(self, ending: str = "") -> tuple[str, str]:
        """Return a queue and its dead-letter queue: a message that is received twice and not deleted dies."""
        dlq = self.queue(f"-dlq{ending}")
        return self.queue(
            ending, RedrivePolicy=json.dumps({"deadLetterTargetArn": arn(dlq), "maxReceiveCount": "2"})
        ), dlq

    def send(self, queue: str, body: str = "hello", **more: Any) -> None:
        self.sqs.send_message(QueueUrl=self.urls[queue], MessageBody=body, **more)

    def receive(self, queue: str, wait_s: int = 0) -> list[dict[str, Any]]:
        answer = self.sqs.receive_message(
            QueueUrl=self.urls[queue], MaxNumberOfMessages=10, WaitTimeSeconds=wait_s,
            MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"],
        )  # fmt: skip
        return list(answer.get("Messages", ()))

    def kill(self, queue: str) -> None:
        """Receive until everything is dead."""
        while self.receive(queue):
            pass

    def source(self, queue: str, **options: object) -> contextlib.closing[SQSSource]:
        return contextlib.closing(SQSSource(self.address, broker="aws", queue=queue, options=options))

    def harvest(self, queue: str, *, acknowledge: bool = True) -> list[dict[str, Any]]:
        """Return the letters of a dead-letter queue as soon as there are any."""
        with self.source(queue) as source:
            received = wait_until(lambda: source.receive(100, 1), seconds=20, what="a letter")
            if acknowledge:
                source.acknowledge(tokens(received))
        return [one.letter for one in received]

    def publish(self, *items: Outgoing) -> list[tuple[str, str]]:
        with contextlib.closing(SQSConnector(self.address)) as connector:
            return [(one.result, one.detail) for one in connector.publish(items, timeout_s=20)]


def arn(name: str, service: str = "sqs") -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{name}"


def tokens(received: Sequence[Received]) -> list[object]:
    return [one.token for one in received]


def text(value: str, kind: str = "String") -> dict[str, str]:
    return {"DataType": kind, "StringValue": value}


def header(name: str, value: object = "x", kind: str = "string") -> Header:
    return Header(name=name, type=kind, value=value)


def outgoing(destination: str, body: bytes = b"hello", **more: Any) -> Outgoing:
    return Outgoing(id=str(uuid.uuid4()), destination=destination, body=body, **more)


def replay_of(letter: dict[str, Any], **changes: Any) -> Outgoing:
    """Return what the console sends for a letter that goes back to its origin."""
    replay_id = str(uuid.uuid4())
    headers = stamp_headers(
        strip_headers(from_dicts(letter["headers"])), replay_id=replay_id, replay_of=letter["message_id"], attempt=1, by="ann",
        traceparent=f"00-{'a' * 32}-{'b' * 16}-01",
    )  # fmt: skip
    kept = {"route": letter["route"], "headers": headers, "properties": letter["properties"]}
    return Outgoing(id=replay_id, destination=letter["origin"], body=letter["body"].encode(), **kept | changes)
