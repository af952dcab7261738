"""The mails of reports against a real SMTP server: once each, the same as the preview, tried again, never lost."""

from __future__ import annotations

import base64
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerts.models import Report, ReportFile, ReportMail
from alerts.reports import mailing, making
from alerts.reports.errors import ReportState
from alerts.reports.services import ask_preview, change_schedule, send_again, stop_mails
from alerts.reports.wishes import NewSchedule
from console.audit.models import AuditEntry
from console.identity.models import Membership, Role
from messages.saved.outbox import NO_SERVER
from tests.engines.mailbox import SlowMailbox
from tests.ports import free_port
from tests.product import wait_until
from tests.reports.sending import (
    DUE,
    NOW,
    at,
    beat,
    kept_promise,
    member,
    only_report,
    owner,
    parsed,
    part_of,
    receiver,
    scheduled,
    states,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("drawn_once")]
MINUTE = timedelta(minutes=1)
SOON = DUE + timedelta(seconds=30)  # once it was made


def go(seconds: float) -> int:
    with at(SOON + timedelta(seconds=seconds)):
        return mailing.look(begin=mailing.at_once)


def test_from_the_promise_to_the_mail_in_the_box(mailbox: SlowMailbox):
    kept_promise()
    member("ada")
    scheduled(owner(), receivers=["ada@example.com", "olga@example.com"])

    assert beat(DUE) == (1, 2)

    mails = {mail["To"]: mail for mail in map(parsed, mailbox.taken)}
    assert set(mails) == {"ada@example.com", "olga@example.com"}
    mail, report = mails["ada@example.com"], only_report()
    assert mail["From"] == "waybill@example.com"
    assert mail["Subject"] == report.subject != ""
    assert mail["Auto-Submitted"] == "auto-generated"
    assert (
        mail["Message-ID"]
        == f"<waybill-report-{ReportMail.objects.get(receiver__address='ada@example.com').pk}-1@127.0.0.1>"
    )
    assert re.fullmatch(r"<http://127\.0\.0\.1:\d+/reports/stop/[\w:-]+>", mail["List-Unsubscribe"])
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    # as it went: no mail program reads a link that was written as an encoded word
    assert all(re.search(rb"\r?\nList-Unsubscribe: <http://[^\s<>]+>\r?\n", one) for one in mailbox.taken)
    attached = {part.get_filename(): part.get_content_type() for part in mail.iter_attachments()}
    assert {"application/pdf", "text/csv"} <= set(attached.values())
    assert dict(ReportFile.objects.filter(role="attachment").values_list("name", "mime")) == attached
    links = {to: re.findall(r"/reports/r/([\w:-]+)", part_of(one, "html")) for to, one in mails.items()}
    assert links["ada@example.com"] != links["olga@example.com"]
    assert "WAYBILL-" not in part_of(mail, "html") + part_of(mail, "plain")
    assert states(report) == {"ada@example.com": "sent", "olga@example.com": "sent"}


def seen_html(mail: Any) -> str:
    """Return the HTML of a mail as a reader sees it: its pictures in their places, without the links of its receiver."""
    html = part_of(mail, "html")
    for part in mail.walk():
        if cid := part.get("Content-ID"):
            picture = base64.b64encode(part.get_payload(decode=True)).decode()
            html = html.replace(f"cid:{cid.strip('<>')}", f"data:{part.get_content_type()};base64,{picture}")
    return re.sub(r"http://[^\"'< ]+/reports/(r|stop)/[\w:-]+", r"\1", html).strip().replace("\r\n", "\n")


def test_the_preview_is_the_mail(mailbox: SlowMailbox):
    kept_promise()
    by = owner()
    made = scheduled(by, receivers=["olga@example.com"])
    import time_machine

    ask_preview(made, by=by, now=DUE)
    with time_machine.travel(DUE, tick=False):  # what was frozen when is said in both
        making.look()
        mailing.look(begin=mailing.at_once)

    preview = Report.objects.get(revision=0)
    page = bytes(ReportFile.objects.get(report=preview, role="page").body).decode()
    page = re.sub(r"http://[^\"'< ]+/reports/(r|stop)/[\w-]+", r"\1", page).strip()
    (mail,) = map(parsed, mailbox.taken)
    assert seen_html(mail) == page
    text = bytes(ReportFile.objects.get(report=preview, role="text").body).decode()
    links = r"http://\S+/reports/(r|stop)/[\w:-]+"
    assert re.sub(links, r"\1", part_of(mail, "plain")).split() == re.sub(links, r"\1", text).split()
    assert [bytes(one.body) for one in ReportFile.objects.filter(report=preview, role="attachment")] == [
        part.get_payload(decode=True) for part in mail.iter_attachments()
    ]


