"""Pages of reports: what they show to whom, what their buttons do, with and without a report."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from alerts.models import Objective, Report, ReportMail, ReportReceiver, ReportSchedule
from alerts.objectives.services import add_objective
from alerts.objectives.wishes import NewObjective
from alerts.reports import making
from alerts.reports.content import from_json
from alerts.reports.services import revise, stop_mails
from console.identity.actor import Actor
from console.identity.models import Membership, Role, Team, User
from messages.models import Flow, SavedSearch
from tests.factories import actor, environment
from tests.pages.people import text_of
from tests.reports.sending import DUE, at, beat, kept_promise, member, only_report, owner, receiver, scheduled
from tests.services.reconciling import flow

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("drawn_once")]


def browser(user: User | str, role: Role | None = Role.OPERATOR) -> Client:
    client = Client()
    client.force_login(user if isinstance(user, User) else member(user, role))
    return client


def own_browser(by: Actor) -> Client:
    client = Client()
    client.force_login(User.objects.get(pk=by.user_id))
    return client


@pytest.fixture
def by() -> Actor:
    """The owner of a schedule that has sent its first report."""
    kept_promise()
    member("ada")
    found = owner()
    scheduled(found, receivers=["ada@example.com", "olga@example.com"])
    with at(DUE):
        making.look()
    return found


def form(**said: Any) -> dict[str, Any]:
    known = {
        "name": "Board",
        "cadence": "monthly",
        "weekday": "1",
        "hour": "7",
        "time_zone": "UTC",
        "language": "de-DE",
        "link_days": "30",
    }
    return {**known, "enabled": "on", "receivers": ""} | said


def test_a_stranger_is_sent_to_sign_in():
    assert Client().get("/reports/").headers["Location"].startswith("/sign-in/")


def test_an_empty_list_says_what_a_report_is_and_who_makes_one():
    flow()

    assert "Make the first report" in text_of(browser("olga").get("/reports/"))
    assert "Operators of this environment make them" in text_of(browser("vera", Role.VIEWER).get("/reports/"))


def test_the_list_has_the_last_report_the_next_time_and_how_many_get_it(by: Actor):
    stop_mails(receiver("ada@example.com"))

    page = text_of(own_browser(by).get("/reports/"))

    assert "Order team every day at 07:00, UTC" in page
    assert "25 November 2026 missed" in page
    assert "1 (1 stopped)" in page
    assert 'aria-current="page"' in own_browser(by).get("/reports/").content.decode()


def test_a_schedule_is_made_in_a_form_and_previewed():
    one = kept_promise()
    client = browser("olga")

    answer = client.post("/reports/new/", form(objectives=[str(one.pk)], receivers="olga@example.com", then="preview"))

    made, preview = ReportSchedule.objects.get(), Report.objects.get()
    assert answer.headers["Location"] == f"/reports/sent/{preview.pk}/"
    assert (made.name, made.cadence, made.language, made.objective_ids) == ("Board", "monthly", "de-DE", [one.pk])
    waiting = client.get(answer.headers["Location"])
    assert "It waits for a worker" in text_of(waiting)
    assert 'hx-trigger="every 2s"' in waiting.content.decode()
    part = {"HX-Request": "true"}
    assert "report-head" not in client.get(answer.headers["Location"], headers=part).content.decode()
    making.look()
    swapped = client.get(answer.headers["Location"], headers=part).content.decode()
    assert 'id="report-head" hx-swap-oob="true"' in swapped  # with it come the files, and what can be done
    assert re.search(r'href="/reports/sent/\d+/files/[^"]+\.pdf"', swapped)
    page = client.get(answer.headers["Location"])
    assert "hx-swap-oob" not in page.content.decode()
    assert "This is a preview." in text_of(page)
    assert f'src="/reports/sent/{preview.pk}/mail/"' in page.content.decode()
    assert "every 2s" not in page.content.decode()
    assert page.headers["Content-Security-Policy"].count("frame-src 'self'") == 1


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"name": ""}, "This field is required."),
        ({"time_zone": "Mars"}, "no time zone"),
        ({"receivers": "nobody"}, "is no mail address"),
        ({"receivers": "partner@example.org"}, "Only administrators"),
        ({"hour": "99"}, "not one of the available"),
        ({"objectives": ["4711"]}, "not one of the available"),
    ],
)
def test_what_cannot_be_is_said_in_the_form(said: dict[str, Any], words: str):
    flow()

    answer = browser("olga").post("/reports/new/", form(**said))

    assert answer.status_code in (403, 422)
    assert words in text_of(answer)
    assert not ReportSchedule.objects.exists()


def test_a_viewer_has_no_form_and_no_buttons_and_sees_no_address(by: Actor):
    client, pk = browser("vera", Role.VIEWER), ReportSchedule.objects.get().pk

    page = client.get(f"/reports/{pk}/")

    assert page.status_code == 200
    assert "@example.com" not in text_of(page)
    assert "Send now" not in text_of(page)
    assert client.get("/reports/new/").status_code == 403
    assert client.get(f"/reports/{pk}/edit/").status_code == 403
    for act in ("preview", "send", "links", "remove"):
        assert client.post(f"/reports/{pk}/{act}/", {"reason": "x"}).status_code == 403
    report = client.get(f"/reports/sent/{only_report().pk}/")
    assert report.status_code == 200
    assert "@example.com" not in text_of(report)
    for act in ("revise", "again", "retry"):
        assert client.post(f"/reports/sent/{only_report().pk}/{act}/", {"reason": "x"}).status_code == 403


def test_a_report_is_seen_by_who_sees_all_of_its_flows_and_by_nobody_else(by: Actor):
    Flow.objects.update(team=Team.objects.create(name="Finance"))  # it was nobody's, and everybody saw it
    client, report = browser("vera", Role.VIEWER), only_report()

    assert client.get(f"/reports/sent/{report.pk}/").status_code == 404
    assert client.get(f"/reports/sent/{report.pk}/mail/").status_code == 404
    assert client.get(f"/reports/sent/{report.pk}/files/order-team-2026-11-25.pdf").status_code == 404
    page = text_of(client.get("/reports/"))
    assert "Order team" in page
    assert "missed" not in page
    assert own_browser(by).get(f"/reports/sent/{report.pk}/").status_code == 404  # nor by its owner any more
    Membership.objects.create(
        user=User.objects.get(username="vera"), team=Team.objects.get(name="Finance"), environment=environment(), role=1
    )
    assert client.get(f"/reports/sent/{report.pk}/").status_code == 200


def test_a_report_on_a_search_is_its_maker_s_also_when_the_promise_is_removed():
    olga, search = member("olga", Role.OPERATOR), {"of": "messages", "name": "Big ones", "q": "size:big"}
    one = add_objective(
        NewObjective(name="Big ones", kind="freshness", target="0.9", limit_minutes=15),
        search=SavedSearch.objects.create(environment=environment(), owner=olga, **search),
        by=actor(olga),
        now=DUE - timedelta(days=2),
    )
    Objective.objects.update(counted_to=DUE)
    scheduled(actor(olga))
    beat(DUE)
    report, others = only_report(), browser("vera", Role.ADMINISTRATOR)
    assert report.search_ids == [one.pk]

    for _ in ("there", "removed"):
        assert browser(olga).get(f"/reports/sent/{report.pk}/").status_code == 200
        assert others.get(f"/reports/sent/{report.pk}/").status_code == 404
        Objective.objects.all().delete()


def test_another_environment_s_schedules_are_not_there(by: Actor):
    client = browser(member("steve", Role.ADMINISTRATOR, slug="staging"))
    pk = ReportSchedule.objects.get().pk

    assert client.get(f"/reports/{pk}/").status_code == 404
    assert client.get(f"/reports/sent/{only_report().pk}/").status_code == 404
    assert "Order team" not in text_of(client.get("/reports/"))


def test_the_page_of_a_report_shows_the_mail_who_got_it_and_its_files(by: Actor):
    report = only_report()
    beat(DUE + timedelta(seconds=5))
    client = own_browser(by)

    page = client.get(f"/reports/sent/{report.pk}/")

    assert "ada@example.com" in text_of(page)
    files = re.findall(rf"/reports/sent/{report.pk}/files/[^\"]+", page.content.decode())
    assert len(files) == 2
    kinds = {client.get(path).headers["Content-Type"].split(";")[0] for path in files}
    assert kinds == {"application/pdf", "text/csv"}
    text = client.get(f"/reports/sent/{report.pk}/mail/?as=text")
    assert text.headers["Content-Type"].startswith("text/plain")
    assert f"/reports/sent/{report.pk}/" in text.content.decode()
    assert "WAYBILL-" not in text.content.decode()


def test_the_mail_stands_in_a_frame_that_runs_nothing_and_reaches_nothing(by: Actor):
    answer = own_browser(by).get(f"/reports/sent/{only_report().pk}/mail/")

    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "sandbox allow-popups" in policy
    assert "allow-scripts" not in policy
    assert "frame-ancestors 'self'" in policy
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert '<base target="_blank">' in answer.content.decode()


def test_sending_again_is_pressed_once(by: Actor):
    client, report = own_browser(by), only_report()
    mail = ReportMail.objects.get(receiver__address="ada@example.com")
    ReportMail.objects.update(state="dead", next_at=None, finished_at=DUE, answer="550: no such user")
    said = {"receiver": str(mail.receiver_id), "round": "1"}

    first = client.post(f"/reports/sent/{report.pk}/again/", said)
    second = client.post(f"/reports/sent/{report.pk}/again/", said)

    assert (first.status_code, second.status_code) == (303, 422)
    assert "It is on its way already." in text_of(second)
    mail.refresh_from_db()
    assert (mail.state, mail.round) == ("queued", 2)
    ReportMail.objects.update(state="sent", next_at=None, finished_at=DUE)
    assert (
        client.post(f"/reports/sent/{report.pk}/again/", said).status_code == 422
    )  # a press on a page of before it went
    assert client.post(f"/reports/sent/{report.pk}/again/", {"receiver": "x"}).status_code == 404


def test_a_revision_is_asked_for_with_a_reason_and_shown_beside_the_one_before(by: Actor):
    client, report = own_browser(by), only_report()

    assert client.post(f"/reports/sent/{report.pk}/revise/", {"reason": ""}).status_code == 422
    answer = client.post(f"/reports/sent/{report.pk}/revise/", {"reason": "failures came late", "send": "1"})
    making.look()

    page = text_of(client.get(answer.headers["Location"]))
    assert "25 November 2026, revision 2" in page
    assert "It corrects the one before: Failures came late." in page
    assert "Not one figure." in page
    assert "It was revised since." in text_of(client.get(f"/reports/sent/{report.pk}/"))
    assert "Make a revision" not in text_of(client.get(f"/reports/sent/{report.pk}/"))


def test_the_schedule_says_when_the_figures_of_what_was_sent_are_others_now(by: Actor):
    Report.objects.update(differs=[{"what": "Orders arrive: lost", "before": "2", "now": "10"}], checked_at=DUE)
    client = own_browser(by)

    schedule = text_of(client.get(f"/reports/{ReportSchedule.objects.get().pk}/"))
    report = text_of(client.get(f"/reports/sent/{only_report().pk}/"))

    assert "What was sent is not what is so now. 1 figure of the last report would differ" in schedule
    assert "Orders arrive: lost 2 10" in report


def test_why_there_is_no_report_is_said_on_every_page_and_tried_again_by_a_press(by: Actor):
    Membership.objects.filter(user_id=by.user_id).update(role=Role.VIEWER)
    with at(DUE + timedelta(days=1)):
        making.look()
    client, pk = browser("anna", Role.ADMINISTRATOR), ReportSchedule.objects.get().pk
    failed, why = only_report(state="failed"), "its owner olga is no operator of production any more"

    assert why in text_of(client.get("/reports/"))
    assert why in text_of(client.get(f"/reports/{pk}/"))
    assert "There is no report. Its owner olga is no operator" in text_of(client.get(f"/reports/sent/{failed.pk}/"))
    assert client.post(f"/reports/sent/{failed.pk}/retry/").status_code == 303
    assert client.post(f"/reports/sent/{failed.pk}/retry/").status_code == 422


def test_an_edit_keeps_what_its_editor_does_not_see_and_tells_it_to_nobody_new():
    theirs = flow("payroll", team=Team.objects.create(name="Finance"))
    boss = member("boss", None)
    User.objects.filter(pk=boss.pk).update(is_superuser=True)
    boss.refresh_from_db()
    made = scheduled(actor(boss), flow_ids=[theirs.pk], receivers=["boss@example.com"])
    client = browser("anna", Role.ADMINISTRATOR)
    edit = f"/reports/{made.pk}/edit/"

    assert "It is also about flows or objectives that you do not see" in text_of(client.get(edit))
    refused = client.post(edit, form(receivers="boss@example.com, anna@example.com"))
    assert client.post(edit, form(receivers="boss@example.com")).status_code == 303

    assert refused.status_code == 403
    assert "You do not see everything that Board tells: boss says of what and to whom." in text_of(refused)
    made.refresh_from_db()
    assert (made.flow_ids, made.name) == ([theirs.pk], "Board")


def test_links_are_revoked_and_a_schedule_removed_by_their_buttons(by: Actor):
    client, made = own_browser(by), ReportSchedule.objects.get()

    client.post(f"/reports/{made.pk}/links/", {"reason": "forwarded"})
    client.post(f"/reports/{made.pk}/links/", {"receiver": str(receiver("ada@example.com").pk)})
    for nobody in ("4711", "x", "-1", "9" * 30):
        assert client.post(f"/reports/{made.pk}/links/", {"receiver": nobody}).status_code == 404
    assert client.post(f"/reports/{made.pk}/remove/", {"reason": ""}).status_code == 422
    made.refresh_from_db()
    assert (made.link_epoch, receiver("ada@example.com").link_epoch) == (1, 1)

    assert client.post(f"/reports/{made.pk}/remove/", {"reason": "done"}).status_code == 303
    assert not Report.objects.exists()


def test_what_was_frozen_is_shown_for_ever(by: Actor):
    from alerts.models import Objective

    report = only_report()
    Objective.objects.all().update(name="Renamed")

    page = own_browser(by).get(f"/reports/sent/{report.pk}/mail/").content.decode()

    assert "Orders arrive" in page
    assert "Renamed" not in page
    assert from_json(only_report().content).promises[0].name == "Orders arrive"


def test_a_revision_that_is_being_made_hides_the_button(by: Actor):
    report = only_report()
    revise(report, by=by, reason="x", now=datetime(2026, 11, 26, 8, tzinfo=UTC))

    assert own_browser(by).post(f"/reports/sent/{report.pk}/revise/", {"reason": "y"}).status_code == 422


def test_mails_that_were_given_up_are_told_to_the_owner(by: Actor):
    ReportMail.objects.filter(receiver__address="ada@example.com").update(state="dead", next_at=None, finished_at=DUE)
    client = own_browser(by)

    assert "1 mail of the last one given up" in text_of(client.get("/reports/"))
    assert "1 mail of the last report was given up." in text_of(
        client.get(f"/reports/{ReportSchedule.objects.get().pk}/")
    )


def test_who_was_added_later_may_be_sent_a_report_and_who_stopped_may_not(by: Actor):
    schedule = ReportSchedule.objects.get()
    for name in ("bob", "cyd"):
        ReportReceiver.objects.create(schedule=schedule, address=f"{name}@example.com", added_by="olga")
    stop_mails(receiver("cyd@example.com"), now=DUE)

    page = own_browser(by).get(f"/reports/sent/{only_report().pk}/").content.decode()

    assert 'aria-label="Send to bob@example.com"' in page
    assert "cyd@example.com" not in page


def test_who_left_is_listed_as_one_who_gets_nothing(by: Actor):
    page = f"/reports/{ReportSchedule.objects.get().pk}/"
    assert "gets nothing" not in text_of(own_browser(by).get(page))

    User.objects.filter(username="ada").update(is_active=False)

    said = text_of(own_browser(by).get(page))
    assert said.count("no member any more: gets nothing") == 1
    assert re.search(r"ada@example.com added by \w+, .{1,20} no member any more", said)
