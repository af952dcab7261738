"""A compensation in Chromium, by keyboard: proposed from a dead letter, begun, taken back, begun again, stuck, settled by hand, and proved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Browser, expect

from console.core.bundles import write_bundles
from messages.compensation.execute import work_on
from messages.compensation.services import pause, start
from messages.models import Compensation, CompensationStep, Connection
from tests.axe import faults_of
from tests.compensation.orders import BOOK, failed_order, proposed, refund_of, saved
from tests.factories import ROOT, memory_connection
from tests.pages.compensating import TASK
from tests.pages.keys import press
from tests.pages.test_in_a_browser import browser, sign_in, unsafe_async  # noqa: F401  fixtures

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]


@pytest.fixture(scope="module", autouse=True)
def bundle() -> None:
    """What set-up writes, and the test's server finds as collectstatic would."""
    write_bundles(Path(settings.CONFIG.data))


def test_a_compensation_from_the_dead_letter_to_its_proof_at_the_keyboard(browser: Browser, live_server: Any):  # noqa: F811
    line = memory_connection()
    Connection.objects.filter(pk=line.pk).update(options={"refuse": "releases"})
    found = failed_order("payment", "stock")
    saved(found.flow)
    page = sign_in(browser, live_server.url)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))

    # propose it where it failed
    page.goto(f"{live_server.url}/dead-letters/{found.pk}/")
    page.get_by_role("link", name="Compensate", exact=True).focus()
    press(page, "Enter")
    expect(page.locator("#proposal")).to_contain_text("refund 1284.50")
    expect(page.locator("[name=reason]")).to_be_focused()
    page.keyboard.type("billing refused it")
    press(page, "Enter")
    expect(page.locator(".verdict")).to_contain_text("Payment and stock had already happened.")
    run = Compensation.objects.get()

    # it counts down, is taken back, and begun again
    press(page, "s")
    expect(page.locator("#compensation-now")).to_contain_text("Begins in")
    press(page, "u")
    expect(page.locator("#compensation-now .chip").first).to_have_text("proposed")
    press(page, "s")
    expect(page.locator("#compensation-now")).to_contain_text("Begins in")
    Compensation.objects.update(begins_at=datetime.now(UTC))
    work_on(run.pk)

    # it sticks at the stock; a person does it by hand
    expect(page.locator("#compensation-now")).to_contain_text("It needs a person.", timeout=20_000)
    expect(page.locator(".rail .hot")).to_have_text(["1", "1"])
    page.locator("#mark-1 > summary").focus()
    press(page, "Enter")
    expect(page.locator("#mark-1-reason")).to_be_focused()
    page.keyboard.type("released in the stock system by Kim")
    press(page, "Enter")
    expect(page.locator("#step-1")).to_contain_text("done by hand")

    # pause, resume, and the refund is proved by the payment system
    press(page, "p")
    expect(page.locator("#compensation-now .chip").first).to_contain_text("paused")
    press(page, "r")
    expect(page.locator("#resume-reason")).to_be_focused()
    press(page, "Enter")
    expect(page.locator("#compensation-now .chip").first).to_contain_text("running")
    work_on(run.pk)
    expect(page.locator("#step-2")).to_contain_text("taken, waits for proof", timeout=20_000)
    refund_of(found)
    Compensation.objects.update(looked_at=None)
    work_on(run.pk)
    expect(page.locator("#compensation-now .chip").first).to_have_text("compensated", timeout=20_000)
    expect(page.locator("#step-2")).to_contain_text("undone, proved by payment")

    # the journey shows both directions
    page.goto(f"{live_server.url}/dead-letters/{found.pk}/")
    expect(page.locator("#compensation")).to_have_text(f"Compensated by {run.reference}")
    expect(page.locator("#saga")).to_contain_text("payment taken")
    expect(page.locator(".stop", has_text="payment")).to_contain_text(f"undone, {run.reference}")
    assert complaints == []


