"""What a connector and a source are. No Django here: agents use the same code outside the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Result = Literal["confirmed", "refused", "unavailable", "unknown"]
Question = Literal["reached", "authenticated", "queue exists", "may publish", "may read"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One header, lossless: type is string, int, float, bool, bytes (base64), timestamp (RFC 3339), null or json."""

    name: str
    type: str
    value: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One message to send: where to, and exactly what."""

    id: str
    destination: str
    body: bytes
    route: Mapping[str, str] = field(default_factory=dict)
    headers: tuple[Header, ...] = ()
    properties: Mapping[str, object] = field(default_factory=dict)
    content_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What became of one message.

    confirmed    the broker or endpoint took responsibility for it.
    refused      a permanent no (unroutable, forbidden, 4xx): sending it again changes nothing.
    unavailable  surely not sent: try again later.
    unknown      may or may not have been taken: the line broke or time ran out after it was sent.
    detail       words for an operator, with the broker's own.
    """

    id: str
    result: Result
    detail: str
    broker_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question put to a broker; answer None means it could not be asked."""

    question: Question
    answer: bool | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """How to reach a broker or endpoint."""

    url: str
    username: str = ""
    secret: str = ""
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A dead letter taken from a queue and not yet acknowledged; `letter` has the fields of the native dead letter."""

    token: object
    letter: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One kind of broker or endpoint. Its parts are dotted paths, imported when they are first used.

    schemes    of an address; example: one, as a form shows it, without credentials.
    connector  a class of Connector taking an Address; "" when nothing can be sent.
    source     a class of Source; "" when its dead letters are pushed to us.
    several_hosts  an address may name several, with commas between them.
    stripped   lower-case names of headers that tell of a death and that a replay leaves out; with `*` at the end, a prefix.
    """

    kind: str
    label: str
    schemes: tuple[str, ...] = ()
    example: str = ""
    connector: str = ""
    source: str = ""
    several_hosts: bool = False
    stripped: tuple[str, ...] = ()


class BrokerUnavailable(Exception):
    """The broker cannot be reached or dropped us; what was not acknowledged will come again."""


class Connector(Protocol):
    """Sends messages to one connection."""

    kind: str

    def publish(self, items: Sequence[Outgoing], *, timeout_s: float) -> list[Published]:
        """Send and wait for confirmation; one result an item, in order. Never raises for what a broker does."""
        ...

    def check(self, destination: str | None) -> list[Check]:
        """Answer what can be said before sending; leaves nothing behind."""
        ...

    def close(self) -> None: ...


class Source(Protocol):
    """Takes dead letters from one queue."""

    def receive(self, limit: int, wait_s: float) -> list[Received]:
        """Return up to `limit` letters, waiting at most so long for the first; raises BrokerUnavailable."""
        ...

    def acknowledge(self, tokens: Sequence[object]) -> None:
        """Let the broker forget them: the console has them. Raises BrokerUnavailable."""
        ...

    def depth(self) -> int | None:
        """Return how many wait in the queue, None when the broker does not tell."""
        ...

    def check(self) -> list[Check]: ...

    def close(self) -> None: ...
