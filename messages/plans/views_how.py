"""The small form on a draft's page: how it is executed."""

from __future__ import annotations

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST

from console.core.errors import ConsoleError
from console.identity.pages import PageRequest, page
from messages.catalog.views import seen
from messages.plans.access import get_visible_plan
from messages.plans.forms import HowForm
from messages.plans.tuning import change_options
from messages.plans.views import PAGE, plan_context


@require_POST
@page
def how(request: PageRequest, reference: str) -> HttpResponse:
    """Change the rate, waves, waits and bounds of a plan that was not started; a refusal is 422 with the form as it was sent."""
    found = get_visible_plan(request.actor, reference)
    form, status = HowForm(request.POST, does=found.does), 422
    if form.is_valid():
        try:
            changed = change_options(found, form.said(), by=request.actor)
        except ConsoleError as refusal:
            form.add_error(None, str(refusal))
            status = 403 if refusal.status == 403 else 422
        else:
            flash.success(request, f"{changed.reference} is a draft, to be sent as it says now.")
            return seen(reverse("plan", args=[changed.reference]))
    context = plan_context(request, get_visible_plan(request.actor, reference)) | {"how": form}
    return render(request, PAGE, context, status=status)
