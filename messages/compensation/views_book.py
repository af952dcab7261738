"""The compensation book of a flow: its editor, tried on a real journey before it is saved, its versions, and its export."""

from __future__ import annotations

from typing import Any

from django.contrib import messages as flash
from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from console.core.errors import ConsoleError, Forbidden, NotFound
from console.core.render import render_page
from console.identity.pages import PageRequest, asked_text, page
from messages.access import get_visible_flow
from messages.catalog.views import seen
from messages.compensation.access import can_change_book, check_can_change_book, get_visible_book
from messages.compensation.book import export_book, parse_book
from messages.compensation.books import end_book, newest_book, read_book, save_book
from messages.compensation.forms import BookForm
from messages.compensation.trying import try_book, versions_of
from messages.models import CompensationBook, Flow

PAGE, PART = "messaging/compensation_book.html", "messaging/_compensation_book_trial.html"
EXAMPLE = """# What can complete in this flow, how it is recognised, and what undoes it.
needs_approval: true
steps:
  - name: payment
    title: payment taken
    happened: {system: payment, destination: payments}
    undo:
      title: refund {amount}
      connection: payment-api
      http: {method: POST, path: "/payments/{payment}/refunds"}
      body: {order: "{order}", amount: "{amount}"}
      inputs:
        order: {key: order_no}
        amount: {json: "$.amount"}
        payment: {attribute: payment.id}
      repeatable: true
      proof: {system: payment, destination: refunds}
"""


@require_http_methods(["GET", "HEAD", "POST"])
@page
def book(request: PageRequest, pk: int) -> HttpResponse:
    """The book of a flow. do=try says what it would undo for one message, and saves nothing; `version` shows an older one."""
    flow = get_visible_flow(request.actor, pk)
    if request.method != "POST":
        return _page(request, _context(request, flow, _form_of(request, flow)))
    check_can_change_book(request.actor, flow)
    form = BookForm(request.POST, request.FILES)
    if request.GET.get("do") == "try":
        return _tried(request, flow, form)
    if form.is_valid():
        try:
            saved = save_book(
                flow, parse_book(form.text()), by=request.actor, reason=form.cleaned_data["reason"],
                base=form.cleaned_data["base"],
            )  # fmt: skip
        except ConsoleError as refusal:
            if isinstance(refusal, Forbidden):
                raise
            form.add_error(None, str(refusal))
        else:
            flash.success(request, f"Version {saved.version} counts from now on. What runs goes on with its own.")
            return seen(reverse("compensation-book", args=[flow.pk]))
    return _page(request, _context(request, flow, form), status=422)


def _tried(request: PageRequest, flow: Flow, form: BookForm) -> HttpResponse:
    trial, wrong = None, ""
    try:
        trial = try_book(flow, parse_book(form.text()), request.POST.get("on", ""), by=request.actor)
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden):
            raise
        wrong = str(refusal)
    form.errors.clear()  # trying is no attempt to save
    context = _context(request, flow, form) | {"trial": trial, "wrong": wrong}
    return _page(request, context, status=422 if wrong else 200)


def _form_of(request: PageRequest, flow: Flow) -> BookForm:
    """Return the form with the version asked for, else the newest, else an example."""
    versions = versions_of(flow)
    asked = asked_text(request, "version", most=9)
    shown = (
        get_visible_book(request.actor, flow, int(asked)) if asked.isascii() and asked.isdigit() else newest_book(flow)
    )
    text = _text_of(shown) if shown else EXAMPLE
    return BookForm(initial={"content": text, "base": versions[0].version if versions else 0})


def _text_of(version: CompensationBook) -> str:
    return export_book(read_book(version)) if version.content["steps"] else ""


def _page(request: PageRequest, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    response = render_page(request, PAGE, PART, context, status=status)
    response["Cache-Control"] = "no-store"
    return response


def _context(request: PageRequest, flow: Flow, form: BookForm) -> dict[str, Any]:
    return {
        "flow": flow,
        "form": form,
        "newest": newest_book(flow),
        "versions": versions_of(flow),
        "may_change": can_change_book(request.actor, flow),
        "action": reverse("compensation-book", args=[flow.pk]),
    }


@require_POST
@page
def end(request: PageRequest, pk: int) -> HttpResponse:
    """Have no book any more, with a reason; base: the version that the page showed."""
    flow = get_visible_flow(request.actor, pk)
    base = request.POST.get("base", "")[:9]
    try:
        end_book(
            flow, by=request.actor, reason=request.POST.get("reason", ""), base=int(base) if base.isdecimal() else 0
        )
    except ConsoleError as refusal:
        if isinstance(refusal, Forbidden | NotFound):
            raise
        context = _context(request, flow, _form_of(request, flow)) | {"refusal": str(refusal)}
        return _page(request, context, status=422)
    flash.success(request, f"{flow.name} has no compensation book any more. What runs goes on; its versions stay.")
    return seen(reverse("compensation-book", args=[flow.pk]))


@require_safe
@page
def export(request: PageRequest, pk: int) -> HttpResponse:
    """The book as YAML, to keep beside the code; `version` takes an older one."""
    flow = get_visible_flow(request.actor, pk)
    asked = asked_text(request, "version", most=9)
    version = get_visible_book(request.actor, flow, int(asked) if asked.isascii() and asked.isdigit() else None)
    response = HttpResponse(_text_of(version), content_type="application/yaml; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="compensation-book-{flow.pk}-v{version.version}.yaml"'
    return response
