"""The page on which a broker is asked to send a whole dead-letter queue back by itself: what it does, how far it is, how to stop it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages as flash
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from console.core.errors import ConsoleError, Forbidden
from console.core.render import render_page
from console.identity.pages import PageRequest, asked_text, page
from messages.access import check_can_redrive, get_visible_connection
from messages.catalog.redrive import cancel_redrive, standing_of, start_redrive
from messages.catalog.views import seen
from messages.models import Connection


@require_http_methods(["GET", "HEAD", "POST"])
@page
def redrive(request: PageRequest, pk: int) -> HttpResponse:
    """What a move of this queue would do, and what earlier ones did; POST with a reason starts one."""
    found = get_visible_connection(request.actor, pk)
    check_can_redrive(request.actor, found)
    queue = _sent(request, "queue", 300) if request.method == "POST" else asked_text(request, "queue", most=300)
    refusal = ""
    if request.method == "POST":
        try:
            start_redrive(
                found, queue, per_second=_pace(request), reason=_sent(request, "reason", 500), by=request.actor
            )
        except Forbidden:
            raise
        except ConsoleError as error:
            refusal = str(error)
        else:
            flash.success(request, f"{queue} is being sent back.")
            return seen(_address(found, queue))
    return _answer(request, found, queue, refusal)


@require_POST
@page
def cancel(request: PageRequest, pk: int) -> HttpResponse:
    """Stop the move that is running."""
    found = get_visible_connection(request.actor, pk)
    queue = _sent(request, "queue", 300)
    try:
        cancel_redrive(found, queue, by=request.actor, reason=_sent(request, "reason", 500))
    except Forbidden:
        raise
    except ConsoleError as error:
        return _answer(request, found, queue, str(error))
    flash.success(request, "The move is being stopped; what it has moved stays moved.")
    return seen(_address(found, queue))


def _answer(request: PageRequest, found: Connection, queue: str, refusal: str) -> HttpResponse:
    context: dict[str, Any] = {
        "connection": found,
        "queue": queue,
        "refusal": refusal,
        "address": _address(found, queue),
    }
    context["typed"] = {name: _sent(request, name, 500) for name in ("per_second", "reason")} if refusal else {}
    status = 422 if refusal else 200
    if queue:
        try:
            context["standing"] = standing_of(found, queue, by=request.actor, now=timezone.now())
        except ConsoleError as error:
            context["trouble"] = str(error)
    if refusal:
        return render(request, "messaging/redrive.html", context, status=status)
    return render_page(request, "messaging/redrive.html", "messaging/_redrive_moves.html", context, status=status)


def _address(found: Connection, queue: str) -> str:
    return f"{reverse('connection-redrive', args=[found.pk])}?{urlencode({'queue': queue})}"


def _sent(request: HttpRequest, name: str, most: int) -> str:
    return request.POST.get(name, "").replace("\x00", "").strip()[:most]


def _pace(request: HttpRequest) -> int | None:
    """Return the pace that was typed, None for nothing; 0, which the service refuses, for what is no number."""
    typed = _sent(request, "per_second", 10)
    return None if not typed else int(typed) if typed.isascii() and typed.isdigit() else 0
