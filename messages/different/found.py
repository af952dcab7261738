"""The answer to what is different, as pages and REST show it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from messages.different.traits import SMALL_DELIVERED, SMALL_FAILED, Difference


@dataclass(slots=True, kw_only=True)
class Differences:
    """What failed messages have and delivered ones do not.

    failed, delivered                failures and messages that were looked at.
    nameless                         of the failed, letters that name no message and are of none that is known.
    events_failed, events_delivered  of them, how many some event told of: their senders, numbers and times are known.
    bodies_failed, bodies_delivered  of them, how many bodies were read; with_bodies: whether this reader may have them read.
    read_of                          ids of the flows whose bodies were read: a message may pass through several.
    left_out                         bodies that were too large, unreadable, withheld by a masking rule, or not read in time.
    cut                              not every place was looked at.
    """

    at: datetime
    since: datetime
    until: datetime
    failed: int
    delivered: int
    with_bodies: bool
    nameless: int = 0
    events_failed: int = 0
    events_delivered: int = 0
    bodies_failed: int = 0
    bodies_delivered: int = 0
    read_of: list[int] = field(default_factory=list)
    left_out: int = 0
    cut: bool = False
    of_messages: list[Difference] = field(default_factory=list)
    of_bodies: list[Difference] = field(default_factory=list)

    @property
    def is_small(self) -> bool:
        """Whether the sample, or a part of it that was compared, is too small to tell any but plain differences."""
        parts = (self.events_failed, self.events_delivered), (self.bodies_failed, self.bodies_delivered)
        compared = [(self.failed, self.delivered), *(part for part in parts if all(part))]
        return any(failed < SMALL_FAILED or delivered < SMALL_DELIVERED for failed, delivered in compared)

    @property
    def is_mixed(self) -> bool:
        """Whether a letter may be of a message that is counted too."""
        return 0 < self.nameless < self.failed

    @property
    def events_compared(self) -> bool:
        return self.events_failed > 0 and self.events_delivered > 0

    @property
    def bodies_compared(self) -> bool:
        return self.bodies_failed > 0 and self.bodies_delivered > 0

    @property
    def all(self) -> list[Difference]:
        return sorted([*self.of_bodies, *self.of_messages], key=lambda one: (-one.least, one.place))
