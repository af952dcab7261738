"""Alerts from elsewhere as a tab of the breaches: no breaches of ours, but what others say of the same flows."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import HttpResponse

from alerts.delivery.elsewhere import find_external_alerts
from alerts.models import ExternalAlert
from console.core.errors import Invalid
from console.core.paging import Page
from console.core.render import render_page
from console.identity.pages import PageRequest, asked_text
from messages.search.views import flow_select

ELSEWHERE = "elsewhere"
PAGE, PART = "alerts/elsewhere.html", "alerts/_elsewhere.html"


def elsewhere(request: PageRequest, tabs: Sequence[tuple[str, str, bool]]) -> HttpResponse:
    """What Alertmanager and Grafana told, the newest first."""
    flow, status = asked_text(request, "flow", most=300), asked_text(request, "status", most=20)
    found, problem = _found(request, flow, status)
    context = {
        "page": found,
        "problem": problem,
        "tabs": tabs,
        "selects": [
            flow_select(request),
            {
                "name": "status",
                "label": "Status",
                "value": status,
                "options": [("", "firing and over"), ("firing", "firing"), ("resolved", "over")],
            },
        ],
        "filtered": bool(flow or status),
    }
    return render_page(request, PAGE, PART, context, status=400 if problem else 200)


def _found(request: PageRequest, flow: str, status: str) -> tuple[Page[ExternalAlert], str]:
    try:
        cursor = request.GET.get("cursor") or None
        return find_external_alerts(
            request.actor, environments=[request.environment], flow=flow, status=status, cursor=cursor
        ), ""
    except Invalid as error:
        return Page([], None), str(error)
