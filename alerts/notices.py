"""What people and other systems are told: one shape that breaches make and every channel renders in its own format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Happening(StrEnum):
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    ESCALATED = "escalated"
    RESOLVED = "resolved"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to tell.

    thread     the same for all notices about one breach: the deduplication key of PagerDuty, the alias of Opsgenie.
    severity   page or ticket.
    title, summary  as in Condition; summary is one sentence.
    facts      short lines, name → value, in the order in which they are shown.
    links      absolute addresses, words → address; the first is the console's page.
    labels     for machines: flow, team, objective, environment, …
    """

    happening: Happening
    thread: str
    severity: str
    environment: str
    title: str
    summary: str
    starts_at: datetime
    ends_at: datetime | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
