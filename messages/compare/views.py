"""The payload's change between two hops: /compare/?left=<event or dead letter>&right=<event or dead letter>."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from console.core.errors import NotFound
from console.identity.pages import PageRequest, asked_uuid, page
from messages.compare.queries import compare_bodies, get_visible_bearer


@require_safe
@page
def compare(request: PageRequest) -> HttpResponse:
    """Two bodies side by side, what changed place by place, and their headers; for operators, and audited for each of the two."""
    left, right = asked_uuid(request, "left"), asked_uuid(request, "right")
    if left is None or right is None:
        raise NotFound("name two events or dead letters by their ids: /compare/?left=…&right=…")
    one, other = get_visible_bearer(request.actor, left), get_visible_bearer(request.actor, right)
    if one.environment.pk != request.environment.pk and one.environment.pk == other.environment.pk:
        asked = urlencode({"left": left, "right": right, "environment": one.environment.slug})
        return HttpResponseRedirect(f"{request.path}?{asked}")
    comparison = compare_bodies(request.actor, one, other)
    context = {
        "comparison": comparison,
        "swapped": f"{reverse('compare')}?{urlencode({'left': right, 'right': left})}",
    }
    response = render(request, "messaging/compare.html", context)
    response["Cache-Control"] = "no-store"
    return response
