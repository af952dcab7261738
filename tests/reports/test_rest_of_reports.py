"""REST of reports: the same rights and acts as the pages."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from alerts.models import Report, ReportMail, ReportSchedule
from alerts.reports import making
from console.identity.actor import Actor
from console.identity.models import Role, Team, User
from messages.models import Flow
from tests.factories import api_key
from tests.reports.sending import DUE, at, kept_promise, member, only_report, owner, receiver, scheduled

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("drawn_once")]
ROOT = "/api/v1/reports"


class Api:
    """A program with a person's key."""

    def __init__(self, user: User) -> None:
        self.headers = {"HTTP_AUTHORIZATION": f"Bearer {api_key(user)}"}

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        sent = {} if body is None else {"data": body, "content_type": "application/json"}
        return getattr(Client(), method)(f"{ROOT}{path}", **sent, **self.headers)


@pytest.fixture
def by() -> Actor:
    kept_promise()
    member("ada")
    found = owner()
    scheduled(found, receivers=["ada@example.com", "olga@example.com"])
    with at(DUE):
        making.look()
    return found


@pytest.fixture
def api(by: Actor) -> Api:
    return Api(User.objects.get(pk=by.user_id))


def test_the_history_of_every_schedule_newest_first(api: Api):
    answer = api("get", "?limit=1").json()

    (one,) = answer["results"]
    assert answer["next"] is None
    assert (one["name"], one["environment"], one["period"]) == ("Order team", "production", "25 November 2026")
    assert (one["state"], one["stands"], one["revision"], one["asked_by"]) == ("frozen", "missed", 1, "")
    assert api("get", "?q=ORDER").json()["results"] != []
    assert api("get", "?q=nobody").json()["results"] == []
    assert api("get", f"?schedule={one['schedule']}&environment=production").json()["results"] != []
    assert api("get", "?environment=elsewhere").status_code == 404
    assert api("get", "?schedule=x").status_code == 404
    assert api("get", "?cursor=%00x").status_code == 400


def test_one_report_with_what_it_says_and_who_got_it(api: Api):
    one = api("get", f"/{only_report().pk}").json()

    assert one["content"]["promises"][0]["lost"] == 2
    assert [mail["address"] for mail in one["mails"]] == ["ada@example.com", "olga@example.com"]
    files = {name: api("get", f"/{one['id']}/files/{name}") for name in one["files"]}
    assert {answer.status_code for answer in files.values()} == {200}
    assert files["report.html"].headers["Content-Type"] == "text/plain; charset=utf-8"
    assert {name.rsplit(".", 1)[1] for name in files} == {"html", "txt", "pdf", "csv"}
    assert api("get", f"/{one['id']}/files/passwd").status_code == 404


def test_a_schedule_is_made_changed_sent_revised_and_removed(api: Api):
    body = {"environment": "production", "name": "Board", "cadence": "daily", "receivers": ["olga@example.com"]}

    made = api("post", "/schedules", body)
    pk = made.json()["id"]
    changed = api(
        "put", f"/schedules/{pk}", {"name": "Board", "cadence": "monthly", "hour": 9, "receivers": ["ada@example.com"]}
    )
    preview = api("post", f"/schedules/{pk}/render")
    sent = api("post", f"/schedules/{pk}/send")
    making.look()
    revised = api("post", f"/{sent.json()['id']}/revise", {"reason": "late", "send": False})
    again = api("post", f"/{sent.json()['id']}/send-again", {"receiver": receiver_of(pk)})
    twice = api("post", f"/schedules/{pk}/send")
    revoked = api("delete", f"/schedules/{pk}/links", {"reason": "x"})
    gone = api("delete", f"/schedules/{pk}", {"reason": "done"})

    statuses = [one.status_code for one in (made, changed, preview, sent, revised, again, twice, revoked, gone)]
    assert statuses == [201, 200, 202, 202, 202, 409, 409, 204, 204]  # its mail is on its way already
    assert (changed.json()["when"], changed.json()["addresses"][0]["address"]) == (
        "on the first of each month at 09:00, UTC", "ada@example.com",
    )  # fmt: skip
    assert (preview.json()["revision"], revised.json()["revision"]) == (0, 2)
    assert twice.json()["code"] == "report_state"
    assert api("get", f"/schedules/{pk}").status_code == 404


def receiver_of(pk: int) -> int:
    return ReportSchedule.objects.get(pk=pk).receivers.get(removed_at=None).pk


def test_what_cannot_be_is_a_problem_with_a_code(api: Api):
    body = {"environment": "production", "name": "Board", "cadence": "daily"}

    assert api("post", "/schedules", body | {"time_zone": "Mars"}).json()["code"] == "report_schedule_invalid"
    assert api("post", "/schedules", body | {"name": "Order team"}).json()["code"] == "report_schedule_exists"
    assert api("post", "/schedules", body | {"receivers": ["partner@example.org"]}).json()["code"] == "forbidden"
    assert api("post", "/schedules", body | {"objectives": [4711]}).status_code == 404
    assert api("post", "/schedules", body | {"hour": 24}).status_code == 400
    assert api("get", "/00000000-0000-7000-8000-000000000000").status_code == 404
    assert api("post", f"/{only_report().pk}/retry").json()["code"] == "report_state"
    assert Client().get(ROOT).status_code == 401


def test_viewers_read_and_see_no_address_and_what_they_do_not_see_is_not_there(api: Api):
    viewer, pk = Api(member("vera", Role.VIEWER)), ReportSchedule.objects.get().pk

    assert viewer("get", f"/schedules/{pk}").json()["addresses"] == []
    assert viewer("get", f"/{only_report().pk}").json()["mails"] == []
    for method, path, body in (
        ("put", f"/schedules/{pk}", {"name": "x", "cadence": "daily"}),
        ("delete", f"/schedules/{pk}", {"reason": "x"}),
        ("post", f"/schedules/{pk}/render", {}),
        ("post", f"/schedules/{pk}/send", {}),
    ):
        assert viewer(method, path, body).status_code == 403
    Flow.objects.update(team=Team.objects.create(name="Finance"))
    assert viewer("get", f"/{only_report().pk}").status_code == 404
    assert viewer("get", "").json()["results"] == []
    assert viewer("get", "/schedules").json()["results"][0]["last"] is None


def test_links_of_one_receiver_are_revoked(api: Api):
    pk = ReportSchedule.objects.get().pk

    assert api("delete", f"/schedules/{pk}/links", {"receiver": receiver("ada@example.com").pk}).status_code == 204
    assert api("delete", f"/schedules/{pk}/links", {"receiver": 4711}).status_code == 404

    assert [receiver(f"{name}@example.com").link_epoch for name in ("ada", "olga")] == [1, 0]


def test_the_metrics_tell_what_waits_and_what_failed(api: Api):
    Report.objects.create(
        schedule=ReportSchedule.objects.get(), environment_id=only_report().environment_id, cadence="daily", since=DUE, until=DUE.replace(hour=8),
        time_zone="UTC", asked_at=DUE, state="failed",
    )  # fmt: skip
    ReportMail.objects.filter(receiver__address="ada@example.com").update(state="dead", next_at=None, finished_at=DUE)

    told = Client(REMOTE_ADDR="127.0.0.1").get("/metrics").content.decode()

    for line in ("waybill_report_mails_waiting", "waybill_report_mails_given_up", "waybill_reports_failed"):
        assert f'{line}{{environment="production"}} 1.0' in told
