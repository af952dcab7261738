"""A message of each family whose headers end other clients: put into a queue as only its broker's own interface can."""

from __future__ import annotations

import contextlib
from typing import Any

import pika
import redis

from messages.connectors.base import Header, Outgoing
from messages.connectors.headers import Epoch
from tests.contracts.test_kafka import produce_poison
from tests.contracts.yards import ActiveMQYard, Amqp10Yard, ArtemisYard, KafkaYard, RabbitYard, RedisYard, SqsYard, Yard

BODY = "poison"
HOSTILE = {
    "traceparent": "00-zz-\ud7ff-01",
    "attempts": "9" * 400,
    "failed-at": "9999-99-99T99:99:99Z",
    "error-stack": "Caused by: " * 300,
    "x-exception-message": "\u202e\x01" + "\U0010ffff",
}


def of_rabbitmq(yard: RabbitYard, queue: str) -> None:
    deep: Any = {}
    for _ in range(60):
        deep = {"a": [deep]}
    headers = {
        "late": Epoch(10**13), "nul": "a\0b", "raw": b"\xff\xfe", "deep": deep, "x-death": "no list", "half": 0.5, **HOSTILE,
    }  # fmt: skip
    with yard.channel() as channel:
        told = pika.BasicProperties(message_id="m-poison", headers=headers, delivery_mode=2, expiration="600000")
        channel.basic_publish("", queue, BODY.encode(), told)


def of_kafka(yard: KafkaYard, queue: str) -> None:
    produce_poison(yard.broker, queue)


def of_redis(yard: RedisYard, queue: str) -> None:
    fields = {
        b"\xff\xfe": b"\x00\xff",
        b"": b"",
        b"body": BODY.encode(),
        b"message-id": b"\xff" * 900,
        b"attempts": b"-1",
    }
    with contextlib.closing(redis.Redis.from_url(yard.url)) as client:
        client.xadd(queue, {**{name.encode(): value.encode() for name, value in HOSTILE.items()}, **fields})  # type: ignore[arg-type]


def of_sqs(yard: SqsYard, queue: str) -> None:
    texts = {name: value for name, value in HOSTILE.items() if name != "x-exception-message"}
    attributes: dict[str, Any] = {name: {"DataType": "String.é", "StringValue": value} for name, value in texts.items()}
    attributes["number"] = {"DataType": "Number", "StringValue": "1E+120"}
    attributes["ErrorCode"] = {"DataType": "Binary", "BinaryValue": b"\xff\x00"}
    yard.client.send_message(
        QueueUrl=yard.client.get_queue_url(QueueName=queue)["QueueUrl"], MessageBody=BODY, MessageAttributes=attributes
    )


def over_stomp(yard: ActiveMQYard, queue: str) -> None:
    told = {
        **HOSTILE,
        "dlqDeliveryFailureCause": "java.lang.Throwable: " * 40,
        "original-destination": ":\n\\",
        "timestamp": "x",
    }
    headers = tuple(Header(name=name, type="string", value=value) for name, value in told.items())
    with yard.connector() as connector:
        [result] = connector.publish(
            [Outgoing(id="p", destination=queue, body=BODY.encode(), headers=headers)], timeout_s=10
        )
    assert result.result == "confirmed"


def over_amqp10(yard: Amqp10Yard, queue: str) -> None:
    from proton import Message, char, decimal128, ubyte
    from proton.utils import BlockingConnection

    from messages.connectors.activemq.amqp10 import ToQueue

    host = yard.address.url.partition("://")[2]
    with contextlib.closing(
        BlockingConnection(
            f"amqp://{host}",
            user=yard.address.username,
            password=yard.address.secret,
            allowed_mechs="PLAIN",
            allow_insecure_mechs=True,
        )
    ) as line:
        odd = {
            "half": float("nan"),
            "late": 2**63 - 1,
            "c": char("\ud7ff"),
            "d": decimal128(b"\xff" * 16),
            "u": ubyte(255),
        }
        message = Message(BODY, durable=True, id="m-poison", properties={**HOSTILE, **odd})
        line.create_sender(queue, options=ToQueue()).send(message)


MAKERS: dict[type[Yard], Any] = {
    RabbitYard: of_rabbitmq, KafkaYard: of_kafka, SqsYard: of_sqs, ActiveMQYard: over_stomp, ArtemisYard: over_stomp,
    Amqp10Yard: over_amqp10, RedisYard: of_redis,
}  # fmt: skip


def put_poison(yard: Yard, queue: str) -> None:
    """Put one such message; its body is BODY."""
    MAKERS[type(yard)](yard, queue)
