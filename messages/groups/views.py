"""Failures: the groups in order of reach, and one group with what can be done about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages as flash
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from console.core.errors import ConsoleError, Forbidden, Invalid, NotFound
from console.core.paging import Page
from console.core.render import render_page, wants_part
from console.identity.pages import PageRequest, asked_text, page
from messages.access import can_operate
from messages.automatic.queries import rules_of_group
from messages.catalog.views import seen
from messages.changes.present import did, label_of, marks_of, suspects_of
from messages.changes.queries import changes_before, changes_between
from messages.compensation.books import newest_book
from messages.groups.access import get_visible_group
from messages.groups.breaching import next_breach_of
from messages.groups.classes import CLASSES
from messages.groups.failed_here import failed_here
from messages.groups.present import (
    action_of,
    breach_words,
    line_of,
    meaning_of,
    reach_said,
    sentence_of,
    trend_chart,
    words_of_state,
)
from messages.groups.queries import (
    TABS,
    Filter,
    find_groups,
    history_of_group,
    longest_waiting,
    notes_of,
    others_of_flow,
    owner_names,
    owners_of,
    runbook_of,
    sample_of,
    systems_of,
    trends_of,
    verdict_of,
    whole_of,
)
from messages.groups.services import add_note, assign_group, change_state, merge_groups, set_runbook, take_apart
from messages.groups.states import STATES, offered
from messages.groups.unseen import died_unseen
from messages.journeys.views import in_its_environment
from messages.models import DeadLetter, FailureGroup
from messages.payloads.render import render_stack
from messages.plans.asking import group_address, undo_group_address
from messages.plans.recipes import recipes_of
from messages.search.naming import name_of
from messages.search.queries import find_dead_letters
from messages.search.query import Query, Term, all_of
from messages.search.views import changed, flow_select

LABELS = {"failing": "Failing", "resolved": "Resolved", "all": "All"}
MOST_SELECTED = 100  # what the page of selected letters takes
SHOWN_CHANGES = 6
SHOWN_LETTERS = 25


@require_safe
@page
def groups(request: PageRequest) -> HttpResponse:
    """What fails in this environment, what reaches furthest first."""
    only, now = _filter(request), timezone.now()
    found, problem = _found(request, only)
    hours = trends_of(found.rows, now)
    verdict = verdict_of(request.actor, request.environment, Filter() if problem else only)
    context = {
        "page": found,
        "lines": [line_of(group, hours[group.pk], now=now) for group in found.rows],
        "verdict": verdict,
        "reach": reach_said(verdict.largest) if verdict.largest else "",
        "next_breach": _next_breach(verdict.largest, found.rows, now),
        "unseen": died_unseen(request.actor, request.environment),
        "failed_here": failed_here(request.actor, request.environment),
        "problem": problem,
        "tab": only.show,
        "tabs": [
            (LABELS[name], changed(request.GET, show=None if name == "failing" else name), name == only.show)
            for name in TABS
        ],
        "filtered": not problem and any([only.flow, only.state, only.failure_class, only.owner]),
        "selects": [flow_select(request), *_selects(request, only)],
        "is_part": wants_part(request),  # the sentence above the list is swapped with it
    }
    return render_page(
        request, "messaging/groups.html", "messaging/_groups.html", context, status=400 if problem else 200
    )


def _next_breach(largest: FailureGroup | None, rows: Sequence[FailureGroup], now: datetime) -> str:
    """Return when the flow of the largest has its next breach, in words; asked with the rows when it is one of them."""
    if largest is None:
        return ""
    known = next((one for one in rows if one.pk == largest.pk), largest)
    return breach_words(next_breach_of(known), now=now)


def _found(request: PageRequest, only: Filter) -> tuple[Page[FailureGroup], str]:
    try:
        cursor = request.GET.get("cursor") or None
        return find_groups(request.actor, environments=[request.environment], only=only, cursor=cursor), ""
    except Invalid as error:
        return Page([], None), str(error)


def _filter(request: PageRequest) -> Filter:
    return Filter(
        show=asked_text(request, "show", most=20) or "failing",
        flow=asked_text(request, "flow", most=300),
        state=asked_text(request, "state", most=20),
        failure_class=asked_text(request, "class", most=20),
        owner=asked_text(request, "owner", most=150),
    )


def _selects(request: PageRequest, only: Filter) -> list[dict[str, Any]]:
    owners = [
        ("", "every owner"),
        ("none", "nobody"),
        *((one, one) for one in owner_names(request.actor, request.environment)),
    ]
    return [
        {"name": "class", "label": "Class", "value": only.failure_class, "options": [("", "every class"), *((one, one) for one in CLASSES)]},
        {"name": "state", "label": "State", "value": only.state, "options": [("", "every state"), *((one, one) for one in STATES)]},
        {"name": "owner", "label": "Owner", "value": only.owner, "options": owners},
    ]  # fmt: skip


@require_safe
@page
def group(request: PageRequest, reference: str) -> HttpResponse:
    """One failure group: what it is, what to do, whom it touches, and its letters."""
    found = get_visible_group(request.actor, reference)
    if elsewhere := in_its_environment(request, found.environment):
        return elsewhere
    return render_page(request, "messaging/group.html", "messaging/_group_letters.html", group_context(request, found))


def group_context(request: PageRequest, found: FailureGroup) -> dict[str, Any]:
    """Return everything the page of a group shows."""
    actor, now = request.actor, timezone.now()
    may_operate = can_operate(actor, found.flow)
    parts = whole_of(found)
    sample = sample_of(actor, found, parts)
    hours = trends_of([found], now)[found.pk]
    systems, flows = systems_of(actor, found, parts), [found.flow.name]
    changes = changes_between(actor, [found.environment], since=now - timedelta(hours=24), until=now, systems=systems, flows=flows)  # fmt: skip
    before = changes_before(actor, found.environment, found.first_seen_at, systems=systems, flows=flows, most=2)
    runbook = runbook_of(found)
    return {
        "group": found,
        "sentence": sentence_of(found, now=now),
        "state_words": words_of_state(found),
        "class_words": meaning_of(found),
        "action": action_of(found),
        "suspects": suspects_of(before, found.first_seen_at),
        "runbook": runbook,
        "parts": parts,
        "sample": sample,
        "stack": render_stack(sample.error_stack) if sample and sample.error_stack else [],
        "chart": trend_chart(hours, marks_of(changes, now=now), now=now),
        "changes": [(change, did(change), label_of(change)) for change in changes[-SHOWN_CHANGES:]],
        "more_changes": max(0, len(changes) - SHOWN_CHANGES),
        "notes": notes_of(found, parts, cursor=request.GET.get("notes") or None),
        "older_notes": bool(request.GET.get("notes")),
        "history": history_of_group(found),
        "may_operate": may_operate,
        "offered": offered(found.state) if may_operate and found.merged_into_id is None else [],
        "owners": owners_of(found) if may_operate else [],
        "others": others_of_flow(actor, found) if may_operate and found.merged_into_id is None else [],
        "replayed_by": rules_of_group(actor, found),
        "recipes": recipes_of(actor, found),
        "messages_url": f"{reverse('messages')}?{urlencode({'q': f'group:{found.reference} status:failed'})}",
        "letters_url": f"{reverse('dead-letters')}?{urlencode({'q': f'group:{found.reference}'})}",
    } | _letters(request, found, may_operate=may_operate)


def _letters(request: PageRequest, found: FailureGroup, *, may_operate: bool) -> dict[str, Any]:
    waiting = all_of(Term("group", found.reference), Term("status", "waiting"))
    page = find_dead_letters(
        request.actor,
        environments=[found.environment],
        query=Query(waiting),
        limit=SHOWN_LETTERS,
        cursor=request.GET.get("cursor") or None,
    )
    open_count = found.letters - found.replaying
    return {
        "page": page,
        "rows": [
            (
                letter,
                name_of(letter.keys, letter.message_id or str(letter.pk)),
                may_operate and letter.state == DeadLetter.State.OPEN,
            )
            for letter in page.rows
        ],
        "tickable": may_operate and bool(page.rows),
        "plan_url": group_address(found.reference) if may_operate and page.rows else "",
        "undo_url": undo_group_address(found.reference)
        if may_operate and page.rows and newest_book(found.flow)
        else "",
        "undo_label": f"Plan a compensation of the {found.letters:,} that wait"
        if found.letters != 1
        else "Plan a compensation of the one that waits",
        "plan_label": f"Plan a replay of the {found.letters:,} that wait"
        if found.letters != 1
        else "Plan a replay of the one that waits",
        "all_label": f"Select all {open_count:,} that match"
        if open_count <= MOST_SELECTED
        else f"Select the {MOST_SELECTED} that wait longest, of {open_count:,}",
        "all_url": reverse("group-letters", args=[found.reference]),
    }


@require_safe
@page
def letters(request: PageRequest, reference: str) -> HttpResponse:
    """All that match, as one selection: leads to the page of the selected letters, with those that wait longest when they are many."""
    found = get_visible_group(request.actor, reference)
    do = request.GET.get("do", "replay")
    ids = longest_waiting(request.actor, found, most=MOST_SELECTED)
    if not ids:
        flash.info(request, f"No letter of {found.reference} is open.")
        return HttpResponseRedirect(reverse("group", args=[found.reference]))
    address = urlencode([*(("id", str(pk)) for pk in ids), ("do", do)])
    return HttpResponseRedirect(f"{reverse('dead-letters-selected')}?{address}")


def _note(request: PageRequest, found: FailureGroup) -> str:
    add_note(found, request.POST.get("text", ""), by=request.actor)
    return "Noted. It stays with the group."


def _state(happening: str) -> Callable[[PageRequest, FailureGroup], str]:
    def act(request: PageRequest, found: FailureGroup) -> str:
        now = change_state(found, happening, by=request.actor, reason=request.POST.get("reason", ""))
        return f"{now.reference} is {now.state}: {words_of_state(now)}."

    return act


def _assign(request: PageRequest, found: FailureGroup) -> str:
    said = request.POST
    now = assign_group(found, said.get("owner", ""), by=request.actor, reason=said.get("reason", ""))
    return f"{now.owner.username if now.owner else 'Nobody'} owns {now.reference} now."


def _runbook(request: PageRequest, found: FailureGroup) -> str:
    set_runbook(found, request.POST.get("runbook_url", ""), by=request.actor)
    return "The runbook is set."


def _merge(request: PageRequest, found: FailureGroup) -> str:
    target = get_visible_group(request.actor, request.POST.get("into", ""))
    merge_groups(target, [found], by=request.actor, reason=request.POST.get("reason", ""))
    return f"{target.reference} speaks for {found.reference} now: what comes with its fingerprint goes there."


def _apart(request: PageRequest, found: FailureGroup) -> str:
    take_apart(found, by=request.actor, reason=request.POST.get("reason", ""))
    return f"{found.reference} speaks for itself again."


ACTIONS: dict[str, Callable[[PageRequest, FailureGroup], str]] = {
    "acknowledge": _state("acknowledge"),
    "resolve": _state("resolve"),
    "reopen": _state("reopen"),
    "assign": _assign,
    "runbook": _runbook,
    "note": _note,
    "merge": _merge,
    "apart": _apart,
}


@require_POST
@page
def act(request: PageRequest, reference: str, action: str) -> HttpResponse:
    """Do one thing to a group; a refusal is 422 with the same page and the words."""
    found = get_visible_group(request.actor, reference)
    try:
        flash.success(request, ACTIONS[action](request, found))
    except ConsoleError as refusal:
        context = group_context(request, get_visible_group(request.actor, reference))
        context |= {"refused": action, "refusal": str(refusal), "text": request.POST.get("text", "")}
        status = 403 if isinstance(refusal, Forbidden) else 404 if isinstance(refusal, NotFound) else 422
        return render(request, "messaging/group.html", context, status=status)
    return seen(reverse("group", args=[found.reference]))
