"""Sending to ActiveMQ over STOMP: SEND with a receipt, in pipelined windows."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from messages.connectors.activemq.asking import find_dead_letter_queues, find_hints
from messages.connectors.activemq.classic import VIRTUAL, classic_hints, dead_letter_queues
from messages.connectors.activemq.client import (
    BrokerError,
    Line,
    LineBroke,
    LoginRefused,
    reached,
)
from messages.connectors.activemq.decode import FRAME
from messages.connectors.activemq.expiry import expires_ms
from messages.connectors.activemq.jolokia import Jolokia
from messages.connectors.activemq.management import Manager
from messages.connectors.activemq.names import escaped, misread, plain_name, wire_name
from messages.connectors.activemq.source import queue_exists
from messages.connectors.activemq.topology import expiry_hints
from messages.connectors.base import Address, BrokerUnavailable, Check, Found, Header, Outgoing, Published
from messages.connectors.headers import value_of

WINDOW = 100  # messages without a receipt
WINDOW_BYTES = 8 * 1024 * 1024
CLASSIC_LISTS_NOTHING = (
    "ActiveMQ Classic lists no queues over STOMP: give the connection the address of its web console, or name them yourself. "
    "Unless it was told otherwise, all dead letters are in ActiveMQ.DLQ"
)
LONGEST_HEADER = 10 * 1024  # bytes of a line, ActiveMQ Classic: it hangs up on a longer one
NOT_OURS = FRAME | {
    "id",
    "login",
    "passcode",
    "host",
    "heart-beat",
    "accept-version",
    "version",
    "selector",
    "client-id",
}


class CannotCarry(ValueError):
    """STOMP or ActiveMQ has no way to say this: nothing was sent."""


class StompConnector:
    """Persistent messages, confirmed by receipts.

    The first message to each destination goes alone: an ERROR ends the connection, and what was sent behind it would be unknown.
    options  ca (a file of certificates to trust, for stomp+ssl), management (Classic: address of the web console).
    """

    kind = "activemq"
    at_once = WINDOW

    def __init__(self, address: Address) -> None:
        self.address = address
        self.line: Line | None = None
        self.sent = 0
        self.taking: set[str] = set()  # destinations that took a message on this line

    def publish(self, items: Sequence[Outgoing], *, timeout_s: float) -> list[Published]:
        results: list[Published] = []
        left = list(items)
        while left:
            try:
                line = self._open(timeout_s)
            except LoginRefused as error:
                return results + _each(left, "refused", f"ActiveMQ refused the login: {error}")
            except LineBroke as error:
                return results + _each(left, "unavailable", f"ActiveMQ cannot be reached: {error}")
            window = list(self._window(left, line.artemis))
            results += self._send(line, window, timeout_s)
            left = left[len(window) :]
        return results

    def _open(self, timeout_s: float) -> Line:
        if self.line is not None:
            try:
                self.line.next(0)  # it says so if it ended since
            except LineBroke:
                self.close()
        if self.line is None:
            self.line, self.taking = Line(self.address, timeout_s=timeout_s), set()
        return self.line

    def _window(self, left: Sequence[Outgoing], artemis: bool) -> Iterator[Outgoing]:
        """Yield what goes together: one to a new destination, or many to those that took one before."""
        size = 0
        for number, item in enumerate(left):
            known = destination_of(item, artemis) in self.taking
            if number and (not known or number >= WINDOW or size + len(item.body) > WINDOW_BYTES):
                return
            yield item
            if not known:
                return
            size += len(item.body)

    def _send(self, line: Line, window: Sequence[Outgoing], timeout_s: float) -> list[Published]:
        results: dict[str, Published] = {}
        waiting: dict[str, Outgoing] = {}  # by receipt
        try:
            for item in window:
                try:
                    frame = frame_of(item, artemis=line.artemis, now_ms=int(time.time() * 1000))
                except CannotCarry as error:
                    results[item.id] = Published(
                        id=item.id, result="refused", detail=f"ActiveMQ cannot carry it: {error}"
                    )
                    continue
                self.sent += 1
                waiting[str(self.sent)] = item
                line.send("SEND", frame | {"receipt": str(self.sent)}, item.body)
            self._await(line, waiting, results, timeout_s)
        except LineBroke as error:
            self.close()
            _settle(error, waiting, results)
        if waiting:
            self.close()  # a receipt that comes late must not be taken for another's
        for item in waiting.values():
            results.setdefault(item.id, _unknown(item, f"no receipt within {timeout_s:.0f} s"))
        not_sent = "the line broke before it was sent"
        return [results.get(item.id) or Published(id=item.id, result="unavailable", detail=not_sent) for item in window]

    def _await(self, line: Line, waiting: dict[str, Outgoing], results: dict[str, Published], timeout_s: float) -> None:
        until = time.monotonic() + timeout_s
        while waiting and (left := until - time.monotonic()) > 0:
            frame = line.next(left)
            item = waiting.pop(frame.headers.get("receipt-id", ""), None) if frame and frame.cmd == "RECEIPT" else None
            if item is not None:
                destination = destination_of(item, line.artemis)
                self.taking.add(destination)
                detail = f"ActiveMQ confirmed it at {plain_name(destination)}"
                results[item.id] = Published(id=item.id, result="confirmed", detail=detail)

    def check(self, destination: str | None) -> list[Check]:
        line, checks = reached(self.address)
        if line is None:
            return checks
        line.close()
        if destination:
            manager = Manager(self.address) if line.artemis else None
            checks.append(queue_exists(manager, destination))
            if manager is not None:
                manager.close()
        words = "STOMP has no question for it: the first message will tell"
        return [*checks, Check(question="may publish", answer=None, detail=words)]

    def hints(self, item: Outgoing, *, died_in: str, timeout_s: float) -> list[str]:
        """Say what Artemis' management tells of the address; of Classic, what the destination's name does."""
        until = time.monotonic() + timeout_s
        found = expiry_hints(item.properties, now=datetime.now(UTC))
        try:
            line = self._open(timeout_s)
        except LineBroke as error:
            raise BrokerUnavailable(str(error)) from error
        name = plain_name(destination_of(item, line.artemis))
        if not line.artemis:
            return found + self._classic_hints(name, died_in, timeout_s)
        with contextlib.closing(Manager(self.address)) as manager:
            multicast = item.route.get("type") == "MULTICAST"
            return found + find_hints(manager.ask, name, multicast=multicast, died_in=died_in, until=until)

    def _jolokia(self, timeout_s: float) -> Jolokia | None:
        base = str(self.address.options.get("management") or "")
        return Jolokia(base, self.address, timeout_s=timeout_s) if base else None

    def _classic_hints(self, name: str, died_in: str, timeout_s: float) -> list[str]:
        """Ask the web console for queues, or for subscriptions when it goes to a topic; what it refuses is said beside the name."""
        jolokia = self._jolokia(timeout_s)
        if jolokia is None:
            return classic_hints(name, died_in=died_in, queues=None, subscriptions=None)
        try:
            topic = name.startswith("/topic/") and not name.startswith(VIRTUAL)
            subscriptions = jolokia.subscriptions() if topic else []
            queues = [] if topic else jolokia.queues()
        except BrokerUnavailable as error:
            return [*classic_hints(name, died_in=died_in, queues=None, subscriptions=None), f"not asked: {error}"]
        return classic_hints(name, died_in=died_in, queues=queues, subscriptions=subscriptions)

    def discover(self, *, timeout_s: float) -> list[Found]:
        """Ask Artemis where its addresses send dead letters; Classic lists nothing over STOMP."""
        until = time.monotonic() + timeout_s
        try:
            line = self._open(timeout_s)
        except LineBroke as error:
            raise BrokerUnavailable(str(error)) from error
        if not line.artemis:
            jolokia = self._jolokia(timeout_s)
            if jolokia is None:
                raise BrokerUnavailable(CLASSIC_LISTS_NOTHING)
            return dead_letter_queues(jolokia.queues())
        with contextlib.closing(Manager(self.address)) as manager:
            return find_dead_letter_queues(manager.ask, until=until)

    def close(self) -> None:
        if self.line is not None:
            self.line.close()
            self.line = None


def _each(items: Sequence[Outgoing], result: str, detail: str) -> list[Published]:
    return [Published(id=item.id, result=result, detail=detail) for item in items]  # type: ignore[arg-type]


def _unknown(item: Outgoing, words: str) -> Published:
    return Published(id=item.id, result="unknown", detail=f"{words}: ActiveMQ may have taken it")


def _settle(error: LineBroke, waiting: dict[str, Outgoing], results: dict[str, Published]) -> None:
    """Give each message without a receipt its result: the one an ERROR names, or the only one, was refused."""
    if isinstance(error, BrokerError):
        refused = waiting.pop(error.receipt, None) or (waiting.popitem()[1] if len(waiting) == 1 else None)
        if refused is not None:
            results[refused.id] = Published(id=refused.id, result="refused", detail=f"ActiveMQ refused it: {error}")
    for item in waiting.values():
        results[item.id] = _unknown(item, f"the line ended before the receipt ({error})")
    waiting.clear()


def destination_of(item: Outgoing, artemis: bool) -> str:
    """Return where it goes as the broker's STOMP names it: the one queue it died in where an address has several."""
    return wire_name((item.route.get("queue") if artemis else "") or item.destination, artemis=artemis)


