"""Settings → Retention: what is kept how long, what it takes, what a change would do, what is on hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from console.audit.queries import object_history
from console.core.errors import ConsoleError, Forbidden
from console.identity.access import can_administer
from console.identity.models import Environment
from console.identity.pages import PageRequest, page
from messages.access import get_visible_flow, get_visible_hold
from messages.catalog.views import seen
from messages.retention.forms import PolicyForm
from messages.retention.plan import WAYS, Plan, days_words, plan_retention
from messages.retention.policies import alarm, holds_of, last_finished, last_runs, policy_of
from messages.retention.projection import Projected
from messages.retention.rules import BOUNDS, KINDS, Policy
from messages.retention.services import change_policy, lift_hold, place_hold
from messages.retention.sizes import Usage, total, usage_of

DAYS = {
    "payloads": "payload_days",
    "metadata": "metadata_days",
    "rollups": "rollup_days",
    "dead letters": "letter_days",
    "refused items": "settled_reject_days",
}


@require_http_methods(["GET", "HEAD", "POST"])
@page
def retention(request: PageRequest) -> HttpResponse:
    """The policy of this environment. GET with other days shows what they would do; POST, with a reason, sets them."""
    environment, now = request.environment, timezone.now()
    current = policy_of(environment)
    asked = request.POST if request.method == "POST" else request.GET
    form = PolicyForm(asked if set(BOUNDS) & set(asked) else None, policy=current)
    context: dict[str, Any] = {}
    status = 200
    if form.is_bound and not form.is_valid():
        status = 422
    elif request.method == "POST":
        try:
            change_policy(environment, form.policy(), by=request.actor, reason=request.POST.get("reason", ""))
        except ConsoleError as refusal:
            status, context["refusal"] = (403 if isinstance(refusal, Forbidden) else 422), str(refusal)
        else:
            flash.success(request, "The policy is saved; the next run acts on it.")
            return seen(reverse("retention"))
    usage = usage_of(environment.pk, now=now)
    if form.is_bound and form.is_valid() and form.policy() != current:
        context |= _preview(request, usage, current, form.policy())
    return render(request, "messaging/retention.html", _context(request, form, usage, current) | context, status=status)


@dataclass(frozen=True, slots=True, kw_only=True)
class KindLine:
    """One kind as a table shows it. days_field: what it is kept."""

    kind: str
    days: int
    projected: Projected
    days_after: int = 0
    after: Projected | None = None

    @property
    def part(self) -> str:
        """Return what the meter says to those who do not see it."""
        return f"{self.kind}: their part of what this environment takes"


def _lines(usage: Usage, policy: Policy, instead: Policy | None = None) -> list[KindLine]:
    now, after = usage.under(policy), usage.under(instead) if instead else {}
    days, days_after = asdict(policy), asdict(instead or policy)
    return [
        KindLine(
            kind=kind,
            days=days[DAYS[kind]],
            projected=now[kind],
            days_after=days_after[DAYS[kind]],
            after=after.get(kind),
        )
        for kind in KINDS
    ]


def _context(request: PageRequest, form: PolicyForm, usage: Usage, policy: Policy) -> dict[str, Any]:
    environment = request.environment
    holds = holds_of(request.actor, [environment])
    return {
        "form": form,
        "policy": policy,
        "lines": _lines(usage, policy),
        "total": total(usage.under(policy)),
        "holds": holds,
        "environment_hold": next((hold for hold in holds if hold.flow is None), None),
        "may_change": can_administer(request.actor, environment),
        "alarm": alarm(environment, now=timezone.now()),
        "finished": last_finished(),
        "history": object_history("retentionpolicy", str(environment.pk))[:10],
        "runs": [(one, _run_words(one.details)) for one in last_runs()],
    }


def _run_words(details: dict[str, Any]) -> dict[str, Any]:
    done = details.get("done", [])
    return {
        "rows": sum(one["rows"] for one in done if one["way"] != "destroyed"),
        "bytes": sum(one["bytes"] for one in done),
        "keys": sum(one["rows"] for one in done if one["way"] == "destroyed"),
        "left": details.get("left", []),
        "error": details.get("error", ""),
    }


def _preview(request: PageRequest, usage: Usage, current: Policy, asked: Policy) -> dict[str, Any]:
    environment = request.environment
    plan = plan_retention(now=timezone.now(), count=False, instead={environment.pk: asked}, reader=request.actor)
    return {
        "preview": {
            "lines": _lines(usage, current, asked),
            "before": total(usage.under(current)),
            "after": total(usage.under(asked)),
            "going": going_of(plan, environment),
            "kept": [(kept, days_words(kept.days)) for kept in plan.kept if kept.environment == environment.slug],
            "policy": asdict(asked),
        }
    }


def going_of(plan: Plan, environment: Environment) -> list[dict[str, Any]]:
    """Return the plan's lines of one environment with their words."""
    return [
        {"line": line, "way": WAYS[line.way], "days": days_words(line.days)}
        for line in plan.lines
        if line.environment == environment.slug
    ]


@require_POST
@page
def hold(request: PageRequest, pk: int | None = None) -> HttpResponse:
    """Place a legal hold on a flow, or on the environment."""
    flow = get_visible_flow(request.actor, pk) if pk is not None else None
    back = reverse("flow", args=[pk]) if flow else reverse("retention")
    try:
        place_hold(
            flow.environment if flow else request.environment,
            flow,
            by=request.actor,
            reason=request.POST.get("reason", ""),
        )
    except Forbidden:
        raise
    except ConsoleError as refusal:
        flash.error(request, str(refusal))
    else:
        flash.success(request, f"{flow or request.environment} is on legal hold: nothing of it is deleted.")
    return seen(back)


@require_POST
@page
def lift(request: PageRequest, pk: int) -> HttpResponse:
    """Lift a legal hold."""
    found = get_visible_hold(request.actor, pk)
    back = reverse("flow", args=[found.flow_id]) if found.flow_id else reverse("retention")
    try:
        lift_hold(found, by=request.actor, reason=request.POST.get("reason", ""))
    except Forbidden:
        raise
    except ConsoleError as refusal:
        flash.error(request, str(refusal))
    else:
        flash.success(request, f"The hold on {found.flow or found.environment} is lifted; its policy holds again.")
    return seen(back)
