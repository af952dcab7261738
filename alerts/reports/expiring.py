"""Reports that are older than their environment keeps them go, with what was drawn, their mails, and what their links open."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import structlog

from alerts.models import Report, ReportMail
from alerts.reports.states import MAIL_OPEN, REPORT_OPEN
from messages.queries import GRACE, Terms, read_terms

log = structlog.get_logger(__name__)
AT_ONCE = 200  # some 150 KB each


def expire(*, now: datetime | None = None) -> int:
    """Forget the reports that are due to go, some at a time; return how many. May run twice at once, and die anywhere.

    Kept all the same: what a legal hold is on, what is being made, and what is being sent, because somebody asked for it once more.
    """
    at = now or datetime.now(UTC)
    return sum(_expire(terms, at) for terms in read_terms(now=at) if terms.settled and not terms.held)


def _expire(terms: Terms, now: datetime) -> int:
    before = now - GRACE - timedelta(days=terms.policy.report_days)
    old = Report.objects.filter(environment=terms.environment_id, asked_at__lt=before).exclude(state__in=REPORT_OPEN)
    old = old.exclude(flow_ids__overlap=sorted(terms.held_flows)) if terms.held_flows else old
    old = old.exclude(pk__in=ReportMail.objects.filter(state__in=MAIL_OPEN).values("report_id")).order_by("pk")
    gone = 0
    while some := list(old.values_list("pk", flat=True)[:AT_ONCE]):
        Report.objects.filter(pk__in=some).exclude(state__in=REPORT_OPEN).delete()
        gone += len(some)
    if gone:
        log.info("reports_expired", environment=terms.slug, reports=gone)
    return gone
