"""Making a plan: what was chosen is shown once more, with the form that freezes it."""

from __future__ import annotations

import secrets
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from console.core.errors import ConsoleError, NotFound
from console.identity.pages import PageRequest, page
from messages.catalog.views import seen
from messages.plans.access import check_can_plan
from messages.plans.asking import Wanted, wanted_of
from messages.plans.forms import PlanForm
from messages.plans.making import make_plan, parse_shown, shown_of
from messages.plans.stops import standing_stops

PAGE = "messaging/plan_new.html"


@require_http_methods(["GET", "HEAD", "POST"])
@page
def new(request: PageRequest) -> HttpResponse:
    """Say what is chosen and ask why; the post freezes it into a draft. What is chosen stands in the address, for both."""
    wanted = wanted_of(request)
    check_can_plan(request.actor, request.environment)
    if request.method != "POST":
        return render(request, PAGE, _context(request, wanted, PlanForm(does=wanted.does), secrets.token_urlsafe(12)))
    form, status = PlanForm(request.POST, does=wanted.does), 422
    if form.is_valid():
        try:
            made = make_plan(
                wanted.selection, environment=request.environment, by=request.actor, reason=form.cleaned_data["reason"],
                ticket=form.cleaned_data["ticket"], options=form.options(), shown=parse_shown(request.POST.get("shown", "")),
                token=request.POST.get("token", ""),
            )  # fmt: skip
        except NotFound:
            raise
        except ConsoleError as refusal:
            form.add_error(None, str(refusal))
            status = 403 if refusal.status == 403 else 422
        else:
            return seen(reverse("plan", args=[made.reference]))
    return render(request, PAGE, _context(request, wanted, form, request.POST.get("token", "")[:40]), status=status)


def _context(request: PageRequest, wanted: Wanted, form: PlanForm, token: str) -> dict[str, Any]:
    shown = shown_of(wanted.selection, actor=request.actor, environment=request.environment)
    return {
        "wanted": wanted,
        "form": form,
        "shown": shown,
        "token": token,
        "stops": standing_stops(request.actor, request.environment),
    }
