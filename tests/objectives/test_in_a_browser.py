"""Objectives in Chromium: by keyboard, on a phone and a desk, light and dark, nothing that axe finds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from alerts.models import Exclusion, Objective
from alerts.objectives.excluding import NewExclusion, add_exclusion
from tests.axe import faults_of
from tests.factories import ROOT
from tests.objectives.stored import DAY, HOUR, MINUTE, looked, promised, rolled
from tests.pages.keys import press
from tests.pages.test_in_a_browser import browser, sign_in, unsafe_async  # noqa: F401  fixtures
from tests.services.reconciling import flow

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


def estate() -> list[str]:
    """A calm objective, one that burns, one without data; return the addresses."""
    now = datetime.now(UTC)
    rolled(now - 9 * DAY, 40, minutes=9 * 24 * 60 - 60)
    rolled(now - 3 * DAY, 0, 1, minutes=400)
    rolled(now - HOUR, 30, 10, minutes=61)
    burning = promised("Orders delivered, as the contract with the carrier says", now=now, target="0.995", days=10)
    promised(
        "Invoices reach the ERP", of=flow("invoices"), kind="volume", at_least=5, limit_minutes=60, now=now, days=7
    )
    promised("Answers within 4 s", kind="latency", limit_ms=4096, now=now, target="0.9", days=7)
    add_exclusion(
        NewExclusion(starts_at=now - 2 * DAY, minutes=300, reason="maintenance of the carrier", category="partner"),
        objective=burning,
        by=ROOT,
    )
    looked(now)
    one = f"/objectives/{burning.pk}/"
    return ["/objectives/", "/objectives/new/", "/objectives/import/", one, f"{one}edit/", f"{one}what-if/"]


def test_the_keyboard_makes_a_promise_and_excludes_a_period(browser: Browser, live_server: Any):  # noqa: F811
    flow()
    rolled(datetime.now(UTC) - 10 * MINUTE, 5, 1)
    page = sign_in(browser, live_server.url)
    page.goto(f"{live_server.url}/objectives/")

    page.get_by_role("link", name="Make the first promise").focus()
    press(page, "Enter")
    page.get_by_label("About").select_option("flow:orders")
    page.get_by_label("Name", exact=True).focus()
    page.keyboard.type("Orders succeed")
    press(page, "Enter")
    expect(page.locator("h1")).to_have_text("Orders succeed")
    expect(page.locator("#what-if")).to_contain_text("99.5 % now")  # came by itself
    looked(datetime.now(UTC))
    page.locator("#exclude summary").focus()
    press(page, "Enter")
    page.get_by_label("Reason").focus()
    page.keyboard.type("maintenance")
    press(page, "Enter")

    expect(page.locator("#exclusions")).to_contain_text("maintenance")
    assert Exclusion.objects.get().objective == Objective.objects.get()


def test_pages_fit_a_phone_and_a_desk_and_axe_finds_nothing(browser: Browser, live_server: Any):  # noqa: F811
    paths = estate()
    page = sign_in(browser, live_server.url)
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def open_dialogs(path: str, width: int) -> None:
        for dialog in page.locator(".head details.confirm").all():
            dialog.locator("summary").click()
            box = dialog.locator("form").bounding_box()
            if not box or box["x"] < 0 or box["x"] + box["width"] > width:
                complaints.append(f"{path} {width} {dialog.get_attribute('id')} opens outside")
            press(page, "Escape")

    found = faults_of(page, live_server.url, paths, then=open_dialogs)

    assert (found, complaints) == ({}, [])
