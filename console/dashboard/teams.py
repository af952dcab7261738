"""Teams, people and roles: the part of the settings that administrators of the whole console have."""

from __future__ import annotations

from typing import Any

from django.contrib import messages as flash
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from console.core.errors import ConsoleError, Invalid
from console.identity.access import check_superuser, get_visible_environment, visible_environments
from console.identity.administration import add_member, create_team, create_user, remove_member
from console.identity.models import Role
from console.identity.pages import PageRequest, page
from console.identity.queries import find_teams, find_users, get_team


@require_http_methods(["GET", "HEAD", "POST"])
@page
def teams(request: PageRequest) -> HttpResponse:
    """Who belongs to which team with which role; POST carries out one `do`."""
    check_superuser(request.actor)
    if request.method != "POST":
        return render(request, "console/teams.html", _context(request))
    try:
        flash.success(request, _do(request))
    except ConsoleError as refusal:
        context = {**_context(request), "refusal": str(refusal), "posted": request.POST}
        return render(request, "console/teams.html", context, status=422)
    response = HttpResponseRedirect(reverse("teams"))
    response.status_code = 303
    return response


def _context(request: PageRequest) -> dict[str, Any]:
    return {
        "teams": find_teams(),
        "users": find_users(),
        "roles": Role.choices,
        "every_environment": visible_environments(request.actor),
    }


def _do(request: PageRequest) -> str:
    """Carry out the action that the form names; return what was done in words."""
    asked, by = request.POST, request.actor
    match asked.get("do", ""):
        case "team":
            return f"Team {create_team(asked.get('name', ''), by=by)} is made."
        case "user":
            return f"{create_user(asked.get('username', ''), asked.get('password', ''), by=by)} can sign in now."
        case "member":
            role = asked.get("role", "")
            if role not in {str(value) for value in Role.values}:
                raise Invalid("choose a role")
            environment = get_visible_environment(by, asked.get("environment", ""))
            membership = add_member(
                get_team(asked.get("team", "")), asked.get("username", ""), environment, Role(int(role)), by=by
            )
            return f"{membership.user} is {Role(int(role)).label.lower()} of {membership.team} in {environment}."
        case "remove":
            number = asked.get("membership", "")
            if not number.isdecimal() or len(number) > 18:
                raise Invalid("choose a membership")
            remove_member(int(number), by=by)
            return "The role is taken away."
    raise Invalid("choose what to do")
