"""What a connector and a source are. No Django here: agents use the same code outside the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

Result = Literal["confirmed", "refused", "unavailable", "unknown", "withheld"]
Question = Literal["reached", "authenticated", "queue exists", "may publish", "may read", "may take"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One header, lossless: type is string, int, float, bool, bytes (base64), timestamp (RFC 3339), null or json."""

    name: str
    type: str
    value: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One message to send: where to, and exactly what.

    expiry  "": it expires as its properties say. drop: it never does. keep: it lives as long as it was to live before it died,
            counted from now, where that is known. Of families whose messages expire (Family.expires); others have no such thing.
    """

    id: str
    destination: str
    body: bytes
    route: Mapping[str, str] = field(default_factory=dict)
    headers: tuple[Header, ...] = ()
    properties: Mapping[str, object] = field(default_factory=dict)
    content_type: str = ""
    expiry: Literal["", "drop", "keep"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What became of one message.

    confirmed    the broker or endpoint took responsibility for it.
    refused      a permanent no (unroutable, forbidden, 4xx): sending it again changes nothing.
    unavailable  surely not sent: try again later.
    unknown      may or may not have been taken: the line broke or time ran out after it was sent.
    withheld     the console itself did not let it go, so nobody was asked and no attempt is spent. No connector says so.
    detail       words for an operator, with the broker's own.
    retry_after_s  the receiver asks that nothing be sent over this connection for so many seconds, whatever became of this one.
    answered  the status with which an HTTP receiver answered; None: nobody answered, or there is no such thing. Whoever may not do a thing
              twice takes 500 and above for unknown: work may be done before an answer fails.
    body, content_type  what an HTTP receiver said with it, its begin; of no meaning for what became of the message.
    """

    id: str
    result: Result
    detail: str
    broker_id: str = ""
    retry_after_s: int | None = None
    answered: int | None = None
    body: bytes = field(default=b"", compare=False, repr=False)
    content_type: str = field(default="", compare=False, repr=False)


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
class Option:
    """One thing that a connection of a family may be told besides its address: a URL, in the form's own words."""

    name: str
    label: str
    help: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A queue that looks like one of dead letters, and what says so: it is offered to a person, never used by itself.

    sure  the broker's own configuration leads there; else only its name says so.
    """

    queue: str
    why: str
    waiting: int | None = None
    sure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One kind of broker or endpoint. Its parts are dotted paths, imported when they are first used.

    schemes    of an address; example: one, as a form shows it, without credentials.
    connector  a class of Connector taking an Address; "" when nothing can be sent.
    source     a class of Source; "" when its dead letters are pushed to us.
    several_hosts  an address may name several, with commas between them.
    stripped   lower-case names of headers that tell of a death and that a replay leaves out; with `*` at the end, a prefix.
    options    what its connections may be told besides; it reaches the connector in Address.options.
    expires    its messages may carry an expiry of their own, which a replay may drop or keep.
    """

    kind: str
    label: str
    schemes: tuple[str, ...] = ()
    example: str = ""
    connector: str = ""
    source: str = ""
    several_hosts: bool = False
    stripped: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    expires: bool = False


class BrokerUnavailable(Exception):
    """The broker cannot be reached or dropped us; what was not acknowledged will come again."""


class RedriveRefused(Exception):
    """The broker will not move a queue's messages; the sentence says why: no such queue, one is running, a right is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redrivable:
    """A queue of dead letters that the broker can send back by itself.

    waiting  about how many it holds, None when that is not told. sources: where it sends them, [] when it says that it cannot.
    """

    waiting: int | None
    sources: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One run in which the broker moves a queue's messages by itself.

    status  running, completed, cancelling, cancelled or failed; only a running one has a handle, by which it is stopped.
    """

    status: str
    moved: int
    to_move: int
    destination: str
    failure: str
    started_at: datetime
    handle: str


class Connector(Protocol):
    """Sends messages to one connection.

    at_once (may be left out: 1)  how many messages of one call are on their way at once. A worker hands over so many and no more,
    under one lease: a call with so many takes at most twice timeout_s.
    """

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


# What some can and others cannot. Nobody has to: ask `isinstance(one, CanPeek)`.


@runtime_checkable
class CanPeek(Protocol):
    """A source that shows what waits and changes nothing on the broker by it: what `mode = "mirror"` needs.

    A look that counts as a delivery, or that changes the order, is none: such a source leaves this out and may say why in `no_peek`.
    """

    def peek(self, limit: int, after: object | None) -> list[Received]:
        """Return up to `limit` letters that wait behind the one with this token, from the first for None; [] at the end.

        Raises BrokerUnavailable.
        """
        ...


@runtime_checkable
class KeepsLine(Protocol):
    """A source whose line to the broker ends when nobody moves it for a while: heartbeats, poll intervals."""

    def keep(self) -> None:
        """Do what the line needs and return at once, with what is in hand still in hand. It is called every second while the console
        is away. Never raises: that the line has ended is for the next call to say.
        """
        ...


@runtime_checkable
class CanTellAge(Protocol):
    """A source that knows how long its oldest letter has waited."""

    def oldest_age_s(self) -> float | None:
        """Return seconds, None when nothing waits or it cannot be told now. Never raises for what a broker does."""
        ...


@runtime_checkable
class CanDiscover(Protocol):
    """A connector that finds queues of dead letters on its broker: by what the broker says of them, or by their names."""

    def discover(self, *, timeout_s: float) -> list[Found]:
        """Return at most 200 queues, those that the broker itself calls so first. Raises BrokerUnavailable with words."""
        ...


@runtime_checkable
class CanHint(Protocol):
    """A connector that knows, from the broker, what to mind before this message is sent."""

    def hints(self, item: Outgoing, *, died_in: str, timeout_s: float) -> list[str]:
        """Return sentences for an operator, [] when there is nothing to mind; changes nothing on the broker.

        died_in  the dead-letter queue it was found in: where it would go if it died again.
        Raises BrokerUnavailable. Whoever asks waits no longer than timeout_s, and goes on without the answer.
        """
        ...


@runtime_checkable
class CanRedrive(Protocol):
    """A connector whose broker sends all messages of a dead-letter queue back by itself, unmodified, without telling of each.

    redriver  who does it, for sentences; fastest: the most messages a second that it can be told.
    """

    redriver: str
    fastest: int

    def redrivable(self, queue: str, *, timeout_s: float) -> Redrivable:
        """Say what a move would do; changes nothing. Raises RedriveRefused, BrokerUnavailable."""
        ...

    def redrive(self, queue: str, *, per_second: int | None, timeout_s: float) -> None:
        """Start a move; it goes on without us. Raises RedriveRefused, BrokerUnavailable, after which it may have started."""
        ...

    def redrives(self, queue: str, *, timeout_s: float) -> list[Move]:
        """Return the latest moves, newest first, at most ten. Raises RedriveRefused, BrokerUnavailable."""
        ...

    def cancel_redrive(self, queue: str, handle: str, *, timeout_s: float) -> None:
        """Stop a move; what it has moved stays moved. Raises RedriveRefused, BrokerUnavailable."""
        ...
