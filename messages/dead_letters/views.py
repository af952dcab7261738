"""Dead letters: the list, one letter, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from console.core.errors import ConsoleError, Invalid, NotFound
from console.core.paging import Page
from console.core.render import render_done, render_page
from console.identity.actor import Actor
from console.identity.pages import PageRequest, asked_text, page
from messages.access import can_operate, can_read_payload, get_visible_dead_letter
from messages.changes.present import suspects_of
from messages.changes.queries import changes_before
from messages.compensation.saga import offered_for, saga_context
from messages.dead_letters.gone import RESTORABLE
from messages.dead_letters.queries import history_of_letters, later_of, replays_of
from messages.dead_letters.services import discard_dead_letter, restore_dead_letter
from messages.groups.reference import reference_of
from messages.journeys.bodies import bodies_of
from messages.journeys.present import (
    fall_of,
    in_flight,
    log_of,
    proof_url,
    route_of,
    steps_shown,
    ties_of,
    words_of,
)
from messages.journeys.queries import journey_of_dead_letter
from messages.journeys.stitch import Journey
from messages.journeys.views_links import in_its_environment
from messages.masking.queries import masked_words
from messages.models import DeadLetter, Replay
from messages.payloads.present import shown_payload
from messages.payloads.render import render_stack
from messages.plans.asking import FILTERS, STATES, letter_address, plan_all, state_asked
from messages.plans.stops import standing_stops, why_replay_waits
from messages.replay.hints import hints_of
from messages.replay.limits import why_flow_forbids
from messages.replay.outgoing import may_expire
from messages.replay.services import hindrance_of, mark_processed, request_replay, send_again
from messages.saved.tabs import saved_tabs
from messages.search.asking import MOST_ASKED, Asked, asked_of
from messages.search.naming import name_of
from messages.search.queries import find_dead_letters
from messages.search.quoting import quoted
from messages.search.slips import slips_of
from messages.search.views import changed, flow_select, problem_context

LABELS = {"waiting": "Waiting", "closed": "Closed", "all": "All"}
SOON = timedelta(minutes=2)  # a receiver that is alive proves within seconds; after that the page asks less often


@require_safe
@page
def dead_letters(request: PageRequest) -> HttpResponse:
    """Dead letters of this environment, newest harvest first: those that wait, unless another tab is chosen."""
    found: Page[DeadLetter] = Page([], None)
    tab, asked, problem = "", None, None
    try:
        tab = state_asked(request)
        asked = asked_of(request, FILTERS, "dead-letters", always=STATES[tab])
        found = find_dead_letters(
            request.actor,
            environments=[request.environment],
            query=asked.query,
            window=asked.window,
            cursor=request.GET.get("cursor") or None,
        )
    except Invalid as error:
        problem = error
    context = _context(request, found, asked, tab) | problem_context(request, problem)
    context |= saved_tabs(request, "dead-letters", asked)
    context |= plan_all(request, asked, tab, found)
    return render_page(
        request,
        "messaging/dead_letters.html",
        "messaging/_dead_letters.html",
        context,
        status=problem.status if problem else 200,
    )


def _context(request: PageRequest, found: Page[DeadLetter], asked: Asked | None, tab: str) -> dict[str, Any]:
    reasons = [("", "every reason"), *((code.value, code.value.replace("_", " ")) for code in DeadLetter.ReasonCode)]
    return {
        "page": found,
        "rows": [
            (letter, name_of(letter.keys, letter.message_id or str(letter.pk)), _may_tick(request.actor, letter))
            for letter in found.rows
        ],
        "tabs": [
            (label, changed(request.GET, state=None if name == "waiting" else name), name == tab)
            for name, label in LABELS.items()
        ],
        "tab": tab,
        "stops": standing_stops(request.actor, request.environment),
        "tickable": any(_may_tick(request.actor, letter) for letter in found.rows),
        "q": asked_text(request, "q", most=MOST_ASKED),
        "filtered": asked is None or asked.filtered,
        "slips": slips_of(request.actor, [request.environment], asked.query, "dead-letters")
        if asked and not found.rows
        else [],
        "selects": [
            flow_select(request),
            {"name": "reason", "label": "Reason", "value": asked_text(request, "reason", most=30), "options": reasons},
        ],
    }


def _may_tick(actor: Actor, letter: DeadLetter) -> bool:
    """Whether the row can be ticked: something can be done to it, by this reader."""
    return letter.state == DeadLetter.State.OPEN and can_operate(actor, letter.flow)


@require_safe
@page
def dead_letter(request: PageRequest, pk: UUID) -> HttpResponse:
    """One dead letter; the part polls itself while a replay is on its way."""
    letter = get_visible_dead_letter(request.actor, pk)
    if elsewhere := in_its_environment(request, letter.environment):
        return elsewhere
    return render_page(
        request, "messaging/dead_letter.html", "messaging/_dead_letter.html", letter_context(request.actor, letter)
    )


def letter_context(actor: Actor, letter: DeadLetter) -> dict[str, Any]:
    """Return everything the page of a letter shows."""
    journey = journey_of_dead_letter(actor, letter)
    replays = replays_of(letter)
    replay = replays[0] if replays else None
    known = {step.event.id for step in journey.steps}
    hindrance = hindrance_of(letter, actor)
    route = route_of(journey)
    context = {
        "letter": letter,
        "name": name_of(letter.keys, letter.message_id or str(letter.pk)),
        "replay_title": f"Send it to {letter.origin} again, in {letter.environment.name}",
        "similar_url": _similar(letter),
        "plan_one_url": letter_address(letter.pk),
        "may_operate": can_operate(actor, letter.flow),
        "hindrance": hindrance,
        "flow_hinders": bool(hindrance) and hindrance == why_flow_forbids(letter, actor),
        "held": why_replay_waits(replay) if replay and replay.state == Replay.State.QUEUED else "",
        "replays": replays,
        "replay": replay,
        "may_expire": may_expire(letter),
        "proof_url": proof_url(replay, known) if replay and replay.proof_event_id else "",
        "proof_system": _proof_system(replay, journey.steps),
        "later": later_of(actor, letter),
        "suspects": _suspects(actor, letter, {step.system for step in journey.steps}),
        "live": in_flight(replay),
        "every": _every(replay, journey),
        "journey": journey,
        "route": route,
        "masked": masked_words(letter.masked),
        "reason_words": letter.reason_code.replace("_", " "),
        "fall": fall_of(journey, letter=letter, opens=_opens(letter, journey)),
        "opens": _opens(letter, journey),
        "bodies": bodies_of(journey, partial(can_read_payload, actor)),
        "ties": ties_of(journey),
        "corrections": [(one.system, words_of(one)) for one in journey.corrections],
        "steps": steps_shown(journey),
        "log": log_of(journey, history_of_letters([letter]), letter=letter),
        "payload": shown_payload(
            actor, letter.flow, letter, letter.pk, letter.payload_on, (letter.origin, letter.queue)
        ),
        "stack": render_stack(letter.error_stack) if letter.error_stack else [],
        **offered_for(actor, letter=letter),
        **saga_context(actor, letter.environment_id, journey, route),
    }
    return {**context, "offered": _offered(context)}


def _every(replay: Replay | None, journey: Journey) -> str:
    """Return how often the page asks while a replay is under way; a journey of thousands costs half a second each time."""
    if journey.folds:
        return "30s"
    return "2s" if replay and timezone.now() - replay.created_at < SOON else "10s"


def _opens(letter: DeadLetter, journey: Journey) -> str:
    """Return the address that opens a fold of its journey, without its ref: the journey's own page does."""
    page = reverse("j", args=[letter.trace_id.hex]) if letter.trace_id else ""
    if not page and letter.message_uid:
        page = reverse("message", args=[letter.message_uid])
    return f"{page}?open="


