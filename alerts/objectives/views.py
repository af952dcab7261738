"""Pages of objectives: the list, one with its budget, its rules and what if, the form, excluded periods, OpenSLO."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages as flash
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from alerts.breaches.queries import open_breaches_of
from alerts.models import Objective
from alerts.objectives.access import (
    can_change_objective,
    check_can_change_objective,
    get_visible_exclusion,
    get_visible_objective,
)
from alerts.objectives.assess import SOURCE
from alerts.objectives.burn import left_words
from alerts.objectives.excluding import add_exclusion, withdraw_exclusion
from alerts.objectives.forms import ExclusionForm, ObjectiveForm, OpenSloForm
from alerts.objectives.importing import export_openslo, import_openslo
from alerts.objectives.present import (
    KIND_WORDS,
    amount_words,
    budget_chart,
    data_words,
    meter_look,
    promise_words,
    ratio_words,
    rule_rows,
    verdict,
)
from alerts.objectives.queries import budget_line, count_at_risk, find_exclusions, find_objectives, what_if_of
from alerts.objectives.services import add_objective, change_objective, remove_objective
from console.audit.queries import object_history
from console.core.errors import ConsoleError
from console.core.render import render_page
from console.identity.pages import PageRequest, asked_text, page
from messages.queries import (
    flow_names,
    get_visible_flow_named,
    get_visible_saved_search,
    in_its_environment,
    marks_of_flow,
    searches_of_messages,
    top_cause,
)

PAGE = "alerts/objective.html"
MOST_FLOWS = 5_000  # to choose from: as many as an environment has objectives
LINE = """curl -sS -X POST {address} \\
  -H "Authorization: Bearer KEY" -H "Content-Type: application/json" \\
  -d '{{"environment": "{slug}", "flow": "{flow}", "name": "Orders succeed", "kind": "success", "target": 0.995}}'"""
TABS = (("all", "All"), ("risk", "At risk"), ("no-data", "No data"), ("kept", "Kept"))


def seen(address: str) -> HttpResponse:
    """Return the redirect after a form that was carried out: 303, so that the browser asks with GET."""
    response = HttpResponseRedirect(address)
    response.status_code = 303
    return response


@require_safe
@page
def objectives(request: PageRequest) -> HttpResponse:
    """Objectives of this environment, those with the least budget left first."""
    show, kind, flow = (asked_text(request, name, most=200) for name in ("show", "kind", "flow"))
    found = find_objectives(
        request.actor,
        environments=[request.environment],
        show=show or "all",
        kind=kind,
        flow=flow,
        cursor=request.GET.get("cursor") or None,
    )
    now = datetime.now(UTC)
    names = flow_names(request.actor, request.environment, most=MOST_FLOWS)
    context = {
        "page": found,
        "rows": [_row(one, now) for one in found.rows],
        "at_risk": count_at_risk(request.actor, request.environment),
        "quick": [
            {"label": label, "query": f"?show={name}", "current": name == (show or "all")} for name, label in TABS
        ],
        "selects": [
            {"name": "kind", "label": "Kind", "value": kind, "options": [("", "every kind"), *KIND_WORDS.items()]},
            {
                "name": "flow",
                "label": "Flow",
                "value": flow,
                "options": [("", "every flow"), *((one, one) for one in names)],
            },
        ],
        "line": _line(request, names),
        "filtered": bool(show not in ("", "all") or kind or flow),
    }
    return render_page(request, "alerts/objectives.html", "alerts/_objectives.html", context)


def _line(request: PageRequest, names: list[str]) -> str:
    address = request.build_absolute_uri("/api/v1/objectives")
    return LINE.format(address=address, slug=request.environment.slug, flow=names[0] if names else "orders")


def _row(one: Objective, now: datetime) -> dict[str, Any]:
    standing = one.standing
    gone = verdict(one, standing, now=now)["gone"]
    return {
        "one": one,
        "standing": standing,
        "kind": KIND_WORDS[one.kind],
        "promise": promise_words(one),
        "attained": ratio_words(standing.adjusted, float(one.target)),
        "left": left_words(standing.left),
        "share": max(0.0, min(1.0, standing.left)),
        "look": meter_look(standing),
        "gone": gone,
    }


@require_safe
@page
def objective(request: PageRequest, pk: int) -> HttpResponse:
    """One objective: the verdict, the budget over its window, its rules, what does not count; the part polls itself."""
    one = get_visible_objective(request.actor, pk)
    if elsewhere := in_its_environment(request, one.environment):
        return elsewhere
    return render_page(request, PAGE, "alerts/_objective.html", _context(request, one))


def _context(request: PageRequest, one: Objective) -> dict[str, Any]:
    now, standing = datetime.now(UTC), one.standing
    line = budget_line(one, standing, now=now)
    marks = []
    if one.flow is not None and standing.since is not None:
        marks = marks_of_flow(request.actor, one.environment, one.flow, standing.since, now)
    may_change = can_change_objective(request.actor, one)
    return {
        "one": one,
        "standing": standing,
        "promise": promise_words(one),
        "verdict": verdict(one, standing, now=now),
        "cause": top_cause(one.flow_id, now - timedelta(days=1)) if one.flow_id and standing.spent else None,
        "chart": budget_chart(line, marks) if len(line.steps) > 1 and standing.adjusted is not None else None,
        "rules": rule_rows(standing),
        "breaches": open_breaches_of(request.actor, one.environment, SOURCE, str(one.pk)),
        "attained": ratio_words(standing.attained, float(one.target)),
        "adjusted": ratio_words(standing.adjusted, float(one.target)),
        "spent": amount_words(standing.spent),
        "budget": amount_words(standing.budget),
        "data": data_words(standing, now=now),
        "percent": round(one.progress * 100),
        "exclusions": find_exclusions(
            request.actor,
            environments=[one.environment],
            objective=one,
            limit=20,
            cursor=request.GET.get("cursor") or None,
        ),
        "may_change": may_change,
        "exclusion_form": ExclusionForm(one=one) if may_change else None,
        "history": list(object_history("objective", str(one.pk)).order_by("-id")[:20]),
    }


@require_safe
@page
def what_if(request: PageRequest, pk: int) -> HttpResponse:
    """What other targets would have meant: the history replayed, as a part that the page fetches, or a page of its own."""
    one = get_visible_objective(request.actor, pk)
    rows = [
        {"target": f"{found.target * 100:.6f}".rstrip("0").rstrip("."), "found": found}
        for found in what_if_of(one, now=datetime.now(UTC))
    ]
    return render_page(request, "alerts/what_if.html", "alerts/_what_if.html", {"one": one, "what_if": rows})


def _form(request: PageRequest, one: Objective | None = None) -> ObjectiveForm:
    data = request.POST if request.method == "POST" else None
    if one is not None:
        return ObjectiveForm(data, one=one)
    flows = flow_names(request.actor, request.environment, most=MOST_FLOWS)
    searches = searches_of_messages(request.actor, request.environment)
    return ObjectiveForm(data, flows=flows, searches=searches, flow=asked_text(request, "flow", most=200))


@require_http_methods(["GET", "HEAD", "POST"])
@page
def new(request: PageRequest) -> HttpResponse:
    """The form of a new objective."""
    form = _form(request)

    def make() -> Objective:
        kind, _, what = form.cleaned_data["about"].partition(":")
        if kind == "search":
            search = get_visible_saved_search(request.actor, int(what))
            return add_objective(form.said(), search=search, by=request.actor)
        flow = get_visible_flow_named(request.actor, request.environment, what)
        return add_objective(form.said(), flow=flow, by=request.actor)

    return _saved(request, form, make, None, "It is made. Its history is being counted.")


@require_http_methods(["GET", "HEAD", "POST"])
@page
def edit(request: PageRequest, pk: int) -> HttpResponse:
    """The form of an objective that there is."""
    one = get_visible_objective(request.actor, pk)
    if elsewhere := in_its_environment(request, one.environment):
        return elsewhere
    check_can_change_objective(request.actor, one)
    form = _form(request, one)
    return _saved(
        request,
        form,
        lambda: change_objective(one, form.said(), by=request.actor),
        one,
        "It is saved, and judged anew in a moment.",
    )


def _saved(
    request: PageRequest, form: ObjectiveForm, save: Callable[[], Objective], one: Objective | None, words: str
) -> HttpResponse:
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                made = save()
            except ConsoleError as refusal:
                form.add_error(None, str(refusal))
                status = refusal.status if refusal.status in (403, 404) else 422
            else:
                flash.success(request, words)
                return seen(reverse("objective", args=[made.pk]))
    return render(request, "alerts/objective_form.html", {"form": form, "one": one}, status=status)


@require_POST
@page
def remove(request: PageRequest, pk: int) -> HttpResponse:
    one = get_visible_objective(request.actor, pk)
    remove_objective(one, by=request.actor, reason=request.POST.get("reason", ""))
    flash.success(request, f"“{one.name}” is removed.")
    return seen(reverse("objectives"))


@require_POST
@page
def exclude(request: PageRequest, pk: int) -> HttpResponse:
    """Let a period not count; a refusal is 422 with the page and the words."""
    one = get_visible_objective(request.actor, pk)
    form, status = ExclusionForm(request.POST, one=one), 422
    if form.is_valid():
        try:
            whole = form.cleaned_data.get("whole_flow") and one.flow is not None
            about: dict[str, Any] = {"flow": one.flow} if whole else {"objective": one}
            add_exclusion(form.said(), by=request.actor, **about)
        except ConsoleError as refusal:
            form.add_error(None, str(refusal))
            status = 403 if refusal.status == 403 else 422
        else:
            flash.success(request, "It does not count any more; the figures follow in a moment.")
            return seen(reverse("objective", args=[pk]))
    context = _context(request, one)
    return render(
        request,
        PAGE,
        context | {"exclusion_form": form if context["may_change"] else None, "refused": form},
        status=status,
    )


@require_POST
@page
def withdraw(request: PageRequest, pk: UUID) -> HttpResponse:
    """Let an excluded period count again."""
    one = get_visible_exclusion(request.actor, pk)
    withdraw_exclusion(one, by=request.actor, reason=request.POST.get("reason", ""))
    flash.success(request, "It counts again; the figures follow in a moment.")
    back = str(one.objective_id or request.POST.get("back", ""))
    known = back.isascii() and back.isdigit()  # “²” is a digit too, and leads nowhere
    return seen(reverse("objective", args=[back]) if known else reverse("objectives"))


@require_http_methods(["GET", "HEAD", "POST"])
@page
def take_openslo(request: PageRequest) -> HttpResponse:
    """An OpenSLO text: looked at first, then made."""
    form, found, status = OpenSloForm(request.POST if request.method == "POST" else None), None, 200
    looks = request.POST.get("do") != "make"
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                found = import_openslo(
                    form.cleaned_data["text"], environment=request.environment, by=request.actor, only_look=looks
                )
                status = 200
            except ConsoleError as refusal:
                form.add_error(None, str(refusal))
    return render(request, "alerts/openslo.html", {"form": form, "found": found, "looked": looks}, status=status)


@require_safe
@page
def give_openslo(request: PageRequest) -> HttpResponse:
    """The objectives of this environment as OpenSLO v1."""
    answer = HttpResponse(
        export_openslo(request.actor, [request.environment]), content_type="application/yaml; charset=utf-8"
    )
    answer["Content-Disposition"] = f'attachment; filename="objectives-{request.environment.slug}.yaml"'
    return answer
