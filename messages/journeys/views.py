"""A message, a journey, and the deep links that lead to them from tickets and chats."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from console.core.errors import NotFound
from console.core.render import render_page
from console.identity.access import visible_environments
from console.identity.models import Environment
from console.identity.pages import PageRequest, page
from messages.access import get_visible_message
from messages.dead_letters.queries import history_of_letters
from messages.journeys.present import errors_of, fall_of, log_of, route_of, ties_of, words_of
from messages.journeys.queries import journey_of_message, journey_of_trace, messages_with_id
from messages.journeys.stitch import Journey
from messages.models import Message
from messages.payloads.present import ShownPayload, shown_payload
from messages.payloads.render import render_stack
from messages.search.naming import name_of
from messages.search.queries import find_messages
from messages.search.query import Query, Term

KEY_NAME = re.compile(r"[A-Za-z_][\w.-]{0,63}", re.ASCII)
MOST_STEPS = 200


def in_its_environment(request: PageRequest, environment: Environment) -> HttpResponse | None:
    """Return the redirect that switches to the object's environment, so that the page never wears another one's colour."""
    if environment.pk == request.environment.pk:
        return None
    return HttpResponseRedirect(f"{request.path}?{urlencode({'environment': environment.slug})}")


@require_safe
@page
def message(request: PageRequest, pk: UUID) -> HttpResponse:
    """One message: where it is, why it stopped, its journey, its body."""
    found = get_visible_message(request.actor, pk)
    if elsewhere := in_its_environment(request, found.environment):
        return elsewhere
    journey = journey_of_message(request.actor, found, correct_clocks=not _as_reported(request))
    letters = [one for one in journey.dead_letters if one.message_uid == found.id]
    context = {
        "message": found,
        "name": name_of(found.keys, found.message_id),
        "letter": letters[-1] if letters else None,
        "stuck": next(
            (one for one in journey.dead_letters if one.state != "closed" and one.message_uid != found.id), None
        ),
        "payload": _payload(request, found, journey),
        "live": found.get_status_display() == "moving",
        **journey_context(journey, as_reported=_as_reported(request)),
    }
    return render_page(request, "messaging/message.html", "messaging/_message.html", context)


def _payload(request: PageRequest, found: Message, journey: Journey) -> ShownPayload | None:
    """Return the message's first stored body."""
    own = (step.event for step in journey.steps if step.event.message_uid == found.id and step.event.payload_on)
    event = next(own, None)
    if event is None:
        return None
    return shown_payload(request.actor, found.flow, event, event.id, event.payload_on, (event.destination,))


def _as_reported(request: PageRequest) -> bool:
    """Whether times are wanted as their senders reported them: `?clock=reported`."""
    return request.GET.get("clock") == "reported"


def journey_context(journey: Journey, *, as_reported: bool) -> dict[str, Any]:
    """Return what the parts of a journey need: waterfall, evidence, log, and every step with its attributes and error."""
    errors = errors_of(journey)
    return {
        "journey": journey,
        "route": route_of(journey),
        "fall": fall_of(journey),
        "ties": ties_of(journey),
        "corrections": [(one.system, words_of(one)) for one in journey.corrections],
        "as_reported": as_reported,
        "log": log_of(journey, history_of_letters(journey.dead_letters)),
        "steps": journey.steps[:MOST_STEPS],
        "errors": [(step, times, render_stack(step.event.error_stack or "")) for step, times in errors[-3:]],
        "more_errors": max(0, len(errors) - 3),
    }


@require_safe
@page
def journey(request: PageRequest, trace_id: str) -> HttpResponse:
    """The whole journey that a trace is part of: /j/<trace id>."""
    try:
        trace = UUID(trace_id)
    except ValueError:
        raise NotFound("a trace id has 32 hexadecimal digits") from None
    correct = not _as_reported(request)
    found = journey_of_trace(request.actor, [request.environment], trace, correct_clocks=correct)
    if not found.steps and not found.dead_letters:
        environments = list(visible_environments(request.actor))
        found = journey_of_trace(request.actor, environments, trace, correct_clocks=correct)
        if not found.steps and not found.dead_letters:
            raise NotFound("no event of this trace is here that you may see")
        if elsewhere := in_its_environment(
            request, (found.steps[0].event if found.steps else found.dead_letters[0]).environment
        ):
            return elsewhere
    keys: dict[str, str] = {}
    for step in found.steps:
        keys |= step.event.keys
    context = {
        "trace_id": trace.hex,
        "name": name_of(keys, trace.hex, what="Journey"),
        "live": False,
        **journey_context(found, as_reported=not correct),
    }
    return render(request, "messaging/journey.html", context)


@require_safe
@page
def by_message_id(request: PageRequest, message_id: str) -> HttpResponse:
    """/m/<message id>: the message, or a choice when several have this id."""
    found = messages_with_id(request.actor, list(visible_environments(request.actor)), message_id)
    return _one_or_choice(request, found, f"message id {message_id[:120]}")


@require_safe
@page
def by_key(request: PageRequest, name: str, value: str) -> HttpResponse:
    """/k/<key name>/<value>: the message with this business number, or a choice."""
    value = value.replace("\x00", "")
    found: list[Message] = []
    if KEY_NAME.fullmatch(name) and 0 < len(value) <= 256:
        environments = list(visible_environments(request.actor))
        found = find_messages(request.actor, environments=environments, query=Query(Term(f"key.{name}", value))).rows
    return _one_or_choice(request, found, f"{name[:64]} {value[:120]}")


def _one_or_choice(request: PageRequest, found: list[Message], asked: str) -> HttpResponse:
    if not found:
        raise NotFound(f"no message with {asked} is here that you may see")
    if len(found) == 1:
        target = reverse("message", args=[found[0].id])
        if found[0].environment_id != request.environment.pk:
            target += "?" + urlencode({"environment": found[0].environment.slug})
        return HttpResponseRedirect(target)
    rows = [(one, name_of(one.keys, one.message_id)) for one in found]
    return render(
        request,
        "messaging/choice.html",
        {"rows": rows, "asked": asked, "several": len({one.environment_id for one in found}) > 1},
    )
