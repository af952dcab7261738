"""The page of silences: those that hold and those that are over, with the form of a new one."""

from __future__ import annotations

from typing import Any

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from alerts.breaches.access import can_end_silence, get_visible_silence
from alerts.breaches.forms import SilenceForm
from alerts.breaches.present import state_of_silence, what_is_silenced
from alerts.breaches.queries import SILENCE_TABS, find_silences
from alerts.breaches.silences import NewSilence, end_silence, silence
from console.core.errors import ConsoleError
from console.core.render import render_page
from console.identity.pages import PageRequest, asked_text, page
from messages.access import get_visible_flow_named
from messages.catalog.views import seen
from messages.queries import names_of_visible_flows
from messages.search.views import changed

PAGE, PART = "alerts/silences.html", "alerts/_silences.html"
LABELS = {"running": "Running", "over": "Over", "all": "All"}


@require_http_methods(["GET", "HEAD", "POST"])
@page
def silences(request: PageRequest) -> HttpResponse:
    """What nobody is told of now; POST makes a silence."""
    if request.method != "POST":
        return render_page(request, PAGE, PART, _context(request, _form(request)))
    form = _form(request)
    if form.is_valid():
        try:
            _make(request, form)
        except ConsoleError as refusal:
            form.add_error(None, str(refusal))
        else:
            flash.success(request, "It is silent. The next notice after its end says so.")
            return seen(reverse("silences"))
    return render(request, PAGE, _context(request, form), status=422)


def _form(request: PageRequest) -> SilenceForm:
    flows = names_of_visible_flows(request.actor, request.environment)
    initial = {"flow": asked_text(request, "flow", most=300)}
    return SilenceForm(request.POST if request.method == "POST" else None, flows=flows, initial=initial)


def _make(request: PageRequest, form: SilenceForm) -> None:
    said, now = form.cleaned_data, timezone.now()
    flow = get_visible_flow_named(request.actor, request.environment, said["flow"]) if said["flow"] else None
    wish = NewSilence(
        comment=said["comment"], expires_at=form.expires_at(now), flow=flow, source=said["source"], severity=said["severity"],
        labels=said["labels"], end_when_resolved=said["end_when_resolved"],
    )  # fmt: skip
    silence(request.environment, wish, by=request.actor)


@require_POST
@page
def end(request: PageRequest, pk: int) -> HttpResponse:
    """End a silence before its time."""
    found = get_visible_silence(request.actor, pk)
    try:
        end_silence(found, by=request.actor, reason=request.POST.get("reason", ""))
    except ConsoleError as refusal:
        context = _context(request, SilenceForm(flows=names_of_visible_flows(request.actor, request.environment)))
        status = refusal.status if refusal.status in (403, 404) else 422
        return render(request, PAGE, context | {"refused": f"end-{pk}", "refusal": str(refusal)}, status=status)
    flash.success(request, "It is not silent any more: what still fires is told.")
    return seen(reverse("silences"))


def _context(request: PageRequest, form: SilenceForm) -> dict[str, Any]:
    now, show = timezone.now(), asked_text(request, "show", most=20) or "running"
    found = find_silences(
        request.actor, environments=[request.environment], show=show, now=now, cursor=request.GET.get("cursor") or None
    )  # fmt: skip
    rows = [(one, what_is_silenced(one), state_of_silence(one, now=now)) for one in found.rows]
    return {
        "page": found,
        "rows": [
            (*row, row[2] != "over" and can_end_silence(request.actor, row[0]), f"end-{row[0].pk}") for row in rows
        ],
        "tab": show,
        "tabs": [(LABELS[name], changed(request.GET, show=None if name == "running" else name), name == show) for name in SILENCE_TABS],
        "form": form,
    }  # fmt: skip
