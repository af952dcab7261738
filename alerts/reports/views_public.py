"""What a link of a mail opens: the report, its files, and the page that stops the mails. For people without an account.

No session is looked at and no cookie set; nothing is indexed, kept by a cache, or told to the next site as where the reader came from. A link
that has ended, was revoked or was never ours is answered with the same words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any
from urllib.parse import quote

import structlog
from csp.constants import NONE, SELF, UNSAFE_INLINE
from csp.decorators import csp
from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.template.loader import render_to_string
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from alerts.models import Report, ReportReceiver
from alerts.reports.access import receiver_of_link, report_of_link
from alerts.reports.links import BadLink, filled, open_url, parse_open, stop_token, stop_url
from alerts.reports.present import period_words
from alerts.reports.queries import attachments_of, file_of, same_period
from alerts.reports.services import start_mails, stop_mails
from alerts.reports.views_reports import download
from console.core.errors import NotFound

POLICY = {
    "default-src": [NONE], "style-src": [SELF, UNSAFE_INLINE], "img-src": [SELF, "data:"], "font-src": [SELF], "form-action": [SELF],
    "frame-ancestors": [NONE], "base-uri": [NONE],
}  # fmt: skip
NO_ICON = '<link rel="icon" href="data:,">'  # else the browser asks for one that is not there
UNREADABLE = (BadRequest, MultiPartParserError, SuspiciousOperation, UnreadablePostError)  # the sender's fault
View = Callable[..., HttpResponse]
log = structlog.get_logger(__name__)


def in_public(view: View) -> Any:
    """Answer without cookies and for nobody's cache; what a link does not open is the same page whatever the reason."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            answer = view(request, *args, **kwargs)
        except (BadLink, NotFound):
            answer = HttpResponse(render_to_string("alerts/report_gone.html"), status=404)
        except UNREADABLE as error:
            too_large = isinstance(error, RequestDataTooBig)
            answer = HttpResponse(render_to_string("alerts/report_unread.html"), status=413 if too_large else 400)
        except Exception:
            # Answered here, and not by the framework: that writes the address into its log, and the address is a secret.
            log.exception("report_link_not_answered")
            answer = HttpResponse(render_to_string("alerts/report_later.html"), status=503)
            answer._has_been_logged = True  # type: ignore[attr-defined]  # what django.utils.log looks at
        answer["Referrer-Policy"] = "no-referrer"
        answer["X-Robots-Tag"] = "noindex, nofollow, noarchive"
        answer["Cache-Control"] = "private, no-store"
        return answer

    protected: Any = csp(POLICY)(guarded)
    return protected


# Exempt from the check of forms: there is no form, and a refusal of it would put the address into the log.
@csrf_exempt
@require_safe
@in_public
def opened(request: HttpRequest, token: str) -> HttpResponse:
    """The report as it was frozen, with its files to keep, and a word when it was revised since."""
    now = datetime.now(UTC)
    report, receiver = report_of_link(token, now=now)
    stored = file_of(report, "page")
    if stored is None:
        raise BadLink
    text = filled(bytes(stored.body).decode(), opens=open_url(token), stops=stop_url(stop_token(receiver.pk)))
    text = re.sub(r"(<head[^>]*>)", rf"\1{NO_ICON}", text, count=1)
    bar = render_to_string("alerts/_report_bar.html", _bar(report, receiver, token, now))
    whole = re.subn(r"(<body[^>]*>)", lambda found: found[1] + bar, text, count=1)
    return HttpResponse(whole[0] if whole[1] else bar + text)


def _bar(report: Report, receiver: ReportReceiver, token: str, now: datetime) -> dict[str, Any]:
    newer = next((one for one in same_period(report) if one.revision > report.revision and one.state == "frozen"), None)
    return {
        "report": report,
        "period": period_words(report.since, report.until, report.time_zone),
        "until": parse_open(token, now=now).until,
        "files": [(name, mime, f"{open_url(token)}/{quote(name)}") for name, mime in attachments_of(report)],
        "newer": newer,
        "why": newer.corrects if newer is not None and not receiver.outside else "",  # said to members alone
    }


@csrf_exempt
@require_safe
@in_public
def opened_file(request: HttpRequest, token: str, name: str) -> HttpResponse:
    """A file of the report that a link opens."""
    report, _ = report_of_link(token, now=datetime.now(UTC))
    return download(report, name)


# The link itself is the right to do this, whoever presses: no session is used, so there is none to protect (RFC 8058, 3.1: no cookies, no redirect).
@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
@in_public
def stop(request: HttpRequest, token: str) -> HttpResponse:
    """GET asks, POST stops the mails of this receiver, or lets them come again; one click of a mail program is such a POST."""
    receiver = receiver_of_link(token)
    news = ""
    if request.method == "POST":
        start = request.POST.get("do") == "start"
        news = "start" if start else "stop"
        start_mails(receiver) if start else stop_mails(receiver)
        receiver.refresh_from_db(fields=["stopped_at"])
    context = {"receiver": receiver, "one": receiver.schedule, "news": news, "action": stop_url(token)}
    return HttpResponse(render_to_string("alerts/report_stop.html", context))
