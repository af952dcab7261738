"""Pages of two-way agents: the order secret of an agent, and where a connection lives."""

from __future__ import annotations

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST

from console.core.errors import ConsoleError
from console.identity.access import get_visible_agent
from console.identity.pages import PageRequest, page
from messages.access import get_visible_connection
from messages.catalog.connections import move_connection
from messages.catalog.views import connection_context, seen
from messages.orders.rights import end_order_secret, make_order_secret


@require_POST
@page
def secret(request: PageRequest, pk: int) -> HttpResponse:
    """Make the order secret of an agent, and show it once."""
    found = get_visible_agent(request.actor, pk)
    text = make_order_secret(found, by=request.actor)
    response = render(request, "messaging/order_secret.html", {"agent": found, "text": text})
    response["Cache-Control"] = "no-store"
    return response


@require_POST
@page
def end_secret(request: PageRequest, pk: int) -> HttpResponse:
    """End the order secret of an agent."""
    found = get_visible_agent(request.actor, pk)
    end_order_secret(found, by=request.actor)
    flash.success(request, f"{found.name} is handed no more replays.")
    return seen(reverse("agent", args=[pk]))


@require_POST
@page
def place(request: PageRequest, pk: int) -> HttpResponse:
    """Let a connection live with an agent, or here again at an address."""
    found, chosen = get_visible_connection(request.actor, pk), request.POST.get("agent", "")
    address = request.POST.get("address", "").replace("\x00", "").strip()
    try:
        agent = get_visible_agent(request.actor, int(chosen)) if chosen.isdecimal() and len(chosen) < 18 else None
        move_connection(found, agent=agent, address=address, by=request.actor)
    except ConsoleError as refusal:
        context = connection_context(request, found, str(refusal))
        return render(request, "messaging/connection.html", context, status=422)
    flash.success(
        request, f"{found.name} lives {'with ' + agent.name if agent else 'here'} now. Approve it for replays."
    )
    return seen(reverse("connection", args=[pk]))
