"""Pages of scheduled checks: the list, a new one, one with what it decided and told."""

from __future__ import annotations

from typing import Any

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console.core.calendars import clock_text, day_words
from console.core.errors import ConsoleError, Forbidden
from console.core.render import render_page
from console.identity.models import Environment
from console.identity.pages import PageRequest, page
from messages.access import can_operate, get_visible_flow_named
from messages.catalog.queries import flow_names, system_names
from messages.catalog.views import seen
from messages.journeys.views import in_its_environment
from messages.models import Flow, ReconciliationCheck
from messages.reconcile.access import check_can_reconcile, get_visible_check
from messages.reconcile.check_services import add_check, change_check, remove_check
from messages.reconcile.checking import about_of
from messages.reconcile.forms import CheckForm
from messages.reconcile.queries import find_checks, find_reconciliations
from messages.saved.outbox import cannot_tell, mails_about
from messages.search.keys import known_keys

ONE = "messaging/reconciliation_check.html"
LINE = """curl -sS -X PUT {address} \\
  -H "Authorization: Bearer KEY" -H "Content-Type: text/csv" --data-binary @orders.csv"""


def due_words(check: ReconciliationCheck) -> str:
    """Return when a check is due and of what its list is, as people say it."""
    return f"{day_words(check.days)} at {clock_text(check.minute)}, {check.time_zone}, of the last {check.hours} h"


@require_safe
@page
def checks(request: PageRequest) -> HttpResponse:
    """Scheduled checks of this environment with their states."""
    found = find_checks(request.actor, environments=[request.environment], cursor=request.GET.get("cursor") or None)
    context = {"page": found, "rows": [(one, due_words(one)) for one in found.rows], "tab": "checks"}
    return render_page(
        request, "messaging/reconciliation_checks.html", "messaging/_reconciliation_checks.html", context
    )


@require_http_methods(["GET", "HEAD", "POST"])
@page
def new(request: PageRequest) -> HttpResponse:
    """The form of a new check."""
    flows, status = flow_names(request.actor, request.environment), 200
    form = CheckForm(request.POST if request.method == "POST" else None, flows=flows)
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                flow = get_visible_flow_named(request.actor, request.environment, form.cleaned_data["flow"])
                made = add_check(flow, form.said(), by=request.actor)
            except ConsoleError as refusal:
                form.add_error(None, str(refusal))
                status = 403 if isinstance(refusal, Forbidden) else 422
            else:
                flash.success(request, f"“{made.name}” is looked at {due_words(made)}.")
                return seen(reverse("reconciliation-check", args=[made.pk]))
    return render(request, ONE, {"form": form, "check": None} | _names(request, request.environment), status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def one(request: PageRequest, pk: int) -> HttpResponse:
    """One check: its state, the lists that came for it, its mails; POST changes it."""
    check = get_visible_check(request.actor, pk)
    if request.method != "POST":
        return in_its_environment(request, check.environment) or render(request, ONE, _context(request, check))
    check_can_reconcile(request.actor, check)
    form = CheckForm(request.POST, flows=[check.flow.name], check=check)
    if form.is_valid():
        try:
            change_check(check, form.said(), by=request.actor)
        except ConsoleError as refusal:
            form.add_error(None, str(refusal))
        else:
            flash.success(request, "It is saved, and you are told from now on.")
            return seen(reverse("reconciliation-check", args=[pk]))
    return render(request, ONE, _context(request, get_visible_check(request.actor, pk)) | {"form": form}, status=422)


def _context(request: PageRequest, check: ReconciliationCheck) -> dict[str, Any]:
    may_change = can_operate(request.actor, check.flow)
    return {
        "check": check,
        "due": due_words(check),
        "may_change": may_change,
        "form": CheckForm(flows=[check.flow.name], check=check) if may_change else None,
        "found": find_reconciliations(request.actor, environments=[check.environment], check=check, limit=10).rows,
        "cannot_tell": cannot_tell(check.owner, reader=check.owner_id == request.actor.user_id),
        "mails": mails_about(about_of(check.pk)),
        "line": LINE.format(address=request.build_absolute_uri(f"/api/v1/reconciliation-checks/{check.pk}/list")),
    } | _names(request, check.environment, check.flow)


def _names(request: PageRequest, environment: Environment, flow: Flow | None = None) -> dict[str, list[str]]:
    return {
        "key_names": sorted(known_keys(request.actor, [request.environment]))[:200],
        "system_names": system_names(request.actor, environment, flow),
    }


@require_POST
@page
def remove(request: PageRequest, pk: int) -> HttpResponse:
    check = get_visible_check(request.actor, pk)
    remove_check(check, by=request.actor, reason=request.POST.get("reason", ""))
    flash.success(request, f"“{check.name}” is removed.")
    return seen(reverse("reconciliation-checks"))
