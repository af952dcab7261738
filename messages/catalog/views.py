"""Pages of flows and connections."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages as flash
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console.audit.queries import object_history
from console.core.errors import ConsoleError, Forbidden, Invalid, NotFound
from console.core.render import render_page
from console.identity.access import can_administer, check_can_administer
from console.identity.pages import PageRequest, asked_text, page
from messages.access import can_change_flow, can_redrive, get_visible_connection, get_visible_flow, teams_to_give_to
from messages.catalog.connections import (
    approve_connection,
    check_connection,
    create_connection,
    discover_queues,
    options_of,
    rotate_secret,
    set_undo_at_once,
    withdraw_connection,
)
from messages.catalog.forms import ConnectionForm, FlowForm
from messages.catalog.queries import (
    FlowLine,
    add_figures,
    find_connections,
    find_flows,
    systems_of_flow,
)
from messages.catalog.queues import queues_of, reports_by_broker
from messages.catalog.redrive import offers_redrive
from messages.catalog.services import change_flow
from messages.changes.present import did, state_of
from messages.changes.queries import changes_before
from messages.figures.asking import asked_time
from messages.figures.views import figures_context
from messages.models import Connection, Flow
from messages.orders.queries import agents_to_live_with
from messages.plans.stops import stops_of
from messages.retention.policies import hold_of_flow
from messages.search.quoting import quoted

SHOWN = 100
CHANGES_BACK, CHANGES_AHEAD = timedelta(days=7), timedelta(days=7)


def seen(address: str) -> HttpResponse:
    """Return the redirect after a form that was carried out: 303, so that the browser asks with GET."""
    response = HttpResponseRedirect(address)
    response.status_code = 303
    return response


@require_safe
@page
def flows(request: PageRequest) -> HttpResponse:
    """Every flow by name with its figures of 24 hours and what waits."""
    q, after = asked_text(request, "name", most=200), asked_text(request, "after", most=200)
    lines = find_flows(request.actor, request.environment, q=q, after=after, limit=SHOWN + 1)
    kept = {"name": q} if q else {}
    context = {
        "lines": lines[:SHOWN],
        "name": q,
        "first": f"{request.path}?{urlencode(kept)}" if after else "",
        "next": f"{request.path}?{urlencode({**kept, 'after': lines[SHOWN - 1].flow.name})}"
        if len(lines) > SHOWN
        else "",
    }
    return render_page(request, "messaging/flows.html", "messaging/_flows.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def flow(request: PageRequest, pk: int) -> HttpResponse:
    """One flow: owner, runbook, systems inside; POST changes it."""
    found = get_visible_flow(request.actor, pk)
    teams = teams_to_give_to(request.actor, found.environment)
    form = FlowForm(request.POST or None, flow=found, teams=teams)
    status = 200
    if request.method == "POST":
        if form.is_valid():
            try:
                change_flow(found, form.change(), by=request.actor)
            except (Forbidden, Invalid) as refusal:
                form.add_error(None, str(refusal))
            else:
                flash.success(request, f"{found.name} is changed.")
                return seen(reverse("flow", args=[pk]))
        status = 422
    return render(request, "messaging/flow.html", _flow(request, found, form), status=status)


def _flow(request: PageRequest, found: Flow, form: FlowForm) -> dict[str, Any]:
    line = FlowLine(flow=found)
    add_figures(request.actor, [line])
    now = timezone.now()
    systems = systems_of_flow(found, now=now)
    names = {one.system.name for one in systems}
    changes = changes_before(
        request.actor, found.environment, now + CHANGES_AHEAD, systems=names, flows=[found.name],
        within=CHANGES_AHEAD + CHANGES_BACK, most=8,
    )  # fmt: skip
    return {
        "flow": found,
        "line": line,
        "messages_url": f"{reverse('messages')}?{urlencode({'q': f'flow:{quoted(found.name)}'})}",
        "waiting_url": f"{reverse('groups')}?{urlencode({'flow': found.name})}"
        if line.failed_messages
        else f"{reverse('dead-letters')}?{urlencode({'q': f'flow:{quoted(found.name)}'})}",
        "systems": systems,
        **figures_context(
            request.actor, found.environment, asked_time(request, now=now), now=now, flow=found, systems=names
        ),
        "changes": [(change, did(change), state_of(change, now=now)) for change in changes],
        "form": form if can_change_flow(request.actor, found) else None,
        "history": object_history("flow", str(found.pk))[:20],
        "hold": hold_of_flow(found),
        "stops": stops_of(found),
    }


@require_http_methods(["GET", "HEAD", "POST"])
@page
def connections(request: PageRequest) -> HttpResponse:
    """The brokers and endpoints that replays may use; POST adds one, not yet approved. htmx asks for the form of another kind."""
    may_add = can_administer(request.actor, request.environment)
    agents = agents_to_live_with(request.actor, request.environment) if may_add else []
    if request.method == "POST":
        form = ConnectionForm(request.POST, kind=request.POST.get("kind", ""), agents=agents)
        if form.is_valid():
            try:
                made = create_connection(request.environment, **form.connection(), by=request.actor)
            except ConsoleError as refusal:
                form.add_error(None, str(refusal))
            else:
                flash.success(request, f"{made.name} is added. Test it, then approve it for replays.")
                return seen(reverse("connection", args=[made.pk]))
        status = 422
    else:
        kind = asked_text(request, "kind", most=40)
        typed = {name: asked_text(request, name) for name in ("name", "agent", "address", "username")}
        form, status = ConnectionForm(kind=kind, initial={**typed, "kind": kind}, agents=agents), 200
    context = {**_connections(request), "form": form}
    return render_page(request, "messaging/connections.html", "messaging/_connection_form.html", context, status=status)


def _connections(request: PageRequest) -> dict[str, Any]:
    reports = reports_by_broker(request.actor, request.environment)
    lines = []
    for one in find_connections(request.actor, request.environment):
        queues = reports.get(one.name, [])
        depths = [queue["depth"] for queue in queues if queue.get("depth") is not None]
        lines.append((one, "approved" if one.approved_at else "waiting", len(queues), sum(depths) if depths else None))
    return {"connections": lines, "may_change": can_administer(request.actor, request.environment)}


@require_safe
@page
def connection(request: PageRequest, pk: int) -> HttpResponse:
    """One connection: what the last test answered, whether replays may use it, the queues behind it."""
    context = connection_context(request, get_visible_connection(request.actor, pk))
    return render_page(request, "messaging/connection.html", "messaging/_connection_queues.html", context)


def connection_context(request: PageRequest, found: Connection, refusal: str = "") -> dict[str, Any]:
    """Return what the page of a connection shows."""
    answers = {True: "yes", False: "no", None: "not asked"}
    may_change = can_administer(request.actor, found.environment)
    return {
        "connection": found,
        "state": "approved" if found.approved_at else "waiting",
        "answers": [(answers[check.get("answer")], check) for check in found.check_result],
        "queues": queues_of(request.actor, found, now=timezone.now()),
        "options": options_of(found),
        "may_change": may_change,
        "redrives": offers_redrive(found) and can_redrive(request.actor, found),
        "history": object_history("connection", str(found.pk))[:20] if may_change else [],
        "agents": agents_to_live_with(request.actor, found.environment) if may_change else [],
        "refusal": refusal,
    }


DONE = {
    "test": "The test was run; the answers are below.",
    "approve": "Replays may use it now.",
    "withdraw": "Replays no longer use it.",
    "secret": "The credentials are replaced.",
    "undoing": "The bound holds from the next step on.",
}


@require_POST
@page
def connection_action(request: PageRequest, pk: int, action: str) -> HttpResponse:
    """Test, approve, withdraw, replace the credentials, or bound how many send compensations."""
    found, by = get_visible_connection(request.actor, pk), request.actor
    if action == "discover":
        return _discover(request, found)
    if action not in DONE:
        raise NotFound(f"a connection knows no “{action[:40]}”")
    try:
        check_can_administer(by, found.environment)
        match action:
            case "test":
                check_connection(
                    found,
                    by=by,
                    destination=request.POST.get("destination", "").replace("\x00", "").strip()[:300] or None,
                )
            case "approve":
                approve_connection(found, by=by)
            case "withdraw":
                withdraw_connection(found, by=by, reason=request.POST.get("reason", "").replace("\x00", "")[:500])
            case "undoing":
                set_undo_at_once(found, at_once=_whole_number(request.POST.get("at_once", "")), by=by)
            case "secret":
                username, secret = request.POST.get("username", ""), request.POST.get("secret", "")
                options = {
                    one.name: request.POST.get(f"option_{one.name}", "").replace("\x00", "").strip()
                    for one, _ in options_of(found)
                }
                rotate_secret(
                    found,
                    username=username.replace("\x00", ""),
                    secret=secret.replace("\x00", ""),
                    by=by,
                    options=options,
                )
    except ConsoleError as refusal:
        return render(
            request, "messaging/connection.html", connection_context(request, found, str(refusal)), status=422
        )
    flash.success(request, f"{found.name}: {DONE[action]}")
    return seen(reverse("connection", args=[pk]))


def _whole_number(text: str) -> int:
    """Return what was typed, 0 for what is no number."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 0


def _discover(request: PageRequest, found: Connection) -> HttpResponse:
    """Look through the broker, and answer with the page that offers what was found: nothing is kept of it."""
    try:
        offered = discover_queues(found, by=request.actor)
    except ConsoleError as refusal:
        return render(
            request, "messaging/connection.html", connection_context(request, found, str(refusal)), status=422
        )
    context = connection_context(request, found)
    read = {one.queue for one in context["queues"]}
    context |= {
        "looked": True,
        "offered": [(one, one.queue in read) for one in offered],
        "new": any(one.queue not in read for one in offered),
    }
    return render(request, "messaging/connection.html", context)
