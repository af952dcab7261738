"""Breaches: what is wrong now, and one with what can be done about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from alerts.breaches.access import can_operate_breach, get_visible_breach
from alerts.breaches.acts import acknowledge, add_note, assign, close, needs_a_person
from alerts.breaches.channels import names_of_channels
from alerts.breaches.forms import HOURS
from alerts.breaches.present import held_words, sentence_of, timeline, told_words
from alerts.breaches.queries import (
    SOURCES,
    Filter,
    done_meanwhile,
    entries_of,
    find_breaches,
    flows_of,
    holding,
    owner_names,
    owners_of,
    tellings_of,
    verdict_of,
    why_untold,
)
from alerts.breaches.silences import silence_breach
from alerts.breaches.states import FIRED
from alerts.breaches.views_elsewhere import ELSEWHERE, elsewhere
from alerts.delivery.present import line_of
from alerts.delivery.queries import deliveries_of
from alerts.models import Breach, Telling
from console.core.errors import ConsoleError, Forbidden, Invalid, NotFound
from console.core.paging import Page
from console.core.render import render_page, wants_part
from console.identity.pages import PageRequest, asked_text, page
from messages.catalog.views import seen
from messages.journeys.views import in_its_environment
from messages.search.views import changed, flow_select

LABELS = {"open": "Open", "resolved": "Resolved", "all": "All", ELSEWHERE: "From elsewhere"}


@require_safe
@page
def breaches(request: PageRequest) -> HttpResponse:
    """What is wrong in this environment, the newest first; `?show=elsewhere`: what other systems told of it."""
    if request.GET.get("show") == ELSEWHERE:
        return elsewhere(request, _tabs(request, ELSEWHERE))
    only = _filter(request)
    found, problem = _found(request, only)
    context = {
        "page": found,
        "rows": [(breach, held_words(breach)) for breach in found.rows],
        "verdict": verdict_of(request.actor, request.environment),
        "problem": problem,
        "tab": only.show,
        "tabs": _tabs(request, only.show),
        "filtered": any([only.flow, only.source, only.severity, only.owner]),
        "selects": [flow_select(request), *_selects(request, only)],
        "is_part": wants_part(request),  # the sentence above the list is swapped with it
    }
    return render_page(
        request, "alerts/breaches.html", "alerts/_breaches.html", context, status=400 if problem else 200
    )


def _tabs(request: PageRequest, current: str) -> list[tuple[str, str, bool]]:
    return [
        (label, changed(request.GET, show=None if name == "open" else name), name == current)
        for name, label in LABELS.items()
    ]


def _found(request: PageRequest, only: Filter) -> tuple[Page[Breach], str]:
    try:
        cursor = request.GET.get("cursor") or None
        return find_breaches(request.actor, environments=[request.environment], only=only, cursor=cursor), ""
    except Invalid as error:
        return Page([], None), str(error)


def _filter(request: PageRequest) -> Filter:
    return Filter(
        show=asked_text(request, "show", most=20) or "open",
        flow=asked_text(request, "flow", most=300),
        source=asked_text(request, "source", most=20),
        severity=asked_text(request, "severity", most=20),
        owner=asked_text(request, "owner", most=150),
    )


def _selects(request: PageRequest, only: Filter) -> list[dict[str, Any]]:
    names = owner_names(request.actor, request.environment)
    return [
        {"name": "severity", "label": "Severity", "value": only.severity, "options": [("", "pages and tickets"), ("page", "pages"), ("ticket", "tickets")]},
        {"name": "source", "label": "About", "value": only.source, "options": [("", "anything"), *((one, f"{one}s") for one in SOURCES)]},
        {"name": "owner", "label": "Owner", "value": only.owner, "options": [("", "every owner"), ("none", "nobody"), *((one, one) for one in names)]},
    ]  # fmt: skip


@require_safe
@page
def breach(request: PageRequest, reference: str) -> HttpResponse:
    """One breach: what it is, who has it, what happened."""
    found = get_visible_breach(request.actor, reference)
    if other_page := in_its_environment(request, found.environment):
        return other_page
    return render_page(request, "alerts/breach.html", "alerts/_breach.html", _context(request, found))


def _context(request: PageRequest, found: Breach) -> dict[str, Any]:
    actor, now = request.actor, timezone.now()
    tellings, why = tellings_of(found), why_untold(actor, found)
    may_operate = can_operate_breach(actor, found)
    return {
        "breach": found,
        "sentence": sentence_of(found, now=now),
        "flows": flows_of(actor, found),
        "holding": holding(actor, found),
        "told": told_words(
            tellings,
            why_untold=why,
            names=names_of_channels(actor, found.environment),
        ),
        "has_policy": not why,
        "deliveries": [line_of(one) for one in deliveries_of(actor, _told_over(tellings))],
        "entries": timeline(entries_of(found), done_meanwhile(actor, found, now=now)),
        "may_operate": may_operate,
        "offered": _offered(found, now) if may_operate else [],
        "owners": owners_of(found) if may_operate and found.state in FIRED else [],
        "hours": HOURS,
    }


def _told_over(tellings: Iterable[Telling]) -> dict[str, set[int]]:
    """Return {thread: channels over which it was told}; several policies may tell in one thread."""
    found: dict[str, set[int]] = defaultdict(set)
    for one in tellings:
        found[one.thread] |= set(one.channels)
    return found


def _offered(found: Breach, now: datetime) -> list[str]:
    """Return what a person can do to a breach now, in the order of the buttons."""
    if found.state == "resolved":
        return ["note"]
    open_to = {
        "acknowledge": found.state == "firing",
        "assign": found.state in FIRED,
        "note": found.state in FIRED,
        "silence": True,
        "close": needs_a_person(found, now),
    }
    return [name for name, offered in open_to.items() if offered]


def _acknowledge(request: PageRequest, found: Breach) -> str:
    now = acknowledge(found, by=request.actor, reason=request.POST.get("reason", ""))
    whose = "yours" if now.owner_id is not None and now.owner_id == request.actor.user_id else "acknowledged"
    return f"{now.reference} is {whose}: who was told hears that somebody is on it."


def _assign(request: PageRequest, found: Breach) -> str:
    said = request.POST
    now = assign(found, said.get("owner", ""), by=request.actor, reason=said.get("reason", ""))
    return f"{now.owner.username if now.owner else 'Nobody'} owns {now.reference} now."


def _note(request: PageRequest, found: Breach) -> str:
    add_note(found, request.POST.get("text", ""), by=request.actor)
    return "Noted. It stays in the timeline."


def _silence(request: PageRequest, found: Breach) -> str:
    hours = request.POST.get("hours", "")
    if hours not in dict(HOURS):
        raise Invalid("choose for how long")
    silence_breach(
        found,
        expires_at=timezone.now() + timedelta(hours=int(hours)),
        comment=request.POST.get("reason", ""),
        end_when_resolved=bool(request.POST.get("end_when_resolved")),
        by=request.actor,
    )
    return f"{found.reference} is silent for {dict(HOURS)[hours]}."


def _close(request: PageRequest, found: Breach) -> str:
    now = close(found, by=request.actor, reason=request.POST.get("reason", ""))
    return f"{now.reference} is closed."


ACTIONS: dict[str, Callable[[PageRequest, Breach], str]] = {
    "acknowledge": _acknowledge,
    "assign": _assign,
    "note": _note,
    "silence": _silence,
    "close": _close,
}


@require_POST
@page
def act(request: PageRequest, reference: str, action: str) -> HttpResponse:
    """Do one thing to a breach; a refusal is 422 with the same page and the words."""
    found = get_visible_breach(request.actor, reference)
    try:
        flash.success(request, ACTIONS[action](request, found))
    except ConsoleError as refusal:
        context = _context(request, get_visible_breach(request.actor, reference))
        context |= {"refused": action, "refusal": str(refusal), "text": request.POST.get("text", "")}
        status = 403 if isinstance(refusal, Forbidden) else 404 if isinstance(refusal, NotFound) else 422
        return render(request, "alerts/breach.html", context, status=status)
    return seen(reverse("breach", args=[found.reference]))
