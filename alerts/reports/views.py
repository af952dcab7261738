"""Reports → schedules: the list, one with its history, the form, preview, sending now, links."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from alerts.models import Report, ReportSchedule
from alerts.reports import services
from alerts.reports.access import (
    can_make_schedules,
    can_see_receivers,
    check_can_make_schedules,
    check_can_send,
    get_receiver,
    get_visible_schedule,
    who_left,
)
from alerts.reports.forms import ScheduleForm
from alerts.reports.present import mails_words, not_arrived, period_words, report_name, schedule_when, verdict_chip
from alerts.reports.queries import (
    choices_about,
    find_reports,
    find_schedules,
    mails_by_state,
    names_of_about,
    receivers_of,
)
from console.audit.queries import object_history
from console.core.errors import ConsoleError
from console.core.render import render_page
from console.identity.pages import PageRequest, asked_text, page
from messages.catalog.views import seen
from messages.queries import in_its_environment

ONE = "alerts/report_schedule.html"


@require_safe
@page
def reports(request: PageRequest) -> HttpResponse:
    """The schedules of this environment, each with what its last report said."""
    found = find_schedules(
        request.actor,
        environments=[request.environment],
        q=asked_text(request, "q", most=120),
        cursor=request.GET.get("cursor") or None,
    )
    counts = mails_by_state([line.last for line in found.rows if line.last is not None])
    rows = [
        {
            "line": line,
            "when": schedule_when(line.one),
            "not_arrived": not_arrived(counts, line.last),
            **_said(line.last),
        }
        for line in found.rows
    ]
    context = {
        "page": found,
        "rows": rows,
        "q": asked_text(request, "q", most=120),
        "may_make": can_make_schedules(request.actor, request.environment),
    }
    return render_page(request, "alerts/reports.html", "alerts/_reports.html", context)


def _said(report: Report | None) -> dict[str, Any]:
    look, words = verdict_chip(report)
    name = report_name(report) if report is not None else ""
    return {"look": look, "words": words, "period": name}


@require_safe
@page
def schedule(request: PageRequest, pk: int) -> HttpResponse:
    """One schedule: when, of what, to whom, and every report that it made."""
    one = get_visible_schedule(request.actor, pk)
    if elsewhere := in_its_environment(request, one.environment):
        return elsewhere
    return render_page(request, ONE, "alerts/_report_history.html", _context(request, one))


def _context(request: PageRequest, one: ReportSchedule, refusal: str = "") -> dict[str, Any]:
    found = find_reports(
        request.actor, environments=[one.environment], schedule=one, cursor=request.GET.get("cursor") or None
    )
    counts = mails_by_state(found.rows)
    may_send = can_see_receivers(request.actor, one)
    receivers = receivers_of(one) if may_send else []
    newest = next((row for row in found.rows if row.state == "frozen"), None)
    return {
        "one": one,
        "when": schedule_when(one),
        "about": names_of_about(request.actor, one),
        "chosen": len(one.flow_ids) + len(one.objective_ids),
        "receivers": receivers,
        "left": who_left(one.environment, receivers),
        "may_send": may_send,
        "page": found,
        "rows": [{"report": row, **_said(row), "mails": mails_words(counts.get(row.pk, {}))} for row in found.rows],
        "newest": newest,
        "not_arrived": not_arrived(counts, newest),
        "differing": newest if newest is not None and newest.differs else None,
        "next_period": _next_period(one),
        "history": object_history("reportschedule", str(one.pk))[:20] if may_send else [],
        "refusal": refusal,
    }


def _next_period(one: ReportSchedule) -> str:
    """Return which days the next report is of."""
    if one.next_at is None:
        return ""
    period = services.period_of(one, one.next_at)
    return period_words(period.since, period.until, period.zone)


def _form(request: PageRequest, one: ReportSchedule | None = None) -> ScheduleForm:
    environment = one.environment if one else request.environment
    flows, objectives = choices_about(request.actor, environment)
    receivers = [row.address for row in receivers_of(one)] if one else []
    data = request.POST if request.method == "POST" else None
    return ScheduleForm(data, flows=flows, objectives=objectives, one=one, receivers=receivers)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def new(request: PageRequest) -> HttpResponse:
    """The form of a new schedule."""
    check_can_make_schedules(request.actor, request.environment)
    form = _form(request)
    return _saved(
        request, form, lambda: services.add_schedule(request.environment, form.said(), by=request.actor), None
    )


@require_http_methods(["GET", "HEAD", "POST"])
@page
def edit(request: PageRequest, pk: int) -> HttpResponse:
    """The form of a schedule that there is."""
    one = get_visible_schedule(request.actor, pk)
    if elsewhere := in_its_environment(request, one.environment):
        return elsewhere
    check_can_send(request.actor, one)
    form = _form(request, one)
    return _saved(request, form, lambda: services.change_schedule(one, form.said(), by=request.actor), one)


def _saved(
    request: PageRequest, form: ScheduleForm, save: Callable[[], ReportSchedule], one: ReportSchedule | None
) -> HttpResponse:
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                made = save()
                if request.POST.get("then") == "preview":
                    return seen(reverse("report", args=[services.ask_preview(made, by=request.actor).pk]))
            except ConsoleError as refusal:
                form.add_error(None, str(refusal))
                status = refusal.status if refusal.status in (403, 404) else 422
            else:
                flash.success(request, "It is saved.")
                return seen(reverse("report-schedule", args=[made.pk]))
    return render(request, "alerts/report_form.html", {"form": form, "one": one}, status=status)


@require_POST
@page
def remove(request: PageRequest, pk: int) -> HttpResponse:
    """Remove a schedule with its reports, with a reason."""
    one = get_visible_schedule(request.actor, pk)
    return _done(
        request,
        one,
        lambda: services.remove_schedule(one, by=request.actor, reason=request.POST.get("reason", "")),
        f"“{one.name}” is removed: nothing of it is sent, and its links open nothing any more.",
        reverse("reports"),
    )


def _done(request: PageRequest, one: ReportSchedule, act: Callable[[], object], words: str, to: str) -> HttpResponse:
    """Carry out an act; a refusal is the page of the schedule with the words."""
    try:
        act()
    except ConsoleError as refusal:
        if refusal.status in (403, 404):
            raise
        return render(request, ONE, _context(request, one, str(refusal)), status=422)
    flash.success(request, words)
    return seen(to)


@require_POST
@page
def preview(request: PageRequest, pk: int) -> HttpResponse:
    """Ask a worker for a preview, and go to where it will stand."""
    one = get_visible_schedule(request.actor, pk)
    return seen(reverse("report", args=[services.ask_preview(one, by=request.actor).pk]))


@require_POST
@page
def send(request: PageRequest, pk: int) -> HttpResponse:
    """Ask for the report of the last period now."""
    one = get_visible_schedule(request.actor, pk)
    try:
        made = services.send_now(one, by=request.actor)
    except ConsoleError as refusal:
        if refusal.status in (403, 404):
            raise
        return render(request, ONE, _context(request, one, str(refusal)), status=422)
    flash.success(request, "A worker makes it and sends it.")
    return seen(reverse("report", args=[made.pk]))


@require_POST
@page
def links(request: PageRequest, pk: int) -> HttpResponse:
    """Revoke the links that were sent: all, or those of one receiver."""
    one = get_visible_schedule(request.actor, pk)
    wanted = request.POST.get("receiver", "")
    number = int(wanted) if wanted.isdecimal() and len(wanted) < 19 else 0
    receiver = get_receiver(request.actor, one, number) if wanted else None
    return _done(
        request,
        one,
        lambda: services.revoke_links(one, by=request.actor, receiver=receiver, reason=request.POST.get("reason", "")),
        "The links that were sent open nothing any more.",
        reverse("report-schedule", args=[pk]),
    )
