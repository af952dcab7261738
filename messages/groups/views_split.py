"""Taking a group apart: ticked letters out under a name of their own, or all by one more part."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from console.core.errors import ConsoleError, Forbidden, Invalid
from console.identity.pages import PageRequest, page
from messages.access import check_can_operate
from messages.catalog.views import seen
from messages.dead_letters.queries import find_selected
from messages.groups.access import get_visible_group
from messages.groups.regroup import split_by, take_out
from messages.models import FailureGroup
from messages.search.naming import name_of


@require_http_methods(["GET", "HEAD", "POST"])
@page
def split(request: PageRequest, reference: str) -> HttpResponse:
    """With ticked letters: a name for them. Without: the part by which the group is told apart."""
    found = get_visible_group(request.actor, reference)
    check_can_operate(request.actor, found.flow)
    if request.method != "POST":
        return render(request, "messaging/group_split.html", _context(request, found, request.GET.getlist("id")))
    said = request.POST
    try:
        if said.get("part"):
            rule = split_by(found, said["part"].strip(), by=request.actor, reason=said.get("reason", ""))
            flash.success(request, f"“{rule.name}” tells its failures apart from now on; what waits was placed by it.")
            return seen(reverse("groups"))
        made = take_out(found, _ids(said.getlist("id")), said.get("name", ""), by=request.actor, reason=said.get("reason", ""))  # fmt: skip
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden):
            raise
        context = _context(request, found, said.getlist("id")) | {"refusal": str(refusal)}
        return render(request, "messaging/group_split.html", context, status=422)
    flash.success(request, f"They are {made.reference} now. Merging it back undoes this.")
    return seen(reverse("group", args=[made.reference]))


def _ids(asked: list[str]) -> list[UUID]:
    try:
        return [UUID(one) for one in asked]
    except ValueError as error:
        raise Invalid("this is not the id of a dead letter: tick rows in the list and choose again") from error


def _context(request: PageRequest, found: FailureGroup, asked: list[str]) -> dict[str, Any]:
    letters = find_selected(request.actor, found.environment, _ids(asked[:500])) if asked else []
    return {
        "group": found,
        "rows": [(letter, name_of(letter.keys, letter.message_id or str(letter.pk))) for letter in letters],
        "keys": sorted({name for letter in letters for name in letter.keys})[:20],
        "name": request.POST.get("name", ""),
        "reason": request.POST.get("reason", ""),
        "part": request.POST.get("part", ""),
    }
