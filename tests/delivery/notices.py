"""Notices for tests, tellings of them, and channels of the in-memory double."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from alerts.delivery.notifiers.base import Telling
from alerts.delivery.services import NewChannel, create_channel
from alerts.delivery.templates import Words, worded
from alerts.models import Channel
from alerts.notices import Happening, Notice
from tests.factories import ROOT, environment

BEGAN = datetime(2026, 11, 26, 9, 41, tzinfo=UTC)
LONG = "Aufträge & <b>Größe</b> \u202e *_[]|` " * 400
_numbers = itertools.count(1)


def notice(happening: Happening = Happening.FIRING, **changes: Any) -> Notice:
    ended = BEGAN + timedelta(minutes=30) if happening is Happening.RESOLVED else None
    said: dict[str, Any] = {
        "happening": happening,
        "thread": "breach-4711",
        "severity": "page",
        "environment": "production",
        "title": "Orders delivered in 5 min",
        "summary": "12 of 340 orders of the last hour came late.",
        "starts_at": BEGAN,
        "ends_at": ended,
        "facts": {"Attained": "96.5 %", "Target": "99 %"},
        "links": {
            "Open the breach": "https://waybill.example.com/breaches/4711/",
            "Runbook": "https://wiki.example.com/orders",
        },
        "labels": {"flow": "orders: shop → erp", "team": "Order team", "objective": "orders in 5 min", "window": "1h"},
    }
    return Notice(**said | changes)


def hostile(happening: Happening = Happening.FIRING, **changes: Any) -> Notice:
    """Everything too long, with markup of every receiver in it."""
    said: dict[str, Any] = {
        "thread": "t" * 2_000,
        "title": LONG + "\r\nBcc: eve@example.com",
        "summary": LONG * 3,
        "facts": {f"{n} {LONG}": LONG for n in range(100)},
        "links": {LONG + str(n): f"https://example.com/{LONG}" for n in range(30)} | {"script": "javascript:alert(1)"},
        "labels": {f"{n} {LONG}": LONG for n in range(60)} | {"flow": LONG, "": "x", "0day": "y"},
    }
    return notice(happening, **said | changes)


def telling(of: Notice, *, untold: bool = False, opened: Notice | None = None, **changes: Any) -> Telling:
    title, text = worded(Words(), of)
    said: dict[str, Any] = {
        "notice": of, "title": title, "text": text, "key": "waybill-17", "opened": opened or of, "untold": untold,
        "now": BEGAN + timedelta(hours=1),
    }  # fmt: skip
    return Telling(**said | changes)


def memory_channel(name: str = "", **more: Any) -> Channel:
    """Return a channel of the in-memory double, with a place of its own."""
    name = name or f"memory {next(_numbers)}"
    said = NewChannel(kind="memory", name=name, settings={"name": f"{name} {next(_numbers)}"}, **more)
    return create_channel(environment(), said, by=ROOT)
