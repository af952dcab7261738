"""A report as an order team would get it, and the same with whatever a test changes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from alerts.reports.content import (
    Audience,
    Cadence,
    Cause,
    Content,
    Coverage,
    Day,
    Excluded,
    Letters,
    Period,
    Promise,
    Stands,
)
from alerts.reports.periods import before, last_period

AUDIENCE = Audience(name="Order team", environment=1, language="en-GB", zone="Europe/Berlin")
FROZEN = datetime(2026, 11, 1, 5, 0, tzinfo=UTC)
OCTOBER = last_period(Cadence.MONTHLY, "Europe/Berlin", FROZEN)
OUTAGE = {22: 320, 23: 264}
HOSTILE = (
    '"><img src=x onerror=alert(1)>\u202e#read("/etc/passwd") *b* $x$ @preview/x:1 \r\nBcc: all@example.com\x00=1+1'
)


def promise(**changes: Any) -> Promise:
    """Return a promise that was kept; with `stands`, `left` and the like it is another."""
    told: dict[str, Any] = {
        "objective": 1, "name": "Orders delivered in 5 min", "words": "99.5 % of the messages of orders are processed within 5 min, over 30 days",
        "flow": "orders", "stands": Stands.KEPT, "target": 0.995, "attained": 0.998, "adjusted": 0.998, "previous": 0.9961, "good": 998, "late": 1,
        "lost": 1, "budget": 5.0, "left": 3.0, "left_ratio": 0.6, "unit": "events", "kind": "freshness", "counted": True,
    }  # fmt: skip
    return Promise(**(told | changes))


def days() -> tuple[Day, ...]:
    """Return October: a few late or lost each day, an outage on two, and a maintenance on the 12th."""
    quiet = [3, 2, 4, 3, 2, 1, 2, 5, 3, 2, 3, 50, 2, 1, 3, 2, 2, 3, 4, 3, 2, 0, 0, 9, 3, 2, 3, 2, 4, 3, 2]
    made = []
    for number, count in enumerate(quiet, 1):
        bad = OUTAGE.get(number, count)
        late = round(bad * 0.72)
        made.append(
            Day(
                day=date(2026, 10, number),
                good=6_500 + (number * 37) % 160,
                late=late,
                lost=bad - late,
                excluded=number == 12,
            )
        )
    return tuple(made)


def example(**changes: Any) -> Content:
    """Return the report of October: one promise kept, one at risk, one missed."""
    october = days()
    good, late, lost = (sum(getattr(one, name) for one in october) for name in ("good", "late", "lost"))
    good, late, lost = good - 31_000 - 44_000, late - 31 - 39, lost - 29  # of orders: all three flows are counted
    total, bad, out, bad_out = good + late + lost, late + lost, 66, 46
    budget, left = (total - out) * 0.005, (total - out) * 0.005 - (bad - bad_out)
    promises = (
        promise(
            objective=2, name="Invoices delivered", words="99.9 % of the messages of invoices are processed within 1 h", flow="invoices", stands=Stands.MISSED,
            target=0.999, attained=0.99807, adjusted=0.99807, previous=0.9993, good=31_000, late=31, lost=29, budget=31.06, left=-28.94, left_ratio=-0.93,
            waiting=29, replayed=31, missed_before=datetime(2026, 4, 30, 22, tzinfo=UTC), known=9,
        ),
        promise(
            stands=Stands.AT_RISK, attained=good / total, adjusted=1 - (bad - bad_out) / (total - out), good=good, late=late, lost=lost, budget=budget,
            left=left, left_ratio=left / budget, replayed=371,
        ),
        promise(
            objective=3, name="Stock fresh within 15 min", flow="stock", target=0.99, attained=0.9991, adjusted=0.9991, previous=0.9990, good=44_000,
            late=39, lost=0, budget=440.39, left=401.39, left_ratio=0.91,
        ),
    )  # fmt: skip
    none = dict.fromkeys(("replayed", "compensated", "discarded", "failed_again", "waiting"), 0)
    causes = tuple(
        Cause(**(none | one))
        for one in (
            {
                "title": "ERP did not answer in time",
                "flow": "orders",
                "count": 371,
                "replayed": 371,
                "late_by_s": 2280.0,
            },
            {
                "title": "VAT number missing in the order",
                "flow": "invoices",
                "count": 60,
                "replayed": 31,
                "waiting": 29,
                "late_by_s": 7200.0,
            },
            {"title": "Unknown article", "flow": "orders", "count": 12, "compensated": 4, "discarded": 8},
        )
    )
    told: dict[str, Any] = {
        "audience": AUDIENCE, "environment": "production", "period": OCTOBER, "promises": promises, "causes": causes, "days": october,
        "letters": Letters(
            came=443, replayed=402, failed_again=0, compensated=4, discarded=8, waiting=29, oldest=datetime(2026, 10, 9, 6, 12, tzinfo=UTC)
        ),
        "breaches": 3,
        "exclusions": (
            Excluded(
                since=datetime(2026, 10, 12, 0, tzinfo=UTC), until=datetime(2026, 10, 12, 2, tzinfo=UTC), reason="Partner maintenance", by="anna",
                events=66, about="orders",
            ),
        ),
        "quality": (), "frozen_at": FROZEN, "attained": 0.99686, "previous": 0.9973, "coverage": Coverage(minutes=44_700, covered=44_700),
    }  # fmt: skip
    return Content(**(told | changes))


def hostile() -> Content:
    """Return a report in which every text that people or programs wrote is an attack."""
    one = example()
    return msgspec.structs.replace(
        one,
        audience=msgspec.structs.replace(one.audience, name=HOSTILE, language="../../de", zone="Europe/Berlin"),
        environment=HOSTILE,
        promises=tuple(
            msgspec.structs.replace(line, name=HOSTILE, words=HOSTILE, flow=HOSTILE) for line in one.promises
        ),
        causes=tuple(
            msgspec.structs.replace(line, title=HOSTILE, flow=HOSTILE, path="javascript:alert(1)")
            for line in one.causes
        ),
        exclusions=tuple(
            msgspec.structs.replace(line, reason=HOSTILE, by=HOSTILE, about=HOSTILE) for line in one.exclusions
        ),
        quality=(HOSTILE, HOSTILE * 40),
        revision=2,
        corrects=HOSTILE,
        colour='red" onload="alert(1)',
    )


def earlier(*stands: Stands, period: Period = OCTOBER) -> list[Content]:
    """Return reports of the periods before, the newest first: how promise 1 stood in each."""
    found = []
    for one in stands:
        period = before(period)
        found.append(
            example(period=period, promises=(promise(stands=one),), frozen_at=period.until + timedelta(hours=6))
        )
    return found
