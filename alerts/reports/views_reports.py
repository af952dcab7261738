"""Reports → one report: how far it is, the mail as it was sent, who got it, its files, its revisions."""

from __future__ import annotations

import re
from typing import Any

from csp.constants import NONE, SELF, UNSAFE_INLINE
from csp.decorators import csp, csp_update
from django.conf import settings
from django.contrib import messages as flash
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from alerts.models import Report
from alerts.reports import services
from alerts.reports.access import can_send, can_send_outside, get_receiver, get_visible_report
from alerts.reports.links import filled
from alerts.reports.present import mail_line, period_words, report_name, verdict_chip
from alerts.reports.queries import attachments_of, changed_by, file_of, has_outside, mails_of, not_sent_to, same_period
from alerts.reports.states import AGAIN, REPORT_OPEN
from console.core.errors import ConsoleError, NotFound
from console.core.render import render_page, wants_part
from console.identity.pages import PageRequest, page
from messages.catalog.views import seen
from messages.queries import in_its_environment

ONE, PART = "alerts/report.html", "alerts/_report.html"
POPUPS = ["allow-popups", "allow-popups-to-escape-sandbox"]


@require_safe
@csp_update({"frame-src": [SELF]})
@page
def report(request: PageRequest, pk: int) -> HttpResponse:
    """One report; while a worker makes it, the part polls itself."""
    found = get_visible_report(request.actor, pk)
    if elsewhere := in_its_environment(request, found.schedule.environment):
        return elsewhere
    return render_page(request, ONE, PART, _context(request, found) | {"is_part": wants_part(request)})


def _context(request: PageRequest, found: Report, refusal: str = "") -> dict[str, Any]:
    may_send = can_send(request.actor, found.schedule)
    frozen = found.state == "frozen"
    look, words = verdict_chip(found)
    revisions = [] if found.is_preview else same_period(found)
    newest = revisions[0] if revisions else None
    return {
        "report": found,
        "one": found.schedule,
        "name": report_name(found),
        "period": period_words(found.since, found.until, found.time_zone),
        "look": look,
        "words": words,
        "open": found.state in REPORT_OPEN,
        "files": attachments_of(found) if frozen else [],
        "changed": changed_by(found) if frozen else [],
        "differs": found.differs if frozen else [],
        "revisions": [(row, report_name(row)) for row in revisions] if len(revisions) > 1 else [],
        "newer": newest if newest is not None and newest.revision > found.revision else None,
        "may_send": may_send,
        "may_outside": can_send_outside(request.actor, found.schedule),
        "goes_outside": may_send and has_outside(found.schedule),
        "may_revise": may_send and frozen and newest is not None and newest.pk == found.pk,
        "mails": [mail_line(mail) for mail in mails_of(found)] if may_send and not found.is_preview else [],
        "not_sent_to": not_sent_to(found) if may_send and frozen and not found.is_preview else [],
        "again": AGAIN,
        "refusal": refusal,
    }


def _refused(request: PageRequest, found: Report, refusal: ConsoleError) -> HttpResponse:
    if refusal.status in (403, 404):
        raise refusal
    return render(request, ONE, _context(request, found, str(refusal)), status=422)


@require_safe
@csp(
    {
        "default-src": [NONE],
        "style-src": [UNSAFE_INLINE],
        "img-src": ["data:"],
        "frame-ancestors": [SELF],
        "base-uri": [NONE],
        "sandbox": POPUPS,
    }
)
@page
def mail(request: PageRequest, pk: int) -> HttpResponse:
    """The mail as it was drawn, for the frame of the page; its links are the console's. `?as=text`: the plain text."""
    found = get_visible_report(request.actor, pk)
    as_text = request.GET.get("as") == "text"
    file = file_of(found, "text" if as_text else "page")
    if file is None:
        raise NotFound("this report is not made yet")
    text = of_console(found, bytes(file.body).decode())
    if not as_text:
        text = re.sub(r"(<head[^>]*>)", r'\1<base target="_blank">', text, count=1)
    answer = HttpResponse(text, content_type=f"{file.mime}; charset=utf-8")
    answer["X-Frame-Options"] = "SAMEORIGIN"
    return answer


def of_console(found: Report, text: str) -> str:
    """Return what was drawn, its links leading to the console's own pages: the reader has an account."""
    opens, stops = reverse("report", args=[found.pk]), reverse("report-schedule", args=[found.schedule_id])
    return filled(text, opens=settings.CONSOLE_URL + opens, stops=settings.CONSOLE_URL + stops)


@require_safe
@page
def file(request: PageRequest, pk: int, name: str) -> HttpResponse:
    """A file as it is attached to the mails: PDF, CSV."""
    return download(get_visible_report(request.actor, pk), name)


def download(found: Report, name: str) -> HttpResponse:
    """Return an attachment of a report to be kept; raises NotFound."""
    if "\x00" in name or (stored := file_of(found, "attachment", name[:200])) is None:
        raise NotFound("this report has no such file")
    answer = HttpResponse(bytes(stored.body), content_type=stored.mime)
    answer["Content-Disposition"] = f'attachment; filename="{re.sub(r"[^A-Za-z0-9._-]", "-", stored.name)}"'
    return answer


@require_POST
@page
def revise(request: PageRequest, pk: int) -> HttpResponse:
    """Ask for a revision, with a reason."""
    found = get_visible_report(request.actor, pk)
    try:
        made = services.revise(
            found, by=request.actor, reason=request.POST.get("reason", ""), send=request.POST.get("send") == "1"
        )
    except ConsoleError as refusal:
        return _refused(request, found, refusal)
    flash.success(request, "A worker makes the revision.")
    return seen(reverse("report", args=[made.pk]))


@require_POST
@page
def again(request: PageRequest, pk: int) -> HttpResponse:
    """Send it to one receiver, again or for the first time. The mail's round is the token: a second press finds it on its way."""
    found = get_visible_report(request.actor, pk)
    wanted, turn = request.POST.get("receiver", ""), request.POST.get("round", "")
    try:
        receiver = get_receiver(
            request.actor, found.schedule, int(wanted) if wanted.isdecimal() and len(wanted) < 19 else 0
        )
        services.send_again(
            found, receiver, by=request.actor, round=int(turn) if turn.isdecimal() and len(turn) < 9 else None
        )
    except ConsoleError as refusal:
        return _refused(request, found, refusal)
    flash.success(request, "It is queued, and sent within seconds.")
    return seen(reverse("report", args=[pk]))


@require_POST
@page
def retry(request: PageRequest, pk: int) -> HttpResponse:
    """Make a report that could not be made."""
    found = get_visible_report(request.actor, pk)
    try:
        services.try_again(found, by=request.actor)
    except ConsoleError as refusal:
        return _refused(request, found, refusal)
    flash.success(request, "A worker tries again.")
    return seen(reverse("report", args=[pk]))
