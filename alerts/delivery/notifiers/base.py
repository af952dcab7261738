"""What a notifier is: it renders a notice in its receiver's own format and tells what the receiver answered. No models, no database."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from alerts.notices import Notice

Result = Literal["taken", "refused", "later"]
Said = Mapping[str, str]  # what an administrator said of a channel: the values of its fields, opened secrets among them


class BadChannel(ValueError):
    """What was said of a channel cannot be used; the sentence quotes no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One thing that a channel of this kind is told. secret: sealed, never shown again. default: what stands in the form at first."""

    name: str
    label: str
    help: str = ""
    secret: bool = False
    required: bool = True
    default: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """A notice on its way into one channel.

    title, text  what a person reads, by the channel's template or ours.
    key          of this delivery: the same however often it is sent.
    opened       the first notice of the same thread in this channel: what a receiver recognises it by must not change.
    untold       this one says that it is over, and the channel was never told that it began.
    only         those of several receivers that do not have it yet; empty: nobody has.
    now          when it is sent, aware.
    """

    notice: Notice
    title: str
    text: str
    key: str
    opened: Notice
    untold: bool
    now: datetime
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of one try. taken: the receiver has it. refused: trying again is of no use. later: it may pass another time.

    status  of HTTP or SMTP, None without an answer.   answer  one line for an operator, secrets not yet taken out.
    retry_after_s  the receiver asks to be left alone for so long.   left: of several receivers those that may take it later; the others have it.
    """

    result: Result
    answer: str
    status: int | None = None
    retry_after_s: float | None = None
    left: tuple[str, ...] = ()


class Notifier(Protocol):
    """One kind of channel.

    hosts     host names that need nobody's approval: the vendor's own.
    a_second  most tellings a second of one channel.   at_once  most under way at a time.
    repeat_s  a telling that fires is told again after so long, until it is over; None: once is enough.
    longest_s no try takes longer than this.
    """

    kind: str
    label: str
    fields: tuple[Field, ...]
    hosts: tuple[str, ...]
    a_second: float
    at_once: int
    repeat_s: float | None
    longest_s: float

    def check(self, said: Said) -> None:
        """Raise BadChannel for what cannot be a channel. Asks nobody."""
        ...

    def addresses(self, said: Said) -> list[str]:
        """Return the URLs that a telling goes to: their hosts are approved by an administrator, or in `hosts`."""
        ...

    def tell(self, telling: Telling, said: Said, allowed: Collection[str]) -> Told:
        """Tell it; never raises for what a receiver does. allowed: the hosts where a request may go, see outbound.py."""
        ...
