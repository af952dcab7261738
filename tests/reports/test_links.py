"""Links of mails: what they open without an account, until when, and how mails are stopped with one click."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.signing import Signer
from django.db import OperationalError
from django.test import Client

from alerts.models import ReportMail, ReportReceiver, ReportSchedule
from alerts.reports import mailing, making
from alerts.reports.links import OPEN_SALT, STOP_SALT, Opens, open_token, stop_token
from alerts.reports.services import change_schedule, remove_schedule, revise, revoke_links
from alerts.reports.wishes import NewSchedule
from console.audit.models import AuditEntry
from console.identity.actor import Actor
from console.identity.models import User
from tests.pages.people import text_of
from tests.reports.sending import DUE, NOW, at, beat, kept_promise, member, only_report, owner, receiver, scheduled

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("drawn_once")]
DAY = timedelta(days=1)


@pytest.fixture
def by() -> Actor:
    kept_promise()
    member("ada")
    found = owner()
    scheduled(found, receivers=["ada@example.com", "olga@example.com"], link_days=10)
    with at(DUE):
        making.look()
    return found


def links_for(address: str = "ada@example.com") -> tuple[str, str]:
    """Return (the path that opens the report, the path that stops the mails) of the mail of this receiver."""
    opens, stops = mailing.links_of(only_report(revision=1), receiver(address), now=DUE)
    return tuple(re.sub(r"^http://[^/]+", "", one) for one in (opens, stops))  # type: ignore[return-value]


def get(path: str, when: datetime = NOW + DAY, client: Client | None = None) -> Any:
    with at(when):
        return (client or Client()).get(path)


def test_a_stranger_reads_the_report_and_nothing_is_kept_told_on_or_set(by: Actor):
    client = Client()
    answer = get(links_for()[0], client=client)

    assert answer.status_code == 200
    assert "Orders arrive" in answer.content.decode()
    assert "WAYBILL-" not in answer.content.decode()
    assert client.cookies == {}
    assert "Set-Cookie" not in answer.headers
    assert answer["Referrer-Policy"] == "no-referrer"
    assert answer["X-Robots-Tag"] == "noindex, nofollow, noarchive"
    assert answer["Cache-Control"] == "private, no-store"
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert "script-src" not in answer["Content-Security-Policy"]


def test_its_files_are_there_to_keep(by: Actor):
    path = links_for()[0]
    names = re.findall(rf'href="[^"]*{re.escape(path)}/([^"]+)"', get(path).content.decode())

    answers = {name: get(f"{path}/{name}") for name in names}

    assert {one["Content-Type"].split(";")[0] for one in answers.values()} == {"application/pdf", "text/csv"}
    assert all(one["Content-Disposition"].startswith("attachment; filename=") for one in answers.values())
    assert all(one["Referrer-Policy"] == "no-referrer" for one in answers.values())
    assert get(f"{path}/mail.html").status_code == get(f"{path}/%00").status_code == 404


def gone(answer: Any) -> bool:
    return answer.status_code == 404 and "This link opens nothing" in text_of(answer)


def test_what_a_link_does_not_open_is_always_the_same_page(by: Actor):
    opens, stops = links_for()
    token = opens.rsplit("/", 1)[1]
    schedule, ada = ReportSchedule.objects.get(), receiver("ada@example.com")
    until = DUE + 10 * DAY
    forged = {
        "ended": get(opens, until),
        "tampered": get(opens[:-1] + ("A" if opens[-1] != "A" else "B")),
        "never ours": get("/reports/r/nothing"),
        "of another kind": get(f"/reports/r/{stops.rsplit('/', 1)[1]}"),
        "with the other salt": get(f"/reports/r/{Signer(salt=STOP_SALT).sign_object([1, 2, 3, 4, 5])}"),
        "no numbers": get(f"/reports/r/{Signer(salt=OPEN_SALT).sign_object(['x'] * 5)}"),
        "another's report": get("/reports/r/" + open_token(Opens(report=4711, receiver=ada.pk, schedule_epoch=0, receiver_epoch=0, until=until))),
        "nobody": get("/reports/r/" + open_token(Opens(report=1, receiver=4711, schedule_epoch=0, receiver_epoch=0, until=until))),
        "a file of nothing": get("/reports/r/nothing/report.pdf"),
        "stops nothing": get("/reports/stop/nothing"),
        "a link that opens does not stop": get(f"/reports/stop/{token}"),
    }  # fmt: skip
    revoke_links(schedule, by=by, receiver=ada)
    forged["revoked for one"] = get(opens)

    assert {name for name, answer in forged.items() if not gone(answer)} == set()
    assert len({answer.content for answer in forged.values()}) == 1
    assert get(links_for("olga@example.com")[0]).status_code == 200
    assert get(links_for()[0]).status_code == 200  # of a later mail
    assert get(opens, until - timedelta(seconds=1)).status_code == 404


def test_links_of_all_are_revoked_at_once_and_who_is_taken_off_has_none(by: Actor):
    ada, olga = links_for()[0], links_for("olga@example.com")[0]
    schedule = ReportSchedule.objects.get()
    said = {"name": "Order team", "cadence": "daily", "hour": 7}

    change_schedule(schedule, NewSchedule(**said, receivers=["olga@example.com"]), by=by)
    assert (gone(get(ada)), gone(get(olga))) == (True, False)
    change_schedule(schedule, NewSchedule(**said, receivers=["olga@example.com", "ada@example.com"]), by=by)
    assert gone(get(ada))  # back again, with new links
    revoke_links(schedule, by=by, reason="a mailing list got it")

    assert gone(get(olga))
    assert [entry.reason for entry in AuditEntry.objects.filter(action="report_links.revoked")] == [
        "a mailing list got it"
    ]


def test_a_removed_schedule_leaves_links_that_open_nothing(by: Actor):
    opens, stops = links_for()

    remove_schedule(ReportSchedule.objects.get(), by=by, reason="x")

    assert gone(get(opens))
    assert gone(get(stops))


def test_whoever_reads_an_old_one_is_told_that_it_was_revised(by: Actor):
    path = links_for()[0]
    revise(only_report(), by=by, reason="failures came late", now=DUE)
    beat(DUE + timedelta(minutes=1))

    assert "This report was revised on 26 November 2026. failures came late" in text_of(get(path))


# stopping ------------------------------------------------------------------------------------------------------------
def test_looking_at_the_link_stops_nothing_pressing_does_and_it_is_audited_without_the_address(by: Actor):
    stops = links_for()[1]
    client = Client(enforce_csrf_checks=True)

    asked = get(stops, client=client)
    assert "Stop this report?" in text_of(asked)
    assert receiver("ada@example.com").stopped_at is None
    done = client.post(stops, {"do": "stop"})

    assert "It has stopped" in text_of(done)
    assert receiver("ada@example.com").stopped_at is not None
    assert receiver("olga@example.com").stopped_at is None
    assert client.cookies == {}
    (entry,) = AuditEntry.objects.filter(action="report_mails.stopped")
    assert (entry.actor, entry.via) == ("a receiver", "link")
    assert "ada" not in f"{entry.details} {entry.object_label} {entry.reason}"
    client.post(stops, {"do": "stop"})
    assert AuditEntry.objects.filter(action="report_mails.stopped").count() == 1


def test_a_mail_program_stops_them_with_one_click(by: Actor):
    """RFC 8058: a POST of List-Unsubscribe=One-Click, without cookies and context; the answer is no redirect."""
    stops = links_for()[1]
    client = Client(enforce_csrf_checks=True)

    answer = client.post(stops, "List-Unsubscribe=One-Click", content_type="application/x-www-form-urlencoded")

    assert answer.status_code == 200
    assert receiver("ada@example.com").stopped_at is not None
    assert list(ReportMail.objects.filter(receiver__address="ada@example.com").values_list("state", flat=True)) == [
        "withdrawn"
    ]


def test_one_click_also_comes_as_multipart(by: Actor):
    answer = Client(enforce_csrf_checks=True).post(links_for()[1], {"List-Unsubscribe": "One-Click"})

    assert answer.status_code == 200
    assert receiver("ada@example.com").stopped_at is not None


def test_who_stopped_may_get_it_again_by_the_same_link(by: Actor):
    stops, client = links_for()[1], Client()
    client.post(stops, {"do": "stop"})

    answer = client.post(stops, {"do": "start"})

    assert "You get it again" in text_of(answer)
    assert receiver("ada@example.com").stopped_at is None


def test_a_link_that_stops_does_not_end_and_works_though_links_were_revoked(by: Actor):
    stops = links_for()[1]
    revoke_links(ReportSchedule.objects.get(), by=by)

    assert get(stops, DUE + 3000 * DAY).status_code == 200
    assert stops.endswith(stop_token(ReportReceiver.objects.get(address="ada@example.com").pk))


BOUNDARY = "multipart/form-data; boundary=x"
UNREADABLE = {
    "too many fields": ("&".join(f"a{number}=1" for number in range(2_100)), "application/x-www-form-urlencoded", 400),
    "too much": ("a=" + "x" * 9_000_000, "application/x-www-form-urlencoded", 413),
    "no boundary": ("a=1", "multipart/form-data", 400),
    "another alphabet": ("a=1", "application/x-www-form-urlencoded; charset=utf-16", 400),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_form_that_cannot_be_read_is_its_sender_s_fault_and_stops_nothing(
    by: Actor, name: str, caplog: pytest.LogCaptureFixture
):
    body, kind, status = UNREADABLE[name]
    stops = links_for()[1]

    answer = Client(raise_request_exception=False).post(stops, body, content_type=kind)

    assert receiver("ada@example.com").stopped_at is None
    assert (answer.status_code, "nothing was changed" in text_of(answer)) == (status, True)
    assert answer["Referrer-Policy"] == "no-referrer"
    assert stops.rsplit("/", 1)[1] not in caplog.text


def test_nothing_but_looking_and_stopping_is_answered(by: Actor):
    opens, stops = links_for()

    assert Client().post(opens).status_code == 405
    assert Client().put(stops).status_code == 405
    assert Client().head(opens).status_code in (200, 404)


def test_what_is_refused_does_not_write_the_link_into_the_log_either(by: Actor, caplog: pytest.LogCaptureFixture):
    path = links_for()[0]
    client = Client(enforce_csrf_checks=True)

    statuses = [client.post(one).status_code for one in (path, f"{path}/report.pdf")]

    assert statuses == [405, 405]
    logged = [one for one in caplog.records if one.name != "django.request"]  # of which errors alone are kept
    assert path.rsplit("/", 1)[1] not in "".join(one.getMessage() for one in logged)


def test_the_links_of_a_member_who_left_open_nothing_any_more(by: Actor):
    """As the mails that they had: what was an account's is no stranger's. A partner's address that an administrator put there stays."""
    ada, olga = links_for(), links_for("olga@example.com")[0]
    ReportReceiver.objects.filter(address="olga@example.com").update(outside=True)

    User.objects.filter(username__in=["ada", "olga"]).update(is_active=False)

    assert gone(get(ada[0]))
    assert get(olga).status_code == 200
    assert get(ada[1]).status_code == 200  # stopping stays theirs
    User.objects.filter(username="ada").update(is_active=True)
    assert get(ada[0]).status_code == 200


