"""Journeys in Chromium: by keyboard from a fold into its events and from two bodies to what changed; phone, dark, axe, no script."""

from __future__ import annotations

import os
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from messages.models import DeadLetter
from tests.axe import faults_of, findings
from tests.factories import agent_key, event, push
from tests.pages.keys import press
from tests.pages.test_compare import GOT, SENT, address, bodies
from tests.pages.test_different import fill
from tests.pages.test_in_a_browser import TRACE, browser, sign_in, unsafe_async  # noqa: F401  fixtures
from tests.pages.test_journey_ties import across_platforms
from tests.services.test_journeys_of_thousands import fan_out

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


def picture(page: Page, name: str) -> None:
    """Keep a picture of the page where WAYBILL_PICTURES names a folder; tests without it keep none."""
    if folder := os.environ.get("WAYBILL_PICTURES"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def test_the_keyboard_opens_a_folded_group_and_goes_on_to_its_next_page(browser: Browser, live_server: Any):  # noqa: F811
    fan_out(400)
    page = sign_in(browser, live_server.url)
    page.goto(f"{live_server.url}/j/{TRACE}")
    expect(page.locator("#folded h2")).to_have_text("802 events, folded")
    expect(page.locator("#folded tbody tr").first).to_contain_text("error")
    picture(page, "folded")

    page.locator("#folded tbody tr", has_text="shop").locator("a").focus()
    press(page, "Enter")
    expect(page.locator("#fold .pager")).to_contain_text("50 of 401")
    page.locator("#fold a[rel=next]").focus()
    press(page, "Enter")

    expect(page.locator("#fold .folds details")).to_have_count(50)
    page.locator("#fold details summary").first.focus()
    press(page, "Enter")
    expect(page.locator("#fold details").first).to_contain_text("it carries the same trace")
    picture(page, "unfolded")


def test_two_bodies_are_chosen_and_compared_by_keyboard_and_without_script(browser: Browser, live_server: Any):  # noqa: F811
    bodies(SENT, GOT, trace_id=TRACE)
    page = sign_in(browser, live_server.url, java_script_enabled=False)
    page.goto(f"{live_server.url}/j/{TRACE}")

    page.locator("#bodies button").focus()
    press(page, "Enter")

    expect(page.locator("#changes")).to_contain_text("customer.vat")
    expect(page.locator("#lines del").first).to_be_visible()
    picture(page, "compare-no-script")


def test_pages_fit_a_phone_and_axe_finds_nothing(browser: Browser, live_server: Any):  # noqa: F811
    across_platforms()
    web = {"system": "web", "operation": "other", "destination": "", "message_id": "", "keys": {"order_no": "4712"}}
    push(
        "/ingest/v1/events",
        [event(**web, trace_id=trace * 16, name="POST /orders") for trace in ("ab", "cd")],
        key=agent_key(),
    )
    ids = bodies(SENT, GOT)
    compared = "/" + address(ids).replace("?", "/?")
    page = sign_in(browser, live_server.url)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))

    names = {
        f"/j/{TRACE}": "journey",
        compared: "compare",
        "/k/order_no/none": "not-here",
        "/k/order_no/4711": "choice",
        "/k/order_no/4712": "choice of journeys",
    }
    found = faults_of(page, live_server.url, names, then=lambda path, width: picture(page, f"{names[path]}-{width}"))

    assert (found, complaints) == ({}, [])


def test_what_is_different_is_asked_for_by_keyboard(browser: Browser, live_server: Any):  # noqa: F811
    fill()
    letter = DeadLetter.objects.latest("id")
    page = sign_in(browser, live_server.url)
    page.goto(f"{live_server.url}/dead-letters/{letter.pk}/")

    page.locator("#different a.btn").focus()
    press(page, "Enter")

    expect(page.locator("#different tbody tr").first).to_contain_text("customer.vat is missing")
    expect(page).to_have_url(f"{live_server.url}/dead-letters/{letter.pk}/")
    for width in (390, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        picture(page, f"different-{width}")
    assert findings(page, "different") == {}


@pytest.mark.parametrize("width", [1440, 390])
def test_a_long_destination_gives_way_to_the_tie_beside_it(browser: Browser, live_server: Any, width: int):  # noqa: F811
    hook = "https://hooks.partner.example.com/v2/tenants/4711/orders/confirmations?version=2026-11"
    first = event(trace_id=TRACE, destination=hook, message_id="the order of 4711", correlation_id="conversation 7")
    events = [
        first,
        event(destination=hook, message_id="another order", correlation_id="conversation 7"),
    ]
    taken = {"destination": hook, "system": "order-orchestration-service-prod-eu-1", "operation": "process"}
    events += [event(**taken, message_id="another order") for _ in range(2)]
    push("/ingest/v1/events", events, key=agent_key())
    page = sign_in(browser, live_server.url, viewport={"width": width, "height": 900})

    page.goto(f"{live_server.url}/j/{TRACE}")

    ties = page.locator(".fall .what .tag")
    assert {"trace", "correlation id"} <= set(ties.all_inner_texts())
    assert ties.evaluate_all("all => all.map(one => one.scrollWidth - one.clientWidth)") == [0] * ties.count()
    assert page.locator(".fall .clip + .nowrap").all_inner_texts() == ["· attempt 1", "· attempt 2"]
    assert set(
        page.locator(".fall .what").evaluate_all("all => all.map(one => one.scrollWidth - one.clientWidth)")
    ) == {0}
    assert page.locator(".fall .clip", has_text="shop send").first.get_attribute("title") == f"shop send {hook}"
