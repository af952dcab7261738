"""Making reports: claim one that is asked for, gather it with its owner's rights of that moment, draw it, freeze it with its mails. In workers only.

A report is claimed under an attempt and a lease; what a worker made is written, with the mails that follow from it, in one transaction under that
attempt. So two beats make one, and a worker that dies anywhere leaves either nothing or everything.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import structlog
from django.db import transaction
from django.db.models import F, Q

from alerts.models import Objective, Report, ReportFile, ReportMail, ReportReceiver, ReportSchedule
from alerts.objectives.asking import SEARCH_PROBLEM
from alerts.reports.access import hindrance_of
from alerts.reports.changes import figures_that_differ
from alerts.reports.content import Audience, Cadence, Content, Period, Stands, as_json, from_json
from alerts.reports.gathering import gather
from alerts.reports.links import open_url, stop_url
from alerts.reports.queries import has_outside
from alerts.reports.rendering import Rendered, as_page, render
from alerts.reports.services import ask_due, say_look
from console.audit.services import record_audit
from console.core.errors import ConsoleError
from console.identity.actor import SYSTEM, Actor, actor_of

log = structlog.get_logger(__name__)
BUDGET_S = 10.0  # of one look: a report may be drawn for 90 s, and a task is killed after two minutes
LEASE = timedelta(minutes=3)  # outlasts such a task
BACKOFF = (timedelta(minutes=1), timedelta(minutes=5))
MOST_TRIES = len(BACKOFF) + 1
WAITS, LONGEST_WAIT = timedelta(minutes=2), timedelta(hours=1)  # of a report that is due, for its figures to be counted
MOST_BYTES = 16 * 1024 * 1024  # of everything that was drawn of one report
MOST_EARLIER = 60  # reports of before, of which a report says “for the first time since”
PREVIEWS_KEPT = timedelta(days=1)
FIRST_CHECK, EVERY_CHECK, LATER_CHECK = timedelta(hours=1), timedelta(hours=6), timedelta(days=1)
OFTEN_CHECKED, LONGEST_CHECKED = timedelta(days=3), timedelta(days=14)
WORST = (Stands.MISSED, Stands.AT_RISK, Stands.NO_DATA, Stands.KEPT)


class NotMade(ConsoleError):
    """A report that must not, or cannot, be made: the sentence stands on its page. Trying again would say the same."""

    answered = False


def look(*, budget_s: float = BUDGET_S) -> int:
    """Make what is due, for at most so many seconds; return how many were made. May run twice at once, and die anywhere."""
    made, until = 0, time.monotonic() + budget_s
    while time.monotonic() < until and open_due(datetime.now(UTC)):
        pass
    Report.objects.filter(revision=0, asked_at__lt=datetime.now(UTC) - PREVIEWS_KEPT).delete()
    while time.monotonic() < until and (report := claim(datetime.now(UTC))) is not None:
        made += make(report)
    while time.monotonic() < until and check_one(datetime.now(UTC)):
        pass
    return made


# what is due ---------------------------------------------------------------------------------------------------------
@transaction.atomic
def open_due(now: datetime) -> bool:
    """Ask for the report of a schedule whose time has come, and set its next time; False when there is none."""
    due = ReportSchedule.objects.filter(next_at__lte=now).order_by("next_at", "pk")
    one = due.select_for_update(skip_locked=True, of=("self",), no_key=True).first()
    if one is None:
        return False
    ReportSchedule.objects.filter(pk=one.pk).update(next_at=ask_due(one, now))
    return True


def claim(now: datetime) -> Report | None:
    """Take the report that is due longest; None when none is. What workers died of again and again is given up in words."""
    with transaction.atomic():
        due = Report.objects.filter(next_at__lte=now).order_by("next_at", "pk")
        report = due.select_for_update(skip_locked=True, of=("self",)).first()
        if report is None:
            return None
        Report.objects.filter(pk=report.pk).update(
            state="making", attempt=F("attempt") + 1, tries=F("tries") + 1, next_at=now + LEASE, step="gathering its figures"
        )  # fmt: skip
        was_made, tries = report.state == "making", report.tries
    report = Report.objects.select_related("schedule__environment", "schedule__owner").get(pk=report.pk)
    if was_made and tries >= MOST_TRIES:
        _fail(report, f"{tries} workers ended while they made it")
        return claim(now)
    return report


# one report ----------------------------------------------------------------------------------------------------------
def make(report: Report) -> bool:
    """Gather, draw and freeze a claimed report; return whether it is frozen now. What goes wrong is tried again, then kept in words."""
    try:
        content = content_of(report, now=datetime.now(UTC))
        if _is_too_early(report, content) and _waits(report):
            return False
        _step(report, "drawing it")
        drawn = render(content, open_url=open_url(), stop_url=stop_url())
        _check_size(drawn)
        return freeze(report, content, drawn)
    except NotMade as error:
        _fail(report, str(error))
    except Exception as error:
        log.exception("report_not_made", report=report.pk, attempt=report.attempt)
        _try_later(report, _words(error))
    return False


def first_of(report: Report) -> Content | None:
    """Return what the first report of this period said: a revision is for whom it was, and about what, whatever the schedule says now."""
    if report.is_preview:
        return None
    same = Report.objects.filter(schedule=report.schedule_id, since=report.since, until=report.until, state="frozen")
    stored = same.filter(revision__gt=0).order_by("revision").values_list("content", flat=True).first()
    return from_json(stored) if stored is not None else None


def audience_of(report: Report) -> Audience:
    """Return whom a first report is for, and about what: as its schedule says now."""
    one = report.schedule
    return Audience(
        name=one.name, environment=one.environment_id, language=one.language, zone=report.time_zone, flow_ids=tuple(one.flow_ids),
        objective_ids=tuple(one.objective_ids), noun=one.noun, nouns=one.nouns,
    )  # fmt: skip


def owner_of(one: ReportSchedule, audience: Audience) -> Actor:
    """Return with whose rights a report is gathered; raises NotMade when they may not have it any more."""
    if one.owner is None:
        raise NotMade("its owner's account was removed")
    if not one.owner.is_active:
        raise NotMade(f"the account of its owner {one.owner.username} is switched off")
    owner = actor_of(one.owner, via="system")
    if why := hindrance_of(one, owner, audience):
        raise NotMade(why)
    return owner


def content_of(report: Report, *, now: datetime) -> Content:
    """Return what a report says now; a preview says what its report would. Raises NotMade when its owner may not have it any more."""
    first = first_of(report)
    audience = first.audience if first else audience_of(report)
    content = gather(
        audience, period_in(report), actor=owner_of(report.schedule, audience), now=now, earlier=earlier_of(report),
        promised={one.objective for many in (first.promises, first.removed) for one in many} if first else None,
    )  # fmt: skip
    return msgspec.structs.replace(content, revision=max(1, report.revision), corrects=_told_reason(report))


def _told_reason(report: Report) -> str:
    """Return the reason of a revision as what is drawn says it: an owner's stays in the console where an address is no member's."""
    return "" if not report.outside and has_outside(report.schedule) else report.corrects


def earlier_of(report: Report) -> list[Content]:
    """Return what the reports of earlier periods said, newest first: of each period its newest revision."""
    rows = Report.objects.filter(schedule=report.schedule_id, state="frozen", revision__gt=0, since__lt=report.since)
    newest = rows.filter(cadence=report.cadence).order_by("-since", "until", "-revision").distinct("since", "until")
    stored: list[Any] = list(newest.values_list("content", flat=True)[:MOST_EARLIER])
    return [from_json(one) for one in stored]


def period_in(report: Report) -> Period:
    return Period(cadence=Cadence(report.cadence), since=report.since, until=report.until, zone=report.time_zone)


def _is_too_early(report: Report, content: Content) -> bool:
    """Whether a report that is due would say less than it can soon: the console is just back, or much came late. It waits for an hour at most."""
    if report.asked_by or report.revision != 1 or content.frozen_at >= report.asked_at + LONGEST_WAIT:
        return False
    counting = [one.objective for one in content.promises if one.counting]
    cannot_be = Q(standing__problem__startswith=SEARCH_PROBLEM)
    behind = Q(counted_to__lt=report.until) | Q(pk__in=counting) & ~cannot_be
    return Objective.objects.filter(behind, pk__in=[one.objective for one in content.promises]).exists()


def _waits(report: Report) -> bool:
    """Put a report off; False when somebody asked for it while it was gathered."""
    mine = Report.objects.filter(pk=report.pk, attempt=report.attempt, state="making", asked_by="")
    step = "waits until its figures are counted, an hour at most"
    again = datetime.now(UTC) + WAITS
    return bool(mine.update(state="asked", next_at=again, tries=report.tries - 1, step=step, problem=""))


def worst_of(content: Content) -> str:
    """Return how the worst of its promises stands; "" of a report without any."""
    held = {one.stands for one in content.promises}
    return next((stands.value for stands in WORST if stands in held), "")


def _check_size(drawn: Rendered) -> None:
    pictures = [len(body) for body in drawn.images.values()]
    if sum(pictures) + sum(len(body) for *_, body in drawn.attachments) + len(drawn.html) > MOST_BYTES:
        raise NotMade("it became larger than a mail may be: choose fewer flows or objectives")


def freeze(report: Report, content: Content, drawn: Rendered) -> bool:
    """Store what a report says, how it was drawn, and a mail for each receiver: all, or nothing when another worker has it by now."""
    flows, searches = told_of(content)
    with transaction.atomic():
        one = ReportSchedule.objects.select_for_update(of=("self",), no_key=True).filter(pk=report.schedule_id).first()
        mine = Report.objects.filter(pk=report.pk, attempt=report.attempt, state="making")
        frozen = {
            "state": "frozen", "next_at": None, "step": "", "problem": "", "content": as_json(content), "frozen_at": content.frozen_at,
            "subject": drawn.subject[:300], "stands": worst_of(content), "flow_ids": flows, "search_ids": searches,
            "check_at": None if report.is_preview else content.frozen_at + FIRST_CHECK,
        }  # fmt: skip
        if one is None or not mine.update(**frozen):
            return False
        ReportFile.objects.bulk_create(files_of(report, drawn))
        if not report.is_preview:
            _follow(report, one)
    return True


def told_of(content: Content) -> tuple[list[int], list[int]]:
    """Return (flows, objectives on searches) that a content tells of: who sees all of them may see it."""
    ids = [promise.objective for promise in content.promises]
    rows = list(Objective.objects.filter(pk__in=ids).order_by("pk").values_list("pk", "flow_id"))
    flows = {flow for _, flow in rows if flow is not None} | set(content.audience.flow_ids)
    flows |= {one.flow for one in content.removed}
    searches = {pk for pk, flow in rows if flow is None}
    return sorted(flows), sorted(searches)


def files_of(report: Report, drawn: Rendered) -> list[ReportFile]:
    files = [
        ("html", "mail.html", "text/html", drawn.html.encode()),
        ("text", "mail.txt", "text/plain", drawn.text.encode()),
        ("page", "report.html", "text/html", as_page(drawn).encode()),
        *(("image", cid, "image/png", png) for cid, png in drawn.images.items()),
        *(("attachment", name, mime, body) for name, mime, body in drawn.attachments),
    ]
    return [ReportFile(report=report, role=role, name=name, mime=mime, body=body) for role, name, mime, body in files]


def _follow(report: Report, one: ReportSchedule) -> None:
    """Queue its mails; nobody looks any more whether the report that it revises still says what is so."""
    now = datetime.now(UTC)
    same = Report.objects.filter(schedule=one, since=report.since, until=report.until, revision__lt=report.revision)
    same.filter(revision__gt=0).update(check_at=None)
    ReportSchedule.objects.filter(pk=one.pk).update(problem="", problem_at=None)
    if report.to_send:
        receivers = ReportReceiver.objects.filter(schedule=one, removed_at=None, stopped_at=None).order_by("pk")
        receivers = receivers if report.outside else receivers.filter(outside=False)
        mails = [ReportMail(report=report, receiver=receiver, queued_at=now, next_at=now) for receiver in receivers]
        ReportMail.objects.bulk_create(mails)
    transaction.on_commit(say_look)


def _step(report: Report, words: str) -> None:
    Report.objects.filter(pk=report.pk, attempt=report.attempt, state="making").update(step=words)


def _words(error: Exception) -> str:
    """Return what went wrong, for the page: our own sentences as they are, of anything else its kind; the log has the rest."""
    return str(error) if isinstance(error, ConsoleError) else f"it could not be made ({type(error).__name__})"


def _try_later(report: Report, why: str) -> None:
    if report.tries >= MOST_TRIES:
        _fail(report, f"{why}; {report.tries} tries")
        return
    mine = Report.objects.filter(pk=report.pk, attempt=report.attempt, state="making")
    mine.update(state="asked", next_at=datetime.now(UTC) + BACKOFF[report.tries - 1], step="", problem=why[:500])


def _fail(report: Report, why: str) -> None:
    """Say on the report, and on its schedule, why there is none; audited."""
    now, one = datetime.now(UTC), report.schedule
    with transaction.atomic():
        ReportSchedule.objects.select_for_update(of=("self",), no_key=True).filter(pk=one.pk).first()
        mine = Report.objects.filter(pk=report.pk, attempt=report.attempt, state="making")
        if not mine.update(state="failed", next_at=None, step="", problem=why[:500]):
            return
        if report.is_preview:
            return
        ReportSchedule.objects.filter(pk=one.pk).update(problem=why[:500], problem_at=now)
        details = {"report": report.pk, "why": why[:500]}
        record_audit(SYSTEM, "report.not_made", one, environment=one.environment, details=details)
    log.warning("report_given_up", report=report.pk, schedule=one.pk)


# what is so since ----------------------------------------------------------------------------------------------------
def check_one(now: datetime) -> bool:
    """Gather a sent report's figures anew, and note what they would say otherwise now; False when none is due for it."""
    with transaction.atomic():
        due = Report.objects.filter(check_at__lte=now).order_by("check_at", "pk")
        report = due.select_for_update(skip_locked=True, of=("self",)).first()
        if report is None:
            return False
        Report.objects.filter(pk=report.pk).update(check_at=_next_check(report, now))
    report = Report.objects.select_related("schedule__environment", "schedule__owner").get(pk=report.pk)
    try:
        found = content_of(report, now=now)
    except NotMade:
        Report.objects.filter(pk=report.pk).update(check_at=None)
        return True
    except Exception:
        log.exception("report_not_checked", report=report.pk)  # those behind it have their turn; it is looked at again
        return True
    assert report.content is not None  # what is checked is frozen
    differs = [msgspec.to_builtins(one) for one in figures_that_differ(from_json(report.content), found)]
    Report.objects.filter(pk=report.pk).update(differs=differs[:20], checked_at=now)
    return True


def _next_check(report: Report, now: datetime) -> datetime | None:
    assert report.frozen_at is not None
    age = now - report.frozen_at
    if age > max(LONGEST_CHECKED, report.until - report.since):
        return None
    return now + (EVERY_CHECK if age < OFTEN_CHECKED else LATER_CHECK)
