"""The outbox of mails: written with the news that they tell, sent afterwards, tried again, given up in words.

At least once: a worker that dies between the server's answer and our mark sends the same mail again, with the same Message-ID.
"""

from __future__ import annotations

import smtplib
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import F

from console.identity.models import User
from messages.models import OutboxMail

log = structlog.get_logger(__name__)
BACKOFF = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 180, 360, 720))  # a day, all in all
LEASE = timedelta(minutes=2)  # of one sending; the mail server's time-outs are 10 s each
BUDGET_S = 40.0  # of one look: a task is killed after two minutes
KEPT = timedelta(days=30)
NO_SERVER = "no mail server is set: EMAIL_URL"
NO_ADDRESS = "its receiver has no mail address"
WHO_SETS_IT = "an administrator of the console sets it, on the page Teams and people"
DUMMY = "django.core.mail.backends.dummy.EmailBackend"


def queue_mail(
    about: str, occurrence: str, *, to: str, subject: str, body: str, html: str = "", flows: Sequence[int] = ()
) -> bool:
    """Put a mail into the outbox, in the transaction of its news; return False when this occurrence has its mail already.

    about       whose news it is, such as "subscription:5".   occurrence  the one thing that happened; unique.
    subject     one line; body  plain text with links, never a payload; html  the same as HTML.
    flows       ids of the flows that it tells of: see messages.saved.receivers.
    """
    reason = _hindrance(to)
    now = datetime.now(UTC)
    mail = OutboxMail(
        about=about,
        occurrence=occurrence,
        to=to,
        subject=" ".join(subject.split())[:200],
        body=body,
        html=html,
        flows=list(flows),
        state=OutboxMail.State.GIVEN_UP if reason else OutboxMail.State.WAITING,
        answer=reason,
        next_try_at=None if reason else now,
        finished_at=now if reason else None,
    )
    made = OutboxMail.objects.bulk_create([mail], ignore_conflicts=True)
    return OutboxMail.objects.filter(pk=made[0].pk).exists()


def cannot_tell(person: User, *, reader: bool) -> str:
    """Return why no mail can reach a person and what to do about it, in words; "" when mails go. reader: whether it is they who read that."""
    if not person.email:
        whose = "you have" if reader else f"{person.username} has"
        return f"{whose} no mail address here: {WHO_SETS_IT}"
    why = _hindrance(person.email)
    return f"the mail address of {person.username} is none: {WHO_SETS_IT}" if why not in ("", NO_SERVER) else why


def _hindrance(to: str) -> str:
    """Return in words why a mail to this address cannot go at all."""
    if not to:
        return NO_ADDRESS
    try:
        validate_email(to)
    except ValidationError:
        return f"“{to[:80]}” is no mail address"
    return NO_SERVER if settings.EMAIL_BACKEND == DUMMY else ""


def _let_all(mail: OutboxMail) -> str:
    return ""


def send_mails(*, budget_s: float = BUDGET_S, why_not: Callable[[OutboxMail], str] = _let_all) -> int:
    """Send what is due, one mail after the other, for at most so many seconds; return how many were sent. May run twice at once.

    why_not  asked right before each is sent: why it must not be any more, in words; "" when it may. A mail is tried for a day.
    """
    sent, until = 0, time.monotonic() + budget_s
    backend: BaseEmailBackend | None = None
    try:
        while time.monotonic() < until and (mail := _claim()) is not None:
            if why := why_not(mail):
                _mark(mail, state=OutboxMail.State.GIVEN_UP, answer=why[:500], finished_at=datetime.now(UTC))
                continue
            backend = backend or get_connection()
            sent += _send(mail, backend)
    finally:
        if backend is not None:
            _close(backend)
    return sent


def _close(backend: BaseEmailBackend) -> None:
    """End the connection; what a server answers to that is no matter of a mail."""
    try:
        backend.close()
    except Exception as error:  # noqa: BLE001  the mails before it are marked, and those after it get a connection of their own
        log.warning("mail_server_not_left", answer=answer_of(error))


def _claim() -> OutboxMail | None:
    """Take the mail that is due longest: its next try is after the lease, unless this one ends it."""
    now = datetime.now(UTC)
    with transaction.atomic():
        due = OutboxMail.objects.filter(state=OutboxMail.State.WAITING, next_try_at__lte=now)
        mail = due.order_by("next_try_at", "pk").select_for_update(skip_locked=True).first()
        if mail is None:
            return None
        OutboxMail.objects.filter(pk=mail.pk).update(attempt=F("attempt") + 1, next_try_at=now + LEASE)
        mail.attempt += 1
    return mail


