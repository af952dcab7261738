"""The page on which the messages of a plan are edited: steps, one message as text, previews over a sample, another destination."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_http_methods, require_POST

from console.core.errors import ConsoleError, Forbidden, NotFound
from console.core.render import render_page
from console.identity.pages import PageRequest, page
from messages.access import get_visible_dead_letter, visible_connections
from messages.catalog.views import seen
from messages.dead_letters.views import letter_context
from messages.models import Plan
from messages.payloads.present import readable_payload
from messages.payloads.queries import read_payload
from messages.payloads.seal import PayloadUnreadable
from messages.plans.access import can_operate_plan, check_can_read_plan_payloads, get_visible_plan
from messages.plans.edit_form import CHOICES, Editor, Slot, editor_from, editor_of, edits_from, slots_from, slots_of
from messages.plans.editing import check_edits, plan_of_one, set_destination, set_edits
from messages.plans.edits import MOST_STEPS, Edits
from messages.plans.preview import preview_edits
from messages.plans.reasons import LEFT_OUT
from messages.plans.sealed import opened_edits

PAGE, PART = "messaging/plan_edit.html", "messaging/_plan_edit_preview.html"
LARGEST_TEXT = 256 * 1024
CHANGEABLE = ("draft", "awaiting_approval", "approved")


@require_http_methods(["GET", "HEAD", "POST"])
@page
def edit(request: PageRequest, reference: str) -> HttpResponse:
    """What a plan changes in its messages. do=preview shows diffs and saves nothing, do=more adds a step to write."""
    plan = get_visible_plan(request.actor, reference)
    check_can_read_plan_payloads(request.actor, plan)
    kept, closed = _kept(plan)
    editor = _editor(request, plan, kept)
    if request.method != "POST":
        return _page(request, _context(request, plan, slots_of(kept, editor), editor) | closed)
    slots = slots_from(request.POST)
    editor = editor_from(request.POST, editor) if editor else None
    context = _context(request, plan, slots, editor)
    do = request.GET.get("do")
    if do == "more":
        return _page(request, _context(request, plan, [*slots, Slot()], editor))
    try:
        edits = edits_from(slots, editor, kept)
        if do == "preview":
            check_edits(plan, edits)
            context |= {"preview": preview_edits(plan, edits, by=request.actor)}
            response = render_page(request, PAGE, PART, context)
            response["Cache-Control"] = "no-store"
            return response
        set_edits(plan, edits, by=request.actor)
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden):
            raise
        return _page(request, context | {"refusal": str(refusal)}, status=422)
    flash.success(request, f"The edits of {plan.reference} are saved. Nothing is sent until it is started.")
    return seen(reverse("plan-edit", args=[plan.reference]))


def _kept(plan: Plan) -> tuple[Edits, dict[str, str]]:
    """Return the plan's edits, and what the page says when they cannot be opened: they can be written anew."""
    try:
        return opened_edits(plan), {}
    except PayloadUnreadable as error:
        return (), {"refusal": str(error)}


def _page(request: PageRequest, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    response = render_page(request, PAGE, PART, context, status=status)
    response["Cache-Control"] = "no-store"
    return response


def _context(request: PageRequest, plan: Plan, slots: list[Slot], editor: Editor | None) -> dict[str, Any]:
    shown = slots if slots or editor else [Slot()]
    return {
        "plan": plan,
        "plan_url": plan_address(plan),
        "left_out": [(LEFT_OUT[why], count) for why, count in plan.figures.get("left_out", {}).items()],
        "editor": editor,
        "slots": list(enumerate(shown[:MOST_STEPS], 1)),
        "room": len(shown) < MOST_STEPS,
        "choices": CHOICES,
        "may_change": plan.state in CHANGEABLE and can_operate_plan(request.actor, plan),
        "voids": plan.state in ("awaiting_approval", "approved"),
        "connections": visible_connections(request.actor)
        .filter(environment=plan.environment, approved_at__isnull=False)
        .order_by("name"),
    }


def plan_address(plan: Plan) -> str:
    """Return the address of the plan's own page; of this one while there is none."""
    try:
        return reverse("plan", args=[plan.reference])
    except NoReverseMatch:
        return reverse("plan-edit", args=[plan.reference])


def _editor(request: PageRequest, plan: Plan, edits: Edits) -> Editor | None:
    """Return the editor of the one message of a plan, None when it has several. Its body counts as read."""
    if plan.figures.get("selected") != 1:
        return None
    item = plan.items.select_related("dead_letter__flow__team", "dead_letter__environment").first()
    if item is None:
        return None
    letter = item.dead_letter
    try:
        stored = read_payload(request.actor, letter.flow, letter, letter.pk, letter.payload_on)
    except PayloadUnreadable as error:
        return editor_of(None, [], edits, str(error))
    if stored is None:
        return editor_of(None, [], edits, "its body is not stored")
    shown = readable_payload(letter.flow, stored, (letter.origin, letter.queue))
    if shown.hides_stored:
        return editor_of(None, stored.headers, edits, "values in its body are masked when it is read: write a step")
    text = _text(shown.body) if not shown.cut and all("→" in one for one in shown.steps) else None
    why = "" if text is not None else "its body is no text that can be written here: write a step"
    return editor_of(text, stored.headers, edits, why)


def _text(body: bytes) -> str | None:
    """Return a body that a text field can hold, unpacked but not decoded by a schema; None for any other."""
    if len(body) > LARGEST_TEXT or b"\x00" in body:
        return None
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return text if text.replace("\r\n", "").find("\r") < 0 else None


@require_POST
@page
def redirect(request: PageRequest, reference: str) -> HttpResponse:
    """Send the messages of a plan to another destination, over an approved connection."""
    plan = get_visible_plan(request.actor, reference)
    chosen = request.POST.get("connection", "")
    connection_id = int(chosen) if chosen.isascii() and chosen.isdigit() and len(chosen) < 19 else None
    destination = request.POST.get("destination", "")
    try:
        set_destination(plan, destination, connection_id, by=request.actor)
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden | NotFound):
            raise
        kept, closed = _kept(plan)
        editor = _editor(request, plan, kept)
        context = _context(request, plan, slots_of(kept, editor), editor) | closed
        said = {"redirect_refusal": str(refusal), "destination": destination, "connection": connection_id}
        return _page(request, context | said, status=422)
    where = f"to {destination.strip()}" if destination.strip() else "where they came from"
    flash.success(request, f"Its messages go {where}. The same letters were frozen again.")
    return seen(reverse("plan-edit", args=[plan.reference]))


@require_POST
@page
def edit_letter(request: PageRequest, pk: UUID) -> HttpResponse:
    """Make a plan of one dead letter, to be edited before it is sent."""
    letter = get_visible_dead_letter(request.actor, pk)
    reason = request.POST.get("reason", "")
    try:
        plan = plan_of_one(letter, by=request.actor, reason=reason)
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden):
            raise
        context = letter_context(request.actor, letter)
        context |= {"refused": "edit", "refusal": str(refusal), "reason": reason, "refusal_in_form": True}
        return render(request, "messaging/dead_letter.html", context, status=422)
    return seen(reverse("plan-edit", args=[plan.reference]))
