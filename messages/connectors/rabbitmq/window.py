"""What is on its way over one channel with confirms, and what the broker's answers say of each. Pure but for the channel it writes to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pika
from pika import exceptions as amqp

from messages.connectors.base import Outgoing, Published, Result

MOST = 500  # on their way at once: more is hardly faster, and is what nobody knows about when the line breaks
MOST_BYTES = 8 * 1024 * 1024
OF_EXCHANGE = re.compile(r"exchange '([^']*)'")
TOO_LARGE = re.compile(r"message size (\d+) is larger")


@dataclass(slots=True, kw_only=True)
class Sending:
    """One message, its place in the list it came in, and what it is sent with."""

    index: int
    item: Outgoing
    exchange: str
    key: str
    properties: pika.BasicProperties
    returned: bool = False

    @property
    def where(self) -> str:
        return f"{self.exchange or 'the default exchange'} with key {self.key}"

    def result(self, result: Result, detail: str) -> tuple[int, Published]:
        return self.index, Published(id=self.item.id, result=result, detail=detail)


class Window:
    """The messages of one channel that wait for their confirms.

    The first message to an exchange goes alone: when the exchange is not there, may not be written to, or the broker takes nothing at all,
    then no other message is in doubt.
    results  what is known since somebody took them; take_results empties it.
    """

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.pending: dict[int, Sending] = {}
        self.size = 0
        self.proven: set[str] = set()
        self.results: list[tuple[int, Published]] = []
        self._tag = 0
        channel.add_on_return_callback(lambda _, method, properties, body: self._on_return(method, properties, body))

    def takes(self, one: Sending) -> bool:
        """May this one be sent now?"""
        if not self.pending:
            return True
        alone = any(sending.exchange not in self.proven for sending in (one, next(iter(self.pending.values()))))
        return not alone and len(self.pending) < MOST and self.size + len(one.item.body) <= MOST_BYTES

    def send(self, one: Sending) -> None:
        """Hand it to the channel; raises what pika raises when that is closed, and then it was not sent."""
        self.channel.basic_publish(one.exchange, one.key, one.item.body, one.properties, mandatory=True)
        self._tag += 1
        self.pending[self._tag] = one
        self.size += len(one.item.body)

    def on_confirm(self, frame: Any) -> None:
        """Settle what a basic.ack or basic.nack is about: its tag alone, or everything up to it."""
        method = frame.method
        tags = [tag for tag in self.pending if tag <= method.delivery_tag] if method.multiple else [method.delivery_tag]
        taken = method.NAME == "Basic.Ack"
        for tag in tags:
            if (one := self.pending.pop(tag, None)) is not None:
                self.size -= len(one.item.body)
                self.proven.add(one.exchange)
                self.results.append(_returned(one) if one.returned else _confirmed(one) if taken else _nacked(one))

    def _on_return(self, method: Any, properties: Any, body: bytes) -> None:
        """Mark the message that no queue takes. A return has no tag: it comes in the order of sending and before its confirm."""
        same = [
            one
            for one in self.pending.values()
            if not one.returned
            and (one.exchange, one.key, one.item.body) == (method.exchange, method.routing_key, body)
            and one.properties.message_id == properties.message_id
        ]
        marked = next((one for one in same if _marks(one.properties) == _marks(properties)), same[0] if same else None)
        if marked is not None:
            marked.returned = True

    def lost(self, detail: str) -> None:
        """The line ended: whatever waits for its confirm may have been taken or not."""
        self.results += [one.result("unknown", detail) for one in self.pending.values()]
        self.pending, self.size = {}, 0

    def refused_by(self, error: amqp.ChannelClosedByBroker) -> list[Sending]:
        """Settle what is pending after the broker closed the channel because of one message; return those that were surely not looked at.

        RabbitMQ handles a channel's messages in order and throws away what follows the one it objects to. Those before it were taken, mostly,
        but their confirms died with the channel.
        """
        words = f"{error.reply_code} {error.reply_text}"
        waiting = list(self.pending.values())
        suspects = _suspects(waiting, error.reply_text)
        last = max(suspects) if suspects else len(waiting) - 1
        for place, one in enumerate(waiting[: last + 1]):
            if suspects == [place]:
                self.results.append(one.result("refused", f"RabbitMQ refused it: {words}"))
            else:
                self.results.append(
                    one.result(
                        "unknown",
                        f"the channel was closed before the confirm, RabbitMQ may have taken it: {words}",
                    )
                )
        self.pending, self.size = {}, 0
        return waiting[last + 1 :]

    def take_results(self) -> list[tuple[int, Published]]:
        taken, self.results = self.results, []
        return taken


def _suspects(waiting: list[Sending], words: str) -> list[int]:
    """Return the places of the messages that the broker's words may be about."""
    if len(waiting) == 1:
        return [0]
    if found := OF_EXCHANGE.search(words):
        name = "" if found[1] == "amq.default" else found[1]
        return _places(one.exchange == name for one in waiting)
    if found := TOO_LARGE.search(words):
        return _places(len(one.item.body) == int(found[1]) for one in waiting)
    return []


def _places(marks: Iterable[bool]) -> list[int]:
    return [place for place, mark in enumerate(marks) if mark]


def _marks(properties: pika.BasicProperties) -> object:
    return (properties.headers or {}).get("replay-id"), properties.correlation_id


def _confirmed(one: Sending) -> tuple[int, Published]:
    return one.result("confirmed", f"RabbitMQ confirmed it at {one.where}")


def _returned(one: Sending) -> tuple[int, Published]:
    return one.result("refused", f"no queue takes {one.where}")


def _nacked(one: Sending) -> tuple[int, Published]:
    if not one.exchange:  # one queue and no other
        return one.result("unavailable", f"queue {one.key} would not take it: it is full or failing")
    return one.result(
        "unknown", f"a queue behind {one.where} would not take it, it is full or failing; another queue there may have"
    )