def test_what_is_open_on_the_page_stays_open_while_it_follows(browser: Browser, live_server: Any):  # noqa: F811
    memory_connection()
    run = proposed("payment")
    start(run, by=ROOT)
    page = sign_in(browser, live_server.url)
    page.goto(f"{live_server.url}/compensations/{run.reference}/")
    page.locator(".sends > summary").click()
    expect(page.locator(".sends[open]")).to_contain_text("refunds")
    expect(page.locator("[data-live-toggle]")).to_have_text("waits: something is open", timeout=10_000)
    work_on(run.pk)
    expect(page.locator(".sends[open]")).to_have_count(1)

    page.locator(".sends > summary").click()
    page.mouse.click(5, 600)
    expect(page.locator("#step-1")).to_contain_text("taken, waits for proof", timeout=15_000)


def estate() -> list[str]:
    """Compensations in the states that look most different; return the addresses."""
    line = memory_connection()
    Connection.objects.filter(pk=line.pk).update(options={"refuse": "releases"})
    stuck = proposed("payment", "stock", "mailer", ticket="INC-2291")
    start(stuck, by=ROOT)
    work_on(stuck.pk)
    Connection.objects.filter(pk=line.pk).update(options={})
    done = proposed("payment", "stock")
    start(done, by=ROOT)
    work_on(done.pk)
    refund_of(done.dead_letter)
    Compensation.objects.update(looked_at=None)
    work_on(done.pk)
    part = proposed("stock", "mailer")
    start(part, by=ROOT)
    work_on(part.pk)
    saved(part.flow, "needs_approval: true\n" + BOOK)
    waiting = proposed("payment")
    saved(part.flow, TASK)
    task = proposed("payment", "stock")
    start(task, by=ROOT)
    work_on(task.pk)
    CompensationStep.objects.filter(compensation=task, state="task").update(due_at=datetime.now(UTC) - timedelta(hours=2))  # fmt: skip
    late = [{"step": "mail", "event": "", "at": datetime.now(UTC).isoformat(), "answer": ""}]
    Compensation.objects.filter(pk=task.pk).update(late=late)
    paused = proposed("payment", "stock")
    start(paused, by=ROOT)
    pause(Compensation.objects.get(pk=paused.pk), by=ROOT, reason="the ERP team asks to wait")
    left = failed_order("payment", "stock", "mailer")
    runs = [f"/compensations/{one.reference}/" for one in (stuck, done, part, waiting, task, paused)]
    lists = [
        "/compensations/",
        "/compensations/?show=tasks",
        "/compensations/?show=all",
        "/compensations/?state=stopped",
    ]
    pages = [f"/compensations/new/?letter={left.pk}", f"/dead-letters/{done.dead_letter_id}/", f"/j/{stuck.trace_id.hex}", f"/j/{done.trace_id.hex}", "/"]  # type: ignore[union-attr]  # fmt: skip
    return [*runs, *lists, *pages]


OUT_OF_PANEL = "[...document.querySelectorAll('.panel table')].some(one => one.offsetWidth > one.closest('.panel').clientWidth + 1)"


def test_a_book_tried_fits_a_desk_with_what_it_sends_open(browser: Browser, live_server: Any):  # noqa: F811
    memory_connection()
    found = failed_order("payment", "stock")
    saved(found.flow)
    page = sign_in(browser, live_server.url)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{live_server.url}/flows/{found.flow_id}/compensation-book/")
    page.get_by_role("button", name="Try it on this message").click()
    page.locator("#book-trial details.sends summary").first.click()
    expect(page.locator("#book-trial details.sends[open]")).to_contain_text("releases")
    assert not page.evaluate(OUT_OF_PANEL)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_pages_of_compensations_fit_a_phone_and_a_desk_and_axe_finds_nothing(
    browser: Browser,  # noqa: F811
    live_server: Any,
):
    paths = estate()
    page = sign_in(browser, live_server.url)
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    found = faults_of(page, live_server.url, paths, widths=(390, 1280, 1440))

    assert (found, complaints) == ({}, [])
