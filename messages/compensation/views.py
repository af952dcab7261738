"""Compensations: the lists, and one with what happened beside what undoes it, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages as flash
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRefresh

from console.audit.queries import object_history
from console.core.errors import Conflict, ConsoleError
from console.core.render import render_part, wants_part
from console.identity.pages import PageRequest, page
from messages.catalog.views import seen
from messages.compensation.access import can_compensate, can_read_actions, get_visible_compensation, get_visible_step
from messages.compensation.acting import ACTIONS, AFTER, AFTER_STEP, STEP_ACTIONS, answer, offered_to
from messages.compensation.actions import shown_actions
from messages.compensation.before_after import before_and_after
from messages.compensation.present import (
    again_url,
    already_of,
    begins_in_s,
    book_url,
    chip_text,
    every_of,
    failed_at,
    heading_of,
    late_of,
    rows_of,
    sentence_of,
)
from messages.compensation.proposing import target_after
from messages.compensation.queries import steps_of
from messages.compensation.states import BEGUN, ENDED, UNDONE, WORDS
from messages.compensation.steps import next_step
from messages.journeys.views_links import in_its_environment
from messages.models import Compensation
from messages.plans.stops import why_flow_stopped

PAGE = "messaging/compensation.html"


@require_safe
@page
def compensation(request: PageRequest, reference: str) -> HttpResponse:
    """One compensation: what would be undone or how far it is, step by step, and what was done to it."""
    found = get_visible_compensation(request.actor, reference)
    if elsewhere := in_its_environment(request, found.environment):
        return elsewhere
    return render(request, PAGE, whole_context(request, found))


@require_safe
@page
def now(request: PageRequest, reference: str) -> HttpResponse:
    """How far it is: the part that asks again while it moves. Once its state has changed the whole page is asked for."""
    found = get_visible_compensation(request.actor, reference)
    if not wants_part(request):
        return HttpResponseRedirect(reverse("compensation", args=[found.reference]))
    if request.GET.get("seen") != found.state:
        return HttpResponseClientRefresh()
    return render_part(request, "messaging/_compensation_now.html", now_context(request, found))


def whole_context(request: PageRequest, found: Compensation) -> dict[str, Any]:
    """Return everything the page of a compensation shows."""
    history = object_history("compensation", str(found.pk)).order_by("-id")[:30]
    return {
        **now_context(request, found),
        "book_url": book_url(found.flow_id),
        "history": history,
    }


def now_context(request: PageRequest, found: Compensation) -> dict[str, Any]:
    """Return what the part with the table and the buttons shows."""
    moment, steps = timezone.now(), steps_of(found)
    may_act = can_compensate(request.actor, found.flow)
    may_read = can_read_actions(request.actor, found.flow)
    system, why_failed = failed_at(found)
    undone = sum(step.state in UNDONE for step in steps)
    for step in steps:
        step.compensation = found
    rows = rows_of(
        found, steps, sends=shown_actions(request.actor, found, steps), told=before_and_after(request.actor, steps),
        may_act=may_act, now=moment,
    )  # fmt: skip
    return {
        "run": found,
        "heading": heading_of(found),
        "chip_text": chip_text(found, undone, len(steps), now=moment),
        "why": found.why,
        "state_words": WORDS[found.state],
        "verdict": sentence_of(found, steps, system),
        "rows": rows,
        "already": already_of(found),
        "failed_system": system or found.flow.name,
        "why_failed": why_failed or "it failed for good",
        "late": late_of(found),
        "can_answer": may_act,
        "again_url": again_url(target_after(found)) if found.state in ENDED and found.late else "",
        "next_step": next_step(found, steps, now=moment),
        "begun": found.state in BEGUN,
        "ended": found.state in ENDED,
        "begins_in_s": begins_in_s(found, now=moment),
        "stopped": why_flow_stopped(found.flow) if found.state in ("running", "stuck", "paused") else "",
        "every": every_of(found, now=moment),
        "offered": offered_to(request.actor, found, now=moment),
        "own": request.actor.user_id is not None and request.actor.user_id == found.created_by_user_id,
        "may_act": may_act,
        "may_read": may_read,
    }


def refused(
    request: PageRequest, reference: str, action: str, refusal: ConsoleError, *, ordinal: int = 0
) -> HttpResponse:
    """Answer a refusal with the same page and its words: 422, or 403 where the reader may not."""
    again = get_visible_compensation(request.actor, reference)
    context = whole_context(request, again) | {"refusal": str(refusal), "refused": action, "refused_step": ordinal}
    return render(request, PAGE, context, status=403 if refusal.status == 403 else 422)


@require_POST
@page
def act(request: PageRequest, reference: str, action: str) -> HttpResponse:
    """Do one thing to a compensation. A second press of the same button finds it done."""
    found = get_visible_compensation(request.actor, reference)
    do: Callable[..., str] = ACTIONS[action]
    try:
        flash.success(request, do(found, request.actor, request.POST))
    except ConsoleError as refusal:
        again = get_visible_compensation(request.actor, reference)
        pressed_twice = again.state in AFTER[action] and again.state_by == request.actor.name
        if not (isinstance(refusal, Conflict) and pressed_twice):
            return refused(request, reference, action, refusal)
    return seen(reverse("compensation", args=[found.reference]))


@require_POST
@page
def act_on_step(request: PageRequest, reference: str, ordinal: int, action: str) -> HttpResponse:
    """Do one thing to a step. A second press of the same button finds it done."""
    found = get_visible_compensation(request.actor, reference)
    step = get_visible_step(request.actor, found, ordinal)
    try:
        flash.success(request, STEP_ACTIONS[action](step, request.actor, request.POST))
    except ConsoleError as refusal:
        again = get_visible_step(request.actor, found, ordinal)
        by_me = action == "retry" or again.done_by == request.actor.name
        if not (isinstance(refusal, Conflict) and by_me and again.state in AFTER_STEP[action]):
            return refused(request, reference, action, refusal, ordinal=ordinal)
    return seen(f"{reverse('compensation', args=[found.reference])}#step-{ordinal}")


@require_POST
@page
def answer_late(request: PageRequest, reference: str, index: int, what: str) -> HttpResponse:
    """Say of a step that was seen to complete meanwhile whether it is undone too, or left."""
    found = get_visible_compensation(request.actor, reference)
    reason = request.POST.get("reason", "")
    try:
        flash.success(request, answer(found, request.actor, index=index, add=what == "add", reason=reason))
    except ConsoleError as refusal:
        return refused(request, reference, f"late-{what}", refusal)
    return seen(reverse("compensation", args=[found.reference]))
