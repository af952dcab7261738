"""Settings → Schemas: the list, and the editor of one with a preview of what it makes of a sample."""

from __future__ import annotations

from typing import Any

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console.core.errors import ConsoleError, Forbidden, NotFound
from console.core.render import render_page
from console.identity.access import can_administer, check_can_administer
from console.identity.pages import PageRequest, page
from messages.access import get_visible_schema
from messages.catalog.views import seen
from messages.models import Schema
from messages.payloads.render import RenderedBody, render_body
from messages.schemas.forms import SchemaForm
from messages.schemas.limits import BadSchema
from messages.schemas.queries import schemas_of
from messages.schemas.services import NewSchema, Preview, add_schema, change_schema, preview_schema, remove_schema

PAGE, PART = "messaging/schema.html", "messaging/_schema_preview.html"


@require_safe
@page
def schemas(request: PageRequest) -> HttpResponse:
    """The schemas of this environment."""
    context = {
        "schemas": schemas_of(request.actor, request.environment).defer("definition", "compiled"),
        "may_change": can_administer(request.actor, request.environment),
    }
    return render(request, "messaging/schemas.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def new(request: PageRequest) -> HttpResponse:
    """The editor of a schema that is not saved yet."""
    check_can_administer(request.actor, request.environment)
    return _edit(request, SchemaForm(request.POST if request.method == "POST" else None), None)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def one(request: PageRequest, pk: int) -> HttpResponse:
    """One schema: its editor for administrators, its text for others."""
    schema = get_visible_schema(request.actor, pk)
    return _edit(request, SchemaForm(request.POST if request.method == "POST" else None, schema=schema), schema)


def _edit(request: PageRequest, form: SchemaForm, schema: Schema | None) -> HttpResponse:
    environment = schema.environment if schema else request.environment
    if request.method != "POST":
        return render(request, PAGE, _context(request, form, schema))
    check_can_administer(request.actor, environment)
    if request.GET.get("do") == "preview":
        return _preview(request, form, schema)
    if not form.is_valid():
        return render(request, PAGE, _context(request, form, schema), status=422)
    try:
        said, by = form.said(), request.actor
        made = change_schema(schema, said, by=by) if schema else add_schema(environment, said, by=by)
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden):
            raise
        form.add_error("definition" if isinstance(refusal, BadSchema) else None, str(refusal))
        return render(request, PAGE, _context(request, form, schema), status=422)
    flash.success(request, "It is saved: bodies are read by it from now on, those stored before too.")
    return seen(reverse("body-schema", args=[made.pk]))


def _preview(request: PageRequest, form: SchemaForm, schema: Schema | None) -> HttpResponse:
    """What the schema makes of the sample: only the schema has to be right for it. Nothing is kept."""
    found, wrong = _try(request, schema)
    form.errors.clear()  # a preview is no attempt to save
    context = _context(request, form, schema) | {"preview": found, "wrong": wrong, "shown": _shown(found)}
    return render_page(request, PAGE, PART, context, status=422 if wrong else 200)


def _try(request: PageRequest, schema: Schema | None) -> tuple[Preview | None, str]:
    """Return (preview, "") or (None, what is wrong in words)."""
    name, kind, definition, message, sample = (
        request.POST.get(one, "") for one in ("name", "format", "definition", "message", "sample")
    )
    if not definition.strip() or not sample.strip():
        return None, ""
    environment = schema.environment if schema else request.environment
    said = NewSchema(name=name, format=kind, definition=definition, message=message)
    try:
        return preview_schema(environment, said, sample, by=request.actor), ""
    except BadSchema as refusal:
        return None, f"Schema: {refusal}"
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden):
            raise
        return None, f"Sample: {refusal}"


def _shown(found: Preview | None) -> RenderedBody | None:
    return render_body(found.json.encode(), "application/json") if found and found.json else None


def _context(request: PageRequest, form: SchemaForm, schema: Schema | None) -> dict[str, Any]:
    environment = schema.environment if schema else request.environment
    return {
        "form": form,
        "schema": schema,
        "may_change": can_administer(request.actor, environment),
        "action": reverse("body-schema", args=[schema.pk]) if schema else reverse("schema-new"),
    }


@require_POST
@page
def remove(request: PageRequest, pk: int) -> HttpResponse:
    """Remove a schema, with a reason."""
    schema = get_visible_schema(request.actor, pk)
    try:
        remove_schema(schema, by=request.actor, reason=request.POST.get("reason", ""))
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden | NotFound):
            raise
        context = _context(request, SchemaForm(schema=schema), schema) | {"refusal": str(refusal)}
        return render(request, PAGE, context, status=422)
    flash.success(request, f"{schema.name} is removed: bodies that needed it are shown as bytes.")
    return seen(reverse("schemas"))
