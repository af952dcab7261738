"""Who may see compensations and act on them: whoever sees, or operates, the flow of the message that failed."""

from __future__ import annotations

import re

from django.db.models import QuerySet

from console.core.errors import Forbidden
from console.identity.actor import Actor
from messages.access import can_change_flow, can_operate, can_read_payload, get_one, of_visible_flows
from messages.models import Compensation, CompensationBook, CompensationStep, Flow

REFERENCE = re.compile(r"(?:c-?)?([1-9]\d{0,17})", re.ASCII | re.IGNORECASE)


def number_of(text: str) -> int | None:
    """Return the compensation's number in `C-12`, `c12` or `12`, None for what is no reference."""
    match = REFERENCE.fullmatch(text.strip())
    return int(match[1]) if match else None


def visible_compensations(actor: Actor) -> QuerySet[Compensation]:
    rows = Compensation.objects.select_related(
        "environment", "flow__team", "flow__environment", "book", "dead_letter__system"
    )
    return of_visible_flows(rows, actor)


def get_visible_compensation(actor: Actor, reference: str) -> Compensation:
    return get_one(visible_compensations(actor), "compensation", pk=number_of(reference) or 0)


def get_visible_step(actor: Actor, compensation: Compensation, ordinal: int) -> CompensationStep:
    """Return one step of a compensation that the caller fetched for this actor."""
    return get_one(CompensationStep.objects.filter(compensation=compensation), "step", ordinal=ordinal)


def can_compensate(actor: Actor, flow: Flow) -> bool:
    """Whether the actor may propose, start, hold and end compensations of this flow, and act on their steps."""
    return can_operate(actor, flow)


def check_can_compensate(actor: Actor, flow: Flow) -> None:
    if not can_compensate(actor, flow):
        raise Forbidden(f"only operators of {flow.name} may do this; you may look")


def can_change_book(actor: Actor, flow: Flow) -> bool:
    """Whether the actor may write the flow's book: it says what the console sends, so its administrators do."""
    return can_change_flow(actor, flow)


def check_can_change_book(actor: Actor, flow: Flow) -> None:
    if not can_change_book(actor, flow):
        raise Forbidden(f"only administrators of {flow.name} may change its compensation book")


def can_read_actions(actor: Actor, flow: Flow) -> bool:
    """Whether the actor may read what a step sends: it holds values of bodies, perhaps of other flows, so as with bodies."""
    return can_read_payload(actor, flow)


def get_visible_book(actor: Actor, flow: Flow, version: int | None = None) -> CompensationBook:
    """Return a version of the book of a flow that the caller fetched for this actor, the newest without one."""
    books = CompensationBook.objects.filter(flow=flow).order_by("-version")
    return get_one(books if version is None else books.filter(version=version), "compensation book")
