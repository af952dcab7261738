"""The outbox against a real SMTP server: sent once, tried again with patience, given up in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from typing import Any

import pytest
import time_machine
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

from messages.models import OutboxMail
from messages.saved.outbox import BACKOFF, expire_mails, queue_mail, send_mails
from tests.ports import free_port

pytestmark = pytest.mark.django_db


class Mailbox:
    """What a mail server took, and what it answers instead where a test says so."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.port = 0
        self.to_data = self.to_rcpt = ""
        self.to_quit = "221 bye"

    async def handle_RCPT(self, server: SMTP, session: Any, envelope: Any, address: str, options: Any) -> str:
        if self.to_rcpt:
            return self.to_rcpt
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        if self.to_data:
            return self.to_data
        self.taken.append(envelope.content)
        return "250 taken"

    async def handle_QUIT(self, server: SMTP, session: Any, envelope: Any) -> str:
        return self.to_quit


@pytest.fixture
def mailbox(settings: Any) -> Iterator[Mailbox]:
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", controller.port
    settings.DEFAULT_FROM_EMAIL = "waybill@example.com"
    yield box
    controller.stop()


def queued(occurrence: str = "subscription:1:1", to: str = "ada@example.com", subject: str = "Stuck: 3") -> bool:
    return queue_mail("subscription:1", occurrence, to=to, subject=subject, body="See http://console/…\n")


def later(minutes: float) -> int:
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=minutes), tick=True):
        return send_mails()


def test_a_mail_is_sent_once_with_an_id_of_its_own(mailbox: Mailbox):
    queued(subject="Größe\r\nBcc: somebody@example.com")

    assert (send_mails(), send_mails()) == (1, 0)

    mail, row = message_from_bytes(mailbox.taken[0]), OutboxMail.objects.get()
    assert (mail["To"], mail["From"]) == ("ada@example.com", "waybill@example.com")
    assert mail["Message-ID"].startswith(f"<{row.pk}@")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Bcc"] is None
    assert (row.state, row.answer, row.attempt, row.next_try_at) == ("sent", "taken by the mail server", 1, None)


def test_the_same_occurrence_has_one_mail(mailbox: Mailbox):
    assert (queued(), queued(), queued("subscription:1:2")) == (True, False, True)

    assert send_mails() == 2


def test_a_server_that_is_away_is_tried_again_with_patience_and_given_up_after_a_day(mailbox: Mailbox, settings: Any):
    settings.EMAIL_PORT = free_port()
    queued()

    minutes = 0.0
    for wait in BACKOFF:
        assert later(minutes) == 0
        row = OutboxMail.objects.get()
        assert row.state == "waiting"
        assert "the mail server did not answer: ConnectionRefusedError" in row.answer
        minutes += wait / timedelta(minutes=1) + 0.1
    assert later(minutes) == 0

    row = OutboxMail.objects.get()
    assert (row.state, row.attempt) == ("given_up", len(BACKOFF) + 1)
    assert row.answer.startswith("given up after 8 tries: the mail server did not answer")


@pytest.mark.parametrize("to_data", ["", "451 greylisted, come back"])
def test_what_a_server_answers_at_the_end_loses_no_mark(mailbox: Mailbox, to_data: str):
    mailbox.to_data, mailbox.to_quit = to_data, "221 " + "x" * 9_000
    queued()

    assert send_mails() == (0 if to_data else 1)

    assert OutboxMail.objects.get().answer == ("451: greylisted, come back" if to_data else "taken by the mail server")


def test_not_now_is_tried_again_and_goes_when_the_server_takes_it(mailbox: Mailbox):
    mailbox.to_data = "451 greylisted, come back"
    queued()

    assert (send_mails(), later(0.5)) == (0, 0)
    assert OutboxMail.objects.get().answer == "451: greylisted, come back"
    mailbox.to_data = ""

    assert later(1.1) == 1
    assert OutboxMail.objects.get().attempt == 2


@pytest.mark.parametrize("where", ["to_rcpt", "to_data"])
def test_never_is_believed_at_once(mailbox: Mailbox, where: str):
    setattr(mailbox, where, "550 no such person")
    queued()

    send_mails()

    row = OutboxMail.objects.get()
    assert (row.state, row.answer, row.attempt) == ("given_up", "550: no such person", 1)


@pytest.mark.parametrize("address", ["ada", "a b@example.com", "ada@example.com\nBcc: x@example.com", "ä@ö", "@", "<>"])
def test_an_odd_address_ends_in_words_and_keeps_nobody_waiting(mailbox: Mailbox, address: str):
    queued(to=address)
    queued("subscription:1:2")

    assert send_mails() == 1

    odd, good = OutboxMail.objects.order_by("id")
    assert (good.state, odd.state) == ("sent", "given_up")
    assert "is no mail address" in odd.answer


def test_a_mail_that_breaks_the_library_is_given_up_and_keeps_nobody_waiting(mailbox: Mailbox):
    queued()
    OutboxMail.objects.update(to="<>")  # Django's own reading of it ends in a TypeError
    queued("subscription:1:2")

    assert send_mails() == 1

    assert list(OutboxMail.objects.order_by("id").values_list("state", flat=True)) == ["given_up", "sent"]


def test_a_worker_that_dies_while_sending_leaves_it_to_the_next_after_its_lease(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
):
    queued()

    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("messages.saved.outbox._mark", die)  # the server has it, our mark is lost
        with pytest.raises(Killed):
            send_mails()

    assert later(1) == 0
    assert later(2.1) == 1
    ids = {message_from_bytes(one)["Message-ID"] for one in mailbox.taken}
    assert (len(mailbox.taken), len(ids)) == (2, 1)  # at least once, and the same mail


def test_mails_are_forgotten_a_month_after_they_were_sent(mailbox: Mailbox):
    queued()
    queued("subscription:1:2")
    send_mails()
    queued("subscription:1:3")

    gone = expire_mails(now=datetime.now(UTC) + timedelta(days=31))

    assert (gone, OutboxMail.objects.get().occurrence) == (2, "subscription:1:3")
