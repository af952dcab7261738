"""The mail in Chromium, at the width of a desk and of a phone, light and dark: it fits, axe finds nothing, and it can be looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Route, sync_playwright

from alerts.reports.content import Cadence, Content
from alerts.reports.periods import days_before, last_period
from alerts.reports.rendering import as_page, render
from tests.reports.samples import FROZEN, days, example, hostile

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def week() -> Content:
    """Return a week with the three before it in its chart."""
    period = last_period(Cadence.WEEKLY, "Europe/Berlin", FROZEN)
    all_days = days()
    before = len(days_before(period, 18))
    return example(
        period=period,
        trend=all_days[:before],
        days=all_days[before : before + 7],
        revision=2,
        corrects="an agent was late",
    )


def long_words() -> Content:
    """Return names that break nowhere, and figures of which the widest are."""
    name, one = "Wortungetuem" * 10, example()
    promises = tuple(msgspec.structs.replace(line, name=name, target_before=0.99999) for line in one.promises)
    causes = tuple(msgspec.structs.replace(line, title=name, flow=name, count=10**9) for line in one.causes)
    return msgspec.structs.replace(one, promises=promises, causes=causes)


SHOWN = {"month": example, "week": week, "hostile": hostile, "long": long_words}


@pytest.fixture
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", sorted(SHOWN))
def test_the_mail_fits_a_desk_and_a_phone_and_axe_finds_nothing(
    browser: Browser, tmp_path: Path, name: str, scheme: str
):
    page_file = tmp_path / f"{name}.html"
    page_file.write_text(
        as_page(
            render(SHOWN[name](), open_url="https://waybill.example/r/one", stop_url="https://waybill.example/s/one")
        )
    )
    context = browser.new_context(color_scheme=scheme)  # type: ignore[arg-type]
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.abort()

    context.route(lambda url: not url.startswith(("file:", "data:")), refuse)
    page = context.new_page()
    found = {}
    for width in (620, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(page_file.as_uri())
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
            found[f"{width}"] = f"overflows: {wide}"
        if folder := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=Path(folder) / f"{name}-{scheme}-{width}.png", full_page=True)
        for violation in Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]:
            found[f"{width} {violation['id']}"] = [node["html"][:160] for node in violation["nodes"][:3]]
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('p, td, h1, h2')].filter(e => e.innerText.trim() && !e.closest('.meter'))"
        ".map(e => parseFloat(getComputedStyle(e).fontSize)))"
    )
    context.close()

    assert (found, asked) == ({}, [])
    assert smallest >= 12  # px, on a phone as well
