"""Settings of an environment: its rules, and what ingest refused."""

from __future__ import annotations

from typing import Any

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from console.core.errors import ConsoleError, Forbidden, NotFound
from console.identity.access import can_administer
from console.identity.pages import PageRequest, page
from messages.catalog.queries import find_flows, flow_rules, get_rule, key_rules, recent_destinations
from messages.catalog.services import add_flow_rule, add_key_rule, move_rule, remove_rule
from messages.catalog.views import seen

REJECTS_SHOWN = 50


@require_http_methods(["GET", "HEAD", "POST"])
@page
def settings(request: PageRequest) -> HttpResponse:
    """The rules of this environment; POST adds one."""
    if request.method != "POST":
        return render(request, "messaging/settings.html", _rules(request))
    asked, environment, by = request.POST, request.environment, request.actor
    try:
        if asked.get("kind") == "key":
            added = add_key_rule(
                environment, attribute=asked.get("attribute", ""), key_name=asked.get("key_name", ""), by=by
            )
            words = f"{added.attribute} is a business key from now on; messages already stored keep what they have."
        else:
            rule = add_flow_rule(environment, pattern=asked.get("pattern", ""), flow_name=asked.get("flow", ""), by=by)
            words = f"{rule.pattern} goes to {rule.flow} from now on; messages already stored keep their flow."
    except ConsoleError as refusal:
        context = {**_rules(request), "refusal": str(refusal), "posted": asked}
        return render(
            request, "messaging/settings.html", context, status=403 if isinstance(refusal, Forbidden) else 422
        )
    flash.success(request, words)
    return seen(reverse("settings"))


def _rules(request: PageRequest) -> dict[str, Any]:
    actor, environment = request.actor, request.environment
    rules = list(flow_rules(environment))
    return {
        "flow_rules": rules,
        "key_rules": list(key_rules(environment)),
        "destinations": recent_destinations(actor, environment, rules, now=timezone.now()),
        "flows": [line.flow.name for line in find_flows(actor, environment, limit=200)],
        "may_change": can_administer(actor, environment),
        "posted": {},
    }


@require_POST
@page
def rule_action(request: PageRequest, kind: str, pk: int, action: str) -> HttpResponse:
    """Remove a rule or move it up or down."""
    if kind not in {"flow", "key"} or action not in {"up", "down", "remove"}:
        raise NotFound("a rule can be moved up or down, or removed")
    rule = get_rule(request.actor, request.environment, kind, pk)
    if action == "remove":
        remove_rule(rule, by=request.actor)
        flash.success(request, "The rule is removed; messages already stored keep what it gave them.")
    else:
        move_rule(rule, up=action == "up", by=request.actor)
    return seen(f"{reverse('settings')}#{kind}-rules")
