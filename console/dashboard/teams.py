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
from console.identity.addresses import set_address
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
            made = create_user(
                asked.get("username", ""), asked.get("password", ""), address=asked.get("email", ""), by=by
            )
            return f"{made} can sign in now."
        case "address":
            user = set_address(_number(asked.get("user", ""), "choose a person"), asked.get("email", ""), by=by)
            return f"Mails to {user} go to {user.email}." if user.email else f"{user} has no mail address any more."
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
            remove_member(_number(asked.get("membership", ""), "choose a membership"), by=by)
            return "The role is taken away."
    raise Invalid("choose what to do")


def _number(said: str, words: str) -> int:
    """Return an id that a form sent; raises Invalid with these words."""
    if not (said.isascii() and said.isdecimal()) or len(said) > 18:
        raise Invalid(words)
    return int(said)
