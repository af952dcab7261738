"""What may be wrong, as whoever looks says it and breaches take it: one shape for objectives, groups, replays, compensations, agents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum


class Severity(StrEnum):
    PAGE = "page"  # wakes somebody
    TICKET = "ticket"  # can wait for the morning


class Holds(StrEnum):
    """Whether a condition holds now. UNKNOWN: it cannot be measured; what is open stays as it is, nothing is resolved by it."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One look at one thing that may be wrong.

    source      objective, group, replay, compensation, check, agent or ingest, with `key`, which names the thing within its source for ever: at most
                one breach is open per (environment_id, source, key, severity).
    title       names it, "Orders delivered in 5 min"; summary is one sentence with numbers that a tired person can act on.
    pending     how long it must hold before it fires; zero: at once.
    flow_ids    the flows it is about, for rights, silences and inhibition; empty for all of the environment.
    url         path of the page that shows it.
    is_excluded it is UNKNOWN because its time is excluded: nobody is told more of what is open, and a person may close it.
    """

    environment_id: int
    source: str
    key: str
    severity: Severity
    holds: Holds
    title: str
    summary: str
    url: str
    pending: timedelta = timedelta()
    flow_ids: tuple[int, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    is_excluded: bool = False
