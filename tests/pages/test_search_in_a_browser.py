"""The search box in Chromium, by keyboard alone: completion, a refusal mended by its suggestion; nothing that axe finds, nothing that runs."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.factories import agent_key, event, push
from tests.pages.test_in_a_browser import browser, sign_in, unsafe_async  # noqa: F401  fixtures

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
EVIL = "<img src=x onerror=\"document.title='run'\">"


def failed_orders() -> None:
    error = {"type": "ErpTimeout", "message": "erp did not answer", "stack": ""}
    for number, flow in ((1, "orders: shop → erp"), (2, "invoices"), (3, EVIL)):
        common = {"destination": flow, "message_id": f"message-{number}", "keys": {"order_no": f"47{number}"}}
        events = [event(**common), event(**common, system="erp", operation="process", outcome="error", error=error)]
        push("/ingest/v1/events", events, key=agent_key())


def test_the_keyboard_writes_a_query_from_completions(browser: Browser, live_server: Any):  # noqa: F811
    failed_orders()
    page = sign_in(browser, live_server.url)
    page.goto(live_server.url + "/messages/")
    box, options = page.locator("[data-find]"), page.locator("#find-completions [role=option]")

    page.keyboard.press("/")
    expect(box).to_be_focused()
    expect(box).to_have_attribute("role", "combobox")
    page.keyboard.type("sta")
    expect(options).to_have_count(1)
    expect(box).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowDown")
    expect(box).to_have_attribute("aria-activedescendant", "find-completions-0")
    page.keyboard.press("Enter")
    expect(box).to_have_value("status:")
    expect(options).to_have_count(5)
    for _ in range(3):  # the last, the last but one, and the one before
        page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")
    expect(box).to_have_value("status:failed ")
    expect(box).to_be_focused()

    page.keyboard.type("flow:shop")
    expect(options.first).to_contain_text("orders: shop → erp")
    page.keyboard.press("Escape")
    expect(options).to_have_count(0)
    expect(box).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(options).to_have_count(1)
    assert Axe().run(page).response["violations"] == []
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(box).to_have_value('status:failed flow:"orders: shop → erp" ')
    page.keyboard.press("Enter")

    expect(page.locator("#message-list tbody tr")).to_have_count(1)
    expect(page.locator("#message-list")).to_contain_text("Order 471")


def test_a_refusal_is_mended_by_its_suggestion_and_names_do_not_run(browser: Browser, live_server: Any):  # noqa: F811
    failed_orders()
    page = sign_in(browser, live_server.url)
    page.goto(live_server.url + "/messages/")
    box, options = page.locator(".filters [name=q]"), page.locator("#filter-completions [role=option]")
    box.focus()
    page.keyboard.type("flow:<")
    expect(options).to_have_count(0)
    for _ in range(1):
        page.keyboard.press("Backspace")
    expect(options.first).to_be_visible()
    expect(page.locator("#filter-completions")).to_contain_text("<img src=x")
    expect(page.locator("#filter-completions img")).to_have_count(0)

    box.fill("status:faild")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    expect(page.locator("#query-problem mark")).to_have_text("f")
    expect(page.locator(".filters [name=q]")).to_have_attribute("aria-invalid", "true")
    assert Axe().run(page).response["violations"] == []
    page.locator("#query-problem a.mono").focus()
    page.keyboard.press("Enter")

    expect(page.locator("#message-list tbody tr")).to_have_count(3)
    assert page.title() != "run"


def test_without_scripts_the_box_is_a_form(browser: Browser, live_server: Any):  # noqa: F811
    failed_orders()
    page = sign_in(browser, live_server.url, java_script_enabled=False)
    page.goto(live_server.url + "/messages/")

    page.fill("[data-find]", "order_no:472")
    page.press("[data-find]", "Enter")

    expect(page.locator("#message-list tbody tr")).to_have_count(1)
