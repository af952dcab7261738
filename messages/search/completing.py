"""The completions of the search boxes, as a part that static/js/complete.js asks for."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from console.identity.pages import PageRequest, page
from messages.search.complete import complete
from messages.search.fields import TARGETS
from messages.search.scan import LONGEST


@require_safe
@page
def completions(request: PageRequest) -> HttpResponse:
    """What may follow in the text `q` at the offset `at`, for the list `of`; an unknown list or offset is as if not given."""
    of, at, text = request.GET.get("of", ""), request.GET.get("at", ""), request.GET.get("q", "")[:LONGEST]
    target = of if of in TARGETS else "messages"
    cursor = int(at) if at.isascii() and at.isdigit() and len(at) < 6 else None
    found = complete(request.actor, [request.environment], target, text, cursor)
    response = render(request, "messaging/_completions.html", {"found": found})
    response["Cache-Control"] = "no-store"
    return response
