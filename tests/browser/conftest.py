"""A browser on the whole product."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

from tests.conftest import CHROMIUM, need
from tests.product import PASSWORD, Product


@pytest.fixture(scope="module")  # Playwright runs one loop a thread: the next module starts its own
def browser() -> Iterator[Any]:
    need(CHROMIUM.exists(), "Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"])
def visitor(request: pytest.FixtureRequest, browser: Any, demo: Product) -> Iterator[Page]:
    """A signed-in operator's page, with JavaScript and without; anything the browser complains about fails the test."""
    context: BrowserContext = browser.new_context(
        base_url=demo.base, java_script_enabled=request.param, viewport={"width": 1440, "height": 900}
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/")
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(demo.base + "/")
    yield page
    context.close()
    assert complaints == []
