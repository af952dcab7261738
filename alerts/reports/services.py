"""Every write to reports by people and programs: schedules, previews, sending now and again, revisions, links, stopping.

Nothing is gathered, drawn or sent here: rows say what is asked for, and workers look. See making and mailing.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.db import IntegrityError, transaction
from django.db.models import F, Max

from alerts import tasks
from alerts.breaches.access import teams_of
from alerts.models import Report, ReportMail, ReportReceiver, ReportSchedule
from alerts.reports.access import (
    can_send_outside,
    check_about,
    check_can_change_schedule,
    check_can_make_schedules,
    check_can_send,
    check_can_send_outside,
    check_sees_what_it_tells,
    member_addresses,
)
from alerts.reports.content import Cadence, Period
from alerts.reports.errors import ReportState, ScheduleExists, ScheduleInvalid
from alerts.reports.periods import last_period
from alerts.reports.states import AGAIN, REPORT_OPEN, WAITING
from alerts.reports.timing import next_time
from alerts.reports.wishes import NewSchedule, checked, checked_receivers
from console.audit.services import record_audit
from console.core.calendars import zone_of
from console.core.errors import Invalid
from console.identity.actor import Actor
from console.identity.models import Environment

log = structlog.get_logger(__name__)
MOST_SCHEDULES = 200  # of one environment
WHEN = {"cadence", "hour", "weekday", "time_zone", "enabled"}  # says when the next one goes
LOOKED_BACK = timedelta(minutes=10)


# schedules -----------------------------------------------------------------------------------------------------------
@transaction.atomic
def add_schedule(
    environment: Environment, said: NewSchedule, *, by: Actor, now: datetime | None = None
) -> ReportSchedule:
    """Make a schedule, owned by who makes it, audited. Raises Forbidden, NotFound, ScheduleInvalid, ScheduleExists."""
    owner_id = check_can_make_schedules(by, environment)
    columns, addresses = checked(said), checked_receivers(said.receivers)
    check_about(by, environment, columns["flow_ids"], columns["objective_ids"])
    outside = _outside(environment, addresses)
    if outside:
        check_can_send_outside(by, environment)
    if ReportSchedule.objects.filter(environment=environment).count() >= MOST_SCHEDULES:
        raise ScheduleInvalid(f"{environment.slug} has {MOST_SCHEDULES} report schedules, and more are not taken")
    made = ReportSchedule(environment=environment, owner_id=owner_id, created_by=by.name, **columns)
    made.next_at = _next_at(made, now or datetime.now(UTC))
    try:
        with transaction.atomic():
            made.save(force_insert=True)
    except IntegrityError as error:
        raise ScheduleExists(f"{environment.slug} has a report schedule “{columns['name']}” already") from error
    _set_receivers(made, addresses, outside, by, now or datetime.now(UTC))
    _audit(by, "report_schedule.created", made, {"receivers": len(addresses), "outside": len(outside)})
    return made


@transaction.atomic
def change_schedule(
    one: ReportSchedule, said: NewSchedule, *, by: Actor, now: datetime | None = None
) -> ReportSchedule:
    """Replace what a schedule says; its owner stays. Raises as add_schedule."""
    now = now or datetime.now(UTC)
    row = (
        ReportSchedule.objects.select_for_update(of=("self",), no_key=True)
        .select_related("environment", "owner")
        .get(pk=one.pk)
    )
    columns, addresses = checked(said), checked_receivers(said.receivers)
    there = dict(ReportReceiver.objects.filter(schedule=row, removed_at=None).values_list("address", "outside"))
    members = {address for address, is_outside in there.items() if not is_outside}
    outside = _outside(row.environment, addresses) - members  # who left is not put in as nobody's by another change
    check_can_change_schedule(by, row, outside=bool(outside) or any(there.values()))
    new = {name: set(columns[name]) - set(getattr(row, name)) for name in ("flow_ids", "objective_ids")}
    check_about(by, row.environment, new["flow_ids"], new["objective_ids"])
    changed = sorted(name for name, value in columns.items() if getattr(row, name) != value)
    moved = WHEN.intersection(changed)
    if moved and columns["enabled"] and row.next_at is not None and row.next_at <= now:
        ask_due(row, now)  # of the period that it was due for, before it is due for another
    for name, value in columns.items():
        setattr(row, name, value)
    if set(addresses) - set(there) or {"flow_ids", "objective_ids"} & set(changed):
        check_sees_what_it_tells(by, row)
    if moved:
        row.next_at = _next_at(row, now)
    try:
        with transaction.atomic():
            row.updated_at = now
            row.save(update_fields=[*columns, "next_at", "updated_at"])
    except IntegrityError as error:
        raise ScheduleExists(f"{row.environment.slug} has a report schedule “{columns['name']}” already") from error
    added, removed = _set_receivers(row, addresses, outside, by, now)
    _audit(
        by, "report_schedule.changed", row, {"changed": changed, "receivers_added": added, "receivers_removed": removed}
    )
    return row


@transaction.atomic
def remove_schedule(one: ReportSchedule, *, by: Actor, reason: str) -> None:
    """Remove a schedule with its reports: links open nothing any more, what waits is not sent. Raises Forbidden, Invalid without a reason."""
    check_can_send(by, one)
    ReportSchedule.objects.select_for_update(of=("self",)).filter(pk=one.pk).first()  # before its rows, as everywhere
    reports = Report.objects.filter(schedule=one, revision__gt=0).count()
    _audit(by, "report_schedule.removed", one, {"reports": reports}, reason=_reason(reason))
    ReportSchedule.objects.filter(pk=one.pk).delete()


def _next_at(one: ReportSchedule, now: datetime) -> datetime | None:
    if not one.enabled:
        return None
    return next_time(one.cadence, hour=one.hour, weekday=one.weekday, zone=zone_of(one.time_zone), after=now)


def _outside(environment: Environment, addresses: Collection[str]) -> set[str]:
    return set(addresses) - member_addresses(environment, addresses) if addresses else set()


def _set_receivers(
    one: ReportSchedule, addresses: Collection[str], outside: Collection[str], by: Actor, now: datetime
) -> tuple[int, int]:
    """Let exactly these get it; return how many came and went. Who had stopped stays stopped."""
    there = {row.address: row for row in ReportReceiver.objects.filter(schedule=one)}
    gone = [row.pk for address, row in there.items() if row.removed_at is None and address not in addresses]
    ReportReceiver.objects.filter(pk__in=gone).update(removed_at=now, link_epoch=F("link_epoch") + 1)
    _withdraw(gone, "it was taken off the receivers", now)
    back = [row.pk for address, row in there.items() if row.removed_at is not None and address in addresses]
    ReportReceiver.objects.filter(pk__in=back).update(removed_at=None, added_by=by.name, added_at=now)
    for is_outside in (True, False):
        named = [address for address in addresses if (address in outside) is is_outside]
        ReportReceiver.objects.filter(schedule=one, address__in=named).update(outside=is_outside)
    new = [address for address in addresses if address not in there]
    ReportReceiver.objects.bulk_create(
        ReportReceiver(schedule=one, address=address, outside=address in outside, added_by=by.name) for address in new
    )
    return len(new) + len(back), len(gone)


def _withdraw(receivers: Collection[int], why: str, now: datetime) -> None:
    """Send nothing of what waits for these any more; what a worker has in hand at this moment may go all the same."""
    waiting = ReportMail.objects.filter(receiver__in=list(receivers), state__in=WAITING)
    waiting.update(state="withdrawn", next_at=None, finished_at=now, answer=f"not sent: {why}")


# reports -------------------------------------------------------------------------------------------------------------
def period_of(one: ReportSchedule, now: datetime) -> Period:
    """Return the last whole period of a schedule."""
    return last_period(Cadence(one.cadence), one.time_zone, now)


def new_report(one: ReportSchedule, period: Period, now: datetime, **columns: Any) -> Report:
    """Return a report that is asked for, not stored yet."""
    return Report(
        schedule=one, environment_id=one.environment_id, cadence=period.cadence.value, since=period.since, until=period.until,
        time_zone=period.zone, asked_at=now, next_at=now, **columns,
    )  # fmt: skip


def ask_due(one: ReportSchedule, now: datetime) -> datetime:
    """Ask for the report for which a schedule is due; return when it is due next. One that waited for several periods asks for the last one alone."""
    due_at, following = _due_of(one, now)
    report = new_report(one, period_of(one, due_at), now)
    Report.objects.bulk_create([report], ignore_conflicts=True)  # one was asked for by a person: it is the same
    same = Report.objects.filter(schedule=one, since=report.since, until=report.until, revision=1)
    same.filter(state="failed").update(state="asked", tries=0, next_at=now, problem="")
    return following


def _due_of(one: ReportSchedule, now: datetime) -> tuple[datetime, datetime]:
    """Return when the newest report of a schedule was due, and when the next one is: a look that comes late makes what was due, of the period before that."""
    zone = zone_of(one.time_zone)
    assert one.next_at is not None  # it is due
    due_at = following = one.next_at
    while following <= now:
        due_at = following
        following = next_time(one.cadence, hour=one.hour, weekday=one.weekday, zone=zone, after=due_at)
    return due_at, following


@transaction.atomic
def ask_preview(one: ReportSchedule, *, by: Actor, now: datetime | None = None) -> Report:
    """Ask for a preview of the last period: made as the report would be, sent to nobody. A second press meets the one under way. Raises Forbidden."""
    check_can_send(by, one)
    now = now or datetime.now(UTC)
    ReportSchedule.objects.select_for_update(of=("self",), no_key=True).get(pk=one.pk)
    there = Report.objects.filter(schedule=one, revision=0).first()
    if there is not None and there.state in REPORT_OPEN and there.asked_at > now - LOOKED_BACK:
        return there
    Report.objects.filter(schedule=one, revision=0).delete()
    made = new_report(one, period_of(one, now), now, revision=0, to_send=False, asked_by=by.name)
    made.save(force_insert=True)
    _audit(by, "report.previewed", one, _of(made))
    transaction.on_commit(say_look)
    return made


@transaction.atomic
def send_now(one: ReportSchedule, *, by: Actor, now: datetime | None = None) -> Report:
    """Ask for the report of the last period before its time. Raises Forbidden, ReportState when it was made already."""
    check_can_send(by, one)
    now = now or datetime.now(UTC)
    period = period_of(one, now)
    ReportSchedule.objects.select_for_update(of=("self",), no_key=True).get(pk=one.pk)
    there = Report.objects.filter(schedule=one, since=period.since, until=period.until, revision=1).first()
    if there is not None:
        return _again(there, by, now)
    made = new_report(one, period, now, asked_by=by.name)
    made.save(force_insert=True)
    _audit(by, "report.asked", one, _of(made))
    transaction.on_commit(say_look)
    return made


def _again(there: Report, by: Actor, now: datetime) -> Report:
    if there.state == "frozen":
        raise ReportState(
            "the report of this period was made already: send it again to one receiver, or make a revision"
        )
    return _retry(there, by, now) if there.state == "failed" else _hurry(there, by, now)


def _hurry(there: Report, by: Actor, now: datetime) -> Report:
    """Let what was due, and waits for its figures to be counted, be made at once: somebody asks for it."""
    mine = Report.objects.filter(pk=there.pk, state__in=REPORT_OPEN, asked_by="")
    if mine.update(asked_by=by.name):
        Report.objects.filter(pk=there.pk, state="asked").update(next_at=now)
        _audit(by, "report.asked", there.schedule, _of(there))
        transaction.on_commit(say_look)
        there.refresh_from_db()
    return there


def _retry(there: Report, by: Actor, now: datetime) -> Report:
    moved = Report.objects.filter(pk=there.pk, state="failed").update(
        state="asked", tries=0, next_at=now, problem="", step="", asked_by=by.name, asked_at=now
    )
    if not moved:
        raise ReportState("only a report that could not be made is tried again")
    _audit(by, "report.asked", there.schedule, _of(there))
    transaction.on_commit(say_look)
    there.refresh_from_db()
    return there


@transaction.atomic
def try_again(report: Report, *, by: Actor, now: datetime | None = None) -> Report:
    """Make a report that could not be made. Raises Forbidden, ReportState."""
    check_can_send(by, report.schedule)
    return _retry(report, by, now or datetime.now(UTC))


@transaction.atomic
def revise(report: Report, *, by: Actor, reason: str, send: bool = True, now: datetime | None = None) -> Report:
    """Ask for a revision of a frozen report: gathered anew, marked with the reason, compared with the one before.

    Asked for by its owner it goes to members alone, and its reason does not stand in what leaves the house.
    Raises Forbidden, Invalid without a reason, ReportState unless this is the newest of its period.
    """
    check_can_send(by, report.schedule)
    reason, now = _reason(reason)[:500], now or datetime.now(UTC)
    ReportSchedule.objects.select_for_update(of=("self",), no_key=True).get(pk=report.schedule_id)
    same = Report.objects.filter(schedule=report.schedule_id, since=report.since, until=report.until, revision__gt=0)
    newest = same.aggregate(newest=Max("revision"))["newest"]
    if report.state != "frozen" or report.revision != newest:
        raise ReportState("only the newest report of a period is revised, once it is made")
    period = Period(cadence=Cadence(report.cadence), since=report.since, until=report.until, zone=report.time_zone)
    made = new_report(
        report.schedule, period, now, revision=newest + 1, corrects=reason, to_send=send, asked_by=by.name,
        outside=can_send_outside(by, report.schedule), flow_ids=report.flow_ids, search_ids=report.search_ids,
    )  # fmt: skip
    made.save(force_insert=True)
    team_id, told = _audited(report, reason)
    _audit(by, "report.revised", report.schedule, _of(made), reason=told, team_id=team_id)
    transaction.on_commit(say_look)
    return made


@transaction.atomic
def send_again(report: Report, receiver: ReportReceiver, *, by: Actor, round: int | None = None) -> ReportMail:
    """Send a frozen report to one receiver, again or for the first time. round: of the mail that was looked at, against a second press.

    To an address that is no member's an owner sends what went there before, an administrator anything. Raises Forbidden, ReportState.
    """
    check_can_send(by, report.schedule)
    now = datetime.now(UTC)
    if receiver.outside and not ReportMail.objects.filter(report=report, receiver=receiver).exists():
        check_can_send_outside(by, report.schedule.environment)
    if report.state != "frozen" or report.is_preview or receiver.schedule_id != report.schedule_id:
        raise ReportState("only a report that was made is sent, to a receiver of its own")
    if why := stopped_words(receiver):
        raise ReportState(why)
    mail, is_new = ReportMail.objects.get_or_create(
        report=report, receiver=receiver, defaults={"queued_at": now, "next_at": now, "asked_by": by.name}
    )
    if not is_new:
        rows = ReportMail.objects.filter(pk=mail.pk, state__in=AGAIN)
        rows = rows if round is None else rows.filter(round=round)
        moved = rows.update(
            state="queued", round=F("round") + 1, tries=0, next_at=now, queued_at=now, finished_at=None, answer="", asked_by=by.name
        )  # fmt: skip
        if not moved:
            raise ReportState("it is on its way already")
        mail.refresh_from_db()
    _audit(by, "report.sent_again", report.schedule, {**_of(report), "receiver": receiver.pk})
    transaction.on_commit(say_look)
    return mail


def stopped_words(receiver: ReportReceiver) -> str:
    """Return why this receiver gets nothing, "" when they do."""
    if receiver.removed_at is not None:
        return "it was taken off the receivers"
    return "its receiver stopped these mails" if receiver.stopped_at is not None else ""


# links ---------------------------------------------------------------------------------------------------------------
@transaction.atomic
def revoke_links(one: ReportSchedule, *, by: Actor, receiver: ReportReceiver | None = None, reason: str = "") -> None:
    """Let every link that was sent open nothing any more, of all receivers or of one. Later mails have new ones. Raises Forbidden."""
    check_can_send(by, one)
    if receiver is None:
        ReportSchedule.objects.filter(pk=one.pk).update(link_epoch=F("link_epoch") + 1)
    else:
        ReportReceiver.objects.filter(pk=receiver.pk, schedule=one).update(link_epoch=F("link_epoch") + 1)
    details = {"receiver": receiver.pk} if receiver else {"receivers": "all"}
    _audit(by, "report_links.revoked", one, details, reason=_line(reason))


@transaction.atomic
def stop_mails(receiver: ReportReceiver, *, now: datetime | None = None) -> bool:
    """Send this receiver nothing more, as they asked by the link of a mail; return whether that is news. Audited as a receiver's act."""
    now = now or datetime.now(UTC)
    if not ReportReceiver.objects.filter(pk=receiver.pk, stopped_at=None).update(stopped_at=now):
        return False
    _withdraw([receiver.pk], "its receiver stopped these mails", now)
    _audit(RECEIVER, "report_mails.stopped", receiver.schedule, {"receiver": receiver.pk})
    return True