def queued() -> ReportMail:
    """Return a mail that waits for its first try."""
    kept_promise()
    scheduled(owner(), receivers=["olga@example.com"])
    with at(DUE):
        making.look()
    return ReportMail.objects.get()


def test_a_worker_that_dies_between_the_server_s_answer_and_its_mark_sends_the_same_once_more(mailbox: SlowMailbox):
    queued()
    claimed = mailing.claim(SOON)
    assert claimed is not None
    assert mailing._send(claimed).state == "sent"  # and then kill -9

    assert go(mailing.LEASE.total_seconds() - 1) == 0
    assert go(mailing.LEASE.total_seconds() + 1) == 1

    ids = {parsed(one)["Message-ID"] for one in mailbox.taken}
    assert (len(mailbox.taken), len(ids)) == (2, 1)
    mailing.mark(claimed, mailing.Went(state="dead", answer="too late"))  # the first was not dead after all
    assert (ReportMail.objects.get().state, ReportMail.objects.get().attempt) == ("sent", 2)


def test_what_workers_die_of_again_and_again_is_listed_as_unknown():
    queued()
    lease = mailing.LEASE.total_seconds() + 1
    for number in range(mailing.MOST_TRIES):
        assert mailing.claim(SOON + timedelta(seconds=number * lease)) is not None

    go(mailing.MOST_TRIES * lease + 1)

    mail = ReportMail.objects.get()
    assert (mail.state, mail.answer) == ("unknown", "11 workers ended while they sent it: it may have arrived")


@pytest.mark.usefixtures("committed")
@pytest.mark.django_db(transaction=True)
def test_a_slow_server_holds_up_no_worker(mailbox: SlowMailbox):
    mailbox.wait_s = 3.0
    queued()

    started = time.monotonic()
    with at(SOON):
        assert mailing.look(budget_s=0.3) == 1
    took = time.monotonic() - started

    assert ReportMail.objects.get().state == "sending"
    assert took < mailbox.wait_s
    wait_until(lambda: ReportMail.objects.get().state == "sent", seconds=20, what="the slow mail")
    assert len(mailbox.taken) == 1
    for thread in threading.enumerate():
        if thread.name.startswith("report mail"):
            thread.join(5)


def test_a_server_that_is_away_is_tried_eleven_times_and_then_the_mail_is_given_up(settings: Any, mailbox: SlowMailbox):
    queued()
    settings.EMAIL_PORT, there = free_port(), settings.EMAIL_PORT

    go(0)
    mail = ReportMail.objects.get()
    assert (mail.state, mail.answer.split(":")[0]) == ("failed", "the mail server did not answer")
    for number in range(1, mailing.MOST_TRIES):
        go(number * 2 * 3600)

    mail.refresh_from_db()
    assert (mail.state, mail.answer[:31]) == ("dead", "given up after 11 tries: the ma")
    settings.EMAIL_PORT = there
    send_again(only_report(), mail.receiver, by=owner("anna", Role.ADMINISTRATOR))
    with at(datetime.now(UTC) + MINUTE):
        mailing.look(begin=mailing.at_once)
    assert states(only_report()) == {"olga@example.com": "sent"}


def test_a_mail_that_failed_once_before_the_console_was_off_for_days_is_late_and_not_lost(
    settings: Any, mailbox: SlowMailbox
):
    queued()
    settings.EMAIL_PORT, there = free_port(), settings.EMAIL_PORT
    go(0)
    settings.EMAIL_PORT = there

    assert go(3 * 24 * 3600) == 1

    assert states(only_report()) == {"olga@example.com": "sent"}


def test_a_late_mail_whose_server_is_not_up_yet_is_tried_again(settings: Any, mailbox: SlowMailbox):
    queued()
    settings.EMAIL_PORT, there = free_port(), settings.EMAIL_PORT
    go(3 * 24 * 3600)
    assert states(only_report()) == {"olga@example.com": "failed"}
    settings.EMAIL_PORT = there

    assert go(3 * 24 * 3600 + 60) == 1

    assert states(only_report()) == {"olga@example.com": "sent"}


def test_a_mail_that_was_never_tried_because_the_console_was_off_is_late_and_not_lost(mailbox: SlowMailbox):
    queued()

    assert go(3 * 24 * 3600) == 1

    assert (ReportMail.objects.get().state, len(mailbox.taken)) == ("sent", 1)