def _suspects(actor: Actor, letter: DeadLetter, systems: set[str]) -> list[dict[str, str]]:
    """Return what changed on its flow and systems in the hours before it failed, the latest first."""
    at = letter.first_failed_at or letter.failed_at
    systems = systems | ({letter.system.name} if letter.system else set())
    found = changes_before(actor, letter.environment, at, systems=systems, flows=[letter.flow.name], most=2)
    return suspects_of(found, at)


def _similar(letter: DeadLetter) -> str:
    """Return the address of its failure group; of the letters of the same flow and error before the sweep gave it one."""
    if letter.group_id is not None:
        return reverse("group", args=[reference_of(letter.group_id)])
    q = f"flow:{quoted(letter.flow.name)}" + (
        f" class:{quoted(letter.error_root_type)}" if letter.error_root_type else ""
    )
    return f"{reverse('dead-letters')}?{urlencode({'q': q})}"


def _proof_system(replay: Replay | None, steps: Any) -> str:
    """Return the name of the system whose event proved the replay, when the journey has it."""
    if replay is None or replay.proof_event_id is None:
        return ""
    return next((step.system for step in steps if step.event.id == replay.proof_event_id), "")


Action = Callable[[DeadLetter, Actor, Mapping[str, str]], object]  # the last: what was sent with the form
ACTIONS: dict[str, Action] = {
    "replay": lambda letter, by, said: request_replay(letter, by=by, reason=_why(said), expiry=said.get("expiry", "")),
    "discard": lambda letter, by, said: discard_dead_letter(letter, by=by, reason=_why(said)),
    "restore": lambda letter, by, said: restore_dead_letter(letter, by=by, reason=_why(said)),
    "send-again": lambda letter, by, said: send_again(_last_replay(letter), by=by, reason=_why(said)),
    "mark-processed": lambda letter, by, said: mark_processed(_last_replay(letter), by=by, reason=_why(said)),
}


