"""RabbitMQ over AMQP 0.9.1: publisher confirms with `mandatory`, dead letters with x-death in all its shapes."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pika
from pika import exceptions as amqp

from messages.connectors.base import Address, BrokerUnavailable, Check, Header, Outgoing, Published, Received
from messages.connectors.context import parse_traceparent
from messages.connectors.headers import as_dicts, first_text, header_of, value_of
from messages.connectors.redis_streams import body_fields
from messages.connectors.roots import root_type

PROPERTIES = (
    "content_type",
    "content_encoding",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "message_id",
    "type",
    "app_id",
)
KNOWN_REASONS = {"rejected": "rejected", "expired": "expired", "maxlen": "overflow", "delivery_limit": "delivery_limit"}


def _parameters(address: Address, *, timeout_s: float) -> pika.connection.Parameters:
    parameters = pika.URLParameters(address.url)
    if address.username:
        parameters.credentials = pika.PlainCredentials(address.username, address.secret)
    parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = timeout_s
    parameters.connection_attempts = 1
    parameters.heartbeat = 30
    parameters.client_properties = {"connection_name": "waybill"}
    return parameters


def _says(error: Exception) -> str:
    return " ".join((str(error) or repr(error)).split())[:300] or type(error).__name__


class RabbitMQConnector:
    """basic.publish with confirms; unroutable comes back and is refused, never lost in silence."""

    kind = "rabbitmq"

    def __init__(self, address: Address) -> None:
        self.address = address
        self.connection: Any = None
        self.channel: Any = None

    def _open(self, timeout_s: float) -> None:
        if self.connection is None or not self.connection.is_open:
            self.connection = pika.BlockingConnection(_parameters(self.address, timeout_s=timeout_s))
            self.channel = None
        if self.channel is None or not self.channel.is_open:
            self.channel = self.connection.channel()
            self.channel.confirm_delivery()

    def publish(self, items: Sequence[Outgoing], *, timeout_s: float) -> list[Published]:
        return [self._publish(item, timeout_s) for item in items]

    def _publish(self, item: Outgoing, timeout_s: float) -> Published:
        try:
            self._open(timeout_s)
        except (amqp.ProbableAuthenticationError, amqp.ProbableAccessDeniedError, amqp.AuthenticationError) as error:
            return Published(id=item.id, result="refused", detail=f"RabbitMQ refused the login: {_says(error)}")
        except (amqp.AMQPError, OSError) as error:
            return Published(id=item.id, result="unavailable", detail=f"RabbitMQ cannot be reached: {_says(error)}")
        exchange, key = item.route.get("exchange", ""), item.route.get("routing_key") or item.destination
        try:
            self.channel.basic_publish(exchange, key, item.body, _properties(item), mandatory=True)
        except amqp.UnroutableError:
            return Published(
                id=item.id,
                result="refused",
                detail=f"no queue takes {exchange or 'the default exchange'} with key {key}",
            )
        except amqp.NackError:
            return Published(
                id=item.id, result="refused", detail="RabbitMQ would not take it: the queue is full or failing"
            )
        except amqp.ChannelClosedByBroker as error:
            return Published(
                id=item.id, result="refused", detail=f"RabbitMQ refused it: {error.reply_code} {error.reply_text}"
            )
        except (amqp.AMQPError, OSError) as error:
            self.close()
            return Published(
                id=item.id,
                result="unknown",
                detail=f"the line broke before the confirm, RabbitMQ may have taken it: {_says(error)}",
            )
        return Published(
            id=item.id,
            result="confirmed",
            detail=f"RabbitMQ confirmed it at {exchange or 'the default exchange'} with key {key}",
        )

    def check(self, destination: str | None) -> list[Check]:
        return _checked(self.address, destination, "may publish", "a channel with confirms was opened")

    def close(self) -> None:
        with contextlib.suppress(amqp.AMQPError, OSError):
            if self.connection is not None and self.connection.is_open:
                self.connection.close()
        self.connection = self.channel = None


def _checked(address: Address, queue: str | None, question: Any, words: str) -> list[Check]:
    """Ask a broker, one question after the other, until one is answered with no."""
    try:
        connection = pika.BlockingConnection(_parameters(address, timeout_s=5))
    except (amqp.ProbableAuthenticationError, amqp.ProbableAccessDeniedError, amqp.AuthenticationError) as error:
        return [
            Check(question="reached", answer=True, detail="RabbitMQ answers"),
            Check(question="authenticated", answer=False, detail=_says(error)),
        ]
    except (amqp.AMQPError, OSError, ValueError) as error:
        return [Check(question="reached", answer=False, detail=f"RabbitMQ does not answer: {_says(error)}")]
    checks = [
        Check(question="reached", answer=True, detail="RabbitMQ answers"),
        Check(question="authenticated", answer=True, detail="the login is accepted"),
    ]
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        if queue:
            count = channel.queue_declare(queue, passive=True).method.message_count
            checks.append(Check(question="queue exists", answer=True, detail=f"queue {queue} holds {count}"))
        checks.append(Check(question=question, answer=True, detail=words))
    except amqp.ChannelClosedByBroker as error:
        missing = error.reply_code == 404
        checks.append(
            Check(
                question="queue exists" if missing else question,
                answer=False,
                detail=f"{error.reply_code} {error.reply_text}",
            )
        )
    except (amqp.AMQPError, OSError) as error:
        checks.append(Check(question=question, answer=False, detail=_says(error)))
    finally:
        with contextlib.suppress(amqp.AMQPError, OSError):
            connection.close()
    return checks


def _properties(item: Outgoing) -> pika.BasicProperties:
    kept: dict[str, Any] = {name: item.properties[name] for name in PROPERTIES if item.properties.get(name) is not None}
    kept.setdefault("content_type", item.content_type or None)
    kept.setdefault("delivery_mode", 2)
    return pika.BasicProperties(headers={header.name: value_of(header) for header in item.headers}, **kept)


class RabbitMQSource:
    """Consumes one dead-letter queue with a prefetch; unacknowledged deliveries come again after a crash.

    options  system (who failed), prefetch (default 500).
    """

    def __init__(self, address: Address, *, broker: str, queue: str, options: Mapping[str, object]) -> None:
        self.address, self.broker, self.queue = address, broker, queue
        self.system = str(options.get("system") or "")
        self.prefetch = int(str(options.get("prefetch") or 500))
        self.connection: Any = None
        self.channel: Any = None
        self.buffer: list[tuple[Any, Any, bytes]] = []
        self.unacknowledged: Counter[str] = Counter()
        self.hashes: dict[int, str] = {}

    def _open(self) -> None:
        if self.connection is not None and self.connection.is_open and self.channel.is_open:
            return
        self.close()
        self.connection = pika.BlockingConnection(_parameters(self.address, timeout_s=10))
        self.channel = self.connection.channel()
        self.channel.basic_qos(prefetch_count=self.prefetch)
        self.channel.basic_consume(self.queue, self._delivered)

    def _delivered(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self.buffer.append((method, properties, body))

    def receive(self, limit: int, wait_s: float) -> list[Received]:
        try:
            self._open()
            self.connection.process_data_events(time_limit=0 if self.buffer else wait_s)
        except (amqp.AMQPError, OSError, ValueError) as error:
            self.close()
            raise BrokerUnavailable(_says(error)) from error
        taken, self.buffer = self.buffer[:limit], self.buffer[limit:]
        return [self._received(*delivery) for delivery in taken]

    def _received(self, method: Any, properties: Any, body: bytes) -> Received:
        letter = decode_delivery(properties, body, broker=self.broker, queue=self.queue, system=self.system)
        # Messages without an id and with the same bytes are told apart while both are unacknowledged.
        identity = str(letter["id"])
        ordinal = self.unacknowledged[identity]
        self.unacknowledged[identity] += 1
        self.hashes[method.delivery_tag] = identity
        if ordinal:
            letter["id"] = f"{identity}/{ordinal}"
        return Received(token=method.delivery_tag, letter=letter)

    def acknowledge(self, tokens: Sequence[object]) -> None:
        try:
            for token in tokens:
                self.channel.basic_ack(token)
                identity = self.hashes.pop(int(str(token)), "")
                self.unacknowledged[identity] -= 1
                if self.unacknowledged[identity] <= 0:
                    del self.unacknowledged[identity]
            self.connection.process_data_events(time_limit=0)
        except (amqp.AMQPError, OSError, AttributeError) as error:
            self.close()
            raise BrokerUnavailable(_says(error)) from error

    def depth(self) -> int | None:
        try:
            return int(self.channel.queue_declare(self.queue, passive=True).method.message_count) + len(self.hashes)
        except (amqp.AMQPError, OSError, AttributeError):
            return None

    def check(self) -> list[Check]:
        return _checked(self.address, self.queue, "may read", "a channel was opened")

    def close(self) -> None:
        with contextlib.suppress(amqp.AMQPError, OSError):
            if self.connection is not None and self.connection.is_open:
                self.connection.close()
        self.connection = self.channel = None
        self.buffer.clear()
        self.unacknowledged.clear()
        self.hashes.clear()
