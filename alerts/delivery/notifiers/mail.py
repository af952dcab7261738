"""Mail by the server of EMAIL_URL: one mail to all receivers of the channel, HTML and text.

A server may be slow. Until the text is handed over every step has 15 s, and a try that ends there sent nothing. The answer to the whole mail is
waited for 90 s: giving up earlier would send it twice to receivers of a server that takes its time and then takes the mail.
"""

from __future__ import annotations

import contextlib
import smtplib
import socket
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime, getaddresses
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.template.loader import render_to_string

from alerts.delivery.notifiers.base import BadChannel, Field, Said, Telling, Told
from alerts.delivery.notifiers.http import check_fields
from alerts.delivery.notifiers.words import HAPPENED, cut, one_line, thread_key, untold_words, web_links, when_words
from messages.saved.outbox import DUMMY, NO_SERVER, answer_of, is_final

STEP_S, ANSWER_S = 15.0, 90.0
LONGEST_LINE = 998  # RFC 5322, 2.1.1
WHOLE = ("list-unsubscribe", "references")  # what has one long word: a link, an id


class WholePolicy(EmailPolicy):
    """Leaves links and ids as they are: the standard policy writes a word that does not fit its line as an encoded one (RFC 2047), which no mail
    program takes for an address to stop mails at, or for the id of another mail."""

    def fold(self, name: str, value: str) -> str:
        line = f"{name}: {value}{self.linesep}"
        return (
            line
            if name.lower() in WHOLE and line.isascii() and len(line) <= LONGEST_LINE
            else super().fold(name, value)
        )

    def fold_binary(self, name: str, value: str) -> bytes:
        return self.fold(name, value).encode() if name.lower() in WHOLE else super().fold_binary(name, value)


POLICY = WholePolicy(linesep="\r\n", cte_type="7bit")  # 7bit: every server takes it
MOST_RECEIVERS = 20
FOR_GOOD = 500  # answers below it may be others later


class Mail:
    """Taken when nobody is left who may take it later; receivers that the server does not know are named in the answer."""

    kind = "mail"
    label = "Mail"
    fields = (Field(name="to", label="To", help="Up to 20 addresses, parted by commas."),)
    hosts: tuple[str, ...] = ()
    a_second, at_once = 5.0, 4
    repeat_s: float | None = None
    longest_s = ANSWER_S + 4 * STEP_S

    def check(self, said: Said) -> None:
        check_fields(self.fields, said)
        receivers = receivers_of(said)
        if not 1 <= len(receivers) <= MOST_RECEIVERS:
            raise BadChannel(f"To: name 1 to {MOST_RECEIVERS} addresses")
        for one in receivers:
            try:
                validate_email(one)
            except ValidationError as error:
                raise BadChannel(f"To: “{one[:80]}” is no mail address") from error
            if not one.isascii():
                raise BadChannel(f"To: “{one[:80]}” has letters that servers do not take: write its domain as xn--…")

    def addresses(self, said: Said) -> list[str]:
        return []

    def tell(self, telling: Telling, said: Said, allowed: Collection[str]) -> Told:
        if settings.EMAIL_BACKEND == DUMMY:
            return Told(result="refused", answer=NO_SERVER)
        mail, receivers = rendered(telling), _receivers(telling, said)
        if not receivers:
            return Told(result="taken", answer="who did not have it is no receiver of this channel any more")
        try:
            refused = send_message(as_message(mail, receivers), receivers)
        except Exception as error:  # noqa: BLE001  smtplib, ssl and email raise many kinds, and each is an answer
            if telling.only and isinstance(error, smtplib.SMTPRecipientsRefused):
                code, _ = next(iter(error.recipients.values()))
                return _told("taken by the mail server for the others", error.recipients, code)
            status = getattr(error, "smtp_code", None)
            return Told(result="refused" if is_final(error) else "later", answer=answer_of(error), status=status)
        return _told("taken by the mail server", refused, 250)


def _told(taken: str, refused: Mapping[str, tuple[int, bytes]], status: int) -> Told:
    """Return what became of a mail that some receivers have: those who were refused for good are named, the others of the refused are left."""
    left = tuple(address for address, (code, _) in refused.items() if code < FOR_GOOD)
    not_taken = "; ".join(f"{address}: {code}" for address, (code, _) in refused.items())
    answer = f"{taken}, but not for {not_taken}" if not_taken else taken
    return Told(result="later" if left else "taken", status=status, answer=answer, left=left)


