"""Sending over AMQP 1.0: many messages on a link, each settled by the broker with an outcome."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from proton import Delivery, Message, Timeout, timestamp, ulong
from proton.utils import BlockingConnection, LinkDetached

from messages.connectors.activemq.amqp10 import (
    BROKEN,
    LoginRefused,
    ToQueue,
    Unreachable,
    connect,
    hang_up,
    link_check,
    reached,
    says,
)
from messages.connectors.activemq.amqp10_management import AmqpManager, is_artemis
from messages.connectors.activemq.asking import find_dead_letter_queues, find_hints
from messages.connectors.activemq.expiry import expires_ms
from messages.connectors.activemq.names import misread
from messages.connectors.activemq.topology import expiry_hints
from messages.connectors.base import Address, BrokerUnavailable, Check, Found, Header, Outgoing, Published
from messages.connectors.headers import Epoch, value_of

OUTCOMES = {
    Delivery.REJECTED: "the broker rejected it",
    Delivery.RELEASED: "the broker would not take it: the address is full or has no queue",
    Delivery.MODIFIED: "the broker would not take it: it failed there",
}


class Amqp10Connector:
    """Durable messages, confirmed by `accepted`.

    options  ca (a file of certificates to trust, for amqp10+ssl).
    """

    kind = "activemq"
    at_once = 100

    def __init__(self, address: Address) -> None:
        self.address = address
        self.connection: BlockingConnection | None = None
        self.links: dict[str, Any] = {}

    def publish(self, items: Sequence[Outgoing], *, timeout_s: float) -> list[Published]:
        try:
            connection = self._open(timeout_s)
        except LoginRefused as error:
            return [
                Published(id=item.id, result="refused", detail=f"ActiveMQ refused the login: {error}") for item in items
            ]
        except Unreachable as error:
            return [
                Published(id=item.id, result="unavailable", detail=f"ActiveMQ cannot be reached: {error}")
                for item in items
            ]
        sent: list[tuple[Outgoing, Any]] = []
        until = time.monotonic() + timeout_s
        for item in items:
            sent.append((item, self._send(connection, item, until)))
        with contextlib.suppress(*BROKEN):
            connection.wait(
                lambda: all(isinstance(d, Published) or d.settled for _, d in sent),
                timeout=max(until - time.monotonic(), 0.01),
            )
        results = [d if isinstance(d, Published) else _result(item, d) for item, d in sent]
        if any(result.result == "unknown" for result in results):
            self.close()
        return results

    def _open(self, timeout_s: float) -> BlockingConnection:
        if self.connection is not None:
            try:
                self.connection.wait(
                    lambda: False, timeout=0.01
                )  # so that the end of it is heard before anything is sent
                self.close()
            except Timeout:
                pass
            except BROKEN:
                self.close()
        if self.connection is None:
            self.connection = connect(self.address, timeout_s=timeout_s)
        return self.connection

    def _send(self, connection: BlockingConnection, item: Outgoing, until: float) -> Any:
        """Return the delivery under way, or the result when nothing was sent."""
        name = item.route.get("queue") or item.destination
        if why := misread(name):
            return Published(id=item.id, result="refused", detail=why)
        try:
            message = message_of(item)
            message.encode()
        except Exception as error:  # noqa: BLE001  whatever proton's encoder says of it: nothing was sent
            return Published(id=item.id, result="refused", detail=f"AMQP cannot carry it: {says(error)}")
        try:
            if name not in self.links:
                self.links[name] = connection.create_sender(name, options=ToQueue()).link
            link = self.links[name]
            connection.wait(lambda: link.credit > 0, timeout=max(until - time.monotonic(), 0.01))
        except BROKEN as error:
            self.links.pop(name, None)
            refused = isinstance(error, LinkDetached)
            words = says(error) if refused else f"it was not taken in time: {says(error)}"
            return Published(id=item.id, result="refused" if refused else "unavailable", detail=f"{name}: {words}")
        try:
            return link.send(message)
        except BROKEN as error:
            return Published(
                id=item.id, result="unknown", detail=f"the line broke, it may have been taken: {says(error)}"
            )

    def check(self, destination: str | None) -> list[Check]:
        connection, checks = reached(self.address)
        if connection is not None:
            if destination:
                checks += link_check(connection, destination, sending=True)
            hang_up(connection)
        return checks

    def hints(self, item: Outgoing, *, died_in: str, timeout_s: float) -> list[str]:
        """Say what Artemis' management tells of the address that it goes to."""
        until = time.monotonic() + timeout_s
        found = expiry_hints(item.properties, now=datetime.now(UTC))
        name = item.route.get("queue") or item.destination
        connection = self._asked(timeout_s)
        if not is_artemis(connection):
            return [*found, f"whether anybody consumes {name}, this broker does not tell over AMQP 1.0"]
        with contextlib.closing(AmqpManager(connection)) as manager:
            return found + find_hints(manager.ask, name, multicast=False, died_in=died_in, until=until)

    def discover(self, *, timeout_s: float) -> list[Found]:
        """Ask Artemis where its addresses send dead letters."""
        until = time.monotonic() + timeout_s
        connection = self._asked(timeout_s)
        if not is_artemis(connection):
            raise BrokerUnavailable("this broker lists no queues over AMQP 1.0: name them yourself")
        with contextlib.closing(AmqpManager(connection)) as manager:
            return find_dead_letter_queues(manager.ask, until=until)

    def _asked(self, timeout_s: float) -> BlockingConnection:
        try:
            return self._open(timeout_s)
        except (LoginRefused, Unreachable) as error:
            raise BrokerUnavailable(str(error)) from error

    def close(self) -> None:
        if self.connection is not None:
            hang_up(self.connection)
        self.connection = None
        self.links.clear()


