"""Breaches in Chromium: walked by keyboard alone, nothing that overflows or that axe finds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from alerts.breaches import acts
from alerts.breaches.services import flag_unwatched
from alerts.breaches.silences import NewSilence, silence
from alerts.conditions import Severity
from alerts.models import Breach
from tests.axe import faults_of
from tests.breaches.breaching import fired, flow, policy
from tests.factories import ROOT, environment
from tests.pages.keys import press
from tests.pages.test_in_a_browser import browser, sign_in, unsafe_async

__all__ = ["browser", "unsafe_async"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


def trouble() -> Breach:
    now = datetime.now(UTC)
    orders = flow().pk
    policy(days=(1, 2, 3, 4, 5), time_zone="Europe/Berlin")
    page = fired(now - timedelta(minutes=12), key="7:fast", flow_ids=(orders,), labels={"team": "Order team"})
    fired(now - timedelta(minutes=10), key="7:slow", flow_ids=(orders,), severity=Severity.TICKET)
    fired(
        now - timedelta(minutes=10),
        source="agent",
        key="999",
        title="Agent erp is silent",
        summary="Nothing came for 20 min.",
    )
    return page


def test_the_keyboard_walks_from_the_overview_to_a_breach_and_takes_notes_on_and_silences_it(
    browser: Browser, live_server: Any
):
    breach = trouble()
    page = sign_in(browser, live_server.url)
    page.goto(live_server.url)
    press(page, "g", "b")
    expect(page.locator(".verdict")).to_contain_text("2 pages that nobody has taken.")
    press(page, "j", "j", "j", "Enter")
    expect(page.locator("h1")).to_have_text("Orders delivered in 5 min")

    press(page, "a")
    expect(page.locator("#acknowledge-reason")).to_be_focused()
    page.keyboard.type("asking the ERP team")
    press(page, "Enter")
    expect(page.locator("main")).to_contain_text("is on it")
    press(page, "n")
    expect(page.locator("#note-text")).to_be_focused()
    page.keyboard.type("They restart it.")
    press(page, "Tab", "Enter")
    expect(page.locator("main")).to_contain_text("They restart it.")
    press(page, "s")
    expect(page.locator("#silence-reason")).to_be_focused()
    page.keyboard.type("known")
    press(page, "Enter")
    expect(page.locator("main")).to_contain_text("Silenced by")

    breach.refresh_from_db()
    assert (breach.state, breach.silenced_by is not None) == ("acknowledged", True)


def test_pages_of_breaches_fit_a_phone_and_a_desk_and_axe_finds_nothing(browser: Browser, live_server: Any):
    breach = trouble()
    acts.add_note(breach, "The ERP team knows.\nCall them first.", by=ROOT)
    said = NewSilence(comment="ERP moves house", expires_at=datetime.now(UTC) + timedelta(hours=4), flow=flow("other"))
    silence(environment(), said, by=ROOT)
    flag_unwatched()
    ticket = Breach.objects.get(severity="ticket")
    made = policy("Order team")
    pages = [
        "/", "/breaches/", "/breaches/?show=resolved", "/breaches/?source=group", f"/breaches/{breach.reference}/",
        f"/breaches/{ticket.reference}/", "/breaches/silences/", "/breaches/silences/?show=over", "/settings/alerting/", "/settings/alerting/new/",
        f"/settings/alerting/{made.pk}/",
    ]  # fmt: skip
    page = sign_in(browser, live_server.url)
    found = faults_of(page, live_server.url, pages, widths=(390, 920, 1440))

    assert found == {}
