"""A small report, as a value."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from alerts.reports.content import Audience, Cadence, Content, Letters, Period, Promise, Stands


def promise(**said: Any) -> Promise:
    known: dict[str, Any] = {
        "objective": 1, "name": "Orders arrive", "words": "99 % of the attempts in orders succeed", "flow": "orders", "stands": Stands.KEPT,
        "target": 0.99, "attained": 1.0, "adjusted": 1.0, "previous": 0.995, "good": 100, "late": 0, "lost": 0, "budget": 1.0, "left": 1.0,
        "left_ratio": 1.0, "unit": "events", "kind": "success", "counted": True,
    }  # fmt: skip
    return Promise(**known | said)


def content(**said: Any) -> Content:
    period = Period(
        cadence=Cadence.DAILY,
        since=datetime(2026, 11, 25, tzinfo=UTC),
        until=datetime(2026, 11, 26, tzinfo=UTC),
        zone="UTC",
    )
    known: dict[str, Any] = {
        "audience": Audience(name="Order team", environment=1, language="en-GB", zone="UTC"), "environment": "production", "period": period,
        "promises": (promise(),), "causes": (), "days": (),
        "letters": Letters(came=4, replayed=0, failed_again=0, compensated=0, discarded=0, waiting=4), "breaches": 0, "exclusions": (),
        "quality": (), "frozen_at": datetime(2026, 11, 26, 7, tzinfo=UTC),
    }  # fmt: skip
    return Content(**known | said)
