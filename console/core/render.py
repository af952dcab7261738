"""Page or part: decided once for the whole product, so that first load and swap cannot differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers


def wants_part(request: HttpRequest) -> bool:
    """Whether htmx asks for a part: not a boosted visit, and not Back restoring history, which needs the whole page."""
    htmx = request.htmx  # type: ignore[attr-defined]
    return bool(htmx) and not htmx.boosted and not htmx.history_restore_request


def render_page(
    request: HttpRequest, page: str, part: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """Render `part` for an htmx swap, `page` (which includes `part`) for anything else."""
    response = (
        render_part(request, part, context, status=status)
        if wants_part(request)
        else render(request, page, context, status=status)
    )
    patch_vary_headers(response, ["HX-Request"])
    return response


def render_part(request: HttpRequest, part: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    """Render a part alone; flash messages that wait ride along and land in the page's toasts."""
    response = render(request, part, context, status=status)
    if wants_part(request):
        toasts = render_to_string("parts/_toasts_swap.html", {}, request=request).strip()
        if toasts:
            response.content += toasts.encode()
    return response


def render_done(request: HttpRequest, part: str, context: Callable[[], dict[str, Any]], *, to: str) -> HttpResponse:
    """Answer an action that was carried out: the part for htmx; for a plain form a redirect to `to` (303, so GET).

    context  is called for the part alone: a redirect must not read, and audit, what nobody sees.
    """
    if wants_part(request):
        return render_part(request, part, context())
    response = HttpResponseRedirect(to)
    response.status_code = 303
    return response
