"""Sending over AMQP 0.9.1: publisher confirms with `mandatory`."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from typing import Any

import pika
from pika import exceptions as amqp

from messages.connectors.base import Address, BrokerUnavailable, Check, Found, Outgoing, Published
from messages.connectors.headers import value_of
from messages.connectors.rabbitmq.client import REFUSED_LOGIN, checked, parameters_of, says
from messages.connectors.rabbitmq.decode import PROPERTIES
from messages.connectors.rabbitmq.management import Management, find_dead_letter_queues, find_topology_hints
from messages.connectors.rabbitmq.topology import expiry_hints


class RabbitMQConnector:
    """basic.publish with confirms; unroutable comes back and is refused, never lost in silence."""

    kind = "rabbitmq"

    def __init__(self, address: Address) -> None:
        self.address = address
        self.connection: Any = None
        self.channel: Any = None

    def _open(self, timeout_s: float) -> None:
        if self.connection is None or not self.connection.is_open:
            self.connection = pika.BlockingConnection(parameters_of(self.address, timeout_s=timeout_s))
            self.channel = None
        if self.channel is None or not self.channel.is_open:
            self.channel = self.connection.channel()
            self.channel.confirm_delivery()

    def publish(self, items: Sequence[Outgoing], *, timeout_s: float) -> list[Published]:
        return [self._publish(item, timeout_s) for item in items]

    def _publish(self, item: Outgoing, timeout_s: float) -> Published:
        exchange, key = item.route.get("exchange", ""), item.route.get("routing_key") or item.destination
        try:
            properties = _encodable(exchange, key, item)
        except Exception as error:  # noqa: BLE001  whatever pika's encoder says of it: nothing was sent
            return Published(id=item.id, result="refused", detail=f"AMQP cannot carry it: {says(error)}")
        try:
            self._open(timeout_s)
        except REFUSED_LOGIN as error:
            return Published(id=item.id, result="refused", detail=f"RabbitMQ refused the login: {says(error)}")
        except (amqp.AMQPError, OSError) as error:
            return Published(id=item.id, result="unavailable", detail=f"RabbitMQ cannot be reached: {says(error)}")
        try:
            self.channel.basic_publish(exchange, key, item.body, properties, mandatory=True)
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
                detail=f"the line broke before the confirm, RabbitMQ may have taken it: {says(error)}",
            )
        return Published(
            id=item.id,
            result="confirmed",
            detail=f"RabbitMQ confirmed it at {exchange or 'the default exchange'} with key {key}",
        )

    def check(self, destination: str | None) -> list[Check]:
        return checked(self.address, destination, "may publish", "", asking=_may_publish)

    def hints(self, item: Outgoing, *, died_in: str, timeout_s: float) -> list[str]:
        """Say whether anybody consumes the queue that it goes to, when it expires, and, by the management API, whether it goes round."""
        queue = item.route.get("routing_key") or item.destination
        found = expiry_hints(item.properties.get("expiration"))
        if not item.route.get("exchange"):
            found += self._queue_hints(queue, timeout_s)
        if base := str(self.address.options.get("management") or ""):
            with contextlib.suppress(BrokerUnavailable):  # what the queue itself said is worth more than nothing
                found += find_topology_hints(Management(base, self.address, timeout_s=timeout_s), queue, died_in)
        return found

    def _queue_hints(self, queue: str, timeout_s: float) -> list[str]:
        try:
            self._open(timeout_s)
            consumers = self.channel.queue_declare(queue, passive=True).method.consumer_count
        except amqp.ChannelClosedByBroker as error:
            gone = f"there is no queue {queue}: RabbitMQ would return the message"
            return [
                gone if error.reply_code == 404 else f"RabbitMQ says of {queue}: {error.reply_code} {error.reply_text}"
            ]
        except (amqp.AMQPError, OSError, ValueError) as error:
            raise BrokerUnavailable(says(error)) from error
        return [] if consumers else [f"queue {queue} has no consumer now: the message waits there"]

    def discover(self, *, timeout_s: float) -> list[Found]:
        """Ask the management API for queues that others dead-letter to, and for names."""
        base = str(self.address.options.get("management") or "")
        if not base:
            raise BrokerUnavailable(
                "RabbitMQ lists its queues only by its management API: give the connection its management address"
            )
        return find_dead_letter_queues(Management(base, self.address, timeout_s=timeout_s))

    def close(self) -> None:
        with contextlib.suppress(amqp.AMQPError, OSError):
            if self.connection is not None and self.connection.is_open:
                self.connection.close()
        self.connection = self.channel = None


def _may_publish(channel: Any) -> Check:
    """Send to a queue that is not there, `mandatory`: allowed, it comes back; nothing is left behind."""
    with contextlib.suppress(amqp.UnroutableError):
        channel.basic_publish("", f"waybill-check-{secrets.token_hex(8)}", b"", mandatory=True)
    return Check(
        question="may publish",
        answer=True,
        detail="the default exchange takes messages, and returns what no queue takes",
    )


def _encodable(exchange: str, key: str, item: Outgoing) -> pika.BasicProperties:
    """Return the properties to send with; raises what pika raises for names and numbers that do not fit their frames."""
    properties = _properties(item)
    properties.encode()
    pika.spec.Basic.Publish(exchange=exchange, routing_key=key).encode()
    return properties


def _properties(item: Outgoing) -> pika.BasicProperties:
    kept: dict[str, Any] = {name: item.properties[name] for name in PROPERTIES if item.properties.get(name) is not None}
    kept.setdefault("content_type", item.content_type or None)
    kept.setdefault("delivery_mode", 2)
    return pika.BasicProperties(headers={header.name: value_of(header) for header in item.headers}, **kept)
