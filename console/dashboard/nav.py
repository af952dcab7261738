"""The rail of every page, with its counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from alerts.breaches.queries import count_firing
from console.core.words import count_words
from console.dashboard.overview import MOST_COUNTED, count_waiting
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.compensation.queries import MOST_COUNTED as MOST_NEEDING
from messages.compensation.queries import count_of_needing
from messages.plans.lists import count_running

LINES: tuple[tuple[str, str, str] | None, ...] = (
    # URL name, label, icon; None is a hairline before the next one
    ("overview", "Overview", "house"),
    ("groups", "Failures", "text-align-start"),
    ("messages", "Messages", "panels-top-left"),
    ("dead-letters", "Dead letters", "package-x"),
    ("plans", "Plans", "refresh-cw"),
    ("compensations", "Compensations", "undo-2"),
    ("saved-searches", "Saved searches", "bookmark"),
    ("reconciliations", "Reconcile", "list-checks"),
    None,
    ("objectives", "Objectives", "chart-column"),
    ("breaches", "Breaches", "bell"),
    ("reports", "Reports", "mail"),
    None,
    ("topology", "Topology", "workflow"),
    ("flows", "Flows", "route"),
    ("changes", "Changes", "git-commit-horizontal"),
    ("connections", "Connections", "plug"),
    ("agents", "Agents", "radio-tower"),
    ("ingest", "Ingest", "inbox"),
    None,
    ("audit", "Audit", "file-text"),
    ("settings", "Settings", "settings"),
    ("demo", "Demo estate", "store"),
)


def rail(request: HttpRequest, environments: Sequence[Environment]) -> list[dict[str, Any]]:
    """Return the lines of the rail as parts/rail.html draws them; counted: dead letters that wait, plans under way, what needs a person."""
    items: list[dict[str, Any]] = []
    rule = False
    for line in LINES:
        if line is None:
            rule = True
            continue
        name, label, icon = line
        try:
            url = reverse(name)
        except NoReverseMatch:
            continue
        if name == "demo" and "demo" not in {environment.slug for environment in environments}:
            continue
        current = request.path == url if url == "/" else request.path.startswith(url)
        count = _count(name, request)
        items.append(
            {
                "url": url,
                "icon": icon,
                "label": label,
                "count": count,
                "hot": bool(count) and name in HOT,
                "rule": rule,
                "current": current,
            }
        )
        rule = False
    return items


COUNTS: dict[str, tuple[Callable[[Actor, Environment], int], int]] = {
    "dead-letters": (count_waiting, MOST_COUNTED),
    "plans": (count_running, MOST_COUNTED),
    "compensations": (count_of_needing, MOST_NEEDING),
    "breaches": (count_firing, MOST_COUNTED),
}
HOT = {"dead-letters", "compensations", "breaches"}


def _count(name: str, request: HttpRequest) -> str:
    actor, environment = request.actor, request.environment  # type: ignore[attr-defined]
    if name not in COUNTS or not environment:
        return ""
    counted, most = COUNTS[name]
    known: dict[str, int] = getattr(request, "counted", {})  # what the page itself has counted of its environment
    count = known[name] if name in known else counted(actor, environment)
    return count_words(count, most) if count else ""
