"""Dead letters from a queue of RabbitMQ."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pika
from pika import exceptions as amqp

from messages.connectors.base import Address, BrokerUnavailable, Check, Received
from messages.connectors.held import Held
from messages.connectors.rabbitmq.client import BROKEN, checked, says
from messages.connectors.rabbitmq.decode import decode_delivery
from messages.connectors.rabbitmq.line import Line
from messages.connectors.rabbitmq.management import Management, head_age_s
from messages.connectors.rabbitmq.queue_facts import looked_up

MOST_BYTES = 32 * 1024 * 1024  # in hand of one harvester
FEW = 5  # messages that are sooner asked for one by one
TIMEOUT_S = 10.0
AGE_S = 2.0
QUIET_S = 0.005  # a consumer that was sent nothing for so long has been sent what waits


@dataclass(slots=True)
class Arrived:
    """A delivery; `name` is what a message without an id was given, "" before that and for all others."""

    received: Received
    delivered_before: bool
    name: str = ""

    @property
    def has_id(self) -> bool:
        return bool(self.received.letter["message_id"])


class RabbitMQSource:
    """Takes from one dead-letter queue; what is not acknowledged comes again after a crash.

    While messages carry ids they are consumed, and the next ones are on their way while these are stored. From the first one without
    an id, until the process ends, nothing is on its way to us while we acknowledge, which the names of such messages need (see held.py):
    it asks for each message (basic.get), or, when nothing is in doubt, for as many as the queue said it has, all of which it waits for.
    options  system (who failed), state (folder for the names of messages without an id; without it they last as long as we do),
             management (address of the management API, which check() then asks what it knows of the queue, and who is asked for
             the age of the oldest).
    """

    no_peek = (
        "RabbitMQ shows a message only by delivering it: giving it back marks it as redelivered, may change its place, and a "
        "quorum queue counts it, so that looking alone reaches the delivery limit and loses it"
    )

    def __init__(self, address: Address, *, broker: str, queue: str, options: Mapping[str, object]) -> None:
        if options.get("management"):
            address = replace(address, options={**address.options, "management": options["management"]})
        self.address, self.broker, self.queue = address, broker, queue
        self.system = str(options.get("system") or "")
        self.line: Line | None = None
        self.consumer = ""  # its tag, while there is one
        self.prefetch = 0
        self.asks_only = False
        self.one_by_one = False  # somebody else takes from the queue too, or its messages are large
        self.empty = False  # the last one asked for was not there
        self.arrived: deque[Arrived] = deque()  # not handed out yet
        self.arrived_bytes = 0
        self.unacknowledged: dict[
            int, str
        ] = {}  # handed out: delivery tag → name given to a message without an id, else ""
        self.parked = 0  # of them, when the consumer began
        folder = str(options.get("state") or "")
        file = hashlib.sha256(f"{broker}\0{queue}".encode()).hexdigest()[:16]
        self.held = Held(Path(folder) / f"{file}.json" if folder else None)

    def _open(self) -> Line:
        if self.line is not None and self.line.ended is None:
            return self.line
        self.close()
        self.held.load()
        self.line = Line(self.address, timeout_s=TIMEOUT_S)
        self.line.channel.add_on_cancel_callback(lambda _: self._deleted())
        self.line.channel.add_callback(lambda _: setattr(self, "empty", True), [pika.spec.Basic.GetEmpty], False)
        return self.line

    def _deleted(self) -> None:
        if self.line is not None:
            self.line.ended = amqp.ConsumerCancelled("RabbitMQ ended it: the queue was deleted or has moved")

    def receive(self, limit: int, wait_s: float) -> list[Received]:
        try:
            line = self._open()
            if self.arrived and not self.consumer:
                pass  # what a consumer had taken before it was ended
            elif self.consumer:
                self._consume(line, limit, wait_s)
            else:
                self._ask(line, limit, wait_s)
            return self._hand_out(limit)
        except BROKEN as error:
            self.close()
            raise BrokerUnavailable(says(error)) from error

    # Asking: sent nothing but what was asked for.

    def _ask(self, line: Line, limit: int, wait_s: float) -> None:
        if self.asks_only and not (self.one_by_one or self.held.may_come_back):
            self._get_together(line, limit)
        else:
            self._get(line, limit)
        if not self.arrived:
            self.held.nothing_waits()
            line.pump(lambda: False, wait_s)
            self._get(line, limit)
        self.asks_only = self.asks_only or any(not one.has_id for one in self.arrived)
        if self.arrived and not self.asks_only and not self.held.in_doubt:
            self._start_consumer(line, 2 * limit)

    def _get(self, line: Line, limit: int) -> None:
        """Take what waits, up to so many messages or bytes."""
        while len(self.arrived) < limit and self.arrived_bytes < MOST_BYTES:
            known, self.empty = len(self.arrived), False
            line.channel.basic_get(self.queue, self._delivered)
            if not line.pump(lambda: self.empty or len(self.arrived) > known, TIMEOUT_S):  # noqa: B023
                raise line.ended or amqp.AMQPConnectionError(f"no answer within {TIMEOUT_S:g} s")
            if self.empty:
                return

    def _get_together(self, line: Line, limit: int) -> None:
        """Take as many as wait, up to so many, by a consumer that may have no more: when all are here, nothing else is on its way.

        A message by itself is a round trip, two thirds of the time of one. When they do not all come, or are too large, the line is closed:
        what was on its way comes again, one by one from then on, so that no queue counts more than one delivery too many.
        """
        answer = line.ask(line.channel.queue_declare, self.queue, passive=True, timeout_s=TIMEOUT_S)
        count = min(limit, int(answer.method.message_count))
        if count < FEW:
            self._get(line, limit)
            return
        self._start_consumer(line, count)
        line.pump(lambda: len(self.arrived) >= count or self.arrived_bytes >= MOST_BYTES, TIMEOUT_S)
        if len(self.arrived) < count:
            self.one_by_one = True
            raise line.ended or amqp.AMQPConnectionError(
                f"of {count} messages {len(self.arrived)} came, or they are large"
            )
        line.ask(line.channel.basic_cancel, self.consumer, timeout_s=TIMEOUT_S)
        self.consumer = ""

    # Consuming: the next ones are on their way.

    def _start_consumer(self, line: Line, prefetch: int) -> None:
        # twice a batch: one is in hand, one on its way. Letters that stay unacknowledged take places, so a new consumer gets new ones.
        self.prefetch = prefetch
        line.ask(line.channel.basic_qos, prefetch_count=self.prefetch, timeout_s=TIMEOUT_S)
        self.parked = len(self.unacknowledged)
        tags: list[str] = []
        line.ask(
            lambda *, callback: tags.append(line.channel.basic_consume(self.queue, self._delivered, callback=callback)),
            timeout_s=TIMEOUT_S,
        )
        self.consumer = tags[0]

    def _consume(self, line: Line, limit: int, wait_s: float) -> None:
        if len(self.unacknowledged) - self.parked >= self.prefetch // 2:
            self._stop_consumer(line)
            self._start_consumer(line, 2 * limit)
        self._pump(line, 1, wait_s)
        while self.arrived and len(self.arrived) < limit:
            known = len(self.arrived)
            self._pump(line, limit, QUIET_S)
            if len(self.arrived) == known:
                break
        if line.ended is not None:
            raise line.ended
        if any(not one.has_id for one in self.arrived):
            self.asks_only = True
            self._stop_consumer(line)

    def _pump(self, line: Line, count: int, wait_s: float) -> None:
        line.pump(lambda: len(self.arrived) >= count or self.arrived_bytes >= MOST_BYTES, wait_s)

    def _stop_consumer(self, line: Line) -> None:
        """End it with as little on its way as can be: what still is goes back to the queue, marked as delivered before."""
        known = -1
        while len(self.arrived) > known and self.arrived_bytes < MOST_BYTES:
            known = len(self.arrived)
            line.pump(lambda: len(self.arrived) > known, 0.2)  # noqa: B023
        line.ask(line.channel.basic_cancel, self.consumer, timeout_s=TIMEOUT_S)
        self.consumer = ""

    # Both.

    def _delivered(self, _: Any, method: Any, properties: Any, body: bytes) -> None:
        letter = decode_delivery(properties, body, broker=self.broker, queue=self.queue, system=self.system)
        received = Received(token=method.delivery_tag, letter=letter)
        self.arrived.append(Arrived(received=received, delivered_before=bool(method.redelivered)))
        self.arrived_bytes += len(body)

    def _hand_out(self, limit: int) -> list[Received]:
        """Name those without an id, all that have arrived, before anybody hears of one; return the first."""
        nameless = [one for one in self.arrived if not one.has_id and not one.name]
        for one in nameless:
            letter = one.received.letter
            letter["id"] = one.name = self.held.name(str(letter["id"]), delivered_before=one.delivered_before)
        if nameless:
            self.held.save()
        handed = [self.arrived.popleft() for _ in range(min(limit, len(self.arrived)))]
        self.unacknowledged.update((int(str(one.received.token)), one.name) for one in handed)
        if not self.arrived:
            self.arrived_bytes = 0
        return [one.received for one in handed]

    def acknowledge(self, tokens: Sequence[object]) -> None:
        try:
            line = self._open_still()
            self._acknowledge(line.channel, {int(str(token)) for token in tokens})
            names = [self.unacknowledged.pop(int(str(token)), "") for token in tokens]
            if any(names):
                # its answer says that the broker has read the above
                line.ask(line.channel.queue_declare, self.queue, passive=True, timeout_s=TIMEOUT_S)
                self.held.forget(names)
                self.held.save()
            else:
                line.look()
        except BROKEN as error:
            self.close()
            raise BrokerUnavailable(says(error)) from error

    def _open_still(self) -> Line:
        if self.line is None:
            raise amqp.AMQPConnectionError("the line was closed meanwhile")
        if self.line.ended is not None:
            raise self.line.ended
        return self.line

    def _acknowledge(self, channel: Any, tags: set[int]) -> None:
        """Acknowledge in the order of receipt: all at once as far as nothing before them stays, the others one by one."""
        run = 0
        for tag in self.unacknowledged:
            if tag not in tags:
                break
            run = tag
        if run:
            channel.basic_ack(run, multiple=True)
        for tag in sorted(tag for tag in tags if tag > run):
            channel.basic_ack(tag)

    def keep(self) -> None:
        """Answer the broker's heartbeats: it hangs up on who is silent for two of them. What comes meanwhile waits here; when that is
        too much nothing more is read, and the line may end.
        """
        if self.arrived_bytes < MOST_BYTES:
            with contextlib.suppress(*BROKEN):
                self._open_still().look()

    def depth(self) -> int | None:
        try:
            line = self._open_still()
            answer = line.ask(line.channel.queue_declare, self.queue, passive=True, timeout_s=TIMEOUT_S)
        except BROKEN:
            return None
        return int(answer.method.message_count) + len(self.unacknowledged) + len(self.arrived)

    def oldest_age_s(self) -> float | None:
        """Return how long ago the first message was sent, where the management API knows: see docs/brokers/rabbitmq.md.

        Nothing else tells: to get a message and put it back would count as a delivery.
        """
        base = str(self.address.options.get("management") or "")
        if not base:
            return None
        return head_age_s(Management(base, self.address, timeout_s=AGE_S), self.queue, now=time.time())

    def check(self) -> list[Check]:
        checks = checked(self.address, self.queue, "may read", "", asking=self._may_read)
        return checks + (looked_up(self.address, self.queue) if all(check.answer for check in checks) else [])

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
        if self.line is not None:
            self.line.close()
        self.line, self.consumer = None, ""
        self.arrived.clear()
        self.arrived_bytes, self.parked = 0, 0
        self.unacknowledged.clear()
        self.held.line_ended()
