"""The map and the charts in Chromium: by keyboard alone from the map to messages, Vega under our policy, a drag that chooses a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from playwright.sync_api import Browser, Page, expect

from console.core.bundles import write_bundles
from tests.factories import agent_key, event, push
from tests.pages.keys import press
from tests.pages.test_in_a_browser import browser, sign_in, unsafe_async  # noqa: F401  fixtures

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
EVIL = "<img src=x onerror=\"document.title='run'\">"


@pytest.fixture(scope="module", autouse=True)
def bundle() -> None:
    """What set-up writes, and the test's server finds as collectstatic would."""
    write_bundles(Path(settings.CONFIG.data))


def estate() -> None:
    for minutes, flow, system in ((12, "orders", "erp"), (15, "stock", EVIL), (33, "orders", "erp")):
        at = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
        common = {"destination": flow, "occurred_at": at, "message_id": f"message {minutes}", "duration_ms": 40}
        error = {"type": "ErpTimeout", "message": "erp did not answer", "stack": ""}
        failed = event(**common, system=system, operation="process", outcome="error", error=error)
        push("/ingest/v1/events", [event(**common), failed], key=agent_key())
    push(
        "/ingest/v1/changes",
        [
            {
                "id": "1",
                "kind": "deployment",
                "title": EVIL,
                "started_at": (datetime.now(UTC) - timedelta(minutes=25)).isoformat(),
            }
        ],
        key=agent_key(),
    )


def watched(page: Page) -> list[str]:
    """Return the list that errors of the page, those of its policy among them, are added to."""
    errors: list[str] = []
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


def test_the_keyboard_leads_from_the_map_to_a_system_and_on_to_its_messages(browser: Browser, live_server: Any):  # noqa: F811
    estate()
    page = sign_in(browser, live_server.url)
    errors = watched(page)
    page.goto(live_server.url + "/topology/")
    expect(page.locator("svg.map a.box")).to_have_count(3)
    assert Axe().run(page).response["violations"] == []

    page.locator(".map-view").focus()
    for _ in range(12):
        press(page, "Tab")
        if page.evaluate(
            "document.activeElement.classList.contains('box') && document.activeElement.textContent.includes('erp')"
        ):
            break
    press(page, "Enter")
    expect(page).to_have_url(f"{live_server.url}/topology/?system=erp")
    expect(page.locator("svg.map a.box.focus")).to_contain_text("erp")
    page.locator(".map-view").focus()
    press(page, "Tab")
    assert page.evaluate("document.activeElement.classList.contains('line')")
    press(page, "Enter")

    expect(page.locator("#message-list tbody tr")).to_have_count(2)
    press(page, "g", "t")
    expect(page).to_have_url(f"{live_server.url}/topology/")
    press(page, "j", "Enter")
    page.wait_for_url("**/topology/?system=*")
    assert errors == []
    assert page.title() != "run"


def test_vega_draws_under_our_policy_and_a_bar_opens_its_messages(browser: Browser, live_server: Any):  # noqa: F811
    estate()
    page = sign_in(browser, live_server.url)
    errors = watched(page)

    page.goto(live_server.url + "/figures/?window=1h")

    expect(page.locator("[data-figures][data-drawn]")).to_have_count(1)
    expect(page.locator("[data-chart] svg")).to_have_count(2)  # nothing was delivered: that is said in words
    expect(page.locator(".plain:visible")).to_have_count(0)
    assert Axe().run(page).response["violations"] == []
    place = page.locator("[data-chart=failures] svg")
    box = place.bounding_box()
    assert box
    bar = page.locator("[data-chart=failures] .mark-rect path[fill^='rgb(179']").last.bounding_box()
    assert bar
    page.mouse.move(bar["x"] + bar["width"] / 2, bar["y"] + bar["height"] - 3)
    expect(page.locator("#figure-tip")).to_contain_text("failed")
    page.mouse.click(bar["x"] + bar["width"] / 2, bar["y"] + bar["height"] - 3)
    page.wait_for_url("**/messages/?q=*")
    expect(page.locator("#message-list tbody tr").first).to_be_visible()
    assert errors == []
    assert page.title() != "run"


def test_a_drag_chooses_a_time_and_the_form_says_it_in_the_readers_zone(browser: Browser, live_server: Any):  # noqa: F811
    estate()
    page = sign_in(browser, live_server.url, timezone_id="Asia/Tokyo")
    page.goto(live_server.url + "/figures/?window=1h")
    expect(page.locator("[data-figures][data-drawn]")).to_have_count(1)
    box = page.locator("[data-chart=failures] svg").bounding_box()
    assert box

    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60, steps=4)
    page.mouse.up()

    page.wait_for_url("**since=*")
    assert "window" not in page.url
    expect(page.locator("[data-zone]")).to_have_text("Asia/Tokyo")
    shown = page.locator("[name=from]").input_value()
    since = datetime.fromisoformat(
        page.evaluate("new URL(location.href).searchParams.get('since')").replace("Z", "+00:00")
    )
    assert shown == (since + timedelta(hours=9)).strftime("%Y-%m-%dT%H:%M")

    page.locator("[name=to]").fill("")
    page.locator("[name=from]").focus()
    press(page, "Enter")
    page.wait_for_url(lambda url: "until" not in url)
    assert page.evaluate("new URL(location.href).searchParams.get('since')").startswith(
        since.strftime("%Y-%m-%dT%H:%M")
    )


def test_without_scripts_or_without_the_bundle_the_plain_pictures_stay(browser: Browser, live_server: Any):  # noqa: F811
    estate()
    page = sign_in(browser, live_server.url, java_script_enabled=False)
    page.goto(live_server.url + "/figures/?window=1h")
    expect(page.locator(".plain svg.chart:visible")).to_have_count(2)
    page.goto(live_server.url + "/topology/")
    page.locator("svg.map a.box").first.click()
    expect(page.locator("#systems tbody tr").first).to_be_visible()

    page = sign_in(browser, live_server.url)
    page.route("**/vega.js", lambda route: route.abort())
    page.goto(live_server.url + "/figures/?window=1h")
    expect(page.locator(".plain svg.chart:visible")).to_have_count(2)


@pytest.mark.parametrize("path", ["/topology/", "/figures/", "/topology/?system=erp"])
def test_a_phone_scrolls_nothing_sideways_and_has_the_tables(browser: Browser, live_server: Any, path: str):  # noqa: F811
    estate()
    page = sign_in(browser, live_server.url, viewport={"width": 390, "height": 844}, color_scheme="dark")
    page.goto(live_server.url + path)

    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    if "topology" in path:
        expect(page.locator("svg.map")).to_be_hidden()
        expect(page.locator("#systems tbody tr").first).to_be_visible()
    assert Axe().run(page).response["violations"] == []
