"""The audit list."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import HttpResponse
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_safe

from console.audit.models import AuditEntry
from console.audit.queries import find_audit
from console.core.render import render_page
from console.identity.pages import PageRequest, asked_text, asked_uuid, page

SHOWN = 50
PAGES = {"deadletter": "dead-letter", "flow": "flow", "agent": "agent", "connection": "connection", "change": "change"}
KINDS = (
    ("deadletter", "dead letters"),
    ("replay", "replays"),
    ("flow", "flows"),
    ("flowrule", "flow rules"),
    ("keyrule", "key rules"),
    ("change", "changes"),
    ("connection", "connections"),
    ("agent", "agents"),
    ("team", "teams"),
    ("user", "users"),
)


@require_safe
@page
def audit(request: PageRequest) -> HttpResponse:
    """Who did what, to which object, why; filtered by actor and kind of object, newest first."""
    asked = {
        "who": asked_text(request, "who", most=150),
        "kind": asked_text(request, "kind", most=40),
        "object": asked_text(request, "object", most=80),
    }
    before = asked_uuid(request, "before")
    entries = find_audit(
        request.actor,
        request.environment,
        who=asked["who"],
        kind=asked["kind"],
        object_id=asked["object"],
        before=before,
        limit=SHOWN + 1,
    )
    filters = {name: value for name, value in asked.items() if value}
    context = {
        "entries": [(entry, _page_of(entry)) for entry in entries[:SHOWN]],
        "asked": asked,
        "kinds": KINDS,
        "filtered": bool(filters),
        "newest": f"{request.path}?{urlencode(filters)}" if before else "",
        "older": f"{request.path}?{urlencode({**filters, 'before': str(entries[SHOWN - 1].pk)})}"
        if len(entries) > SHOWN
        else "",
    }
    return render_page(request, "console/audit.html", "console/_audit.html", context)


def _page_of(entry: AuditEntry) -> str:
    """Return the address of the object that an entry is about, or nothing when it has no page."""
    name = PAGES.get(entry.object_kind)
    if name is None:
        return ""
    try:
        return reverse(name, args=[entry.object_id])
    except NoReverseMatch:
        return ""
