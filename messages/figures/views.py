"""The page of figures, and what the page of a flow shows of them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from console.identity.actor import Actor
from console.identity.models import Environment
from console.identity.pages import PageRequest, asked_text, page
from messages.access import get_visible_flow_named
from messages.catalog.queries import systems_of_flow
from messages.changes.present import did, label_of
from messages.changes.queries import changes_between
from messages.figures.asking import AskedTime, asked_time, with_time
from messages.figures.present import drawn
from messages.figures.queries import read_figures
from messages.figures.ranges import range_of
from messages.models import Flow
from messages.search.views import flow_select
from messages.search.window import BadWindow, parse_window

SHOWN_MARKS = 12


@require_safe
@page
def figures(request: PageRequest) -> HttpResponse:
    """Throughput, failures and latency of one flow, or of all that the reader may see, in any time."""
    now = timezone.now()
    asked = asked_time(request, now=now)
    name = asked_text(request, "flow", most=300)
    flow = get_visible_flow_named(request.actor, request.environment, name) if name else None
    systems = {one.system.name for one in systems_of_flow(flow, now=now)} if flow else set()
    context = figures_context(request.actor, request.environment, asked, now=now, flow=flow, systems=systems)
    context |= {"flow": flow, "selects": [flow_select(request)]}
    context["topology_url"] = with_time(reverse("topology"), context["asked"], flow=str(flow.pk) if flow else "")
    return render(request, "messaging/figures.html", context, status=400 if context["asked"].problem else 200)


def figures_context(
    actor: Actor,
    environment: Environment,
    asked: AskedTime,
    *,
    now: datetime,
    flow: Flow | None = None,
    systems: Collection[str] = (),
) -> dict[str, Any]:
    """Return what messaging/_figures.html shows of a time; one that is too long is told of, with 24 hours in its place.

    systems  names of those inside the flow: changes to them are marked as changes to itself are.
    """
    try:
        span = range_of(asked.window, now=now)
    except BadWindow as error:
        asked = AskedTime(window=parse_window("24h", now=now), text="24h", query={}, problem=str(error))
        span = range_of(asked.window, now=now)
    found = read_figures(actor, environment, span, flow=flow)
    changes = changes_between(
        actor, [environment], since=span.since, until=span.until,
        flows=[flow.name] if flow else None, systems=systems if flow else None,
    )  # fmt: skip
    return {
        "asked": asked,
        "window": asked.text,
        "marked": [(change, did(change), label_of(change)) for change in changes[-SHOWN_MARKS:]],
        "more_marked": max(0, len(changes) - SHOWN_MARKS),
        **drawn(found, changes, flow=flow, now=now),
    }