def _result(item: Outgoing, delivery: Any) -> Published:
    if delivery.remote_state == Delivery.ACCEPTED:
        return Published(id=item.id, result="confirmed", detail=f"the broker accepted it at {item.destination}")
    if delivery.remote_state in OUTCOMES:
        condition = getattr(delivery.remote, "condition", None)
        words = f": {condition.description}" if condition else ""
        return Published(id=item.id, result="refused", detail=OUTCOMES[delivery.remote_state] + words)
    return Published(id=item.id, result="unknown", detail="no outcome in time: the broker may have taken it")


def message_of(item: Outgoing) -> Any:
    """Return the message to send; raises what proton or a header's type makes of it."""
    kept = item.properties
    body, inferred = _body(item)
    message: Any = Message(body, durable=True, inferred=inferred)
    message.properties = {header.name: _typed(header) for header in item.headers}
    message.content_type = item.content_type or None
    message.id = _id(str(kept.get("message_id") or ""), str(kept.get("message_id_type") or "")) or None
    for name, of in (
        ("correlation_id", "correlation_id"),
        ("subject", "type"),
        ("reply_to", "reply_to"),
        ("group_id", "group_id"),
    ):
        if kept.get(of):
            setattr(message, name, str(kept[of]))
    if kept.get("priority") is not None:
        message.priority = int(str(kept["priority"]))
    now_ms = int(time.time() * 1000)
    if expires := expires_ms(kept, item.expiry, now_ms=now_ms):
        message.ttl = max(expires - now_ms, 1) / 1000
    return message


def _body(item: Outgoing) -> tuple[Any, bool]:
    """Return the body and whether it goes as a data section; a text goes as a value, which is a JMS TextMessage."""
    kind = item.properties.get("message_type")
    if kind == "value":
        with contextlib.suppress(ValueError):
            return json.loads(item.body), False
    if kind == "none" and not item.body:
        return None, False
    if kind != "bytes":
        with contextlib.suppress(UnicodeDecodeError):
            return item.body.decode(), False
    return item.body, True


def _typed(header: Header) -> object:
    value = value_of(header)
    if isinstance(value, Epoch):
        return timestamp(int(value) * 1000)
    if isinstance(value, datetime):
        return timestamp(int(value.timestamp() * 1000))
    return json.dumps(header.value) if header.type == "json" else value


def _id(text: str, kind: str) -> Any:
    return uuid.UUID(text) if kind == "UUID" else ulong(int(text)) if kind in {"ulong", "int"} else text
