"""Sending over AMQP 0.9.1: publisher confirms in windows, with `mandatory`."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pika
from pika import exceptions as amqp

from messages.connectors.base import Address, BrokerUnavailable, Check, Found, Outgoing, Published, Result
from messages.connectors.headers import value_of
from messages.connectors.rabbitmq.client import BROKEN, REFUSED_LOGIN, checked, says
from messages.connectors.rabbitmq.line import Line
from messages.connectors.rabbitmq.management import Management, find_dead_letter_queues, find_topology_hints
from messages.connectors.rabbitmq.queue_facts import looked_up
from messages.connectors.rabbitmq.topology import expiry_hints
from messages.connectors.rabbitmq.window import MOST, Sending, Window

SENT = (
    "content_type", "content_encoding", "delivery_mode", "priority", "correlation_id", "reply_to", "expiration", "message_id", "timestamp",
    "type", "app_id",
)  # fmt: skip
Waiting = deque[Sending]


class RabbitMQConnector:
    """basic.publish with confirms, up to 500 on their way at once; unroutable comes back and is refused, never lost in silence.

    A property `expiration` is sent when the item names it and does not drop it; what RabbitMQ took away when it died is in
    `original_expiration`, which is sent when the item keeps it.
    timeout_s of publish is how long the broker may be silent; everything takes at most twice as long.
    """

    kind = "rabbitmq"
    at_once = (
        2000  # of which MOST are on their way: the end of a window, when nothing follows, is waited for less often
    )

    def __init__(self, address: Address) -> None:
        self.address = address
        self.until = 0.0
        self.line: Line | None = None
        self.window: Window | None = None

    def publish(self, items: Sequence[Outgoing], *, timeout_s: float) -> list[Published]:
        results: dict[int, Published] = {}
        waiting: Waiting = deque()
        for index, item in enumerate(items):
            try:
                waiting.append(_prepared(index, item))
            except Exception as error:  # noqa: BLE001  whatever pika's encoder says of it: nothing was sent
                results[index] = Published(id=item.id, result="refused", detail=f"AMQP cannot carry it: {says(error)}")
        self.until = time.monotonic() + 2 * timeout_s
        while waiting:
            results |= self._publish(waiting, timeout_s)
        return [results[index] for index in range(len(items))]

    def _publish(self, waiting: Waiting, timeout_s: float) -> dict[int, Published]:
        """Send from the front until all is sent or the channel ends; return what is known then. At least one leaves the queue."""
        try:
            line, window = self._open(timeout_s)
        except REFUSED_LOGIN as error:
            return _all(waiting, "refused", f"RabbitMQ refused the login: {says(error)}")
        except BROKEN as error:
            self.close()
            return _all(waiting, "unavailable", f"RabbitMQ cannot be reached: {says(error)}")
        before = len(waiting)
        while waiting or window.pending:
            if line.blocked and not window.pending:
                return dict(window.take_results()) | _all(
                    waiting, "unavailable", f"nothing was sent: RabbitMQ takes no messages now, {line.blocked}"
                )
            try:
                self._fill(line, window, waiting)
            except BROKEN as error:
                line.ended = line.ended or error
            if not self._settle(line, window, waiting, timeout_s):
                break
        if line.ended is not None:
            self._ended(line.ended, window, waiting)
            if len(waiting) == before and not window.results:
                return _all(waiting, "unavailable", f"nothing was sent, the line broke: {says(line.ended)}")
        elif window.pending:
            self._silent(line, window, waiting, timeout_s)
        return dict(window.take_results())

    def _open(self, timeout_s: float) -> tuple[Line, Window]:
        """Return the line that is open, or a new one."""
        if self.line is not None and self.window is not None:
            try:
                self.line.look()
                return self.line, self.window
            except BROKEN:
                if self.line.broken:
                    self.close()
        if self.line is None:
            self.line = Line(self.address, timeout_s=timeout_s)
        else:
            self.line.open_channel(timeout_s)
        self.window = window = Window(self.line.channel)
        self.line.ask(self.line.channel.confirm_delivery, window.on_confirm, timeout_s=timeout_s)
        return self.line, window

    @staticmethod
    def _fill(line: Line, window: Window, waiting: Waiting) -> None:
        with line.connection.gathering():
            while waiting and not line.blocked and window.takes(waiting[0]):
                window.send(waiting[0])
                waiting.popleft()

    def _settle(self, line: Line, window: Window, waiting: Waiting, timeout_s: float) -> bool:
        """Wait until the next ones may go, or for every confirm; False when the line ended or was silent for so long."""

        def enough() -> bool:
            return len(window.pending) <= MOST // 2 and window.takes(waiting[0]) if waiting else not window.pending

        known = -1
        while len(window.results) > known and line.ended is None:
            known = len(window.results)
            if (left := self.until - time.monotonic()) <= 0:
                break
            if line.pump(enough, min(timeout_s, left)):
                return True
        return False

    def _ended(self, error: Exception, window: Window, waiting: Waiting) -> None:
        if isinstance(error, amqp.ChannelClosedByBroker):
            waiting.extendleft(reversed(window.refused_by(error)))
        else:
            window.lost(f"the line broke before the confirm, RabbitMQ may have taken it: {says(error)}")
            self.close()

    def _silent(self, line: Line, window: Window, waiting: Waiting, timeout_s: float) -> None:
        slow = f"RabbitMQ was too slow: no confirm within {2 * timeout_s:g} s"
        silent = slow if time.monotonic() > self.until else f"RabbitMQ fell silent: no confirm within {timeout_s:g} s"
        why = f"RabbitMQ takes no messages now, {line.blocked}" if line.blocked else silent
        window.lost(f"{why}, it may have been taken")
        window.results += _all(waiting, "unavailable", f"nothing was sent: {why}").items()
        self.close()

    def check(self, destination: str | None) -> list[Check]:
        checks = checked(self.address, destination, "may publish", "", asking=_may_publish)
        return checks + (looked_up(self.address, destination) if all(check.answer for check in checks) else [])

    def hints(self, item: Outgoing, *, died_in: str, timeout_s: float) -> list[str]:
        """Say whether anybody consumes the queue that it goes to, when it expires, and, by the management API, whether it goes round."""
        queue = item.route.get("routing_key") or item.destination
        exchange = item.route.get("exchange", "")
        found = expiry_hints(item.properties)
        if not exchange:
            found += self._queue_hints(queue, timeout_s)
        base = str(self.address.options.get("management") or "")
        if exchange and not base:
            return [
                *found,
                f"it goes to exchange {exchange}: to which queues only the management API tells, and this connection has no address of it",
            ]
        if base:
            with contextlib.suppress(BrokerUnavailable):  # what the queue itself said is worth more than nothing
                management = Management(base, self.address, timeout_s=timeout_s)
                found += find_topology_hints(management, queue, died_in, exchange=exchange)
        return found

    def _queue_hints(self, queue: str, timeout_s: float) -> list[str]:
        try:
            line, _ = self._open(timeout_s)
            answer = line.ask(line.channel.queue_declare, queue, passive=True, timeout_s=timeout_s)
        except amqp.ChannelClosedByBroker as error:
            gone = f"there is no queue {queue}: RabbitMQ would return the message"
            return [
                gone if error.reply_code == 404 else f"RabbitMQ says of {queue}: {error.reply_code} {error.reply_text}"
            ]
        except BROKEN as error:
            raise BrokerUnavailable(says(error)) from error
        return [] if answer.method.consumer_count else [f"queue {queue} has no consumer now: the message waits there"]

    def discover(self, *, timeout_s: float) -> list[Found]:
        """Ask the management API for queues that others dead-letter to, and for names."""
        base = str(self.address.options.get("management") or "")
        if not base:
            raise BrokerUnavailable(
                "RabbitMQ lists its queues only by its management API: give the connection its management address"
            )
        return find_dead_letter_queues(Management(base, self.address, timeout_s=timeout_s))

    def close(self) -> None:
        if self.line is not None:
            self.line.close()
        self.line = self.window = None


def _all(waiting: Waiting, result: Result, detail: str) -> dict[int, Published]:
    """Say the same of everything that waits, and let it go."""
    said = dict(one.result(result, detail) for one in waiting)
    waiting.clear()
    return said


def _may_publish(channel: Any) -> Check:
    """Send to a queue that is not there, `mandatory`: allowed, it comes back; nothing is left behind."""
    with contextlib.suppress(amqp.UnroutableError):
        channel.basic_publish("", f"waybill-check-{secrets.token_hex(8)}", b"", mandatory=True)
    return Check(
        question="may publish",
        answer=True,
        detail="the default exchange takes messages, and returns what no queue takes",
    )


def _prepared(index: int, item: Outgoing) -> Sending:
    """Return what to send; raises what pika raises for names and numbers that do not fit their frames."""
    exchange, key = item.route.get("exchange", ""), item.route.get("routing_key") or item.destination
    properties = _properties(item)
    properties.encode()
    _fit_their_frame(exchange, key)
    return Sending(index=index, item=item, exchange=exchange, key=key, properties=properties)


@lru_cache(maxsize=512)
def _fit_their_frame(exchange: str, key: str) -> None:
    pika.spec.Basic.Publish(exchange=exchange, routing_key=key).encode()


class Properties(pika.BasicProperties):
    """Encoded once: before anything is sent, so that it is known to be possible, and for sending."""

    _encoded: list[bytes] | None = None

    def encode(self) -> list[bytes]:
        if self._encoded is None:
            self._encoded = super().encode()
        return list(self._encoded)  # the frame adds to its list


def _properties(item: Outgoing) -> pika.BasicProperties:
    kept: dict[str, Any] = {name: item.properties[name] for name in SENT if item.properties.get(name) is not None}
    if item.expiry == "drop":
        kept.pop("expiration", None)
    elif item.expiry == "keep" and item.properties.get("original_expiration") is not None:
        kept.setdefault("expiration", item.properties["original_expiration"])
    if "expiration" in kept:
        kept["expiration"] = str(
            int(kept["expiration"])
        )  # RabbitMQ closes the channel for anything but whole milliseconds
        if not 0 <= int(kept["expiration"]) < 2**32:
            raise ValueError("an expiration is a number of milliseconds below 2^32")
    kept.setdefault("content_type", item.content_type or None)
    kept.setdefault("delivery_mode", 2)
    return Properties(headers={header.name: value_of(header) for header in item.headers}, **kept)
