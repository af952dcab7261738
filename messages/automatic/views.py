"""Replay rules: the list with the switch for all, one with what it did and why it waits."""

from __future__ import annotations

from typing import Any

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console.core.errors import ConsoleError, Forbidden, NotFound
from console.core.render import render_page
from console.identity.pages import PageRequest, asked_text, page
from messages.automatic.access import can_rule, check_can_rule, get_visible_rule
from messages.automatic.forms import AutomaticRuleForm
from messages.automatic.queries import budget_of, budgets_of, find_rules, plans_of_rule
from messages.automatic.schedule import waits_words
from messages.automatic.services import (
    add_automatic_rule,
    change_automatic_rule,
    remove_automatic_rule,
    switch_all_off,
    switch_off,
    switch_on,
)
from messages.catalog.views import seen
from messages.journeys.views import in_its_environment
from messages.models import AutomaticRule

LIST, ROWS, PAGE = "messaging/replay_rules.html", "messaging/_replay_rules.html", "messaging/replay_rule.html"


@require_safe
@page
def rules(request: PageRequest) -> HttpResponse:
    """The replay rules of this environment."""
    return render_page(request, LIST, ROWS, _list(request))


def _list(request: PageRequest) -> dict[str, Any]:
    found = find_rules(request.actor, environments=[request.environment], cursor=request.GET.get("cursor") or None)
    budgets = budgets_of(found.rows, timezone.now())
    return {
        "page": found,
        "lines": [(rule, waits_words(rule.waits), budgets[rule.pk]) for rule in found.rows],
        "any_on": any(rule.is_on for rule in found.rows),
        "may_change": can_rule(request.actor, request.environment),
    }


@require_http_methods(["GET", "HEAD", "POST"])
@page
def new(request: PageRequest) -> HttpResponse:
    """The form of a new rule."""
    check_can_rule(request.actor, request.environment)
    return _edit(request, None)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def one(request: PageRequest, pk: int) -> HttpResponse:
    """One rule: whether it is on, why it waits, what it did, and its form."""
    rule = get_visible_rule(request.actor, pk)
    if request.method != "POST" and (elsewhere := in_its_environment(request, rule.environment)):
        return elsewhere
    return _edit(request, rule)


def _edit(request: PageRequest, rule: AutomaticRule | None) -> HttpResponse:
    environment = rule.environment if rule else request.environment
    data = request.POST if request.method == "POST" else None
    form = AutomaticRuleForm(data, rule=rule, group=asked_text(request, "group", most=24))
    if data is None:
        return render(request, PAGE, _context(request, rule, form))
    check_can_rule(request.actor, environment)
    if form.is_valid():
        try:
            by, said = request.actor, form.said(request.actor)
            made = change_automatic_rule(rule, said, by=by) if rule else add_automatic_rule(environment, said, by=by)
        except Forbidden:
            raise
        except ConsoleError as refusal:
            form.add_error(None, str(refusal))
        else:
            told = "It is saved." if rule else f"“{made.name}” is made. It is off: switch it on when it should act."
            flash.success(request, told)
            return seen(reverse("replay-rule", args=[made.pk]))
    return render(request, PAGE, _context(request, rule, form), status=422)


def _context(request: PageRequest, rule: AutomaticRule | None, form: AutomaticRuleForm) -> dict[str, Any]:
    may_change = can_rule(request.actor, rule.environment if rule else request.environment)
    context: dict[str, Any] = {"rule": rule, "form": form, "may_change": may_change}
    if rule is not None:
        context |= {
            "budget": budget_of(rule, timezone.now()),
            "waits": waits_words(rule.waits),
            "plans": [(plan, plan.state.replace("_", " ")) for plan in plans_of_rule(request.actor, rule)],
        }
    return context


@require_POST
@page
def act(request: PageRequest, pk: int, action: str) -> HttpResponse:
    """Switch a rule on or off, or remove it, with a reason."""
    rule, reason = get_visible_rule(request.actor, pk), request.POST.get("reason", "")
    try:
        if action == "remove":
            remove_automatic_rule(rule, by=request.actor, reason=reason)
            flash.success(request, f"“{rule.name}” is removed; its plans stay.")
            return seen(reverse("replay-rules"))
        switch = {"on": switch_on, "off": switch_off}[action]
        switch(rule, by=request.actor, reason=reason)
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden | NotFound):
            raise
        rule = get_visible_rule(request.actor, pk)
        context = _context(request, rule, AutomaticRuleForm(rule=rule)) | {"refused": action, "refusal": str(refusal)}
        return render(request, PAGE, context, status=422)
    flash.success(request, f"“{rule.name}” is {action}.")
    return seen(reverse("replay-rule", args=[pk]))


@require_POST
@page
def all_off(request: PageRequest) -> HttpResponse:
    """The kill switch: every rule of this environment off at once."""
    try:
        off = switch_all_off(request.environment, by=request.actor, reason=request.POST.get("reason", ""))
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden):
            raise
        return render(request, LIST, _list(request) | {"refusal": str(refusal)}, status=422)
    flash.success(request, f"{off} rule{'' if off == 1 else 's'} switched off. What was begun goes on: stop the plans.")
    return seen(reverse("replay-rules"))
