"""The first closed loop as a person walks it: overview → stuck order by its number → cause → fix → replay → processed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.product import Product, call, wait_until

SCREENSHOT = Path(__file__).resolve().parents[2] / "docs" / "img" / "dead-letter.png"


def stuck_order(demo: Product) -> str:
    """Return the number of an order that waits because the ERP did not answer."""
    key = demo.api_key()

    def found() -> str | None:
        _, body = call(
            "GET", demo.base + "/api/v1/dead-letters?environment=demo&q=state:open+class:TimeoutError&limit=1", key=key
        )
        return body["results"][0]["keys"]["order_no"] if body["results"] else None

    return str(wait_until(found, seconds=60, what="an order that the ERP timed out on"))


def set_fault(page: Page, name: str, *, on: bool) -> None:
    page.goto("/demo/")
    switch = page.locator(f"form[action='/demo/faults/{name}'] button[role=switch]")
    if switch.get_attribute("aria-checked") != str(on).lower():
        switch.click()
        expect(page.locator(f"form[action='/demo/faults/{name}'] button[role=switch]")).to_have_attribute(
            "aria-checked", str(on).lower()
        )


@pytest.mark.browser
@pytest.mark.timeout(240)
def test_from_the_overview_to_a_replay_that_the_receiver_proved(visitor: Page, demo: Product):
    set_fault(visitor, "erp-timeout", on=True)
    order = stuck_order(demo)

    # the overview says what is failing
    visitor.goto("/?environment=demo")
    expect(visitor.locator("main")).to_contain_text("did not answer in 30 s")
    expect(visitor).to_have_title(re.compile("demo · Waybill"))

    # find the order by its number, read why it stopped
    visitor.fill("form[role=search] input[name=q], .find input[name=q]", f"order_no:{order}")
    visitor.keyboard.press("Enter")
    visitor.wait_for_url(re.compile("/messages/\\?"))
    visitor.locator("main table a", has_text=re.compile(order)).first.click()
    visitor.wait_for_url(re.compile("/messages/[0-9a-f-]{36}/"))
    expect(visitor.locator("main")).to_contain_text(f"Order {order}")
    visitor.goto(f"/dead-letters/?environment=demo&q=order_no:{order}")
    visitor.locator("main table a[href^='/dead-letters/']").first.click()
    expect(visitor.locator(".bill .stub")).to_contain_text("did not answer in 30 s")
    expect(visitor.locator("main")).to_contain_text("Traceback")
    letter = visitor.url
    if visitor.evaluate("1") == 1 and not SCREENSHOT.exists():
        SCREENSHOT.parent.mkdir(exist_ok=True)
        visitor.screenshot(path=str(SCREENSHOT))

    # fix the cause, replay with a reason
    set_fault(visitor, "erp-timeout", on=False)
    visitor.goto(letter)
    visitor.locator("[data-key=r]").first.click()
    visitor.locator("form[action$='/replay/'] [name=reason]").fill("the ERP answers again")
    visitor.locator("form[action$='/replay/'] button.primary").click()

    # processed is said only with proof
    def processed() -> bool:
        if visitor.locator("main").inner_text().find("proved by erp") >= 0:
            return True
        visitor.reload()
        return False

    wait_until(processed, seconds=60, what="“processed, proved by erp” on the page", every=1.0)
    expect(visitor.locator("main")).to_contain_text("the ERP answers again")
    set_fault(visitor, "erp-timeout", on=True)


@pytest.mark.browser
def test_the_rest_documentation_opens_in_the_browser(visitor: Page):
    answer = visitor.goto("/api/v1/docs/")

    assert answer is not None
    assert answer.status == 200


@pytest.mark.browser
def test_the_map_and_the_charts_of_the_estate_come_with_the_bundle_that_set_up_wrote(visitor: Page, demo: Product):
    loaded: list[str] = []
    visitor.on("response", lambda answer: loaded.append(answer.url) if "/vega/" in answer.url else None)

    visitor.goto("/topology/?environment=demo")
    for system in (
        "shop",
        "order-service",
        "erp",
        "billing",
        "shipping",
    ):  # and waybill, when a letter was replayed before
        expect(visitor.locator("svg.map a.box", has_text=system).first).to_be_attached()
    assert loaded == []
    visitor.goto("/figures/?environment=demo&window=1h")
    if not visitor.locator("html.js").count():
        expect(visitor.locator(".plain svg.chart").first).to_be_visible()
        return
    expect(visitor.locator("[data-figures][data-drawn]")).to_have_count(1, timeout=20_000)

    assert re.search(r"/static/vega/vega\.[0-9a-f]{12}\.js$", loaded[0])