def frame_of(item: Outgoing, *, artemis: bool, now_ms: int = 0) -> dict[str, str]:
    """Return the headers of its SEND frame, without the receipt; raises CannotCarry. Pure.

    What the frame says of itself is said by us, whatever the message's own headers say. `expires` as expires_ms() says.
    now_ms  since 1970: from when a time to live that is kept counts.
    """
    if not artemis and (why := misread(item.destination)):
        raise CannotCarry(why)
    headers = {h.name: _text(h) for h in item.headers if h.name.lower() not in NOT_OURS}
    properties = item.properties
    headers |= {
        "destination": destination_of(item, artemis),
        "persistent": "true",
        "content-type": item.content_type,
        "correlation-id": str(properties.get("correlation_id") or ""),
        "type": str(properties.get("type") or ""),
        "reply-to": str(properties.get("reply_to") or ""),
        "priority": _priority(properties.get("priority")),
        "expires": _expires(item, now_ms),
    }
    if artemis:
        headers["destination-type"] = item.route.get("type") or "ANYCAST"
    if _is_bytes(item):
        headers["content-length"] = str(len(item.body))
    own = {h.name for h in item.headers}
    found = {name: value for name, value in headers.items() if value or name in own}
    _check_fits(found, artemis)
    return found


def _is_bytes(item: Outgoing) -> bool:
    """Return whether it goes as a JMS BytesMessage. A text is one without a length, and STOMP ends it at the first NUL."""
    if item.properties.get("message_type") == "bytes":
        return True
    try:
        return "\0" in item.body.decode()
    except UnicodeDecodeError:
        return True