def _send(mail: OutboxMail, backend: BaseEmailBackend) -> bool:
    host = urlsplit(settings.CONSOLE_URL).hostname or "localhost"
    message = EmailMultiAlternatives(
        mail.subject,
        mail.body,
        to=[mail.to],
        headers={"Message-ID": f"<{mail.pk}@{host}>", "Auto-Submitted": "auto-generated"},
    )
    if mail.html:
        message.attach_alternative(mail.html, "text/html")
    try:
        backend.open()  # else it is closed within the sending, and what the server says to that would be the mail's answer
        backend.send_messages([message])
    except Exception as error:  # noqa: BLE001  a mail that cannot be must not keep those behind it waiting
        _close(backend)  # the connection may be broken: the next mail gets one of its own
        answer, final = answer_of(error), is_final(error)
        log.warning("mail_not_sent", mail=str(mail.pk), attempt=mail.attempt, answer=answer)
        _mark_failed(mail, answer, final=final)
        return False
    _mark(mail, state=OutboxMail.State.SENT, answer="taken by the mail server", finished_at=datetime.now(UTC))
    return True


def _mark_failed(mail: OutboxMail, answer: str, *, final: bool) -> None:
    now = datetime.now(UTC)
    if final or mail.attempt > len(BACKOFF):
        why = answer if final else f"given up after {mail.attempt} tries: {answer}"
        _mark(mail, state=OutboxMail.State.GIVEN_UP, answer=why[:500], finished_at=now)
    else:
        _mark(mail, next_try_at=now + BACKOFF[mail.attempt - 1], answer=answer)


def _mark(mail: OutboxMail, **columns: object) -> None:
    """Write what became of a try, unless a later one has begun meanwhile."""
    if columns.get("finished_at"):
        columns["next_try_at"] = None
    OutboxMail.objects.filter(pk=mail.pk, attempt=mail.attempt, state=OutboxMail.State.WAITING).update(**columns)


def withdraw_mails(about: str, why: str) -> int:
    """Send no mail of this subscription or check that still waits, in the transaction of what ended it; return how many.

    One that a worker has in hand at this moment may go all the same.
    """
    waiting = OutboxMail.objects.filter(about=about, state=OutboxMail.State.WAITING)
    return waiting.update(
        state=OutboxMail.State.GIVEN_UP,
        answer=f"not sent: {why}"[:500],
        next_try_at=None,
        finished_at=datetime.now(UTC),
    )


def answer_of(error: Exception) -> str:
    """Return what a mail server, or the way to it, said, in one line; never a login."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, words = next(iter(error.recipients.values()), (0, b""))
        return _line(code, words)
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"{error.smtp_code}: the mail server does not take the user and password of EMAIL_URL"
    if isinstance(error, smtplib.SMTPResponseException):
        return _line(error.smtp_code, error.smtp_error)
    if isinstance(error, OSError):
        return f"the mail server did not answer: {type(error).__name__}: {error}"[:400]
    return f"this cannot be sent: {type(error).__name__}: {error}"[:400]


def _line(code: int, words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    return " ".join(f"{code}: {text}".replace("\x00", "").split())[:400]


def is_final(error: Exception) -> bool:
    """Whether trying again is of no use: the server said 5xx of this receiver or mail (RFC 5321, 4.2.1)."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(500 <= code < 600 for code, _ in error.recipients.values())
    if isinstance(error, smtplib.SMTPDataError):
        return 500 <= error.smtp_code < 600
    return not isinstance(error, OSError)  # smtplib's errors are OSErrors; any other is of the mail itself


def expire_mails(*, now: datetime | None = None) -> int:
    """Forget mails that were sent or given up a month ago; return how many."""
    old = OutboxMail.objects.filter(finished_at__lt=(now or datetime.now(UTC)) - KEPT)
    return old.delete()[0]


def mails_about(about: str, *, most: int = 10) -> list[OutboxMail]:
    """Return the newest mails of one subscription or check; the caller has checked that they may be seen."""
    return list(OutboxMail.objects.filter(about=about)[:most])
