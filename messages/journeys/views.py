"""The page of a message and the page of a journey."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from console.core.paging import decode_time_cursor, encode_cursor
from console.core.render import render_page
from console.identity.access import visible_environments
from console.identity.pages import PageRequest, page
from messages.access import can_read_payload
from messages.compensation.saga import offered_for, saga_context
from messages.dead_letters.queries import history_of_letters
from messages.groups.queries import groups_that_speak
from messages.journeys.bodies import bodies_of
from messages.journeys.fold import Fold
from messages.journeys.letters import is_one_failure
from messages.journeys.links import parse_trace
from messages.journeys.present import errors_of, fall_of, log_of, route_of, steps_shown, ties_of, words_of
from messages.journeys.queries import environments_of_trace, journey_of_message, journey_of_trace, steps_of_fold
from messages.journeys.stitch import Journey, Step
from messages.journeys.views_links import (
    asked_for_trace,
    in_its_environment,
    nothing_here,
    one_environment_or_choice,
)
from messages.masking.shown import keys_shown
from messages.models import DeadLetter, Message
from messages.payloads.present import ShownPayload, shown_payload
from messages.payloads.render import render_stack
from messages.search.naming import name_of
from messages.told import get_message, is_partly_hidden

OPENED = 50  # steps of a fold on a page
MOST_STEPS, ERRORS_IN_FULL = 200, 3


@require_safe
@page
def message(request: PageRequest, pk: UUID) -> HttpResponse:
    """One message: where it is, why it stopped, its journey, its body."""
    found = get_message(request.actor, pk)
    if elsewhere := in_its_environment(request, found.environment):
        return elsewhere
    journey = journey_of_message(request.actor, found, correct_clocks=not _as_reported(request))
    letters = [one for one in journey.dead_letters if one.message_uid == found.id]
    nameless = [(one, why) for one, why in journey.letters if why and is_one_failure(one, found)]
    groups = [letters[-1].group_id if letters and found.group_id is None else found.group_id]
    context = {
        "message": found,
        "name": name_of(found.keys, found.message_id),
        "keys": keys_shown(request.actor, found.environment_id, found.keys),
        "letter": letters[-1] if letters else None,
        "stuck": next((one for one in journey.dead_letters if _is_of_another(one, found, journey)), None),
        "nameless": next((pair for pair in nameless if pair[0].state != "closed"), nameless[-1] if nameless else None),
        "groups": groups_that_speak(request.actor, groups),
        "failed_elsewhere": not letters and _failed_elsewhere(request, found, journey),
        "payload": _payload(request, found, journey),
        "live": found.get_status_display() == "moving" and not journey.folds,
        **journey_context(request, journey, as_reported=_as_reported(request)),
        **offered_for(request.actor, message=found),
    }
    return render_page(request, "messaging/message.html", "messaging/_message.html", context)


def _is_of_another(letter: DeadLetter, found: Message, journey: Journey) -> bool:
    """Whether a letter waits of what became of the message further on; a number alone does not tell."""
    return letter.state != "closed" and letter.message_uid != found.id and letter.pk not in journey.tied


def _failed_elsewhere(request: PageRequest, found: Message, journey: Journey) -> bool:
    """Whether the message failed in a flow that the reader may not see: nothing that is shown tells of it."""
    told = any(step.outcome == "error" and step.event.message_uid in (found.id, None) for step in journey.steps)
    silent = found.status > 1 and not (found.error_message or found.error_type or told)
    return silent and is_partly_hidden(request.actor, found)


def _payload(request: PageRequest, found: Message, journey: Journey) -> ShownPayload | None:
    """Return the first body of the message whose flow lets the reader read it, else the words why the first one is not shown.

    The flow of an event is that of its own destination: it may be another team's than the message's.
    """
    own = [step.event for step in journey.steps if step.event.message_uid == found.id and step.event.payload_on]
    event = next((one for one in own if can_read_payload(request.actor, one.flow)), own[0] if own else None)
    if event is None:
        return None
    return shown_payload(request.actor, event.flow, event, event.id, event.payload_on, (event.destination,))


def _as_reported(request: PageRequest) -> bool:
    """Whether times are wanted as their senders reported them: `?clock=reported`."""
    return request.GET.get("clock") == "reported"


def journey_context(request: PageRequest, journey: Journey, *, as_reported: bool) -> dict[str, Any]:
    """Return what the parts of a journey need: waterfall, evidence, log, and every step with its attributes and error."""
    errors = errors_of(journey)[-ERRORS_IN_FULL:]
    route = route_of(journey)
    opens = "?clock=reported&open=" if as_reported else "?open="
    return {
        "journey": journey,
        "route": route,
        "fall": fall_of(journey, opens=opens),
        "ties": ties_of(journey),
        "corrections": [(one.system, words_of(one)) for one in journey.corrections],
        "as_reported": as_reported,
        "log": log_of(journey, history_of_letters(journey.dead_letters)),
        "steps": steps_shown(journey)[:MOST_STEPS],
        "opened": opened_fold(request, journey),
        "opens": opens,
        "bodies": bodies_of(journey, partial(can_read_payload, request.actor)),
        "errors": [(step, times, render_stack(step.event.error_stack or "")) for step, times in errors],
        "more_errors": journey.errors - len(errors),
        **saga_context(request.actor, request.environment.pk, journey, route),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A fold as the page unfolds it: some of its steps, and the address of the next ones."""

    fold: Fold
    steps: list[Step]
    next: str | None


def opened_fold(request: PageRequest, journey: Journey) -> Opened | None:
    """Return the fold that the address opens; None for a whole journey, and for a fold that is not there (any more)."""
    fold = next((one for one in journey.folds if one.ref == request.GET.get("open")), None)
    if fold is None:
        return None
    after = request.GET.get("after")
    position = decode_time_cursor(after) if after else None
    steps, following = steps_of_fold(request.actor, journey, fold.ref, after=position, limit=OPENED)
    return Opened(fold=fold, steps=steps, next=encode_cursor(*following) if following else None)


@require_safe
@page
def journey(request: PageRequest, trace_id: str) -> HttpResponse:
    """The whole journey that a trace is part of: /j/<trace id>."""
    trace = parse_trace(trace_id)
    if trace is None:
        return nothing_here(request, asked_for_trace(request.actor, trace_id, None))
    correct = not _as_reported(request)
    found = journey_of_trace(request.actor, [request.environment], trace, correct_clocks=correct)
    if not found.steps and not found.dead_letters:
        elsewhere = environments_of_trace(request.actor, list(visible_environments(request.actor)), trace)
        if not elsewhere:
            return nothing_here(request, asked_for_trace(request.actor, trace_id, trace))
        return one_environment_or_choice(request, elsewhere, trace)
    keys: dict[str, str] = {}
    for step in found.steps:
        keys |= step.event.keys
    context = {
        "trace_id": trace.hex,
        "name": name_of({} if found.folds else keys, trace.hex, what="Journey"),
        "live": False,
        **journey_context(request, found, as_reported=not correct),
    }
    return render(request, "messaging/journey.html", context)
