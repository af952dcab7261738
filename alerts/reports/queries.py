"""Every read of report schedules and reports longer than a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from django.db.models import Count, Min, Model, Q, QuerySet

from alerts.models import Report, ReportFile, ReportMail, ReportReceiver, ReportSchedule
from alerts.objectives.access import visible_objectives
from alerts.reports.access import visible_reports, visible_schedules
from alerts.reports.changes import Change, changes_between
from alerts.reports.content import Content, from_json
from alerts.reports.states import MAIL_OPEN
from alerts.reports.wishes import MOST_ABOUT
from console.core.paging import Page, decode_number_cursor, encode_cursor
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.access import visible_flows

SHOWN = 50
M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleLine:
    """A schedule with its newest report that the reader may see, None without one; receivers: how many get it, stopped: how many do not any more."""

    one: ReportSchedule
    last: Report | None
    receivers: int
    stopped: int


def _paged(rows: QuerySet[M], cursor: str | None, limit: int) -> Page[M]:
    if cursor:
        rows = rows.filter(pk__lt=decode_number_cursor(cursor))
    found = list(rows.order_by("-pk")[: limit + 1])
    return Page(found[:limit], encode_cursor(found[limit - 1].pk) if len(found) > limit else None)


def find_schedules(
    actor: Actor,
    *,
    environments: Sequence[Environment],
    only: ReportSchedule | None = None,
    q: str = "",
    limit: int = SHOWN,
    cursor: str | None = None,
) -> Page[ScheduleLine]:
    """Return schedules, newest first, each with its last report; three queries and those of rights. Raises InvalidCursor.

    q  a part of the name.   only  this one.
    """
    rows = visible_schedules(actor).filter(environment__in=environments)
    rows = rows.filter(pk=only.pk) if only is not None else rows
    page = _paged(rows.filter(name__icontains=q) if q else rows, cursor, limit)
    schedules = page.rows
    newest = visible_reports(actor).filter(schedule__in=schedules, revision__gt=0).order_by("schedule_id", "-pk")
    last = {one.schedule_id: one for one in newest.distinct("schedule_id")} if schedules else {}
    counted = ReportReceiver.objects.filter(schedule__in=schedules, removed_at=None).order_by().values("schedule_id")
    counts = {
        one["schedule_id"]: one
        for one in counted.annotate(
            gets=Count("id", filter=Q(stopped_at=None)), stopped=Count("id", filter=Q(stopped_at__isnull=False))
        )
    }
    lines = [
        ScheduleLine(
            one=one,
            last=last.get(one.pk),
            receivers=counts[one.pk]["gets"] if one.pk in counts else 0,
            stopped=counts[one.pk]["stopped"] if one.pk in counts else 0,
        )
        for one in schedules
    ]
    return Page(lines, page.next)


def find_reports(
    actor: Actor,
    *,
    environments: Sequence[Environment],
    schedule: ReportSchedule | None = None,
    q: str = "",
    limit: int = SHOWN,
    cursor: str | None = None,
) -> Page[Report]:
    """Return reports, newest first, without previews. q: a part of the schedule's name. Raises InvalidCursor."""
    rows = visible_reports(actor).filter(environment__in=environments, revision__gt=0)
    if schedule is not None:
        rows = rows.filter(schedule=schedule)
    return _paged(rows.filter(schedule__name__icontains=q) if q else rows, cursor, limit)


def receivers_of(one: ReportSchedule) -> list[ReportReceiver]:
    """Return who gets a schedule's reports, and who stopped them, by address; the caller has checked that they may be seen."""
    return list(ReportReceiver.objects.filter(schedule=one, removed_at=None).order_by("address"))


def has_outside(one: ReportSchedule) -> bool:
    """Whether an address gets the schedule's reports that is no member's."""
    return ReportReceiver.objects.filter(schedule=one, removed_at=None, outside=True).exists()


def mails_of(report: Report) -> list[ReportMail]:
    """Return the mails of a report by address; the caller has checked that its receivers may be seen."""
    return list(ReportMail.objects.filter(report=report).select_related("receiver").order_by("receiver__address"))


