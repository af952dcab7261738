"""What goes when. Pure: the caller brings policies, holds and the clock.

A day's partition holds the rows of every environment, and policies are per environment and kind: so a day is judged once for
each environment, and the verdicts together say whether the whole day goes, a part of its rows, or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, date, datetime, timedelta

from console.core.errors import Invalid

PAYLOADS, METADATA, ROLLUPS, LETTERS, REJECTS = "payloads", "metadata", "rollups", "dead letters", "refused items"
RECONCILIATIONS = "reconciliations"  # small beside the others: their bytes are not projected
KINDS = (PAYLOADS, METADATA, ROLLUPS, LETTERS, REJECTS)
# Requests that straddle midnight and clocks of several nodes: a day is not touched in the first hour that it could be.
GRACE = timedelta(hours=1)
# A changed policy is acted on when every process has read it and requests decoded under the old one have ended.
SETTLES = timedelta(minutes=1)


class PolicyInvalid(Invalid):
    """A number of days out of bounds, or payloads that would outlive their metadata; the sentence says which."""

    code = "retention_invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How many full days each kind is kept in one environment. These are the defaults."""

    payload_days: int = 14
    metadata_days: int = 30
    rollup_days: int = 400
    letter_days: int = 30
    settled_reject_days: int = 14
    waiting_reject_days: int = 90
    reconciliation_days: int = 30
    report_days: int = 400

    def days(self, kind: str) -> int:
        """Return the days of a kind that is partitioned by day."""
        return {PAYLOADS: self.payload_days, METADATA: self.metadata_days, ROLLUPS: self.rollup_days}[kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A field of the policy: its smallest and largest value, and what it is in words."""

    least: int
    most: int
    label: str
    meaning: str


BOUNDS: dict[str, Bound] = {
    "payload_days": Bound(
        least=1, most=400, label="Payloads", meaning="bodies and headers of messages, from the day they came"
    ),
    "metadata_days": Bound(
        least=2,
        most=400,
        label="Metadata",
        meaning="events, messages, links and logged exceptions; older events are moved up to this age",
    ),
    "rollup_days": Bound(least=7, most=1100, label="Rollups", meaning="counts per minute and hour, behind every chart"),
    "letter_days": Bound(
        least=1, most=1100, label="Dead letters", meaning="with their payload, from the day they were closed"
    ),
    "settled_reject_days": Bound(
        least=1, most=400, label="Refused items, settled", meaning="from the day somebody settled them"
    ),
    "waiting_reject_days": Bound(
        least=1, most=400, label="Refused items, waiting", meaning="that nobody settled, from the day they came"
    ),
    "reconciliation_days": Bound(
        least=1,
        most=400,
        label="Reconciliations",
        meaning="lists of keys and what became of them, from the day of the list",
    ),
    "report_days": Bound(
        least=7, most=1100, label="Reports", meaning="with their mails and links, from the day they were asked for"
    ),
}
assert list(BOUNDS) == [one.name for one in fields(Policy)]


def check_policy(policy: Policy) -> None:
    """Raise PolicyInvalid unless every number is in its bounds and payloads ≤ metadata ≤ rollups."""
    for name, value in asdict(policy).items():
        bound = BOUNDS[name]
        if not bound.least <= value <= bound.most:
            raise PolicyInvalid(f"{bound.label.lower()}: {bound.least} to {bound.most} days, not {value}")
    if policy.payload_days > policy.metadata_days:
        raise PolicyInvalid("payloads cannot be kept longer than the metadata that leads to them")
    if policy.metadata_days > policy.rollup_days:
        raise PolicyInvalid("rollups are kept at least as long as the metadata that they count")


def check_payload_days(days: int) -> None:
    """Raise PolicyInvalid unless a flow's own days of payloads are in their bounds; metadata caps them anyhow."""
    bound = BOUNDS["payload_days"]
    if not bound.least <= days <= bound.most:
        raise PolicyInvalid(f"payloads of a flow: {bound.least} to {bound.most} days, not {days}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """All that decides over one environment's data.

    held        a legal hold on the whole environment: nothing goes.   held_flows  flows that lose nothing.
    flow_days   days of payloads of flows that have their own.         settled     False just after the policy was changed.
    """

    environment_id: int
    slug: str
    policy: Policy
    held: bool = False
    held_flows: frozenset[int] = frozenset()
    flow_days: Mapping[int, int] = field(default_factory=dict)
    settled: bool = True


def last_due(now: datetime, days: int) -> date:
    """Return the newest day that is let go: it ended more than `days` full days (and an hour) ago."""
    return (now.astimezone(UTC) - GRACE).date() - timedelta(days=days + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Going:
    """The rows of one environment that go: all but those of some flows, or those of some flows only."""

    environment_id: int
    but: frozenset[int] = frozenset()
    only: frozenset[int] | None = None


def goings_of(kind: str, day: date, terms: Sequence[Terms], *, now: datetime) -> tuple[list[Going], bool]:
    """Return (what goes of this day, whether that is everything that any environment can have in it)."""
    goings = [going for one in terms if (going := _going(kind, day, one, now)) is not None]
    whole = bool(terms) and len(goings) == len(terms) and all(g.only is None and not g.but for g in goings)
    return goings, whole


def _going(kind: str, day: date, terms: Terms, now: datetime) -> Going | None:
    if terms.held or not terms.settled:
        return None
    own = terms.flow_days if kind == PAYLOADS else {}
    due_flows = {flow for flow, days in own.items() if day <= last_due(now, min(days, terms.policy.metadata_days))}
    if day <= last_due(now, terms.policy.days(kind)):
        return Going(environment_id=terms.environment_id, but=terms.held_flows | (own.keys() - due_flows))
    only = frozenset(due_flows - terms.held_flows)
    return Going(environment_id=terms.environment_id, only=only) if only else None


def is_due(kind: str, day: date, terms: Terms, *, now: datetime) -> bool:
    """Return whether the environment's own number of days lets the day go, whatever is held in it."""
    return day <= last_due(now, terms.policy.days(kind))
