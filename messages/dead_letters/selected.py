"""The ticked rows of the list: shown once more, then acted on one after the other, exactly those."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages as flash
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from console.core.errors import ConsoleError, Invalid
from console.core.render import render_page
from console.identity.pages import PageRequest, page
from messages.access import can_operate
from messages.dead_letters.queries import find_selected, last_done_to
from messages.dead_letters.services import ReasonMissing, check_reason
from messages.dead_letters.views import ACTIONS
from messages.journeys.present import DONE_TO_LETTER, in_flight
from messages.models import DeadLetter, Replay
from messages.replay.limits import why_not_together
from messages.replay.services import hindrance_of
from messages.search.naming import Name, name_of

MOST = 100  # two pages of the list: larger sets are a plan's
DONE = DONE_TO_LETTER | {
    "replay.requested": "replayed it",
    "replay.processed": "saw it processed, proved by the receiver's event",
    "replay.failed_again": "saw it fail again",
}
DOINGS = {"replay": "Send {} again", "discard": "Close {} without sending"}


@dataclass(frozen=True, slots=True)
class Row:
    """One ticked letter. hindrance: why nothing will be done to it, in words; empty when it goes."""

    letter: DeadLetter
    name: Name
    hindrance: str
    replay: Replay | None


@require_http_methods(["GET", "HEAD", "POST"])
@page
def selected(request: PageRequest) -> HttpResponse:
    """With `do`: what will happen to these letters, and a form that does it. Without: what became of them."""
    if request.method == "POST":
        return _act(request)
    do = request.GET.get("do", "")
    rows = _rows(request, request.GET.getlist("id"), do)
    if do in DOINGS:
        return render(request, "messaging/selected.html", _confirmation(request, rows, do))
    return render_page(
        request, "messaging/selected_outcome.html", "messaging/_selected_outcome.html", _outcome(request, rows)
    )


def _rows(request: PageRequest, asked: list[str], do: str) -> list[Row]:
    """Return the letters of these ids that the reader may see here, longest waiting first; raises Invalid."""
    if len(asked) > MOST:
        raise Invalid(f"{len(asked)} dead letters are too many at once: tick at most {MOST}")
    try:
        ids = {UUID(one) for one in asked}
    except ValueError as error:
        raise Invalid("this is not the id of a dead letter: tick rows in the list and choose again") from error
    letters = find_selected(request.actor, request.environment, ids)
    together = _together(request, letters, do)
    return [
        Row(
            letter,
            name_of(letter.keys, letter.message_id or str(letter.pk)),
            _hindrance(request, letter, do) or together.get(letter.flow_id, ""),
            next(iter(letter.replays.all()), None),
        )
        for letter in letters
    ]


def _together(request: PageRequest, letters: list[DeadLetter], do: str) -> dict[int, str]:
    """Return {flow: why so many of it do not go at once}: what only the whole set can tell."""
    waiting = [one for one in letters if one.state == DeadLetter.State.OPEN]
    return why_not_together(waiting, request.actor) if do == "replay" else {}


def _hindrance(request: PageRequest, letter: DeadLetter, do: str) -> str:
    if not can_operate(request.actor, letter.flow):
        return f"only operators of {letter.flow.team or letter.environment.name} may do this"
    if letter.state != DeadLetter.State.OPEN:
        return "it is not open any more: somebody replayed or discarded it"
    return hindrance_of(letter, request.actor) if do == "replay" else ""


def _confirmation(request: PageRequest, rows: list[Row], do: str) -> dict[str, Any]:
    going = [row for row in rows if not row.hindrance]
    many = f"{len(going)} dead letter{'' if len(going) == 1 else 's'}"
    return {
        "do": do,
        "rows": rows,
        "going": going,
        "staying": len(rows) - len(going),
        "title": f"{DOINGS[do].format(many)}, in {request.environment.name}",
        "lost": len(set(request.GET.getlist("id"))) - len(rows) if request.method != "POST" else 0,
    }


def _outcome(request: PageRequest, rows: list[Row]) -> dict[str, Any]:
    done = last_done_to([row.letter for row in rows], DONE)
    told = [(row, done.get(str(row.letter.pk))) for row in rows]
    return {
        "rows": [(row, entry, DONE[entry.action] if entry else "") for row, entry in told],
        "live": any(in_flight(row.replay) for row in rows),
        "here": f"{request.path}?{urlencode([('id', str(row.letter.pk)) for row in rows])}",
    }


def _act(request: PageRequest) -> HttpResponse:
    """Do it to every letter that was shown as going, each in a transaction of its own; then lead to what became of them."""
    do, reason = request.POST.get("do", ""), request.POST.get("reason", "")
    if do not in DOINGS:
        raise Invalid("choose what to do with the ticked letters: replay or discard")
    rows = _rows(request, request.POST.getlist("id"), do)
    try:
        check_reason(reason)
    except ReasonMissing as refusal:
        context = _confirmation(request, rows, do) | {"refusal": str(refusal)}
        return render(request, "messaging/selected.html", context, status=422)
    refusals, together = [], _together(request, [row.letter for row in rows], do)
    for row in rows:
        if why := together.get(row.letter.flow_id):
            refusals.append(f"{row.name.title}: {why}")
            continue
        try:
            ACTIONS[do](row.letter, request.actor, {"reason": reason})
        except ConsoleError as refusal:
            refusals.append(f"{row.name.title}: {refusal}")
    gone = len(set(request.POST.getlist("id"))) - len(rows)
    if gone:
        refusals.append(f"{gone} of the ticked cannot be seen by you in {request.environment.name} any more")
    _tell(request, len(rows) - len(refusals) + (1 if gone else 0), refusals, do)
    address = urlencode([("id", str(row.letter.pk)) for row in rows])
    response = HttpResponseRedirect(f"{reverse('dead-letters-selected')}?{address}")
    response.status_code = 303
    return response


def _tell(request: PageRequest, done: int, refusals: list[str], do: str) -> None:
    words = "on the way to be sent again" if do == "replay" else "closed without sending"
    if done:
        flash.success(request, f"{done} dead letter{'' if done == 1 else 's'} {words}.")
    for refusal in refusals[:5]:
        flash.error(request, f"Not done. {refusal}.")
    if len(refusals) > 5:
        flash.error(request, f"{len(refusals) - 5} more were not done: their rows say where they are.")
