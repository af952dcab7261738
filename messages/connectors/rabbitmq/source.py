"""Dead letters from a queue of RabbitMQ."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pika
from pika import exceptions as amqp

from messages.connectors.base import Address, BrokerUnavailable, Check, Received
from messages.connectors.held import Held
from messages.connectors.rabbitmq.client import checked, parameters_of, says
from messages.connectors.rabbitmq.decode import decode_delivery

MOST_BYTES = 32 * 1024 * 1024  # in hand of one harvester


class RabbitMQSource:
    """Takes from one dead-letter queue by asking for each message (basic.get); what is not acknowledged comes again after a crash.

    Asking, not consuming: then nothing is on its way to us while we acknowledge, which the names of messages without an id need
    (see held.py), and a letter that stays unacknowledged for good takes no place from others.
    options  system (who failed), state (folder for the names of messages without an id; without it they last as long as we do).
    """

    no_peek = (
        "RabbitMQ shows a message only by delivering it: giving it back marks it as redelivered, may change its place, and a "
        "quorum queue counts it, so that looking alone reaches the delivery limit and loses it"
    )

    def __init__(self, address: Address, *, broker: str, queue: str, options: Mapping[str, object]) -> None:
        self.address, self.broker, self.queue = address, broker, queue
        self.system = str(options.get("system") or "")
        self.connection: Any = None
        self.channel: Any = None
        self.unacknowledged: dict[int, str] = {}  # delivery tag → name given to a message without one, else ""
        folder = str(options.get("state") or "")
        file = hashlib.sha256(f"{broker}\0{queue}".encode()).hexdigest()[:16]
        self.held = Held(Path(folder) / f"{file}.json" if folder else None)

    def _open(self) -> None:
        if self.connection is not None and self.connection.is_open and self.channel.is_open:
            return
        self.close()
        self.held.load()
        self.connection = pika.BlockingConnection(parameters_of(self.address, timeout_s=10))
        self.channel = self.connection.channel()

    def receive(self, limit: int, wait_s: float) -> list[Received]:
        try:
            self._open()
            taken = self._take(limit)
            if not taken:
                self.connection.process_data_events(time_limit=wait_s)
                taken = self._take(limit)
        except (amqp.AMQPError, OSError, ValueError) as error:
            self.close()
            raise BrokerUnavailable(says(error)) from error
        received = [self._received(*delivery) for delivery in taken]
        if any(self.unacknowledged[one.token] for one in received):  # type: ignore[index]
            self.held.save()  # before anybody hears a name
        return received

    def _take(self, limit: int) -> list[tuple[Any, Any, bytes]]:
        """Return what waits, up to so many messages or bytes."""
        taken: list[tuple[Any, Any, bytes]] = []
        size = 0
        while len(taken) < limit and size < MOST_BYTES:
            method, properties, body = self.channel.basic_get(self.queue)
            if method is None:
                if not taken:
                    self.held.nothing_waits()
                break
            taken.append((method, properties, body))
            size += len(body)
        return taken

    def _received(self, method: Any, properties: Any, body: bytes) -> Received:
        letter = decode_delivery(properties, body, broker=self.broker, queue=self.queue, system=self.system)
        name = ""
        if not letter["message_id"]:
            name = letter["id"] = self.held.name(str(letter["id"]), delivered_before=method.redelivered)
        self.unacknowledged[method.delivery_tag] = name
        return Received(token=method.delivery_tag, letter=letter)

    def acknowledge(self, tokens: Sequence[object]) -> None:
        try:
            for token in tokens:
                self.channel.basic_ack(token)
            names = [self.unacknowledged.pop(int(str(token)), "") for token in tokens]
            if any(names):
                self.channel.queue_declare(
                    self.queue, passive=True
                )  # its answer says that the broker has read the above
                self.held.forget(names)
                self.held.save()
            else:
                self.connection.process_data_events(time_limit=0)
        except (amqp.AMQPError, OSError, AttributeError) as error:
            self.close()
            raise BrokerUnavailable(says(error)) from error

    def depth(self) -> int | None:
        try:
            return int(self.channel.queue_declare(self.queue, passive=True).method.message_count) + len(
                self.unacknowledged
            )
        except (amqp.AMQPError, OSError, AttributeError):
            return None

    def check(self) -> list[Check]:
        return checked(self.address, self.queue, "may read", "", asking=self._may_read)

    def _may_read(self, channel: Any) -> Check:
        """Ask for a message of an empty queue; of another one that would be a delivery, which a check does not do."""
        count = channel.queue_declare(self.queue, passive=True).method.message_count
        if count:
            words = f"not asked, because asking would deliver one of the {count} letters; it needs the read right on {self.queue}"
            return Check(question="may read", answer=None, detail=words)
        method, _, _ = channel.basic_get(self.queue)
        if method is not None:  # it came this very moment
            channel.basic_nack(method.delivery_tag, requeue=True)
        return Check(question="may read", answer=True, detail="it has the read right")

    def close(self) -> None:
        with contextlib.suppress(amqp.AMQPError, OSError):
            if self.connection is not None and self.connection.is_open:
                self.connection.close()
        self.connection = self.channel = None
        self.unacknowledged.clear()
        self.held.line_ended()
