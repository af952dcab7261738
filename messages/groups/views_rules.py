"""Grouping rules: their order, the editor of one with a preview over the last seven days, and placing what waits anew."""

from __future__ import annotations

from itertools import dropwhile, islice
from typing import Any

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console.core.errors import ConsoleError, Forbidden, NotFound
from console.core.render import render_page
from console.identity.pages import PageRequest, page
from messages.catalog.views import seen
from messages.groups.access import (
    can_change_group_rule,
    can_group,
    check_can_group,
    get_visible_group_rule,
    teams_of_rule,
)
from messages.groups.forms import GroupRuleForm
from messages.groups.queries import rules_in_order
from messages.groups.regroup import place_waiting
from messages.groups.ruling import RulePreview, add_rule, change_rule, move_rule, place_of, preview_rule, remove_rule
from messages.models import GroupRule

LIST, PAGE, PART = "messaging/group_rules.html", "messaging/group_rule.html", "messaging/_group_rule_preview.html"


@require_safe
@page
def rules(request: PageRequest) -> HttpResponse:
    """The rules in the order they are tried."""
    return render(request, LIST, _list(request))


def _list(request: PageRequest) -> dict[str, Any]:
    return {
        "lines": rules_in_order(request.actor, request.environment),
        "may_change": can_group(request.actor, request.environment),
    }


@require_http_methods(["GET", "HEAD", "POST"])
@page
def new(request: PageRequest) -> HttpResponse:
    """The editor of a rule that is not saved yet."""
    check_can_group(request.actor, request.environment)
    return _edit(request, None)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def one(request: PageRequest, pk: int) -> HttpResponse:
    """One rule in its editor."""
    return _edit(request, get_visible_group_rule(request.actor, pk))


def _edit(request: PageRequest, rule: GroupRule | None) -> HttpResponse:
    environment = rule.environment if rule else request.environment
    form = GroupRuleForm(request.POST if request.method == "POST" else None, rule=rule)
    if request.method != "POST":
        return render(request, PAGE, _context(request, form, rule))
    check_can_group(request.actor, environment)
    if request.GET.get("do") == "preview":
        return _preview(request, form, rule)
    if not form.is_valid():
        return render(request, PAGE, _context(request, form, rule), status=422)
    try:
        by = request.actor
        made = change_rule(rule, form.said(), by=by) if rule else add_rule(environment, form.said(), by=by)
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden):
            raise
        form.add_error(None, str(refusal))
        return render(request, PAGE, _context(request, form, rule), status=422)
    flash.success(
        request, f"“{made.name}” groups what fails from now on. What waits stays where it is until you apply the rules."
    )
    return seen(reverse("group-rules"))


def _preview(request: PageRequest, form: GroupRuleForm, rule: GroupRule | None) -> HttpResponse:
    found: RulePreview | None = None
    wrong = ""
    if form.is_valid():
        try:
            environment = rule.environment if rule else request.environment
            found = preview_rule(environment, form.said(), by=request.actor, instead_of=rule)
        except ConsoleError as refusal:
            wrong = str(refusal)
    context = _context(request, form, rule) | {"preview": found, "wrong": wrong}
    return render_page(request, PAGE, PART, context, status=422 if wrong or form.errors else 200)


def _context(request: PageRequest, form: GroupRuleForm, rule: GroupRule | None) -> dict[str, Any]:
    environment = rule.environment if rule else request.environment
    return {
        "form": form,
        "rule": rule,
        "may_change": can_change_group_rule(request.actor, rule) if rule else can_group(request.actor, environment),
        "teams": teams_of_rule(request.actor, environment, rule),
        "action": reverse("group-rule", args=[rule.pk]) if rule else reverse("group-rule-new"),
    }


@require_POST
@page
def act(request: PageRequest, pk: int) -> HttpResponse:
    """Move a rule up or down, or remove it, with a reason."""
    rule = get_visible_group_rule(request.actor, pk)
    do, reason = request.POST.get("do", ""), request.POST.get("reason", "")
    try:
        if do == "remove":
            remove_rule(rule, by=request.actor, reason=reason)
            flash.success(
                request, f"“{rule.name}” is removed: its groups stay, new failures go by the next rule that fits."
            )
        elif do in {"up", "down"}:
            move_rule(rule, to=_place_beyond(request, rule, do), by=request.actor, reason=reason)
        else:
            raise NotFound("a grouping rule can be moved up or down, or removed")
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden | NotFound):
            raise
        return render(request, LIST, _list(request) | {"refusal": str(refusal)}, status=422)
    return seen(reverse("group-rules"))


def _place_beyond(request: PageRequest, rule: GroupRule, do: str) -> int:
    """Return the place of the next rule that the actor sees, up or down, the rule's own where there is none: those between are not theirs."""
    seen = [one for one, _ in rules_in_order(request.actor, rule.environment)]
    onward = dropwhile(lambda one: one != rule, seen if do == "down" else reversed(seen))
    return place_of(next(islice(onward, 1, None), rule))


@require_POST
@page
def apply(request: PageRequest) -> HttpResponse:
    """Place what waits anew by the rules as they are."""
    try:
        moved, more = place_waiting(request.environment, by=request.actor, reason=request.POST.get("reason", ""))
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden):
            raise
        return render(request, LIST, _list(request) | {"refusal": str(refusal)}, status=422)
    rest = " More wait than it had time for: the older ones stay where they are." if more else ""
    flash.success(request, f"{moved:,} dead letter{'' if moved == 1 else 's'} changed their group.{rest}")
    return seen(reverse("group-rules"))
