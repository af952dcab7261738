"""Settings → Mappings: the list, and the editor of one with a preview of what would become of a sample."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console.core.errors import ConsoleError, Forbidden, NotFound
from console.core.render import render_page
from console.identity.access import can_administer, check_can_administer
from console.identity.models import Environment
from console.identity.pages import PageRequest, asked_text, page
from messages.access import get_visible_mapping
from messages.catalog.views import seen
from messages.ingest.http import Malformed, TooLarge
from messages.mappings.definition import BadMapping, pretty
from messages.mappings.forms import MappingForm
from messages.mappings.queries import mappings_of
from messages.mappings.services import Preview, add_mapping, change_mapping, preview_mapping, remove_mapping
from messages.mappings.shipped import SHIPPED
from messages.models import Mapping

PAGE, PART = "messaging/mapping.html", "messaging/_mapping_preview.html"
SHOWN = 50
LINE = """curl -sS {address} -H "Authorization: Bearer KEY" --data-binary @sample.json"""


@require_safe
@page
def mappings(request: PageRequest) -> HttpResponse:
    """The mappings of this environment, and what a new one may start from."""
    context = {
        "mappings": mappings_of(request.actor, request.environment),
        "shipped": SHIPPED.values(),
        "may_change": can_administer(request.actor, request.environment),
    }
    return render(request, "messaging/mappings.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def new(request: PageRequest) -> HttpResponse:
    """The editor of a mapping that is not saved yet; `?from=` names a shipped one to start from."""
    check_can_administer(request.actor, request.environment)
    start = SHIPPED.get(asked_text(request, "from", most=30))
    initial = {}
    if start is not None:
        initial = {"name": start.name, "slug": start.slug, "sample": start.sample}
        initial["definition"] = pretty(start.definition)
    return _edit(request, MappingForm(request.POST if request.method == "POST" else None, initial=initial), None)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def one(request: PageRequest, pk: int) -> HttpResponse:
    """One mapping: its editor for administrators, its definition for others."""
    mapping = get_visible_mapping(request.actor, pk)
    return _edit(request, MappingForm(request.POST if request.method == "POST" else None, mapping=mapping), mapping)


def _edit(request: PageRequest, form: MappingForm, mapping: Mapping | None) -> HttpResponse:
    environment = mapping.environment if mapping else request.environment
    if request.method != "POST":
        return render(request, PAGE, _context(request, form, mapping))
    check_can_administer(request.actor, environment)
    if request.GET.get("do") == "preview":
        return _preview(request, form, mapping)
    if not form.is_valid():
        return render(request, PAGE, _context(request, form, mapping), status=422)
    try:
        if mapping is None:
            made = add_mapping(environment, form.said(), by=request.actor)
            flash.success(request, f"The mapping reads what is sent to /ingest/v1/mapped/{made.slug} from now on.")
        else:
            made = change_mapping(mapping, form.said(), by=request.actor)
            flash.success(request, "It is saved, and reads what comes from now on.")
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden):
            raise
        form.add_error("definition" if isinstance(refusal, BadMapping) else None, str(refusal))
        return render(request, PAGE, _context(request, form, mapping), status=422)
    return seen(reverse("mapping", args=[made.pk]))


def _preview(request: PageRequest, form: MappingForm, mapping: Mapping | None) -> HttpResponse:
    """What becomes of the sample: only the definition has to be right for it. Nothing is kept."""
    definition, sample = request.POST.get("definition", ""), request.POST.get("sample", "")
    found, wrong = _try(request, mapping.environment if mapping else request.environment, definition, sample)
    form.errors.clear()  # a preview is no attempt to save
    context = _context(request, form, mapping) | {"preview": found, "wrong": wrong} | _shown(found)
    return render_page(request, PAGE, PART, context, status=422 if wrong else 200)


def _try(request: PageRequest, environment: Environment, definition: str, sample: str) -> tuple[Preview | None, str]:
    """Return (preview, "") or (None, what is wrong in words)."""
    if not definition.strip() or not sample.strip():
        return None, ""
    try:
        return preview_mapping(environment, definition, sample, by=request.actor), ""
    except (Malformed, TooLarge) as refusal:
        return None, f"Sample: {refusal}"
    except BadMapping as refusal:
        return None, f"Definition: {refusal}"


def _shown(found: Preview | None) -> dict[str, Any]:
    """Return the lines that are shown, each with its JSON and what stands first of it."""
    if found is None:
        return {"lines": [], "more": 0}
    lines = [
        {
            "line": line,
            "number": line.index + 1,
            "id": str(line.item.get("id", "")),
            "where": " · ".join(
                str(line.item[name])
                for name in ("system", "broker", "queue", "destination", "outcome")
                if name in line.item
            ),
            "json": json.dumps(line.item, indent=1, ensure_ascii=False) if line.item else "",
        }
        for line in found.lines[:SHOWN]
    ]
    return {"lines": lines, "more": max(0, len(found.lines) - SHOWN)}


def _context(request: PageRequest, form: MappingForm, mapping: Mapping | None) -> dict[str, Any]:
    environment = mapping.environment if mapping else request.environment
    context: dict[str, Any] = {
        "form": form,
        "mapping": mapping,
        "may_change": can_administer(request.actor, environment),
        "action": reverse("mapping", args=[mapping.pk]) if mapping else reverse("mapping-new"),
    }
    if mapping:
        address = request.build_absolute_uri(reverse("ingest-mapped", args=[mapping.slug]))
        context |= {"address": address, "line": LINE.format(address=address)}
    elif request.method != "POST" and form.initial.get("sample"):
        found, _ = _try(request, environment, form.initial["definition"], form.initial["sample"])
        context |= {"preview": found} | _shown(found)
    return context


@require_POST
@page
def remove(request: PageRequest, pk: int) -> HttpResponse:
    """Remove a mapping, with a reason."""
    mapping = get_visible_mapping(request.actor, pk)
    try:
        remove_mapping(mapping, by=request.actor, reason=request.POST.get("reason", ""))
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden | NotFound):
            raise
        context = _context(request, MappingForm(mapping=mapping), mapping) | {"refusal": str(refusal)}
        return render(request, PAGE, context, status=422)
    flash.success(request, f"{mapping.name} is removed: what is sent to its address is refused.")
    return seen(reverse("mappings"))
