"""Failures in Chromium: walked by keyboard alone, a rule's preview while it is written, nothing that overflows or that axe finds."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from messages.groups.refresh import refresh_groups
from messages.groups.ruling import NewGroupRule, add_rule
from messages.groups.services import add_note, merge_groups
from messages.models import DeadLetter, FailureGroup
from tests.axe import faults_of
from tests.factories import ROOT, agent_key, environment, memory_connection, push, stored_letter
from tests.pages.keys import press
from tests.pages.test_in_a_browser import browser, sign_in, unsafe_async

__all__ = ["browser", "unsafe_async"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


# a table that reaches out of its panel, where the window has room for it


def failures() -> FailureGroup:
    """Three orders that the ERP did not answer, and one that lacks a number."""
    memory_connection()
    for number in (1, 2, 3):
        error = {
            "type": "java.net.SocketTimeoutException",
            "message": "erp.example:8443 did not answer in 30 s",
            "stack": "",
        }
        keys = {"order_no": f"4711-22{number}", "customer_no": f"10{number}", "amount": "503.00", "currency": "EUR"}
        stored_letter(error=error, keys=keys)
    stored_letter(
        error={"type": "ValueError", "message": "'vat_number' is required", "stack": ""}, keys={"invoice_no": "9001"}
    )
    change = {"id": "1", "kind": "deployment", "title": "ERP 4.2.1", "systems": ["erp"], "version": "4.2.1"}
    push("/ingest/v1/changes", [change], key=agent_key())
    refresh_groups()
    return FailureGroup.objects.order_by("-blast")[0]


def test_the_keyboard_walks_from_the_list_of_causes_to_a_replay_of_two_ticked_letters(
    browser: Browser, live_server: Any
):
    group = failures()
    page = sign_in(browser, live_server.url)
    page.goto(live_server.url)
    expect(page.locator("h1")).to_contain_text("failing")
    press(page, "g", "x")
    expect(page.locator(".verdict")).to_contain_text("2 causes in 1 flow.")
    page.set_viewport_size({"width": 1440, "height": 900})
    buttons = [page.get_by_role("link", name=name) for name in ("Replay rules", "Grouping rules")]
    assert len({box["y"] for one in buttons if (box := one.bounding_box())}) == 1, "the sentence wraps, not its buttons"
    press(page, "j", "Enter")
    expect(page.locator("h1")).to_have_text("SocketTimeoutException: erp.example:8443 did not answer in 30 s")

    press(page, "a")
    expect(page.locator("#acknowledge-reason")).to_be_focused()
    page.keyboard.type("asking the ERP team")
    press(page, "Enter")
    expect(page.locator("main")).to_contain_text("acknowledged")
    assert FailureGroup.objects.get(pk=group.pk).state == "acknowledged"

    press(page, *"jxjx")
    expect(page.locator("[data-pick-count]")).to_have_text("2 selected")
    press(page, "r")
    expect(page.locator("h1")).to_have_text("Send 2 dead letters again, in production")


def test_a_rule_shows_what_it_would_do_while_it_is_written(browser: Browser, live_server: Any):
    failures()
    page = sign_in(browser, live_server.url)
    page.goto(f"{live_server.url}/groups/rules/new/")

    page.locator("[name=name]").fill("ERP is away")
    page.locator("[name=step]").fill("erp")

    expect(page.locator("#group-rule-preview")).to_contain_text("It fits 4 dead letters; 4 would be in another group.")
    page.locator("[name=words]").fill("nothing says this")
    expect(page.locator("#group-rule-preview")).to_contain_text("It fits 0 dead letters")


def test_answers_that_are_asked_for_by_keyboard_leave_the_focus_where_one_reads_on(browser: Browser, live_server: Any):
    group = failures()
    page = sign_in(browser, live_server.url)
    page.goto(f"{live_server.url}/groups/rules/new/")
    page.locator("[name=name]").fill("ERP is away")
    page.locator("[name=step]").fill("erp")
    page.get_by_role("button", name="Preview").focus()
    press(page, "Enter")
    expect(page.locator("#group-rule-preview")).to_contain_text("It fits 4 dead letters")
    expect(page.get_by_role("button", name="Preview")).to_be_focused()

    page.goto(f"{live_server.url}/groups/{group.reference}/")
    page.get_by_role("link", name="Compare with delivered ones").focus()
    press(page, "Enter")
    expect(page.locator("#different")).to_contain_text("3 failed messages beside")
    expect(page.get_by_role("heading", name="What is different")).to_be_focused()


def test_ticked_letters_are_taken_out_of_a_group_by_key(browser: Browser, live_server: Any):
    group = failures()
    page = sign_in(browser, live_server.url)
    page.goto(f"{live_server.url}/groups/{group.reference}/")

    press(page, *"jxjxt")

    expect(page.locator("h1")).to_contain_text(f"Take 2 letters out of {group.reference}")


def test_the_list_is_read_at_every_width_when_one_group_has_several_currencies(browser: Browser, live_server: Any):
    group = failures()
    amounts = {"CHF": "1234567.50", "EUR": "2284", "JPY": "1000000"}
    FailureGroup.objects.filter(pk=group.pk).update(amounts=amounts, amounts_partial=True, state="acknowledged")
    page = sign_in(browser, live_server.url)
    narrow = []

    def measure(_: str, width: int) -> None:
        causes = page.locator("#groups td.wide").evaluate_all("all => all.map(one => one.clientWidth)")
        room = page.locator("#groups .scroll").evaluate("one => one.clientWidth - one.scrollWidth")
        narrow.extend([(width, causes, room)] if min(causes) < 190 or room < 0 else [])

    found = faults_of(page, live_server.url, ["/groups/"], widths=(390, 1280, 1366, 1440), then=measure)

    assert (found, narrow) == ({}, [])


def test_pages_of_failures_fit_a_phone_and_a_desk_and_axe_finds_nothing(browser: Browser, live_server: Any):
    group = failures()
    small = FailureGroup.objects.order_by("blast")[0]
    add_note(group, "The ERP team knows.\nCall them first.", by=ROOT)
    rule = add_rule(
        environment(), NewGroupRule(name="ERP is away", step="erp*", words="did not answer", parts=("queue",)), by=ROOT
    )
    letter = DeadLetter.objects.filter(group=group).first()
    pages = [
        "/", "/groups/", "/groups/?show=resolved", "/groups/?class=data", "/groups/?state=x", f"/groups/{group.reference}/",
        f"/groups/{group.reference}/split/", f"/groups/{group.reference}/split/?id={letter.pk}", "/groups/rules/",
        "/groups/rules/new/", f"/groups/rules/{rule.pk}/",
    ]  # fmt: skip
    page = sign_in(browser, live_server.url)
    found = faults_of(page, live_server.url, pages, widths=(390, 920, 1440))
    merge_groups(group, [small], by=ROOT, reason="one trouble")
    found |= faults_of(page, live_server.url, [f"/groups/{small.reference}/"], widths=(390, 920, 1440))

    assert found == {}
