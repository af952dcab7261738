"""Plans: the list, and one plan with its progress, its items and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

from django.contrib import messages as flash
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRefresh

from console.audit.queries import object_history
from console.core.errors import ConsoleError, Invalid
from console.core.paging import Page
from console.core.render import render_page, render_part, wants_part
from console.identity.actor import Actor
from console.identity.pages import PageRequest, asked_text, page
from messages.catalog.views import seen
from messages.journeys.views_links import in_its_environment
from messages.models import Plan
from messages.plans.access import can_operate_plan, can_plan_in, get_visible_plan
from messages.plans.acting import ACTIONS, AFTER, offered_to
from messages.plans.approvals import authors_of
from messages.plans.asking import left_out_address
from messages.plans.doing import COMPENSATE, REPLAY, word_of
from messages.plans.doing import FILTERS as UNDOING
from messages.plans.export import csv_of
from messages.plans.forms import HowForm
from messages.plans.items import Item, Only, add_evidence, find_items
from messages.plans.lists import SHOWN, PlanFilter, find_plans
from messages.plans.making import difference_words
from messages.plans.outcomes import chart_of
from messages.plans.present import (
    chip_text,
    evidence_of,
    facts_of,
    heading_of,
    is_settled,
    left_out_of,
    noun_of,
    overdue_words,
    pieces_of,
    sentence_of,
    tempo_words,
    too_fast,
    warning_of,
    waves_of,
)
from messages.plans.progress import Progress, progress_of
from messages.plans.reasons import LEFT_OUT
from messages.plans.services import PlanState
from messages.plans.states import BEGUN, ENDED, STATES, WORDS
from messages.plans.stops import standing_stops, why_stopped
from messages.plans.usual import usual_of
from messages.saved.outbox import mails_about
from messages.search.views import changed

LABELS = {"open": "Open", "ended": "Ended", "all": "All"}
FILTERS: dict[str, tuple[str, tuple[str, ...]]] = {  # what the page filters by → (its words, outcomes)
    "": ("every item", ()),
    "processed": ("processed", ("processed",)),
    "sent": ("sent or confirmed", ("sending", "sent", "confirmed")),
    "unknown": ("unknown", ("unknown",)),
    "failed": ("failed again", ("failed_again", "refused")),
    "waiting": ("waiting", ("waiting", "queued")),
    "withdrawn": ("taken back", ("withdrawn",)),
    "left_out": ("left out", ("left_out",)),
}
PAGE = "messaging/plan.html"
CHANGED = ("draft", "awaiting_approval", "approved")  # states in which a plan can be changed
PROOFS_COME = timedelta(hours=1)  # after its end a plan is looked at that long for proofs that come late


@require_safe
@page
def plans(request: PageRequest) -> HttpResponse:
    """Plans of this environment, newest first."""
    show = asked_text(request, "show", most=10)
    show = show if show in SHOWN else "open"
    state = asked_text(request, "state", most=20)
    state = state if state in STATES else ""
    cursor = request.GET.get("cursor") or None
    only = PlanFilter(show=show, state=state)
    found = find_plans(request.actor, environments=[request.environment], only=only, cursor=cursor)
    states = [("", "every state"), *((one, one.replace("_", " ")) for one in STATES)]
    context = {
        "page": found,
        "rows": [(plan, heading_of(plan), chip_text(plan)) for plan in found.rows],
        "tabs": [(LABELS[one], changed(request.GET, show=None if one == "open" else one, state=None), one == show and not state) for one in SHOWN],
        "tab": show,
        "selects": [{"name": "state", "label": "State", "value": state, "options": states}],
        "state": state,
        "filtered": bool(state) or show != "open",
        "may_plan": can_plan_in(request.actor, request.environment),
        "stops": standing_stops(request.actor, request.environment),
    }  # fmt: skip
    return render_page(request, "messaging/plans.html", "messaging/_plans.html", context)


@require_safe
@page
def plan(request: PageRequest, reference: str) -> HttpResponse:
    """One plan: what it would do or how far it is, its items, its facts. htmx asks for the items alone."""
    found = get_visible_plan(request.actor, reference)
    if elsewhere := in_its_environment(request, found.environment):
        return elsewhere
    if wants_part(request):
        return render_part(request, "messaging/_plan_items.html", items_context(request, found, progress_of(found)))
    context = plan_context(request, found)
    return render(request, PAGE, context, status=400 if context["problem"] else 200)


@require_safe
@page
def now(request: PageRequest, reference: str) -> HttpResponse:
    """How far the plan is: the part that asks again while it lives. Once its state has changed the whole page is asked for."""
    found = get_visible_plan(request.actor, reference)
    if not wants_part(request):
        return HttpResponseRedirect(reverse("plan", args=[found.reference]))
    if request.GET.get("seen") != found.state:
        return HttpResponseClientRefresh()
    return render_part(request, "messaging/_plan_now.html", now_context(request.actor, found, progress_of(found)))


@require_safe
@page
def chart(request: PageRequest, reference: str) -> HttpResponse:
    """What became of its items over time; asked for when the page is there."""
    found = get_visible_plan(request.actor, reference)
    if not wants_part(request):
        return HttpResponseRedirect(reverse("plan", args=[found.reference]))
    context = {"plan": found, "live": found.state == "running", **chart_of(found, now=timezone.now())}
    return render_part(request, "messaging/_plan_chart.html", context)


@require_safe
@page
def csv(request: PageRequest, reference: str) -> HttpResponse:
    """Every item as a CSV."""
    return cast(HttpResponse, csv_of(request.actor, get_visible_plan(request.actor, reference)))


def plan_context(request: PageRequest, found: Plan) -> dict[str, Any]:
    """Return everything the page of a plan shows."""
    progress = progress_of(found)
    usual = usual_of(request.actor, found)
    draft = found.state not in BEGUN
    return {
        **now_context(request.actor, found, progress),
        **items_context(request, found, progress),
        "draft": draft,
        "sentence": sentence_of(found, usual, now=timezone.now()) if draft else "",
        "too_fast": too_fast(found, usual) if draft else "",
        "difference": difference_words(found.figures),
        "usual": usual,
        "facts": facts_of(found),
        "left_out": left_out_of(found, progress.total),
        "how": HowForm(plan=found) if found.state in CHANGED and can_operate_plan(request.actor, found) else None,
        "edit_url": _edit_url(found)
        if found.does == REPLAY and found.state == "draft" and can_operate_plan(request.actor, found)
        else "",
        "history": list(object_history("plan", str(found.pk)).order_by("-id")[:20]),
        "undo_url": left_out_address(found.reference) if _may_undo(request.actor, found) else "",
        "mails": mails_about(f"plan:{found.pk}", most=5),
    }


def now_context(actor: Actor, found: Plan, progress: Progress) -> dict[str, Any]:
    """Return what the part with the progress and the buttons shows."""
    total = progress.total
    failed, near = warning_of(found, total)
    offered = offered_to(actor, found)
    return {
        "plan": found,
        "heading": heading_of(found),
        "chip_text": chip_text(found),
        "state_words": WORDS[found.state],
        "begun": found.state in BEGUN,
        "ended": found.state in ENDED,
        "every": _every(found, total),
        "total": total,
        "pieces": pieces_of(found, total),
        "waves": waves_of(found, progress),
        "tempo": tempo_words(found, progress),
        "failed_words": failed,
        "near_words": near,
        "latency_s": progress.latency_s,
        "overdue": overdue_words(progress),
        "stopped": why_stopped(found) if found.state not in ENDED else "",
        "begins_in_s": max(0, int((found.begins_at - timezone.now()).total_seconds())) if found.begins_at else None,
        "offered": offered,
        "authors": authors_of(found) if found.state == "awaiting_approval" else [],
        "own": actor.user_id is not None and actor.user_id == found.created_by_user_id,
        "may_operate": can_operate_plan(actor, found),
    }


def _every(found: Plan, total: Any) -> str:
    """Return how often the progress is asked for again; "" for never: nothing of it can change."""
    if found.state == "scheduled":
        soon = found.begins_at is not None and found.begins_at - timezone.now() < timedelta(minutes=1)
        return "1s" if soon else "10s"
    if found.state == "running":
        return "1s"
    if found.state in ("awaiting_approval", "approved", "paused", "aborted"):
        return "5s"
    late = found.finished_at is not None and timezone.now() - found.finished_at < PROOFS_COME
    return "5s" if found.state in BEGUN and late and not is_settled(total) else ""


def items_context(request: PageRequest, found: Plan, progress: Progress) -> dict[str, Any]:
    """Return the page of items that the address asks for."""
    outcome, left_out = asked_text(request, "outcome", most=20), asked_text(request, "left_out", most=20)
    problem = ""
    rows: Page[Item] = Page([], None)
    try:
        cursor = request.GET.get("cursor") or None
        only = Only(outcomes=FILTERS.get(outcome, ("", (outcome,)))[1], left_out=left_out)
        rows = find_items(request.actor, found, only=only, cursor=cursor)
        add_evidence(request.actor, found, rows.rows)
    except Invalid as error:
        problem = str(error)
    reasons = found.figures.get("left_out", {})
    compensates = found.does == COMPENSATE
    options = [*UNDOING.items()] if compensates else [(one, words) for one, (words, _) in FILTERS.items()]
    why = [("", "any reason"), *((one, words) for one, words in LEFT_OUT.items() if reasons.get(one))]
    selects = [{"name": "outcome", "label": "Outcome", "value": outcome, "options": options}]
    if reasons:
        selects.append({"name": "left_out", "label": "Left out because", "value": left_out, "options": why})
    return {
        "plan": found,
        "noun": noun_of(found, 1).capitalize(),
        "page": rows,
        "items": [(item, evidence_of(item, found), word_of(found.does, item.outcome)) for item in rows.rows],
        "outcome": outcome,
        "left_out_reason": left_out,
        "selects": selects,
        "items_every": "3s" if found.state == "running" and not problem else "",
        "failed_count": progress.total["failed_again"] + progress.total["refused"],
        "problem": problem,
    }


def _may_undo(actor: Actor, found: Plan) -> bool:
    return bool(found.figures.get("left_out")) and found.does == REPLAY and can_plan_in(actor, found.environment)


def _edit_url(found: Plan) -> str:
    try:
        return reverse("plan-edit", args=[found.reference])
    except NoReverseMatch:
        return ""


@require_POST
@page
def act(request: PageRequest, reference: str, action: str) -> HttpResponse:
    """Do one thing to a plan. A second press of the same button finds it done; a refusal is 422 with the same page and the words."""
    found = get_visible_plan(request.actor, reference)
    do: Callable[[Plan, Actor, Any], str] = ACTIONS[action]
    try:
        flash.success(request, do(found, request.actor, request.POST))
    except ConsoleError as refusal:
        again = get_visible_plan(request.actor, reference)
        if isinstance(refusal, PlanState) and again.state in AFTER[action] and again.state_by == request.actor.name:
            return seen(reverse("plan", args=[again.reference]))
        context = plan_context(request, again) | {"refused": action, "refusal": str(refusal), "reason": request.POST.get("reason", "")}  # fmt: skip
        return render(request, PAGE, context, status=403 if refusal.status == 403 else 422)
    return seen(reverse("plan", args=[found.reference]))
