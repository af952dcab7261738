"""Pages of ingest: how it does, what it refused, one refused item and what a person does with it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib import messages as flash
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console.core.errors import ConsoleError, Forbidden, Invalid
from console.core.render import render_page
from console.identity.pages import PageRequest, asked_text, asked_uuid, page
from messages.access import get_visible_reject
from messages.ingest.mending import dismiss, read_refused, resubmit
from messages.ingest.watch import LATELY, find_rejects, intake_of, reject_counts, rows_in_default
from messages.models import IngestReject
from messages.payloads.seal import PayloadUnreadable
from messages.retention.policies import alarm
from messages.search.elastic.state import search_status

SHOWN = 50
MOST_SHOWN = 500_000  # characters that a form holds without harm; larger items are mended over REST
TABS = (("waiting", "Waiting"), ("all", "All"))


@require_safe
@page
def ingest(request: PageRequest) -> HttpResponse:
    """How ingest does in this environment: lag, duplicates, refusals, agents, rows that found no partition."""
    counts = reject_counts(request.actor, request.environment)
    context = {
        "intake": intake_of(request.environment, now=timezone.now()),
        "minutes": int(LATELY.total_seconds() // 60),
        "counts": counts,
        "waiting": sum(count for _, _, count in counts),
        "misplaced": rows_in_default(),
        "retention_alarm": alarm(request.environment, now=timezone.now()),
        "search": search_status([request.environment]) if settings.SEARCH_BACKEND != "postgresql" else None,
    }
    return render_page(request, "messaging/ingest.html", "messaging/_ingest.html", context)


@require_safe
@page
def refused(request: PageRequest) -> HttpResponse:
    """The refused items of this environment: those that wait for a person, unless all are asked for."""
    tab = "all" if request.GET.get("state") == "all" else "waiting"
    code, before = asked_text(request, "code", most=60), asked_uuid(request, "before")
    rows = find_rejects(
        request.actor, [request.environment], waiting=tab == "waiting", code=code, before=before, limit=SHOWN + 1
    )
    kept = {name: value for name, value in (("state", "all" if tab == "all" else ""), ("code", code)) if value}
    older = {**kept, "before": str(rows[SHOWN - 1].pk)} if len(rows) > SHOWN else {}
    context = {
        "rejects": rows[:SHOWN],
        "tabs": [
            (label, f"?{urlencode({'state': name} if name == 'all' else {})}", name == tab) for name, label in TABS
        ],
        "tab": tab,
        "code": code,
        "newest": f"?{urlencode(kept)}" if before else "",
        "older": f"?{urlencode(older)}" if older else "",
    }
    return render_page(request, "messaging/refused.html", "messaging/_refused.html", context)


@require_safe
@page
def one_refused(request: PageRequest, pk: UUID) -> HttpResponse:
    """One refused item with its text, to be mended."""
    reject = get_visible_reject(request.actor, pk)
    return render(request, "messaging/reject.html", _context(request, reject))


def _context(request: PageRequest, reject: IngestReject, text: str | None = None) -> dict[str, Any]:
    unreadable = ""
    if text is None:
        try:
            text = read_refused(reject, by=request.actor)
        except PayloadUnreadable as error:
            text, unreadable = "", str(error)
    return {
        "reject": reject,
        "text": text[:MOST_SHOWN],
        "cut": len(text) > MOST_SHOWN,
        "unreadable": unreadable,
        "lines": min(30, max(8, text.count("\n") + 2)),
    }


@require_POST
@page
def settle(request: PageRequest, pk: UUID, action: str) -> HttpResponse:
    """Send a mended item again, or dismiss it; a refusal is 422 with what the person wrote."""
    reject = get_visible_reject(request.actor, pk)
    text = request.POST.get("text", "")
    try:
        if action == "resubmit":
            answer = resubmit(reject, text, by=request.actor)
            flash.success(request, "It is stored." if answer["accepted"] else "It was stored already: nothing changed.")
        else:
            dismiss(reject, request.POST.get("reason", ""), by=request.actor)
            flash.success(request, "It is dismissed; it stays under All until retention takes it.")
    except Forbidden:
        raise
    except (ConsoleError, Invalid) as refusal:
        context = _context(request, reject, text if action == "resubmit" else None) | {
            "refusal": str(refusal),
            "refused": action,
        }
        return render(request, "messaging/reject.html", context, status=422)
    response = HttpResponseRedirect(reverse("refused"))
    response.status_code = 303
    return response


@require_http_methods(["GET", "HEAD"])
def moved(request: PageRequest) -> HttpResponse:
    """The address that this list had under Settings."""
    return HttpResponseRedirect(reverse("refused"))