@pytest.mark.parametrize(("answer", "state"), [("550 no such user", "dead"), ("451 later", "failed")])
def test_what_the_server_says_of_a_receiver_is_kept(mailbox: SlowMailbox, answer: str, state: str):
    queued()
    mailbox.to_rcpt = answer

    go(0)

    mail = ReportMail.objects.get()
    assert (mail.state, mail.answer) == (state, answer.replace(" ", ": ", 1))


def test_without_a_mail_server_that_is_said(settings: Any):
    queued()
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"

    go(0)

    assert ReportMail.objects.get().answer == NO_SERVER


def test_who_stops_between_the_making_and_the_sending_gets_nothing(mailbox: SlowMailbox):
    mail = queued()

    claimed = mailing.claim(SOON)  # a worker has it in hand
    stop_mails(receiver("olga@example.com"))
    assert claimed is not None
    mailing.deliver(claimed)

    mail.refresh_from_db()
    assert (mailbox.taken, mail.state) == ([], "withdrawn")
    assert mail.answer == "not sent: its receiver stopped these mails"


def test_a_member_who_left_gets_nothing_though_the_schedule_still_names_them(mailbox: SlowMailbox):
    kept_promise()
    ada = member("ada")
    scheduled(owner(), receivers=["ada@example.com"])
    with at(DUE):
        making.look()
    Membership.objects.filter(user=ada).delete()

    go(0)

    assert mailbox.taken == []
    assert ReportMail.objects.get().answer == (
        "not sent: it is the address of nobody in production any more, whose account is on"
    )


def test_an_address_that_an_administrator_put_there_gets_it(mailbox: SlowMailbox):
    kept_promise()
    scheduled(owner("anna", Role.ADMINISTRATOR), receivers=["partner@example.org"])

    beat(DUE)

    assert [parsed(one)["To"] for one in mailbox.taken] == ["partner@example.org"]


def test_who_is_taken_off_gets_nothing_more_and_who_had_stopped_stays_stopped(mailbox: SlowMailbox):
    kept_promise()
    by = owner()
    member("ada")
    made = scheduled(by, receivers=["ada@example.com", "olga@example.com"])
    stop_mails(receiver("ada@example.com"))
    said = {"name": "Order team", "cadence": "daily", "hour": 7}
    change_schedule(made, NewSchedule(**said, receivers=["olga@example.com"]), by=by, now=NOW)
    change_schedule(made, NewSchedule(**said, receivers=["olga@example.com", "ada@example.com"]), by=by, now=NOW)

    beat(DUE)

    assert [parsed(one)["To"] for one in mailbox.taken] == ["olga@example.com"]


def test_it_is_sent_again_to_one_under_another_message_id_and_a_second_press_finds_it_on_its_way(mailbox: SlowMailbox):
    mail = queued()
    go(0)
    report, by = only_report(), owner("anna", Role.ADMINISTRATOR)

    send_again(report, mail.receiver, by=by, round=1)
    with pytest.raises(ReportState):
        send_again(report, mail.receiver, by=by, round=1)
    with at(datetime.now(UTC) + MINUTE):
        mailing.look(begin=mailing.at_once)

    assert len({parsed(one)["Message-ID"] for one in mailbox.taken}) == 2
    assert AuditEntry.objects.filter(action="report.sent_again").count() == 1


def test_a_receiver_who_was_added_later_may_be_sent_an_old_report_and_one_who_stopped_may_not(mailbox: SlowMailbox):
    queued()
    go(0)
    report, admin = only_report(), owner("anna", Role.ADMINISTRATOR)
    said = NewSchedule(name="Order team", cadence="daily", receivers=["olga@example.com", "anna@example.com"])
    change_schedule(report.schedule, said, by=admin)

    send_again(report, receiver("anna@example.com"), by=admin)
    stop_mails(receiver("olga@example.com"))

    assert states(report)["anna@example.com"] == "queued"
    with pytest.raises(ReportState):
        send_again(report, receiver("olga@example.com"), by=admin)


def test_a_worker_that_was_given_up_marks_nothing_that_another_has_in_hand(mailbox: SlowMailbox):
    kept_promise()
    scheduled(owner(), receivers=["olga@example.com"])
    with at(DUE):
        making.look()
    first = mailing.claim(SOON)
    second = mailing.claim(SOON + mailing.LEASE + MINUTE)
    assert first is not None
    assert second is not None

    mailing.mark(first, mailing.Went(state="later", answer="450 busy"))
    assert states(only_report()) == {"olga@example.com": "sending"}
    mailing.mark(second, mailing.Went(state="sent", answer="250 ok"))

    assert list(ReportMail.objects.values_list("state", "answer", "attempt")) == [("sent", "250 ok", 2)]