@transaction.atomic
def start_mails(receiver: ReportReceiver) -> bool:
    """Send this receiver the next reports again, as they asked by the same link; return whether that is news."""
    if not ReportReceiver.objects.filter(pk=receiver.pk, stopped_at__isnull=False).update(stopped_at=None):
        return False
    _audit(RECEIVER, "report_mails.started", receiver.schedule, {"receiver": receiver.pk})
    return True


RECEIVER = Actor(name="a receiver", via="link")


def say_look() -> None:
    """Say "look" to a worker; when the broker is away the next tick finds the rows."""
    try:
        tasks.make_reports.delay()
        tasks.send_reports.delay()
    except Exception as error:  # noqa: BLE001  any broker failure means the same
        log.warning("reports_not_announced", reason=str(error)[:200])


def _of(report: Report) -> dict[str, Any]:
    return {"report": report.pk, "since": report.since.isoformat(), "revision": report.revision}


def _line(text: str) -> str:
    return " ".join(text.replace("\x00", "").split())[:1000]


def _audited(report: Report, reason: str) -> tuple[int | None, str]:
    """Return (the team that reads of it in the audit list, None for everybody; why): who may not see the report does not read what it says wrongly."""
    teams = teams_of(report.flow_ids)
    if report.search_ids or len(teams) > 1:  # no one team may see all of it: the report alone says why
        return None, ""
    return next(iter(teams), None), reason


def _reason(text: str) -> str:
    if not (found := _line(text)):
        raise Invalid("say why: the reason is kept in the audit list")
    return found


def _audit(
    by: Actor,
    action: str,
    one: ReportSchedule,
    details: dict[str, Any],
    *,
    reason: str = "",
    team_id: int | None = None,
) -> None:
    record_audit(by, action, one, environment=one.environment, team_id=team_id, details=details, reason=reason)