def test_a_signed_in_reader_s_session_is_not_touched(by: Actor, django_assert_max_num_queries: Any):
    client = Client()
    client.force_login(member("root"))
    path = links_for()[0]

    with django_assert_max_num_queries(6):
        answer = get(path, client=client)

    assert answer.status_code == 200
    assert "Cookie" not in answer.get("Vary", "")


def test_a_failure_is_answered_without_writing_the_link_into_the_log(
    by: Actor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    path = links_for()[0]

    def away(*_: Any, **__: Any) -> Any:
        raise OperationalError("the database is away")

    monkeypatch.setattr("alerts.reports.views_public.file_of", away)
    answer = get(path, client=Client(raise_request_exception=False))

    assert answer.status_code == 503
    assert "Try again in a minute" in text_of(answer)
    assert path.rsplit("/", 1)[1] not in caplog.text
    assert answer["Referrer-Policy"] == "no-referrer"


def test_who_was_taken_off_is_told_so_and_is_not_offered_what_cannot_be(by: Actor):
    stops = links_for()[1]
    said = {"name": "Order team", "cadence": "daily", "hour": 7}
    change_schedule(ReportSchedule.objects.get(), NewSchedule(**said, receivers=["olga@example.com"]), by=by)

    asked, pressed = text_of(get(stops)), text_of(Client().post(stops, {"do": "start"}))

    for text in (asked, pressed):
        assert "ada@example.com was taken off the receivers of “Order team”" in text
        assert "Get it again" not in text
