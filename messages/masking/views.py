"""Settings → Masking: the rules, what each did lately, and a preview of one before it is saved."""

from __future__ import annotations

from typing import Any

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from console.core.errors import ConsoleError, Forbidden, NotFound
from console.core.render import render_page
from console.identity.access import can_administer, check_can_administer
from console.identity.pages import PageRequest, page
from messages.access import get_visible_masking_rule
from messages.catalog.queries import flow_names
from messages.catalog.views import seen
from messages.masking.forms import MaskingForm
from messages.masking.paths import BadExpression
from messages.masking.queries import masking_lines
from messages.masking.services import (
    DRAFT,
    Preview,
    add_masking_rule,
    move_masking_rule,
    preview_masking,
    remove_masking_rule,
)

PAGE = "messaging/masking.html"


@require_http_methods(["GET", "HEAD", "POST"])
@page
def masking(request: PageRequest) -> HttpResponse:
    """The masking rules of this environment; POST adds one."""
    form = _form(request)
    if request.method != "POST":
        return render(request, PAGE, _context(request, form))
    if form.is_valid():
        try:
            made = add_masking_rule(request.environment, form.rule(), by=request.actor)
        except ConsoleError as refusal:
            _refuse(form, refusal)
            status = 403 if isinstance(refusal, Forbidden) else 422
            return render(request, PAGE, _context(request, form), status=status)
        flash.success(request, f"Rule {made.pk} masks what comes from now on; what is stored already stays as it is.")
        return seen(reverse("masking"))
    return render(request, PAGE, _context(request, form), status=422)


@require_POST
@page
def preview(request: PageRequest) -> HttpResponse:
    """What the rules of a flow, with the one in the form, make of a sample. Nothing of it is kept."""
    check_can_administer(request.actor, request.environment)
    form = _form(request)
    found: Preview | None = None
    if form.is_valid():
        said = form.cleaned_data
        draft = form.rule() if said["expression"] else None
        try:
            found = preview_masking(
                request.environment, said["flow"], said["body"], form.sample_headers(), draft=draft, by=request.actor
            )
        except ConsoleError as refusal:
            _refuse(form, refusal)
    context = _context(request, form) | {"preview": found, "counted": _counted(found)}
    return render_page(request, PAGE, "messaging/_masking_preview.html", context, status=422 if form.errors else 200)


@require_POST
@page
def change(request: PageRequest, pk: int) -> HttpResponse:
    """Move a rule up or down, or remove it, with a reason."""
    rule = get_visible_masking_rule(request.actor, pk)
    do, reason = request.POST.get("do", ""), request.POST.get("reason", "")
    try:
        if do == "remove":
            remove_masking_rule(rule, by=request.actor, reason=reason)
            flash.success(request, f"Rule {pk} is removed: what comes from now on is stored without it.")
        elif do in {"up", "down"}:
            move_masking_rule(rule, up=do == "up", by=request.actor, reason=reason)
        else:
            raise NotFound("a masking rule can be moved up or down, or removed")
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden | NotFound):
            raise
        context = _context(request, _form(request, bound=False)) | {"refusal": str(refusal)}
        return render(request, PAGE, context, status=422)
    return seen(reverse("masking"))


def _form(request: PageRequest, *, bound: bool = True) -> MaskingForm:
    flows = flow_names(request.actor, request.environment)
    return MaskingForm(request.POST if bound and request.method == "POST" else None, flows=flows)


def _refuse(form: MaskingForm, refusal: ConsoleError) -> None:
    field = "expression" if isinstance(refusal, BadExpression) else "flow" if isinstance(refusal, NotFound) else None
    form.add_error(field, str(refusal))


def _context(request: PageRequest, form: MaskingForm) -> dict[str, Any]:
    return {
        "lines": masking_lines(request.actor, request.environment, now=timezone.now()),
        "form": form,
        "may_change": can_administer(request.actor, request.environment),
    }


def _counted(found: Preview | None) -> list[tuple[str, int]]:
    """Return ("rule 4", 2) for each rule that acted."""
    if found is None:
        return []
    return [("the new rule" if rule == DRAFT else f"rule {rule}", count) for rule, count in found.counts]
