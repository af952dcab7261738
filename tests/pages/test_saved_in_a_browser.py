"""Saved searches and reconciliations in Chromium: by keyboard, on a phone and a desk, light and dark, nothing that axe finds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from console.identity.models import Team
from messages.models import Reconciliation, SavedSearch, Subscription
from messages.reconcile.check_services import NewCheck, add_check
from messages.reconcile.checking import run_checks
from messages.reconcile.evaluating import reconcile
from messages.saved.assessing import look_at_subscriptions
from messages.saved.services import NewSearch, Wish, save_search, subscribe
from tests.axe import faults_of
from tests.factories import environment, memory_connection, stored_letter
from tests.pages.keys import press
from tests.pages.test_in_a_browser import browser, sign_in, unsafe_async  # noqa: F401  fixtures
from tests.services.reconciling import compared, flow, message, operator

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


def test_the_keyboard_saves_a_search_opens_its_tab_and_subscribes(browser: Browser, live_server: Any):  # noqa: F811
    stored_letter(keys={"order_no": "1"})
    page = sign_in(browser, live_server.url)
    page.goto(f"{live_server.url}/dead-letters/?q=order_no:1")

    page.get_by_role("link", name="Save this search").focus()
    press(page, "Enter")
    page.get_by_label("Name").focus()
    page.keyboard.type("My orders")
    press(page, "Enter")
    expect(page.locator("h1")).to_have_text("My orders")
    page.get_by_label("Tell me", exact=True).focus()
    press(page, "Tab", "Enter")
    expect(page.locator("#subscription")).to_contain_text("You are told when it matches, and at most every 60 min")
    page.goto(f"{live_server.url}/dead-letters/")
    tab = page.locator("#saved-tabs a", has_text="My orders")
    expect(tab.locator("span")).to_have_text("1")
    tab.focus()
    press(page, "Enter")

    expect(page.locator("#saved-tabs a[aria-current]")).to_contain_text("My orders")
    assert SavedSearch.objects.get().q == "order_no:1 status:waiting"
    assert Subscription.objects.get().digest_minutes == 60


def test_the_keyboard_pastes_a_list_watches_it_and_ticks_a_failed_key(browser: Browser, live_server: Any):  # noqa: F811
    memory_connection()
    letter = stored_letter(origin="orders", keys={"order_no": "1"})
    page = sign_in(browser, live_server.url)
    page.goto(f"{live_server.url}/reconciliations/new/?flow=orders")

    page.get_by_label("Paste the keys").focus()
    page.keyboard.type("1")
    press(page, "Enter")
    page.keyboard.type("2")
    page.get_by_role("button", name="Compare").focus()
    press(page, "Enter")
    expect(page.locator("#reconciliation")).to_contain_text("It waits for a worker.")
    reconcile()
    expect(page.locator("#sums")).to_contain_text("2 keys = 1 arrived + 1 never seen")  # without a reload
    page.get_by_text("Send another list in its place").click()
    expect(page.get_by_role("button", name="Compare it")).to_be_visible()
    page.locator("#sets a", has_text="Failed").focus()
    press(page, "Enter")
    expect(page.locator("h1")).to_have_text("Failed: 1")
    press(page, *"jxr")

    expect(page.locator("h1")).to_contain_text("Send 1 dead letter again")
    assert str(letter.pk) in page.url
    assert Reconciliation.objects.get().state == "done"


def estate() -> list[str]:
    """One of everything, raised and broken; return the addresses."""
    by, of = operator(), flow()
    team = Team.objects.get(name="Order team").pk  # the reader is another member of it
    stored_letter(origin="orders", keys={"order_no": "2"})
    message("1")
    good = save_search(
        environment(), "dead-letters", NewSearch(name="Letters that wait", q="status:waiting", team_id=team), by=by
    )
    bad = save_search(environment(), "dead-letters", NewSearch(name="An old one", q="status:open", team_id=team), by=by)
    SavedSearch.objects.filter(pk=bad.pk).update(q="stauts:dead")
    for search in (good, bad):
        subscribe(search, Wish(when="matches", digest_minutes=60), by=by)
    look_at_subscriptions()
    one = compared(
        "\n".join(["1", "2", "2", "a,b", *(f"missing key number {number}" for number in range(60))]),
        name="What the shop says it sent yesterday",
    )
    at = datetime.now(UTC) + timedelta(hours=1)
    check = add_check(of, NewCheck(name="Every order reached the ERP", key_name="order_no", minute=at.hour * 60), by=by)
    run_checks(now=check.due_at + timedelta(minutes=1))
    page = f"/reconciliations/{one.pk}/"
    return [
        "/dead-letters/", "/saved-searches/", "/saved-searches/new/?of=messages", f"/saved-searches/{good.pk}/", f"/saved-searches/{bad.pk}/",
        "/reconciliations/", "/reconciliations/new/", page, f"{page}failed/", f"{page}never-seen/", "/reconciliations/checks/",
        "/reconciliations/checks/new/", f"/reconciliations/checks/{check.pk}/", "/settings/retention/",
    ]  # fmt: skip


def test_pages_fit_a_phone_and_a_desk_and_axe_finds_nothing(browser: Browser, live_server: Any):  # noqa: F811
    paths = estate()
    page = sign_in(browser, live_server.url)
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    found = faults_of(page, live_server.url, paths)

    assert (found, complaints) == ({}, [])
