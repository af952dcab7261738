"""Sentences of test data of breaches: conditions, a policy, and what delivery was handed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from alerts.breaches.policies import NewPolicy, NewStep, add_policy
from alerts.breaches.services import observe
from alerts.breaches.telling import tell_due
from alerts.conditions import Condition, Holds, Severity
from alerts.models import AlertPolicy, Breach, ExternalAlert
from alerts.notices import Notice
from console.identity.models import Team
from messages.models import Flow
from tests.factories import ROOT, environment

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)  # a Wednesday
STEPS = (NewStep(after_minutes=15, channels=(8,)), NewStep(after_minutes=45, channels=(9,)))


def after(**span: float) -> datetime:
    return NOON + timedelta(**span)


def condition(holds: str = "yes", **changes: Any) -> Condition:
    said: dict[str, Any] = {
        "environment_id": environment().pk, "source": "ingest", "key": "7", "severity": Severity.PAGE, "holds": Holds(holds),
        "title": "Orders delivered in 5 min", "summary": "3.1 % of the orders of the last hour were late.", "url": "/objectives/7/",
    } | changes  # fmt: skip
    return Condition(**said)


def flow(name: str = "orders", team: str = "") -> Flow:
    owner = Team.objects.get_or_create(name=team)[0] if team else None
    return Flow.objects.get_or_create(environment=environment(), name=name, defaults={"team": owner})[0]


def fired(at: datetime = NOON, **changes: Any) -> Breach:
    """Observe that something holds, and return its breach."""
    observe([condition(**changes)], now=at)
    return Breach.objects.latest("pk")


def over(at: float, **changes: Any) -> None:
    """Observe that it holds no more so many minutes after noon, and is well until it is over."""
    observe([condition("no", **changes)], now=after(minutes=at))
    observe([condition("no", **changes)], now=after(minutes=at + 2))


def heard(name: str, of: Flow | None = None, *, over: bool = False, slug: str = "production") -> ExternalAlert:
    """Store an alert from elsewhere."""
    return ExternalAlert.objects.create(
        environment=environment(slug), flow=of, fingerprint=name, name=name, severity="critical", summary=f"{name} is so",
        status="resolved" if over else "firing", starts_at=NOON - timedelta(hours=3), ends_at=NOON if over else None,
        url="https://prometheus.example.com/g", labels={"a": "b"}, received_at=NOON,
    )  # fmt: skip


def policy(team: str = "", **changes: Any) -> AlertPolicy:
    said = NewPolicy(**{"page_channels": (1,), "ticket_channels": (2,), "wait_s": 0} | changes)
    owner = Team.objects.get_or_create(name=team)[0] if team else None
    return add_policy(environment(), owner, said, by=ROOT)


class Outbox:
    """What delivery was handed, in order."""

    def __init__(self) -> None:
        self.sent: list[tuple[Notice, tuple[int, ...]]] = []

    def __call__(self, notice: Notice, channels: Sequence[int]) -> int:
        self.sent.append((notice, tuple(channels)))
        return len(channels)

    def told(self, at: datetime) -> list[tuple[str, str, tuple[int, ...]]]:
        """Tell what is due then; return (happening, breach, channels) of what was handed over."""
        before = len(self.sent)
        tell_due(now=at)
        return [
            (notice.happening.value, notice.thread.rpartition("/")[2], channels) for notice, channels in self.sent[before:]
        ]  # fmt: skip


def now() -> datetime:
    return datetime.now(UTC)


def orders_breach(team: str = "Order team", **changes: object) -> Breach:
    return fired(now() - timedelta(minutes=12), flow_ids=(flow(f"orders of {team}", team).pk,), **changes)


def kinds(breach: Breach) -> list[str]:
    return list(breach.entries.order_by("pk").values_list("kind", flat=True))
