"""One click on a group's page: a draft that does what fixed the group before."""

from __future__ import annotations

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST

from console.core.errors import ConsoleError, Forbidden, NotFound
from console.identity.pages import PageRequest, page
from messages.catalog.views import seen
from messages.groups.access import get_visible_group
from messages.groups.views import group_context
from messages.plans.access import get_visible_plan
from messages.plans.recipes import plan_like


@require_POST
@page
def recipe(request: PageRequest, reference: str) -> HttpResponse:
    """Make the draft and lead to it; nothing is sent before somebody starts it."""
    found = get_visible_group(request.actor, reference)
    like = get_visible_plan(request.actor, request.POST.get("like", ""))
    try:
        made = plan_like(found, like, by=request.actor, reason=request.POST.get("reason", ""))
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden | NotFound):
            raise
        context = group_context(request, found) | {"refused": "recipe", "refusal": str(refusal)}
        return render(request, "messaging/group.html", context, status=422)
    flash.success(request, f"{made.reference} is a draft: look at what it would send, then start it.")
    return seen(reverse("plan", args=[made.reference]))