def _why(said: Mapping[str, str]) -> str:
    return said.get("reason", "")


def _last_replay(letter: DeadLetter) -> Replay:
    replays = replays_of(letter)
    if not replays:
        raise NotFound("this letter was never replayed")
    return replays[0]


def _offered(context: dict[str, Any]) -> set[str]:
    """Return the actions whose forms the page shows: a refusal stands in its form, else above the page."""
    letter, replay = context["letter"], context["replay"]
    if not context["may_operate"]:
        return set()
    if letter.state == DeadLetter.State.OPEN:
        return {"discard"} if context["hindrance"] else {"discard", "replay"}
    if letter.resolution in RESTORABLE:
        return {"restore"}
    if replay is None or replay.finished_at is not None:
        return set()
    ways = {"unknown": {"send-again", "mark-processed"}, "sent": {"mark-processed"}, "confirmed": {"mark-processed"}}
    return ways.get(replay.state, set())


@require_POST
@page
def act(request: PageRequest, pk: UUID, action: str) -> HttpResponse:
    """Replay, discard, restore, send again or mark as processed; a refusal is 422 with the same page and the words."""
    letter = get_visible_dead_letter(request.actor, pk)
    try:
        ACTIONS[action](letter, request.actor, request.POST)
    except ConsoleError as refusal:
        letter = get_visible_dead_letter(request.actor, pk)
        context = letter_context(request.actor, letter)
        context |= {
            "refused": action,
            "refusal": str(refusal),
            "reason": _why(request.POST),
            "expiry": request.POST.get("expiry", ""),
            "refusal_in_form": action in context["offered"],
        }
        status = 403 if refusal.status == 403 else 422
        return render_page(request, "messaging/dead_letter.html", "messaging/_dead_letter.html", context, status=status)
    return render_done(
        request,
        "messaging/_dead_letter.html",
        lambda: letter_context(request.actor, get_visible_dead_letter(request.actor, pk)),
        to=reverse("dead-letter", args=[pk]),
    )


@require_safe
@page
def hints(request: PageRequest, pk: UUID) -> HttpResponse:
    """What to mind before a letter is replayed: asked of the broker when the form is opened, apart from the letter's page."""
    letter = get_visible_dead_letter(request.actor, pk)
    context: dict[str, Any] = {"letter": letter}
    try:
        context["hints"] = hints_of(letter, by=request.actor)
    except ConsoleError as refusal:
        context["refusal"] = str(refusal)
    return render_page(request, "messaging/hints.html", "messaging/_hints.html", context)
