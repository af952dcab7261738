"""The look in Chromium: layout, accessibility, policy, keys, live lists; with and without scripts. No database."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.look.gallery import write_gallery

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not shutil.which("chromium"), reason="Chromium is not installed")]
PAGES = ["gallery", "refused", "sign-in", "locked", "403", "404", "409", "500", "503"]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'"
)


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)
        super().end_headers()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("look")
    write_gallery(folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(
        viewport={"width": 1280, "height": 800},
        timezone_id="Asia/Tokyo",
        permissions=["clipboard-read", "clipboard-write"],
    )
    yield made
    made.close()


def opened(context: BrowserContext, address: str) -> Page:
    page = context.new_page()
    page.goto(address)
    page.wait_for_load_state("load")
    return page


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_obeys_the_policy_and_has_no_serious_finding(chromium, base, name, width, scheme):
    strict = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    page = strict.new_page()
    page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"{base}/{name}.html")
    wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    strict.close()
    loose = chromium.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
    )  # axe brings its own script
    result = Axe().run(opened(loose, f"{base}/{name}.html"))
    loose.close()

    assert said == []
    assert wider <= 0
    assert len(result.response["passes"]) > 5
    assert [
        (one["id"], one["impact"]) for one in result.response["violations"] if one["impact"] in {"serious", "critical"}
    ] == []


def test_slash_searches_and_question_mark_shows_the_keys(context, base):
    page = opened(context, f"{base}/gallery.html")

    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    page.keyboard.press("/")

    expect(page.locator("[data-find]")).to_be_focused()


def test_j_and_x_tick_rows_and_the_bar_says_how_many(context, base):
    page = opened(context, f"{base}/gallery.html")
    expect(page.locator(".pick")).to_be_hidden()

    for key in "jxjjkx":
        page.keyboard.press(key)

    expect(page.locator("[data-pick-count]")).to_have_text("2 selected")
    expect(page.locator(".pick .primary")).to_contain_text("2")
    assert page.locator("tr.cursor input").get_attribute("value") == "4711-2214"


def test_shift_ticks_a_range_and_clear_unticks_it(context, base):
    page = opened(context, f"{base}/gallery.html")

    page.locator("[data-pick-row]").nth(0).click()
    page.locator("[data-pick-row]").nth(3).click(modifiers=["Shift"])
    expect(page.locator("[data-pick-count]")).to_have_text("4 selected")
    page.click("[data-pick-clear]")

    expect(page.locator(".pick")).to_be_hidden()


def test_enter_opens_the_row_under_the_cursor(context, base):
    page = opened(context, f"{base}/gallery.html")

    page.route("**/dead-letters/4711-2209", lambda route: route.fulfill(body="opened"))
    page.keyboard.press("j")
    page.keyboard.press("Enter")

    page.wait_for_url("**/dead-letters/4711-2209")


def test_g_and_a_letter_go_to_a_page(context, base):
    page = opened(context, f"{base}/gallery.html")

    page.route("**/messages/", lambda route: route.fulfill(body="went"))
    page.keyboard.press("g")
    page.keyboard.press("m")

    page.wait_for_url("**/messages/")


def test_r_asks_why_and_escape_takes_it_back(context, base):
    page = opened(context, f"{base}/gallery.html")

    page.keyboard.press("r")
    expect(page.locator("#replay-reason")).to_be_focused()
    page.keyboard.type("rx")
    page.keyboard.press("Escape")

    expect(page.locator("#replay-reason")).to_be_hidden()
    assert page.locator("#replay-reason").input_value() == "rx"


def test_a_refused_form_comes_open_with_its_reason_and_can_be_closed(context, base):
    page = opened(context, f"{base}/refused.html")
    expect(page.locator("#replay .error")).to_have_text("Say why: a reason is needed.")

    page.click("#replay [data-close-menu]")

    expect(page.locator("#replay-reason")).to_be_hidden()


def test_times_are_the_readers_with_the_exact_instant_as_title(context, base):
    page = opened(context, f"{base}/gallery.html")

    exact = page.locator('time[data-when="exact"]').first

    expect(exact).to_contain_text("GMT+9")
    age = re.compile(r"4[2-9] min|5\d min")  # 42 when the gallery was built
    expect(page.locator('td time[data-when="age"]').first).to_have_text(age)
    assert "GMT+9" in (page.locator('td time[data-when="age"]').first.get_attribute("title") or "")


def test_the_theme_outlives_the_page(context, base):
    page = opened(context, f"{base}/gallery.html")
    light = page.evaluate("getComputedStyle(document.body).color")

    page.click("summary[aria-label*='your menu']")
    page.click("[data-set-theme=dark]")
    page.reload()

    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).color") != light


def test_copy_takes_the_line_and_says_so(context, base):
    page = opened(context, f"{base}/gallery.html")

    page.locator(".paste .copy").click()

    expect(page.locator(".paste .copy .done")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").startswith("curl -sS ")


def live(context: BrowserContext, base: str) -> tuple[Page, list[int]]:
    """Return the page with a list that polls, and how often it was answered."""
    page, answered = context.new_page(), [0]

    def answer(route):
        answered[0] += 1
        source = (Path(__file__).parent / "live.html").read_text()
        part = source[source.index("<table") : source.index("</table>") + 8]
        route.fulfill(content_type="text/html", body=part.replace("version 0", f"version {answered[0]}"))

    page.route("**/list", answer)
    page.goto(f"{base}/live.html")
    return page, answered


def test_a_live_list_follows(context, base):
    page, _ = live(context, base)

    expect(page.locator("#list a")).to_have_text(re.compile(r"version ([3-9]|\d\d)"))


def test_a_live_list_waits_while_rows_are_ticked_and_goes_on_after(context, base):
    page, answered = live(context, base)
    expect(page.locator("#list a")).not_to_have_text("version 0")

    page.locator("#list input").check()
    expect(page.locator("[data-live-toggle]")).to_contain_text("rows are ticked")
    before = answered[0]
    page.evaluate("new Promise((done) => setTimeout(done, 700))")  # three polls would have come
    assert answered[0] == before
    page.locator("#list input").uncheck()

    expect(page.locator("#list a")).not_to_have_text(f"version {before}")


def test_a_live_list_stops_on_request(context, base):
    page, answered = live(context, base)
    expect(page.locator("#list a")).not_to_have_text("version 0")

    page.click("[data-live-toggle]")
    expect(page.locator("[data-live-toggle]")).to_have_text("paused")
    before = answered[0]
    page.evaluate("new Promise((done) => setTimeout(done, 700))")

    assert answered[0] <= before + 1  # one may have been on its way


def test_a_refusal_becomes_a_toast_and_the_page_stays(context, base):
    page, _ = live(context, base)
    page.route(
        "**/act",
        lambda route: route.fulfill(
            status=409, content_type="text/html", body="<div data-problem>not open &lt;any&gt; more</div>"
        ),
    )

    page.click("#act button")

    expect(page.locator("#toasts .toast.bad p")).to_have_text("not open <any> more")
    expect(page.locator("#act button")).to_be_visible()


def test_a_form_with_errors_is_swapped_in(context, base):
    page, _ = live(context, base)
    page.route(
        "**/act",
        lambda route: route.fulfill(status=422, content_type="text/html", body='<form id="act">Say why</form>'),
    )

    page.click("#act button")

    expect(page.locator("#act")).to_have_text("Say why")


def test_an_ended_session_moves_the_whole_page_to_sign_in(context, base):
    page, _ = live(context, base)
    page.route("**/sign-in/**", lambda route: route.fulfill(content_type="text/html", body="<title>Sign in</title>"))
    page.route("**/act", lambda route: route.fulfill(status=302, headers={"Location": "/sign-in/?next=/act"}))

    page.click("#act button")

    page.wait_for_url("**/sign-in/?next=%2Flive.html")


def test_everything_an_operator_needs_works_without_scripts(chromium, base):
    plain = chromium.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
    page = opened(plain, f"{base}/gallery.html")

    page.click("#replay summary")
    expect(page.locator("#replay form button[type=submit]")).to_be_visible()
    expect(page.locator("#replay [data-close-menu]")).to_be_hidden()
    page.click("#replay summary")
    page.click("summary.envchip")
    expect(page.locator("button[value=staging]")).to_be_visible()
    expect(page.locator(".pick")).to_be_visible()
    expect(page.locator("#toasts .toast").first).to_be_visible()
    expect(page.locator(".filters button")).to_be_visible()
    expect(page.locator('time[data-when="exact"]').first).to_contain_text("UTC")
    expect(page.locator(".copy").first).to_be_hidden()
    plain.close()


def test_nothing_moves_for_a_reader_who_asked_for_stillness(chromium, base):
    still = chromium.new_context(reduced_motion="reduce")
    page = opened(still, f"{base}/gallery.html")

    moving = page.evaluate("document.getAnimations().length")
    still.close()

    assert moving == 0