def _text(header: Header) -> str:
    try:
        value = value_of(header)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise CannotCarry(f"the value of header {header.name[:60]} is none of its type") from error
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat()
    return json.dumps(header.value) if header.type == "json" else "" if value is None else str(value)


def _priority(value: object) -> str:
    if value is None or value == "":
        return ""
    if str(value) not in set("0123456789"):
        raise CannotCarry("its priority is no digit from 0 to 9")
    return str(value)


def _expires(item: Outgoing, now_ms: int) -> str:
    try:
        return str(expires_ms(item.properties, item.expiry, now_ms=now_ms) or "")
    except ValueError as error:
        raise CannotCarry("its `expires` is no time") from error


def _check_fits(headers: Mapping[str, str], artemis: bool) -> None:
    for name, value in headers.items():
        if not name or "\0" in name + value:
            raise CannotCarry(f"header “{name[:60]}” has no name or a NUL")
        try:
            size = len(f"{escaped(name)}:{escaped(value)}".encode())
        except UnicodeEncodeError as error:
            raise CannotCarry(f"header “{ascii(name)[:60]}” is no text") from error
        if size > LONGEST_HEADER and not artemis:
            raise CannotCarry(f"header {name[:60]} is longer than the 10 KiB that Classic takes")
    if len(headers) > 1000:
        raise CannotCarry("it has more than 1,000 headers")
