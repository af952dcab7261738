"""The rail of every page, with its counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from alerts.breaches.queries import count_firing
from console.core.words import count_words
from console.dashboard.overview import count_waiting
from console.identity.models import Environment
from messages.compensation.queries import MOST_COUNTED, count_needing
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
        count = COUNTS[name](request) if name in COUNTS else ""
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


def _waiting(request: HttpRequest) -> str:
    environment = request.environment  # type: ignore[attr-defined]
    count = count_waiting(request.actor, environment) if environment else 0  # type: ignore[attr-defined]
    return count_words(count) if count else ""


def _running(request: HttpRequest) -> str:
    environment = request.environment  # type: ignore[attr-defined]
    count = count_running(request.actor, environment) if environment else 0  # type: ignore[attr-defined]
    return count_words(count) if count else ""


def _needing(request: HttpRequest) -> str:
    environment = request.environment  # type: ignore[attr-defined]
    now = timezone.now()
    count = count_needing(request.actor, environment, now=now).count if environment else 0  # type: ignore[attr-defined]
    return count_words(count, MOST_COUNTED) if count else ""


def _firing(request: HttpRequest) -> str:
    environment = request.environment  # type: ignore[attr-defined]
    count = count_firing(request.actor, environment) if environment else 0  # type: ignore[attr-defined]
    return count_words(count) if count else ""


COUNTS = {"dead-letters": _waiting, "plans": _running, "compensations": _needing, "breaches": _firing}
HOT = {"dead-letters", "compensations", "breaches"}
