"""What tests/axe.py looks for is found, each in a page that has nothing else wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.axe import faults_of

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not shutil.which("chromium"), reason="Chromium is not installed")]
WHOLE = """<!doctype html><html lang="en"><title>One</title><style>
:root {{ color-scheme: light dark; background: light-dark(white, black) }} {style}</style><main><h1>One</h1>{body}</main>"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


@pytest.mark.parametrize(
    ("style", "body", "found"),
    [
        ("", "", []),
        ("p { color: light-dark(black, #222) }", "<p>Dark on dark</p>", ["/one.html dark color-contrast"]),
        ("p { color: light-dark(#ddd, white) }", "<p>Light on light</p>", ["/one.html light color-contrast"]),
        ("", "<img src='data:,'>", ["/one.html light image-alt"]),
        ("@media (max-width: 400px) { p { width: 500px } }", "<p>Wide on a phone</p>", ["/one.html 390"]),
        (".panel { width: 90px } p { width: 99px }", "<div class=panel><p>Out of it</p></div>", ["/one.html 390", "/one.html 1440"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_page_and_its_colours(
    page: Page, tmp_path: Path, style: str, body: str, found: list[str]
):
    (tmp_path / "one.html").write_text(WHOLE.format(style=style, body=body))

    assert sorted(faults_of(page, tmp_path.as_uri(), ["/one.html"])) == sorted(found)
