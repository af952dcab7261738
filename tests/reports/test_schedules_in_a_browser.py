"""Reports in Chromium: made and previewed by keyboard; on a phone and a desk, light and dark, nothing that axe or the policy finds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from alerts.models import Objective, Report, ReportMail, ReportSchedule
from alerts.reports import mailing, making
from alerts.reports.services import revise
from console.identity.models import Role, User
from tests.axe import faults_of
from tests.pages.keys import press
from tests.pages.test_in_a_browser import browser, sign_in, unsafe_async  # noqa: F401  fixtures
from tests.reports.sending import DUE, at, kept_promise, member, owner, receiver, scheduled

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("committed", "drawn_once"),
]


def watched(page: Page) -> list[str]:
    """Return the list into which what the console of the browser complains of is written."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    return said


def test_the_keyboard_makes_a_report_and_sees_what_would_be_sent(browser: Browser, live_server: Any):  # noqa: F811
    kept_promise()
    page = sign_in(browser, live_server.url)
    complaints = watched(page)
    page.goto(f"{live_server.url}/reports/")

    page.get_by_role("link", name="Make the first report").focus()
    press(page, "Enter")
    page.get_by_label("For whom").focus()
    page.keyboard.type("Order team")
    page.get_by_role("button", name="Save and preview").focus()
    press(page, "Enter")
    expect(page.locator("#report")).to_contain_text("It waits for a worker")
    making.look()

    frame = page.frame_locator("iframe.mail")
    expect(frame.locator("h1")).to_be_visible(timeout=15_000)  # the part polled itself
    expect(frame.locator("body")).to_contain_text("Order team")
    expect(page.locator(".head").get_by_role("link", name="CSV")).to_be_visible()  # what can be done with it came along
    assert page.locator(".head").count() == 1
    assert ReportSchedule.objects.get().name == "Order team"
    assert complaints == []


def test_its_pages_have_no_finding_and_overflow_nowhere(browser: Browser, live_server: Any):  # noqa: F811
    kept_promise(name="A promise with a name that is " + "x" * 80)
    by, left = owner("anna", Role.ADMINISTRATOR), member("u" * 60)
    made = scheduled(by, name="x" * 120, receivers=[f"{'y' * 60}@partner.example.org", "anna@example.com", left.email])
    User.objects.filter(pk=left.pk).update(is_active=False)
    with at(DUE):
        making.look()
        sent = Report.objects.get()
        revise(sent, by=by, reason="z" * 400)
        making.look()
    Objective.objects.update(counted_to=DUE - timedelta(days=1))
    waits = scheduled(by, name="waits for its figures")
    with at(DUE):
        making.look()
    waiting = Report.objects.get(schedule=waits)
    ReportMail.objects.update(state="dead", next_at=None, finished_at=DUE, answer="550: " + "n" * 300)
    ReportSchedule.objects.update(problem="w" * 300, problem_at=DUE)
    Report.objects.filter(pk=sent.pk).update(differs=[{"what": "v" * 100, "before": "1", "now": "2"}], checked_at=DUE)
    opens, stops = mailing.links_of(sent, receiver("anna@example.com"), now=DUE)
    page = sign_in(browser, live_server.url)
    page.goto(f"{live_server.url}/reports/sent/{waiting.pk}/")
    expect(page.locator("#report")).to_contain_text(
        "waits for its figures It waits until its figures are counted, an hour at most"
    )
    expect(page.locator("#report")).to_contain_text("Send it now makes it at once")
    page.goto(f"{live_server.url}/reports/{made.pk}/")
    expect(page.locator("#receivers")).to_contain_text("no member any more: gets nothing")
    complaints = watched(page)
    paths = [
        "/reports/",
        "/reports/new/",
        f"/reports/{made.pk}/",
        f"/reports/{made.pk}/edit/",
        f"/reports/{waits.pk}/",
        f"/reports/sent/{waiting.pk}/",
        f"/reports/sent/{sent.pk}/",
        f"/reports/sent/{Report.objects.latest('pk').pk}/",
        *("/reports/" + link.partition("/reports/")[2] for link in (opens, stops)),
    ]

    def open_dialogs(path: str, width: int) -> None:
        for dialog in page.locator("details.confirm").all():
            dialog.locator("summary").click()
            box = dialog.locator("form").bounding_box()
            assert box, path
            assert box["x"] >= 0, path
            assert box["x"] + box["width"] <= width, path
            press(page, "Escape")

    assert faults_of(page, live_server.url, paths, then=open_dialogs) == {}
    assert [one for one in complaints if "axe" not in one] == []
