"""The mails of reports: claim, send outside of any transaction, mark. At least once, under the same Message-ID.

One mail for each receiver, because each has links of its own. A worker that dies between the server's answer and its mark leaves a lease behind, and
the same is sent again; when workers die of it again and again it is listed as unknown. A slow server is waited for in threads of which there are few.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from functools import partial
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F

from alerts.delivery.claim import SPARE_S
from alerts.delivery.notifiers.mail import MAIL, POLICY, send_message
from alerts.delivery.pace import MOST_TRIES, next_try_s
from alerts.delivery.rooms import Room
from alerts.models import Report, ReportFile, ReportMail, ReportReceiver
from alerts.reports.access import is_still_theirs
from alerts.reports.links import Opens, filled, open_token, open_url, stop_token, stop_url
from alerts.reports.services import stopped_words
from messages.saved.outbox import DUMMY, NO_SERVER, answer_of, is_final

log = structlog.get_logger(__name__)
LOOK_S = 4.0
LEASE = timedelta(seconds=MAIL.longest_s + SPARE_S)
MOST_THREADS = 4
ROOM = Room(MOST_THREADS)
Begin = Callable[[ReportMail], threading.Thread | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Went:
    """What became of a try. state: sent, dead, withdrawn, or "later"."""

    state: str
    answer: str


def look(*, budget_s: float = LOOK_S, begin: Begin | None = None) -> int:
    """Begin what is due, for at most so many seconds; return how many were begun. May run many times at once, and die anywhere."""
    begin, until, threads, begun = begin or in_thread, time.monotonic() + budget_s, [], 0
    give_up_died(datetime.now(UTC))
    while time.monotonic() < until and (begin is not in_thread or ROOM.has_room()):
        if (mail := claim(datetime.now(UTC))) is None:
            break
        begun += 1
        threads.append(begin(mail))
    for thread in threads:
        if thread is not None:
            thread.join(max(0.0, until - time.monotonic()))
    return begun


def claim(now: datetime) -> ReportMail | None:
    """Take the mail that is due longest; None when none is."""
    with transaction.atomic():
        due = ReportMail.objects.filter(next_at__lte=now).order_by("next_at", "pk")
        mail = due.select_for_update(skip_locked=True, of=("self",)).first()
        if mail is None:
            return None
        ReportMail.objects.filter(pk=mail.pk).update(
            state="sending", attempt=F("attempt") + 1, tries=F("tries") + 1, next_at=now + LEASE
        )
    return (
        ReportMail.objects.select_related("receiver__schedule__environment", "report")
        .defer("report__content")
        .get(pk=mail.pk)
    )


def in_thread(mail: ReportMail) -> threading.Thread:
    return ROOM.begin(partial(deliver, mail), name=f"report mail {mail.pk}")


def at_once(mail: ReportMail) -> None:
    """Send here and now."""
    deliver(mail)


def deliver(mail: ReportMail) -> Went:
    """Send one claimed mail and mark what became of it."""
    went = _send(mail)
    mark(mail, went)
    if went.state != "sent":
        log.warning(
            "report_mail_not_sent", mail=mail.pk, report=mail.report_id, attempt=mail.attempt, result=went.state
        )
    return went


def _send(mail: ReportMail) -> Went:
    if why := hindrance_of(mail.receiver):
        return Went(state="withdrawn", answer=f"not sent: {why}")
    if settings.EMAIL_BACKEND == DUMMY:
        return Went(state="dead", answer=NO_SERVER)
    try:
        send_message(message_of(mail, now=datetime.now(UTC)), [mail.receiver.address])
    except Exception as error:  # noqa: BLE001  smtplib, ssl and email raise many kinds, and each is an answer
        return Went(state="dead" if is_final(error) else "later", answer=answer_of(error).replace("\x00", ""))
    return Went(state="sent", answer="taken by the mail server")


def hindrance_of(receiver: ReportReceiver) -> str:
    """Return why this receiver must not get a report at this moment, "" when they may: what they said, and whose address it is now."""
    try:
        receiver.refresh_from_db(fields=["removed_at", "stopped_at", "outside", "link_epoch"])
    except ReportReceiver.DoesNotExist:
        return "its schedule was removed"
    if why := stopped_words(receiver):
        return why
    if is_still_theirs(receiver):
        return ""
    return f"it is the address of nobody in {receiver.schedule.environment.slug} any more, whose account is on"


def message_of(mail: ReportMail, *, now: datetime) -> EmailMessage:
    """Return the mail of one receiver: what was drawn when the report was frozen, with the links of this receiver."""
    report, receiver = mail.report, mail.receiver
    host = urlsplit(settings.CONSOLE_URL).hostname or "localhost"
    opens, stops = links_of(report, receiver, now=now)
    files = list(ReportFile.objects.filter(report=report).exclude(role="page"))
    html, text = (_text(files, role) for role in ("html", "text"))
    message = EmailMessage(policy=POLICY)
    message["Subject"] = " ".join(report.subject.split())
    message["From"] = settings.DEFAULT_FROM_EMAIL
    message["To"] = receiver.address
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<waybill-report-{mail.pk}-{mail.round}@{host}>"
    message["Auto-Submitted"] = "auto-generated"
    message["List-Unsubscribe"] = f"<{stops}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"  # RFC 8058
    message.set_content(filled(text, opens=opens, stops=stops))
    message.add_alternative(filled(html, opens=opens, stops=stops), subtype="html")
    page = list(message.iter_parts())[1]
    assert isinstance(page, EmailMessage)
    for file in files:
        kind, _, subtype = file.mime.partition("/")
        if file.role == "image":
            page.add_related(bytes(file.body), kind, subtype, cid=f"<{file.name}>")
        elif file.role == "attachment":
            message.add_attachment(bytes(file.body), kind, subtype, filename=file.name)
    return message


def links_of(report: Report, receiver: ReportReceiver, *, now: datetime) -> tuple[str, str]:
    """Return (the address that opens the report, the one that stops the mails) of a receiver; the first ends `link_days` from now."""
    one = receiver.schedule
    opens = Opens(
        report=report.pk,
        receiver=receiver.pk,
        schedule_epoch=one.link_epoch,
        receiver_epoch=receiver.link_epoch,
        until=now + timedelta(days=one.link_days),
    )
    return open_url(open_token(opens)), stop_url(stop_token(receiver.pk))


def _text(files: list[ReportFile], role: str) -> str:
    return next(bytes(file.body).decode() for file in files if file.role == role)


def mark(mail: ReportMail, went: Went) -> None:
    """Write what became of a try, unless a later one has begun meanwhile."""
    now = datetime.now(UTC)
    mine = ReportMail.objects.filter(pk=mail.pk, attempt=mail.attempt, state="sending")
    if went.state != "later":
        mine.update(state=went.state, next_at=None, finished_at=now, answer=went.answer[:500])
        return
    wait = next_try_s(mail.tries, asked_s=None, chance=random.random())  # noqa: S311  spreads, keeps no secret
    if wait is None:
        answer = f"given up after {mail.tries} tries: {went.answer}"
        mine.update(state="dead", next_at=None, finished_at=now, answer=answer[:500])
    else:
        mine.update(state="failed", next_at=now + timedelta(seconds=wait), answer=went.answer[:500])


def give_up_died(now: datetime) -> int:
    """Give up what workers died of again and again: it may have arrived. What waits because the console was off is late, and not lost."""
    died = ReportMail.objects.filter(state="sending", next_at__lt=now, tries__gte=MOST_TRIES)
    answer = f"{MOST_TRIES} workers ended while they sent it: it may have arrived"
    return died.update(state="unknown", answer=answer, next_at=None, finished_at=now)
