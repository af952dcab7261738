"""Shipping over RabbitMQ, when one is configured: a durable queue, publisher confirms, rejected messages dead-lettered by the broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import pika
import redis
from pika.exceptions import AMQPError

from agents.demo.consumer import Consumer, Message, OutletAway

PERSISTENT = 2
IDLE_S = 0.5
PROPERTIES = ("message-id", "correlation-id", "content-type")  # AMQP has its own fields for these headers


class Rabbit:
    """One connection and channel, opened when it is needed, with the queue and its dead-letter queue declared."""

    system = "rabbitmq"

    def __init__(self, url: str, queue: str, dead_letters: str) -> None:
        self.url, self.queue, self.dead_letters = url, queue, dead_letters
        self._connection: Any = None
        self._channel: Any = None

    @property
    def channel(self) -> Any:
        if self._channel is None or not self._channel.is_open:
            self.close()
            parameters = pika.URLParameters(self.url)
            parameters.socket_timeout, parameters.heartbeat = 5, 60
            self._connection = pika.BlockingConnection(parameters)
            self._channel = self._connection.channel()
            self._channel.confirm_delivery()
            self._channel.basic_qos(prefetch_count=20)
            self._channel.queue_declare(self.dead_letters, durable=True)
            to_dead_letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": self.dead_letters}
            self._channel.queue_declare(self.queue, durable=True, arguments=to_dead_letters)
        return self._channel

    def send(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Publish and wait for the broker's confirm; a line that died since the last message is opened once more."""
        properties = pika.BasicProperties(
            message_id=headers.get("message-id"),
            correlation_id=headers.get("correlation-id"),
            content_type=headers.get("content-type"),
            delivery_mode=PERSISTENT,
            headers={name: value for name, value in headers.items() if name not in PROPERTIES},
        )
        for last in (False, True):
            try:
                self.channel.basic_publish("", self.queue, body, properties, mandatory=True)
                return
            except (AMQPError, OSError) as error:
                self.close()
                if last:
                    raise OutletAway(repr(error)) from error

    def close(self) -> None:
        try:  # what is broken already cannot be closed, and need not
            if self._connection is not None and self._connection.is_open:
                self._connection.close()
        except (AMQPError, OSError):
            pass
        self._connection = self._channel = None


class RabbitConsumer(Consumer):
    """As Consumer, from a queue: acknowledged after Redis has the mark that it is done; what fails for good is rejected."""

    def __init__(self, rabbit: Rabbit, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.rabbit = rabbit
        self.system = rabbit.system

    def run(self, stopping: Callable[[], bool]) -> None:
        """Consume until told to stop; a broker that goes away is waited for."""
        while not stopping():
            try:
                for method, properties, body in self.rabbit.channel.consume(
                    self.rabbit.queue, inactivity_timeout=IDLE_S
                ):
                    self.alive.say()
                    if stopping():
                        break
                    if method is not None:
                        self.process(_message(method.delivery_tag, properties, body))
            except (AMQPError, OSError, redis.ConnectionError, redis.TimeoutError):
                self.rabbit.close()  # what was not acknowledged comes again
                time.sleep(0.5)
        self.rabbit.close()

    def _bury(self, message: Message, attempts: int, error: Exception, first_failed_at: datetime) -> None:
        self.rabbit.channel.basic_nack(int(message.entry_id), requeue=False)

    def _finish(self, pipe: Any, message: Message) -> None:
        pipe.execute()
        self.rabbit.channel.basic_ack(int(message.entry_id))


def _message(tag: int, properties: Any, body: bytes) -> Message:
    headers = {str(name): str(value) for name, value in (properties.headers or {}).items()}
    for name in PROPERTIES:
        if (value := getattr(properties, name.replace("-", "_"))) is not None:
            headers[name] = str(value)
    return Message(entry_id=str(tag), headers=headers, body=body)
