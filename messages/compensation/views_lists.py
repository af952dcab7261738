"""The lists of compensations: what needs a person, what is open, the tasks of people, all; and the same as a CSV."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast

from django.http import HttpResponse, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from console.core.render import render_page
from console.identity.actor import Actor
from console.identity.models import Environment
from console.identity.pages import PageRequest, asked_text, page
from messages.compensation.present import chip_text, heading_of
from messages.compensation.queries import SHOWN, CompensationFilter, Line, find_compensations, find_tasks
from messages.compensation.states import STATES
from messages.compensation.steps import is_overdue, undo_words
from messages.reconcile.sets import csv_line
from messages.search.views import changed, flow_select

TABS = (("needs", "Needs a person"), ("open", "Open"), ("tasks", "Tasks"), ("all", "All"))
MOST_LINES = 10_000
COLUMNS = ("reference", "subject", "flow", "state", "undone", "steps", "since", "owner", "next_step", "reason", "ticket", "asked_by", "asked_at")  # fmt: skip


def _tab(request: PageRequest) -> str:
    asked = asked_text(request, "show", most=10)
    return asked if asked in dict(TABS) else "needs"


def _only(request: PageRequest, tab: str) -> CompensationFilter:
    state = asked_text(request, "state", most=25)
    return CompensationFilter(
        show=tab if tab in SHOWN else "all",
        state=state if state in STATES else "",
        flow=asked_text(request, "flow", most=300),
        mine=request.GET.get("mine") == "1",
    )


@require_safe
@page
def compensations(request: PageRequest) -> HttpResponse:
    """Compensations of this environment: first what did not happen, and whose turn it is."""
    tab, moment = _tab(request), timezone.now()
    only = _only(request, tab)
    cursor = request.GET.get("cursor") or None
    context: dict[str, Any] = {
        "tabs": [(label, changed(request.GET, show=None if name == "needs" else name, state=None), name == tab) for name, label in TABS],
        "tab": tab,
        "selects": [flow_select(request), *([] if tab == "tasks" else [_states(only)]), _whose(only)],
        "filtered": bool(only.state or only.flow or only.mine),
        "csv_query": changed(request.GET),
    }  # fmt: skip
    if tab == "tasks":
        tasks = find_tasks(
            request.actor, environments=[request.environment], flow=only.flow, mine=only.mine, cursor=cursor
        )
        rows = [(step, heading_of(step.compensation), undo_words(step), is_overdue(step, now=moment)) for step in tasks.rows]  # fmt: skip
        context |= {"page": tasks, "tasks": rows}
    else:
        found = find_compensations(
            request.actor, environments=[request.environment], only=only, now=moment, cursor=cursor
        )
        lines = [(line, heading_of(line.run), chip_text(line.run, line.undone, line.total, now=moment)) for line in found.rows]  # fmt: skip
        context |= {"page": found, "lines": lines}
    return render_page(request, "messaging/compensations.html", "messaging/_compensations.html", context)


def _states(only: CompensationFilter) -> dict[str, Any]:
    options = [("", "every state"), *((one, one.replace("_", " ")) for one in STATES)]
    return {"name": "state", "label": "State", "value": only.state, "options": options}


def _whose(only: CompensationFilter) -> dict[str, Any]:
    options = [("", "everybody’s"), ("1", "mine")]
    return {"name": "mine", "label": "Whose", "value": "1" if only.mine else "", "options": options}


@require_safe
@page
def csv(request: PageRequest) -> HttpResponse:
    """The list that is shown as a CSV, 10,000 lines at most. A cell that a spreadsheet would take for a formula begins with an apostrophe."""
    parts = _lines(request.actor, request.environment, _only(request, _tab(request)), timezone.now())
    response = StreamingHttpResponse(parts, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="compensations.csv"'
    response["Cache-Control"] = "no-store"
    return cast(HttpResponse, response)


def _lines(actor: Actor, environment: Environment, only: CompensationFilter, moment: datetime) -> Iterator[bytes]:
    yield csv_line([*COLUMNS]).encode()
    cursor, told = None, 0
    while told < MOST_LINES:
        found = find_compensations(actor, environments=[environment], only=only, now=moment, limit=500, cursor=cursor)
        yield "".join(csv_line(_cells(line)) for line in found.rows).encode()
        told, cursor = told + len(found.rows), found.next
        if cursor is None:
            return


def _cells(line: Line) -> list[object]:
    run = line.run
    return [
        run.reference, heading_of(run), run.flow.name, run.state, line.undone, line.total, line.since.isoformat(), line.owner,
        line.next_step, run.reason, run.ticket, run.created_by, run.created_at.isoformat(),
    ]  # fmt: skip