def _receivers(telling: Telling, said: Said) -> list[str]:
    return [one for one in receivers_of(said) if not telling.only or one in telling.only]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A mail before it has receivers. thread: mails of one breach stand together in a mail reader."""

    subject: str
    text: str
    html: str
    message_id: str
    thread_id: str
    telling: Telling


def rendered(telling: Telling) -> Rendered:
    """Return the mail of a notice; pure but for the templates on the disk."""
    notice = telling.notice
    host = urlsplit(settings.CONSOLE_URL).hostname or "localhost"
    context = {
        "notice": notice,
        "title": one_line(telling.title),
        "text": telling.text,
        "untold": untold_words(telling),
        "happened": HAPPENED[notice.happening],
        "when": when_words(notice),
        "facts": list(notice.facts.items())[:40],
        "links": list(web_links(notice).items()),
        "look": _look(notice.happening.value),
    }
    return Rendered(
        subject=cut(one_line(f"[{notice.environment}] {telling.title}"), 200),
        text=render_to_string("emails/notice.txt", context).strip() + "\n",
        html=render_to_string("emails/notice.html", context),
        message_id=f"<{telling.key}@{host}>",
        thread_id=f"<{thread_key(notice.thread + ' ' + notice.environment, 0)}@{host}>",
        telling=telling,
    )


def _look(happening: str) -> str:
    """Return the colour of the rule beside the title; the words say the same."""
    return {"resolved": "#1a7f4b", "acknowledged": "#3b5bdb", "test": "#3b5bdb"}.get(happening, "#c92a2a")


def as_message(mail: Rendered, receivers: list[str]) -> EmailMessage:
    message = EmailMessage(policy=POLICY)
    message["Subject"] = mail.subject
    message["From"] = settings.DEFAULT_FROM_EMAIL
    message["To"] = ", ".join(receivers)
    message["Date"] = format_datetime(mail.telling.now)
    message["Message-ID"] = mail.message_id
    message["References"] = mail.thread_id
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    return message


def receivers_of(said: Said) -> list[str]:
    """Return the addresses, each once."""
    return list(
        dict.fromkeys(address for _, address in getaddresses([said.get("to", "").replace("\n", ",")]) if address)
    )


def send_message(message: EmailMessage, receivers: list[str]) -> dict[str, tuple[int, bytes]]:
    """Hand a mail over; return who of the receivers was refused. Raises what smtplib and the sockets raise, within Mail.longest_s."""
    kind = smtplib.SMTP_SSL if settings.EMAIL_USE_SSL else smtplib.SMTP
    with _ended(kind(settings.EMAIL_HOST, settings.EMAIL_PORT, timeout=STEP_S)) as server:
        if settings.EMAIL_USE_TLS:
            server.starttls()
        if settings.EMAIL_HOST_USER:
            server.login(settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD)
        server.ehlo_or_helo_if_needed()
        code, words = server.mail(settings.DEFAULT_FROM_EMAIL)
        if code != 250:
            raise smtplib.SMTPSenderRefused(code, words, settings.DEFAULT_FROM_EMAIL)
        answers = {one: server.rcpt(one) for one in receivers}
        refused = {one: answer for one, answer in answers.items() if answer[0] not in (250, 251)}
        if len(refused) == len(receivers):
            raise smtplib.SMTPRecipientsRefused(refused)
        code, words = _hand_over(server, message)
        if code != 250:
            raise smtplib.SMTPDataError(code, words)
        return refused


def _hand_over(server: smtplib.SMTP, message: EmailMessage) -> tuple[int, bytes]:
    """Send the text; from here on a time-out does not say that it was not taken."""
    code, words = server.docmd("DATA")
    if code != 354:
        raise smtplib.SMTPDataError(code, words)
    data = message.as_bytes()
    data = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in data.split(b"\r\n"))
    assert server.sock is not None
    server.sock.sendall(data.rstrip(b"\r\n") + b"\r\n.\r\n")
    server.sock.settimeout(ANSWER_S)
    return server.getreply()


@contextlib.contextmanager
def _ended(server: smtplib.SMTP) -> Iterator[smtplib.SMTP]:
    """End the connection whatever happens, and after Mail.longest_s in any case: a time-out of a socket begins anew with every byte."""
    watch = threading.Timer(MAIL.longest_s - STEP_S, _cut_off, [server])
    watch.daemon = True
    watch.start()
    try:
        yield server
    finally:
        watch.cancel()
        with contextlib.suppress(Exception):  # the mail has its answer; what is said to the farewell is no matter of it
            if server.sock is not None:
                server.sock.settimeout(2)
            server.quit()
        server.close()


def _cut_off(server: smtplib.SMTP) -> None:
    with contextlib.suppress(OSError):
        if server.sock is not None:
            server.sock.shutdown(socket.SHUT_RDWR)


MAIL = Mail()
