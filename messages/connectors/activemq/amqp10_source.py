"""Dead letters from a queue over AMQP 1.0: asked for by credit, settled when the console has them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from proton import Delivery, Timeout
from proton.handlers import MessagingHandler
from proton.reactor import Copy
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
from messages.connectors.activemq.amqp10_decode import decode_amqp_message, has_identity
from messages.connectors.activemq.names import misread
from messages.connectors.base import Address, BrokerUnavailable, Check, Received
from messages.connectors.browse import Browse

MOST_BYTES = 32 * 1024 * 1024  # in hand of one harvester
LOOK_S = 10.0
CREDIT = 20  # messages asked for at a time, at most
LIMIT = "; what its limit of deliveries is AMQP does not tell: set max-delivery-attempts to -1 for it, since broken lines count"
NAMELESS = "it has no message id and nothing tells where it died: it stays on the broker, where another with this content may be"


def _size(arrived: tuple[Any, Any]) -> int:
    body = arrived[0].body
    return len(body) if isinstance(body, bytes | memoryview | str) else 0


class _Inbox(MessagingHandler):
    def __init__(self) -> None:
        super().__init__(prefetch=0, auto_accept=False)
        self.waiting: list[tuple[Any, Any]] = []

    def on_message(self, event: Any) -> None:
        self.waiting.append((event.message, event.delivery))


class Amqp10Source:
    """Unsettled deliveries come again when the connection ends.

    options  system (who failed).
    """

    def __init__(self, address: Address, *, broker: str, queue: str, options: Mapping[str, object]) -> None:
        self.address, self.broker, self.queue = address, broker, queue
        self.system = str(options.get("system") or "")
        self.connection: BlockingConnection | None = None
        self.receiver: Any = None
        self.inbox = _Inbox()
        self.deliveries: dict[object, Any] = {}
        self.staying: set[object] = set()
        self.count = 0
        self.browse = Browse(self._browsed)
        self.credit = 1

    def _open(self) -> BlockingConnection:
        if why := misread(self.queue):
            raise BrokerUnavailable(why)
        if self.connection is None:
            self.connection, self.inbox = connect(self.address, timeout_s=10), _Inbox()
            self.receiver = self.connection.create_receiver(self.queue, credit=0, handler=self.inbox, options=ToQueue())
        return self.connection

    def receive(self, limit: int, wait_s: float) -> list[Received]:
        try:
            connection = self._open()
            taken = self._take(connection, limit, wait_s)
        except (LoginRefused, Unreachable, *BROKEN) as error:
            self.close()
            raise BrokerUnavailable(says(error)) from error
        return [self._received(message, delivery) for message, delivery in taken]

    def _take(self, connection: BlockingConnection, limit: int, wait_s: float) -> list[tuple[Any, Any]]:
        """Return what has come, asking for some more as long as it comes, up to so many messages or bytes."""
        taken: list[tuple[Any, Any]] = []
        size = 0
        while len(taken) < limit and size < MOST_BYTES:
            if not self.inbox.waiting:
                if self.receiver.link.credit <= 0:
                    self.receiver.link.flow(min(self.credit, limit - len(taken)))
                try:
                    connection.wait(lambda: bool(self.inbox.waiting), timeout=max(wait_s if not taken else 0.05, 0.01))
                except Timeout:
                    break
                if not self.inbox.waiting:  # the broker closed the link, and proton the connection after it
                    raise LinkDetached(self.receiver.link)
            message, delivery = self.inbox.waiting.pop(0)
            taken.append((message, delivery))
            size += _size((message, delivery))
            # credit is a number of messages: no more than fits when the next are as large as this, and more again step by step
            self.credit = max(1, min(2 * self.credit, MOST_BYTES // (2 * _size((message, delivery)) or 1), CREDIT))
        return taken

    def _received(self, message: Any, delivery: Any) -> Received:
        letter = decode_amqp_message(message, broker=self.broker, queue=self.queue, system=self.system)
        self.count += 1
        self.deliveries[self.count] = delivery
        if not has_identity(message):
            self.staying.add(self.count)
            letter["reason"] = NAMELESS
        return Received(token=self.count, letter=letter)

    def acknowledge(self, tokens: Sequence[object]) -> None:
        if self.connection is None:
            raise BrokerUnavailable("the line ended before the acknowledgement: the broker sends these again")
        try:
            for token in tokens:
                if token not in self.staying:
                    delivery = self.deliveries.pop(token)
                    delivery.update(Delivery.ACCEPTED)
                    delivery.settle()
            transport: Any = self.connection.conn.transport  # type: ignore[union-attr]
            self.connection.wait(lambda: transport.pending() <= 0, timeout=10)
        except (KeyError, *BROKEN) as error:
            self.close()
            raise BrokerUnavailable(says(error)) from error

    def peek(self, limit: int, after: object | None) -> list[Received]:
        """Look over a link with distribution mode `copy`: the queue keeps what it shows, and counts no delivery."""
        return self.browse.page(limit, after)

    def _browsed(self) -> Iterator[Received]:
        """Yield what the queue holds, some at a time: a drained link says that there is no more. Raises BrokerUnavailable."""
        connection = None
        if why := misread(self.queue):
            raise BrokerUnavailable(why)
        try:
            connection, inbox = connect(self.address, timeout_s=10), _Inbox()
            receiver = connection.create_receiver(self.queue, credit=0, handler=inbox, options=[Copy(), ToQueue()])
            while True:
                receiver.link.drain(CREDIT)
                connection.wait(lambda: receiver.link.credit <= 0, timeout=LOOK_S)
                if not inbox.waiting:
                    return
                while inbox.waiting:
                    message, delivery = inbox.waiting.pop(0)
                    delivery.settle()
                    yield self._browsed_letter(message)
        except (LoginRefused, Unreachable, *BROKEN) as error:
            raise BrokerUnavailable(says(error)) from error
        finally:
            if connection is not None:
                hang_up(connection)

    def _browsed_letter(self, message: Any) -> Received:
        letter = decode_amqp_message(message, broker=self.broker, queue=self.queue, system=self.system)
        if not has_identity(message):
            letter["reason"] = NAMELESS
        return Received(token=letter["id"], letter=letter)

    def keep(self) -> None:
        """Let the two talk: the broker hangs up on who is silent for its idle time-out. What comes meanwhile waits here; when that is
        too much nothing more is read, and the line may end.
        """
        if self.connection is not None and sum(map(_size, self.inbox.waiting)) < MOST_BYTES:
            with contextlib.suppress(*BROKEN):
                self.connection.wait(lambda: False, timeout=0.01)

    def depth(self) -> int | None:
        return None

    def check(self) -> list[Check]:
        connection, checks = reached(self.address)
        if connection is not None:
            checks += link_check(connection, self.queue, sending=False, words=LIMIT)
            hang_up(connection)
        return checks

    def close(self) -> None:
        self.browse.close()
        if self.connection is not None:
            hang_up(self.connection)
        self.connection = self.receiver = None
        self.deliveries.clear()
        self.staying.clear()
