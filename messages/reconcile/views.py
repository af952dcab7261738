"""Pages of reconciliations: the list, a new one, one with its sets, a set's keys, and the whole as a CSV."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console.audit.queries import object_history
from console.core.errors import ConsoleError, Forbidden
from console.core.render import render_page, wants_part
from console.identity.pages import PageRequest, page
from messages.access import can_operate, get_visible_flow_named
from messages.catalog.queries import flow_names, system_names
from messages.catalog.views import seen
from messages.journeys.views import in_its_environment
from messages.masking.rules import MARK
from messages.models import DeadLetter, ReconciledKey, Reconciliation
from messages.plans.asking import query_address
from messages.reconcile.access import get_visible_reconciliation
from messages.reconcile.export import csv_of
from messages.reconcile.forms import ListForm, ReconciliationForm
from messages.reconcile.queries import (
    as_shown,
    find_keys,
    find_reconciliations,
    has_letters,
    letters_of_keys,
    out_of_sight,
)
from messages.reconcile.services import (
    State,
    begin_reconciliation,
    cancel_reconciliation,
    compare_again,
    receive_list,
    remove_reconciliation,
)
from messages.reconcile.sets import KeySet, query_of, set_named, set_of
from messages.search.keys import known_keys

PAGE, PART = "messaging/reconciliation.html", "messaging/_reconciliation.html"
AT_WORK = (State.RECEIVING, State.QUEUED, State.RUNNING)
NUMBERS = {
    "arrived": "arrived", "processed": "processed", "failed": "failed", "on-the-way": "moving", "never-seen": "never",
    "twice": "twice", "repeated": "repeated", "not-on-the-list": "unlisted",
}  # fmt: skip


def numbers_of(one: Reconciliation) -> list[tuple[KeySet, int]]:
    """Return every set with how many keys it has; of those twice on the list, the lines that are too many."""
    return [(set_of(one, slug), getattr(one, name)) for slug, name in NUMBERS.items()]


@require_safe
@page
def reconciliations(request: PageRequest) -> HttpResponse:
    """Reconciliations of this environment, newest first."""
    found = find_reconciliations(
        request.actor, environments=[request.environment], cursor=request.GET.get("cursor") or None
    )
    context = {"page": found, "tab": "lists"}
    return render_page(request, "messaging/reconciliations.html", "messaging/_reconciliations.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def new(request: PageRequest) -> HttpResponse:
    """What is compared with what: flow, key, period and the list."""
    flows = flow_names(request.actor, request.environment)
    if request.method != "POST":
        form = ReconciliationForm(flows=flows, flow=request.GET.get("flow", ""))
        return render(request, "messaging/reconciliation_new.html", _new(request, form))
    form = ReconciliationForm(request.POST, request.FILES, flows=flows)
    if form.is_valid():
        made = None
        try:
            flow = get_visible_flow_named(request.actor, request.environment, form.cleaned_data["flow"])
            made = begin_reconciliation(flow, form.said(), by=request.actor)
            receive_list(made, form.chunks(), column=form.cleaned_data["column"], by=request.actor)
        except Forbidden as refusal:
            form.add_error(None, str(refusal))
            return render(request, "messaging/reconciliation_new.html", _new(request, form), status=403)
        except ConsoleError as refusal:
            form.add_error(None, str(refusal))
            if made is not None:
                remove_reconciliation(made, by=request.actor, reason="its list was refused")
        else:
            flash.success(request, "The list is here and being compared.")
            return seen(reverse("reconciliation", args=[made.pk]))
    return render(request, "messaging/reconciliation_new.html", _new(request, form), status=422)


def _new(request: PageRequest, form: ReconciliationForm) -> dict[str, Any]:
    return {
        "form": form,
        "key_names": sorted(known_keys(request.actor, [request.environment]))[:200],
        "system_names": system_names(request.actor, request.environment),
    }


@require_safe
@page
def reconciliation(request: PageRequest, pk: UUID) -> HttpResponse:
    """One reconciliation: how far it is, its sets with what each means; the part polls itself while it is compared."""
    one = get_visible_reconciliation(request.actor, pk)
    if elsewhere := in_its_environment(request, one.environment):
        return elsewhere
    return render_page(request, PAGE, PART, _context(request, one) | {"is_part": wants_part(request)})


def _context(request: PageRequest, one: Reconciliation) -> dict[str, Any]:
    may_operate = can_operate(request.actor, one.flow)
    return {
        "one": one,
        "sets": numbers_of(one),
        "live": one.state in AT_WORK,
        "percent": 100 * one.steps_done // one.steps if one.steps else 0,
        "may_operate": may_operate,
        "form": ListForm() if may_operate and one.state not in AT_WORK else None,
        "history": list(object_history("reconciliation", str(one.pk)).order_by("-id")[:20]),
    }


@require_POST
@page
def receive(request: PageRequest, pk: UUID) -> HttpResponse:
    """Another list in the place of the one that there is."""
    one = get_visible_reconciliation(request.actor, pk)
    form, status = ListForm(request.POST, request.FILES), 422
    if form.is_valid():
        try:
            receive_list(one, form.chunks(), column=form.cleaned_data["column"], by=request.actor)
        except ConsoleError as refusal:
            form.add_error(None, str(refusal))
            status = 403 if refusal.status == 403 else 422
        else:
            flash.success(request, "The list is here and being compared.")
            return seen(reverse("reconciliation", args=[pk]))
    context = _context(request, get_visible_reconciliation(request.actor, pk))
    if context["form"] is None:
        context["refusal"] = "; ".join(str(one) for one in form.non_field_errors())
    return render(request, PAGE, context | {"form": form if context["may_operate"] else None}, status=status)


ACTIONS = {"compare": (compare_again, "It is compared again."), "cancel": (cancel_reconciliation, "It is cancelled.")}


@require_POST
@page
def act(request: PageRequest, pk: UUID, action: str) -> HttpResponse:
    """Compare again or cancel; a refusal is 422 with the same page and the words."""
    one = get_visible_reconciliation(request.actor, pk)
    do, words = ACTIONS[action]
    try:
        do(one, by=request.actor)
    except ConsoleError as refusal:
        context = _context(request, get_visible_reconciliation(request.actor, pk)) | {"refusal": str(refusal)}
        return render(request, PAGE, context, status=403 if refusal.status == 403 else 422)
    flash.success(request, words)
    return seen(reverse("reconciliation", args=[pk]))


@require_POST
@page
def remove(request: PageRequest, pk: UUID) -> HttpResponse:
    one = get_visible_reconciliation(request.actor, pk)
    try:
        remove_reconciliation(one, by=request.actor, reason=request.POST.get("reason", ""))
    except ConsoleError as refusal:
        status = 403 if refusal.status == 403 else 422
        return render(request, PAGE, _context(request, one) | {"refusal": str(refusal)}, status=status)
    flash.success(request, f"“{one.name}” and its list are removed.")
    return seen(reverse("reconciliations"))


@require_safe
@page
def keys(request: PageRequest, pk: UUID, slug: str) -> HttpResponse:
    """The keys of one set; failed ones with their dead letters, to be ticked and acted on."""
    one = get_visible_reconciliation(request.actor, pk)
    key_set = set_of(one, slug)
    if elsewhere := in_its_environment(request, one.environment):
        return elsewhere
    found = find_keys(one, key_set, cursor=request.GET.get("cursor") or None)
    of_messages = slug in ("failed", "twice", "arrived")
    letters = letters_of_keys(request.actor, one, [row for row in found.rows if of_messages or row.letter_id])
    rows, hidden = [], out_of_sight(request.actor, found.rows)
    for row in as_shown(request.actor, one, found.rows):
        letter = letters.get(row.decided_by) if row.decided_by else None
        may_tick = (
            letter is not None and letter.state == DeadLetter.State.OPEN and can_operate(request.actor, letter.flow)
        )
        address = "" if row.message_uid in hidden else _address(one, row)
        rows.append((row, address, letter, may_tick))
    any_letter = bool(letters) or (slug == "failed" and bool(found.rows) and has_letters(request.actor, one, key_set))
    context = {
        "one": one,
        "set": key_set,
        "count": getattr(one, NUMBERS[slug]),
        "page": found,
        "rows": rows,
        "tickable": any(may_tick for *_, may_tick in rows),
        "messages_url": _search("messages", query_of(one, key_set)) if slug != "never-seen" else "",
        "plan_url": query_address(query_of(one, key_set))
        if slug == "failed" and any_letter and can_operate(request.actor, one.flow)
        else "",
        "letters_url": _search("dead-letters", query_of(one, key_set)) if any_letter else "",
    }
    return render_page(request, "messaging/reconciliation_keys.html", "messaging/_reconciliation_keys.html", context)


def _search(name: str, q: str) -> str:
    return f"{reverse(name)}?{urlencode({'q': q})}"


def _address(one: Reconciliation, row: ReconciledKey) -> str:
    """Return where a key leads: to its messages, or to the one that decided where no deep link can name it; "" for one never seen."""
    if row.letter_id is not None:
        return reverse("dead-letter", args=[row.letter_id])
    if row.message_uid is None:
        return ""
    as_path = (one.key_name + row.key).isprintable() and not {".", ".."} & {one.key_name, *row.key.split("/")}
    if row.messages > 1 and row.key != MARK and as_path and "/" not in one.key_name:
        return reverse("k", args=[one.key_name, row.key])
    return reverse("message", args=[row.message_uid])


@require_safe
@page
def csv(request: PageRequest, pk: UUID) -> HttpResponse:
    """The whole, or the set `?set=`, as a CSV."""
    one = get_visible_reconciliation(request.actor, pk)
    slug = request.GET.get("set", "")
    return cast(HttpResponse, csv_of(request.actor, one, set_named(slug) if slug else None))
