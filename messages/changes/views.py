"""Pages of changes: the list with what a person may add, and one change."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console.audit.queries import object_history
from console.core.errors import ConsoleError, Forbidden
from console.core.paging import Page
from console.core.render import render_page
from console.identity.pages import PageRequest, asked_text, page
from messages.access import can_announce, can_operate_change, get_visible_change
from messages.catalog.queries import find_systems, flow_names
from messages.catalog.views import seen
from messages.changes.forms import ChangeForm
from messages.changes.present import did, goes_on, label_of, state_of
from messages.changes.queries import Filter, find_changes, unknown_names
from messages.changes.services import announce_change, end_change, withdraw_change
from messages.journeys.views_links import in_its_environment
from messages.models import Change
from messages.search.asking import MOST_ASKED
from messages.search.parse import parse_query
from messages.search.query import BadQuery
from messages.search.views import changed, flow_select, problem_context

TABS = (
    ("", "All"), ("ahead", "Now and ahead"), ("deployment", "Deployments"), ("configuration", "Configuration"),
    ("maintenance", "Maintenance"), ("withdrawn", "Withdrawn"),
)  # fmt: skip


@require_http_methods(["GET", "HEAD", "POST"])
@page
def changes(request: PageRequest) -> HttpResponse:
    """Changes of this environment, the latest first; POST adds one by hand."""
    form = ChangeForm(request.POST or None, flows=flow_names(request.actor, request.environment))
    if request.method == "POST":
        if form.is_valid():
            try:
                made = announce_change(request.environment, form.item(), by=request.actor)
            except ConsoleError as refusal:
                form.add_error(None, str(refusal)[:1].upper() + str(refusal)[1:] + ".")
                return _list(request, form, status=403 if isinstance(refusal, Forbidden) else 422)
            flash.success(request, f"“{made.title}” is on every chart and journey that it touches.")
            return seen(reverse("change", args=[made.pk]))
        return _list(request, form, status=422)
    return _list(request, form)


def _list(request: PageRequest, form: ChangeForm, *, status: int = 200) -> HttpResponse:
    now, problem = timezone.now(), None
    found: Page[Change] = Page([], None)
    tab = next((name for name, _ in TABS if name == request.GET.get("show")), "")
    q, flow = asked_text(request, "q", most=MOST_ASKED), asked_text(request, "flow", most=300)
    only = Filter(
        kind=tab if tab in Change.Kind.values else "",
        flow=flow,
        withdrawn=tab == "withdrawn",
        ahead_at=now if tab == "ahead" else None,
    )
    try:
        cursor, query = request.GET.get("cursor") or None, parse_query(q, "changes")
        found = find_changes(request.actor, environments=[request.environment], query=query, only=only, cursor=cursor)
    except BadQuery as error:
        problem, status = error, 400
    may_add = can_announce(request.actor, request.environment)
    context = {
        "page": found,
        "rows": [(change, did(change), state_of(change, now=now)) for change in found.rows],
        "tabs": [(label, changed(request.GET, show=name or None), name == tab) for name, label in TABS],
        "tab": tab,
        "q": q,
        "filtered": bool(q or flow),
        "selects": [flow_select(request)],
        "form": form if may_add else None,
        "systems": list(find_systems(request.actor, request.environment).values_list("name", flat=True)[:500])
        if may_add
        else [],
        "line": LINE % request.build_absolute_uri("/ingest/v1/changes"),
    } | problem_context(request, problem)
    return render_page(request, "messaging/changes.html", "messaging/_changes.html", context, status=status)


LINE = """curl -sS %s \\
  -H 'Authorization: Bearer KEY' -H 'Content-Type: application/json' \\
  -d '[{"id": "erp-2.4.1", "kind": "deployment", "title": "ERP 2.4.1", "systems": ["erp"], "version": "2.4.1"}]'"""


@require_safe
@page
def change(request: PageRequest, pk: UUID) -> HttpResponse:
    """One change: what was done to what, when, by whom, and what people did to the entry."""
    found = get_visible_change(request.actor, pk)
    if elsewhere := in_its_environment(request, found.environment):
        return elsewhere
    return render(request, "messaging/change.html", _context(request, found))


def _context(request: PageRequest, found: Change) -> dict[str, Any]:
    now = timezone.now()
    no_system, no_flow = unknown_names(found)
    may_operate = found.withdrawn_at is None and can_operate_change(request.actor, found)
    return {
        "change": found,
        "did": did(found),
        "label": label_of(found),
        "state": state_of(found, now=now),
        "ends_ahead": found.ended_at is not None and found.ended_at > now,
        "unknown": [*(f"system {name}" for name in no_system), *(f"flow {name}" for name in no_flow)],
        "may_operate": may_operate,
        "may_end": may_operate and goes_on(found, now=now),
        "history": list(object_history("change", str(found.pk)).order_by("-id")[:20]),
    }


@require_POST
@page
def act(request: PageRequest, pk: UUID, action: str) -> HttpResponse:
    """End a change that goes on, or withdraw a wrong one; a refusal is 422 with the same page and the words."""
    found = get_visible_change(request.actor, pk)
    reason = request.POST.get("reason", "")
    try:
        if action == "end":
            end_change(found, by=request.actor, reason=reason)
            flash.success(request, "It is over.")
        else:
            withdraw_change(found, reason, by=request.actor)
            flash.success(request, "It is withdrawn: no chart and no journey shows it any more.")
    except ConsoleError as refusal:
        context = _context(request, get_visible_change(request.actor, pk))
        context |= {"refused": action, "refusal": str(refusal)}
        status = 403 if isinstance(refusal, Forbidden) else 422
        return render(request, "messaging/change.html", context, status=status)
    return seen(reverse("change", args=[pk]))
