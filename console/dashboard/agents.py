"""Pages of agents and their keys."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages as flash
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from console.audit.queries import object_history
from console.core.errors import ConsoleError
from console.core.render import render_page
from console.dashboard.overview import agent_state, seen_agents
from console.identity.access import can_administer, get_visible_agent
from console.identity.administration import end_agent_key, issue_agent_key
from console.identity.pages import PageRequest, page
from messages.ingest.clocks import latest_readings
from messages.ingest.quotas import number_of, set_quota
from messages.orders.queries import order_secret_of


@require_http_methods(["GET", "HEAD", "POST"])
@page
def agents(request: PageRequest) -> HttpResponse:
    """The agents of this environment; POST makes one with its first key and shows the key."""
    if request.method == "POST":
        return _issue(request, request.POST.get("name", ""))
    return render_page(request, "console/agents.html", "console/_agents.html", _list(request))


def _list(request: PageRequest) -> dict[str, Any]:
    return {
        "agents": seen_agents(request.actor, request.environment, now=timezone.now()),
        "may_change": can_administer(request.actor, request.environment),
    }


def _issue(request: PageRequest, name: str) -> HttpResponse:
    """Make a key and answer with the page that shows it: once, and kept by no cache."""
    try:
        key, text = issue_agent_key(request.environment, name, by=request.actor)
    except ConsoleError as refusal:
        return render(request, "console/agents.html", {**_list(request), "refusal": str(refusal)}, status=422)
    assert key.agent is not None
    context = {**_detail(request, key.agent.pk), "new_key": text, "base": request.build_absolute_uri("/").rstrip("/")}
    response = render(request, "console/agent.html", context)
    response["Cache-Control"] = "no-store"
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@page
def agent(request: PageRequest, pk: int) -> HttpResponse:
    """One agent: when it was heard, its queues, its keys; POST makes another key."""
    if request.method == "POST":
        return _issue(request, get_visible_agent(request.actor, pk).name)
    return render_page(request, "console/agent.html", "console/_agent_heard.html", _detail(request, pk))


def _detail(request: PageRequest, pk: int) -> dict[str, Any]:
    found = get_visible_agent(request.actor, pk)
    may_change = can_administer(request.actor, found.environment)
    return {
        "agent": found,
        "state": agent_state(found, timezone.now()),
        "clocks": latest_readings([found], now=timezone.now()).get(found.pk, []),
        "keys": found.keys.all() if may_change else [],
        "may_change": may_change,
        "order_secret": order_secret_of(found),
        "default_events": settings.AGENT_EVENTS_PER_S,
        "default_bytes": settings.AGENT_BYTES_PER_S,
        "history": object_history("agent", str(pk))[:20] if may_change else [],
    }


@require_POST
@page
def quota(request: PageRequest, pk: int) -> HttpResponse:
    """Change how much an agent may send a second."""
    found = get_visible_agent(request.actor, pk)
    asked = {name: request.POST.get(name, "") for name in ("events_per_s", "bytes_per_s")}
    try:
        numbers = {name: number_of(text) for name, text in asked.items()}
        set_quota(found, **numbers, by=request.actor)
    except ConsoleError as refusal:
        context = {**_detail(request, pk), "quota_refusal": str(refusal), "asked": asked}
        return render(request, "console/agent.html", context, status=403 if refusal.status == 403 else 422)
    flash.success(request, f"The quota of {found.name} is changed. It holds within seconds.")
    response = HttpResponseRedirect(reverse("agent", args=[pk]))
    response.status_code = 303
    return response


@require_POST
@page
def revoke(request: PageRequest, pk: int, key: int) -> HttpResponse:
    """Revoke a key; requests with it are refused within seconds."""
    found = get_visible_agent(request.actor, pk)
    ended = end_agent_key(found.environment, found.pk, key, by=request.actor)
    flash.success(request, f"Key {ended.prefix}… is revoked. Requests with it are refused.")
    response = HttpResponseRedirect(reverse("agent", args=[pk]))
    response.status_code = 303
    return response