def not_sent_to(report: Report) -> list[ReportReceiver]:
    """Return who gets the schedule's reports now and has no mail of this one."""
    there = ReportMail.objects.filter(report=report).values("receiver_id")
    gets = ReportReceiver.objects.filter(schedule=report.schedule_id, removed_at=None, stopped_at=None)
    return list(gets.exclude(pk__in=there).order_by("address"))


def content_of(report: Report) -> Content | None:
    """Return what a frozen report says."""
    stored: dict[str, Any] | None = Report.objects.values_list("content", flat=True).get(pk=report.pk)
    return from_json(stored) if stored is not None else None


def file_of(report: Report, role: str, name: str = "") -> ReportFile | None:
    rows = ReportFile.objects.filter(report=report, role=role)
    return (rows.filter(name=name) if name else rows).first()


def attachments_of(report: Report) -> list[tuple[str, str]]:
    """Return (file name, mime type) of what is attached to the mails of a report."""
    return list(ReportFile.objects.filter(report=report, role="attachment").order_by("pk").values_list("name", "mime"))


def same_period(report: Report) -> list[Report]:
    """Return the revisions of a report's period, the first one too, newest first; without their contents."""
    rows = Report.objects.filter(schedule=report.schedule_id, since=report.since, until=report.until, revision__gt=0)
    return list(rows.order_by("-revision").defer("content"))


def changed_by(report: Report) -> list[Change]:
    """Return what a revision says otherwise than the frozen report before it; nothing for a first one."""
    rows = Report.objects.filter(
        schedule=report.schedule_id, since=report.since, until=report.until, revision__gt=0, state="frozen"
    )
    earlier = rows.filter(revision__lt=report.revision).order_by("-revision").defer("content").first()
    now = content_of(report)
    before = content_of(earlier) if earlier is not None else None
    return changes_between(before, now) if before is not None and now is not None else []


def preview_of(one: ReportSchedule) -> Report | None:
    return Report.objects.filter(schedule=one, revision=0).defer("content").first()


def choices_about(actor: Actor, environment: Environment) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Return (flows, objectives) by id and name that a schedule of this actor may be about, at most 500 each."""
    flows = visible_flows(actor).filter(environment=environment).order_by("name")
    objectives = visible_objectives(actor).filter(environment=environment).order_by("name")
    return list(flows.values_list("pk", "name")[:MOST_ABOUT]), list(objectives.values_list("pk", "name")[:MOST_ABOUT])


def names_of_about(actor: Actor, one: ReportSchedule) -> list[str]:
    """Return the names of the flows and objectives that a schedule is about, those that the actor may see."""
    flows = visible_flows(actor).filter(environment=one.environment_id, pk__in=one.flow_ids).order_by("name")
    objectives = visible_objectives(actor).filter(environment=one.environment_id, pk__in=one.objective_ids)
    return [*flows.values_list("name", flat=True), *objectives.order_by("name").values_list("name", flat=True)]


def mails_by_state(reports: Sequence[Report]) -> dict[int, dict[str, int]]:
    """Return {report: {state of a mail: how many}}; one query."""
    found: dict[int, dict[str, int]] = {}
    rows = ReportMail.objects.filter(report__in=[one.pk for one in reports]).order_by()
    for report, state, count in rows.values_list("report_id", "state").annotate(Count("id")):
        found.setdefault(report, {})[state] = count
    return found


def waiting_by_environment() -> list[tuple[str, int, datetime]]:
    """Return (environment, how many mails of reports wait, since when the oldest does)."""
    rows = ReportMail.objects.filter(state__in=MAIL_OPEN).order_by()
    return list(rows.values_list("report__environment__slug").annotate(Count("id"), Min("queued_at")))


def failed_by_environment() -> list[tuple[str, int]]:
    """Return (environment, how many reports could not be made, and nobody tried again)."""
    rows = Report.objects.filter(state="failed", revision__gt=0).order_by()
    return list(rows.values_list("environment__slug").annotate(Count("id")))


def given_up_by_environment() -> list[tuple[str, int]]:
    """Return (environment, how many mails of reports were given up, or may have arrived)."""
    rows = ReportMail.objects.filter(state__in=("dead", "unknown")).order_by()
    return list(rows.values_list("report__environment__slug").annotate(Count("id")))
