"""The rail of every page, with its counts."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from console.dashboard.overview import MOST_COUNTED, count_waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class NavItem:
    """One line of the rail; `rule` puts a hairline before it, `hot` colours its count."""

    label: str
    icon: str
    url: str
    current: bool
    rule: bool = False
    count: str = ""
    hot: bool = False


LINES: tuple[tuple[str, str, str, bool], ...] = (
    # URL name, label, icon, hairline before it
    ("overview", "Overview", "house", False),
    ("messages", "Messages", "panels-top-left", False),
    ("dead-letters", "Dead letters", "package-x", False),
    ("flows", "Flows", "route", True),
    ("connections", "Connections", "plug", False),
    ("agents", "Agents", "radio-tower", False),
    ("audit", "Audit", "file-text", True),
    ("settings", "Settings", "settings", False),
    ("demo", "Demo estate", "toggle-right", False),
)


def rail(request: HttpRequest) -> list[NavItem]:
    """Return the lines of the rail; only the dead letters that wait are counted, up to 10,000."""
    here = request.resolver_match.url_name if request.resolver_match else None
    items = []
    for name, label, icon, rule in LINES:
        try:
            url = reverse(name)
        except NoReverseMatch:  # the demo's page exists only where the demo runs
            continue
        current = here == name or (here or "").startswith(name.removesuffix("s") + "-") or here == name.removesuffix("s")
        count = _waiting(request) if name == "dead-letters" else ""
        items.append(NavItem(label=label, icon=icon, url=url, current=current, rule=rule, count=count, hot=bool(count)))
    return items


def _waiting(request: HttpRequest) -> str:
    if not request.environment:  # type: ignore[attr-defined]
        return ""
    count = count_waiting(request.actor, request.environment)  # type: ignore[attr-defined]
    return f"{MOST_COUNTED:,}+" if count > MOST_COUNTED else f"{count:,}" if count else ""
