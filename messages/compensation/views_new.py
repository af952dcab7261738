"""Proposing a compensation: what would be undone is shown before anything is stored, with the form that freezes it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from console.core.errors import ConsoleError, Invalid
from console.core.ids import derived_uuid
from console.identity.actor import Actor
from console.identity.models import Environment
from console.identity.pages import PageRequest, asked_uuid, page
from messages.access import get_visible_dead_letter
from messages.catalog.views import seen
from messages.compensation.access import can_change_book, check_can_compensate
from messages.compensation.books import newest_book, read_book
from messages.compensation.failing import is_on_its_way
from messages.compensation.journey import Target
from messages.compensation.present import book_url
from messages.compensation.proposal import proposal_of
from messages.compensation.proposing import (
    AlreadyOpen,
    check_waits,
    flow_of,
    propose,
    target_of_letter,
    target_of_message,
)
from messages.compensation.queries import compensations_of, find_proposed
from messages.compensation.states import ENDED
from messages.journeys.views_links import in_its_environment
from messages.models import Compensation, CompensationBook, DeadLetter, Flow, Message
from messages.search.naming import name_of
from messages.told import get_message

PAGE = "messaging/compensation_new.html"


class ProposalForm(forms.Form):
    """Why, and what a step that fails does to the others."""

    reason = forms.CharField(
        max_length=1000, label="Why", help_text="Kept on the compensation and in the audit list, with your name.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autofocus": True, "placeholder": "billing refused it for good"}),
    )  # fmt: skip
    ticket = forms.CharField(
        max_length=100, required=False, label="Ticket",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "placeholder": "INC-2291"}),
    )  # fmt: skip
    on_failure = forms.ChoiceField(
        label="When a step fails",
        choices=[
            (Compensation.OnFailure.STOP, "stop, and wait for a person"),
            (Compensation.OnFailure.CONTINUE, "go on with those that do not wait for it"),
        ],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the address asks to undo, and where it was asked."""

    target: Target
    back: str
    title: str


def wanted_of(request: PageRequest) -> Wanted:
    """Return what `?letter=` or `?message=` names. Raises Invalid, NotFound."""
    letter, message = asked_uuid(request, "letter"), asked_uuid(request, "message")
    if letter is not None:
        dead = get_visible_dead_letter(request.actor, letter)
        return _wanted(target_of_letter(dead), dead, reverse("dead-letter", args=[letter]))
    if message is not None:
        seen = get_message(request.actor, message)
        return _wanted(target_of_message(seen), seen, reverse("message", args=[message]))
    raise Invalid("say what to undo: open a dead letter or a message, and press Compensate there")


def _wanted(target: Target, asked: DeadLetter | Message, back: str) -> Wanted:
    """asked: with the keys that its reader may know."""
    name = name_of(asked.keys, asked.message_id or "")
    return Wanted(target=target, back=back, title=f"{name.word[:1].lower()}{name.word[1:]} {name.number}")


@require_http_methods(["GET", "HEAD", "POST"])
@page
def new(request: PageRequest) -> HttpResponse:
    """Say what had happened and what would undo it, and ask why; the post freezes it. Nothing is sent before it is started."""
    wanted = wanted_of(request)
    flow = flow_of(wanted.target)
    if elsewhere := in_its_environment(request, flow.environment):
        return elsewhere
    check_can_compensate(request.actor, flow)
    if request.method != "POST":
        return _answer(request, wanted, flow, ProposalForm(), secrets.token_urlsafe(12))
    form, token = ProposalForm(request.POST), request.POST.get("token", "").replace("\x00", "")[:40]
    status = 422
    if form.is_valid():
        uid = derived_uuid("waybill proposal", request.user.pk or 0, token) if token else None
        try:
            made = propose(wanted.target, by=request.actor, uid=uid, **form.cleaned_data)
        except AlreadyOpen as refusal:
            if uid and (before := find_proposed(request.actor, uid)):
                return seen(reverse("compensation", args=[before.reference]))  # a second press of the same button
            form.add_error(None, str(refusal))
        except ConsoleError as refusal:
            form.add_error(None, str(refusal))
            status = 403 if refusal.status == 403 else 422
        else:
            return seen(reverse("compensation", args=[made.reference]))
    return _answer(request, wanted, flow, form, token, status=status)


def _answer(
    request: PageRequest, wanted: Wanted, flow: Flow, form: ProposalForm, token: str, *, status: int = 200
) -> HttpResponse:
    version = newest_book(flow)
    context: dict[str, Any] = {
        "wanted": wanted,
        "flow": flow,
        "form": form,
        "token": token,
        "book": version,
        "book_url": book_url(flow.pk),
        "may_change_book": can_change_book(request.actor, flow),
        "open": _open(request.actor, flow.environment, wanted.target),
    }
    if version is not None:
        context |= _shown(request.actor, flow, version, wanted)
    return render(request, PAGE, context, status=status)


def _open(actor: Actor, environment: Environment, target: Target) -> Compensation | None:
    found = compensations_of(
        actor, environment.pk,
        uids=[target.message.id] if target.message else [], letters=[target.letter.pk] if target.letter else [],
    )  # fmt: skip
    return next((one for one in found if one.state not in ENDED), None)


def _shown(actor: Actor, flow: Flow, version: CompensationBook, wanted: Wanted) -> dict[str, Any]:
    try:
        check_waits(wanted.target)
        rows = proposal_of(actor, flow, read_book(version), wanted.target)
    except ConsoleError as refusal:
        return {"problem": str(refusal)}
    left = [row for row in rows if not row.one.settled]
    return {
        "rows": rows,
        "left": left,
        "problems": [row for row in left if row.one.problem],
        "irreversible": [row for row in left if row.irreversible],
        "on_its_way": is_on_its_way(wanted.target),
        "needs_approval": bool(version.content.get("needs_approval")) or flow.approve_above == 0,
    }
