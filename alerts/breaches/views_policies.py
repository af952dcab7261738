"""Who is told: alert policies and the failure groups that make a breach, under the settings."""

from __future__ import annotations

from typing import Any

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from alerts.breaches.access import can_change_policy, get_visible_policy, teams_with_policy
from alerts.breaches.channels import names_of_channels
from alerts.breaches.forms import PolicyForm
from alerts.breaches.policies import add_policy, change_policy, remove_policy, watch_groups
from alerts.breaches.present import policy_words
from alerts.breaches.queries import find_policies, watched_classes
from alerts.models import AlertPolicy
from console.core.errors import ConsoleError
from console.core.render import render_page
from console.identity.access import can_administer
from console.identity.pages import PageRequest, page
from messages.catalog.views import seen
from messages.groups.classes import CLASSES
from messages.journeys.views import in_its_environment

PAGE, PART, ONE = "alerts/alerting.html", "alerts/_alerting.html", "alerts/policy.html"


@require_safe
@page
def alerting(request: PageRequest) -> HttpResponse:
    """The policies of this environment, and which failure groups make a breach."""
    return render_page(request, PAGE, PART, _list(request))


def _list(request: PageRequest) -> dict[str, Any]:
    watched = watched_classes(request.actor, request.environment)
    names = names_of_channels(request.actor, request.environment)
    return {
        "rows": [(one, policy_words(one, names)) for one in find_policies(request.actor, [request.environment])],
        "classes": [(name, one.words, watched.get(name, "")) for name, one in CLASSES.items()],
        "may_make": bool(_teams(request)),
        "has_channels": bool(names),
        "may_watch": can_administer(request.actor, request.environment),
        "tab": "alerting",
    }


def _teams(request: PageRequest) -> list[tuple[str, str]]:
    """Return (id, name) of those for whom the actor may make a policy; "" is everything else."""
    teams = [(str(team.pk), team.name) for team in teams_with_policy(request.actor, request.environment)]
    every = [("", "every flow without a policy of its own team")]
    return (every if can_change_policy(request.actor, request.environment, None) else []) + teams


@require_POST
@page
def groups(request: PageRequest) -> HttpResponse:
    """Say of which classes failure groups make a breach."""
    said = {name: request.POST.get(f"class-{name}", "") for name in CLASSES}
    try:
        watch_groups(request.environment, said, by=request.actor)
    except ConsoleError as refusal:
        status = 403 if refusal.status == 403 else 422
        return render(request, PAGE, _list(request) | {"refusal": str(refusal)}, status=status)
    flash.success(request, "It is saved. What fails from now on counts.")
    return seen(reverse("alerting"))


@require_http_methods(["GET", "HEAD", "POST"])
@page
def new(request: PageRequest) -> HttpResponse:
    """The form of a new policy."""
    teams, names = _teams(request), names_of_channels(request.actor, request.environment)
    form = PolicyForm(request.POST if request.method == "POST" else None, teams=teams, names=names)
    if request.method == "POST" and form.is_valid():
        wanted = form.cleaned_data["team"]
        team = next(
            (one for one in teams_with_policy(request.actor, request.environment) if str(one.pk) == wanted), None
        )
        try:
            add_policy(request.environment, team, form.said(), by=request.actor)
        except ConsoleError as refusal:
            form.add_error(None, str(refusal))
        else:
            flash.success(request, "It is saved: what fires now is told by it.")
            return seen(reverse("alerting"))
    context = {"form": form, "policy": None, "may_change": bool(teams)}
    return render(request, ONE, context, status=422 if request.method == "POST" else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def one(request: PageRequest, pk: int) -> HttpResponse:
    """One policy and its form; POST changes it."""
    policy = get_visible_policy(request.actor, pk)
    if request.method != "POST":
        return in_its_environment(request, policy.environment) or render(request, ONE, _one(request, policy))
    names = names_of_channels(request.actor, policy.environment)
    form = PolicyForm(request.POST, teams=[], policy=policy, names=names)
    if form.is_valid():
        try:
            change_policy(policy, form.said(), by=request.actor)
        except ConsoleError as refusal:
            form.add_error(None, str(refusal))
        else:
            flash.success(request, "It is saved.")
            return seen(reverse("alerting"))
    return render(request, ONE, _one(request, policy) | {"form": form}, status=422)


def _one(request: PageRequest, policy: AlertPolicy) -> dict[str, Any]:
    may_change = can_change_policy(request.actor, policy.environment, policy.team)
    names = names_of_channels(request.actor, policy.environment)
    form = PolicyForm(teams=[], policy=policy, names=names) if may_change else None
    return {"policy": policy, "words": policy_words(policy, names), "form": form, "may_change": may_change}


@require_POST
@page
def remove(request: PageRequest, pk: int) -> HttpResponse:
    """Tell nobody by this policy any more."""
    policy = get_visible_policy(request.actor, pk)
    try:
        remove_policy(policy, by=request.actor, reason=request.POST.get("reason", "").replace("\x00", "")[:1000])
    except ConsoleError as refusal:
        status = 403 if refusal.status == 403 else 422
        return render(request, ONE, _one(request, policy) | {"refusal": str(refusal)}, status=status)
    flash.success(request, "It is gone. What fires is told by the policy that is left for it.")
    return seen(reverse("alerting"))
