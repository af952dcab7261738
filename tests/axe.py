"""What is looked for on pages in Chromium: nothing wider than the window or its panel, and nothing that axe finds, in light and in dark.

A page is loaded once for each width. Dark is the same page with other colours, so there axe looks at their contrast; a look costs 0.3 to 1 s of CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

WCAG = ["wcag2a", "wcag2aa", "wcag21aa"]
LOOKED_FOR: dict[Any, dict[str, Any]] = {
    "light": {"runOnly": WCAG},
    "dark": {"runOnly": {"type": "rule", "values": ["color-contrast"]}},
}
WIDER = """width => document.documentElement.scrollWidth > width
    || [...document.querySelectorAll('main .panel')].some(one => one.scrollWidth > one.clientWidth + 1)"""


def faults_of(
    page: Page,
    base: str,
    paths: Iterable[str],
    *,
    widths: Iterable[int] = (390, 1440),
    then: Callable[[str, int], None] = lambda path, width: None,
) -> dict[str, Any]:
    """Open each page at each width, call `then`, and return {page and what is wrong: where}: empty when nothing is."""
    found: dict[str, Any] = {}
    for path in paths:
        for width in widths:
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(base + path)
            then(path, width)
            if page.evaluate(WIDER, width):
                found[f"{path} {width}"] = "overflows"
        found |= findings(page, path)
    return found


def findings(page: Page, name: str) -> dict[str, Any]:
    """Return what axe finds on the page as it is, in light and in dark."""
    found: dict[str, Any] = {}
    for scheme, options in LOOKED_FOR.items():
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # colours change at once
        for violation in Axe().run(page, options=options).response["violations"]:
            found[f"{name} {scheme} {violation['id']}"] = [node["html"][:160] for node in violation["nodes"][:3]]
    page.emulate_media(color_scheme="light")
    return found
