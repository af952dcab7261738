"""The page of stops: nothing is sent again while one stands."""

from __future__ import annotations

from typing import Any

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from console.core.errors import ConsoleError
from console.identity.pages import PageRequest, asked_text, page
from messages.access import get_visible_flow_named, operated_flows
from messages.catalog.views import seen
from messages.plans.access import can_plan_in, can_stop, get_visible_stop
from messages.plans.lists import count_running
from messages.plans.stops import lift_stop, standing_stops, stop_replays

PAGE = "messaging/plan_stops.html"


@require_http_methods(["GET", "HEAD", "POST"])
@page
def stops(request: PageRequest) -> HttpResponse:
    """What stops replays here, and the form that stops them: all of the environment, or one flow's."""
    if request.method != "POST":
        return render(request, PAGE, _context(request))
    name, reason = request.POST.get("flow", "").strip()[:300], request.POST.get("reason", "")
    try:
        flow = get_visible_flow_named(request.actor, request.environment, name) if name else None
        stop_replays(request.environment, flow, by=request.actor, reason=reason)
    except ConsoleError as refusal:
        return _refused(request, refusal, "stop")
    flash.success(request, f"Replays of {name or request.environment.name} are stopped.")
    return seen(reverse("plan-stops"))


@require_POST
@page
def lift(request: PageRequest, pk: int) -> HttpResponse:
    """Let replays go on."""
    stop = get_visible_stop(request.actor, pk)
    try:
        lift_stop(stop, by=request.actor, reason=request.POST.get("reason", ""))
    except ConsoleError as refusal:
        return _refused(request, refusal, f"lift-{pk}")
    flash.success(request, f"Replays of {stop.flow.name if stop.flow else request.environment.name} go on.")
    return seen(reverse("plan-stops"))


def _refused(request: PageRequest, refusal: ConsoleError, what: str) -> HttpResponse:
    context = _context(request) | {"refused": what, "refusal": str(refusal)}
    return render(request, PAGE, context, status=refusal.status if refusal.status in (403, 404) else 422)


def _context(request: PageRequest) -> dict[str, Any]:
    actor, environment = request.actor, request.environment
    found = standing_stops(actor, environment)
    flows = operated_flows(actor, environment).order_by("name").values_list("name", flat=True)[:500]
    chosen = request.POST.get("flow", "") or asked_text(request, "flow", most=300)
    return {
        "stops": found,
        "rows": [(stop, can_stop(actor, environment, stop.flow), f"lift-{stop.pk}") for stop in found],
        "may_stop": can_plan_in(actor, environment),
        "flows": list(flows),
        "chosen": chosen,
        "running": count_running(actor, environment),
        "reason": request.POST.get("reason", "")[:500],
    }
