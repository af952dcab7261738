"""Editing in Chromium: from a dead letter to a saved edit by keyboard alone; it fits a phone and a desk, and axe finds nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from messages.models import DeadLetter, Plan
from messages.plans.sealed import opened_edits
from messages.schemas.services import NewSchema, add_schema
from tests.axe import faults_of
from tests.factories import ROOT, environment, memory_connection, stored_letter
from tests.pages.keys import press
from tests.pages.test_in_a_browser import browser, sign_in, unsafe_async
from tests.plans.test_editing import edits, set_edits
from tests.plans.test_plans import plan_of

__all__ = ["browser", "unsafe_async"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
ORDER = {
    "order_no": "4711",
    "customer": {"no": 101, "name": "Blue Bikes"},
    "total": 1284.5,
    "lines": [{"sku": "B-1", "count": 2}],
}
SCHEMA = {"type": "object", "required": ["vat"], "properties": {"vat": {"type": "string", "pattern": "^DE"}}}


def orders(count: int) -> Plan:
    memory_connection()
    for n in range(count):
        stored_letter(body=json.dumps(ORDER | {"order_no": f"471{n}"}, indent=2), keys={"order_no": f"471{n}"})
    add_schema(
        environment(),
        NewSchema(name="Order", format="json", definition=json.dumps(SCHEMA), destination="erp.*"),
        by=ROOT,
    )
    return plan_of(DeadLetter.objects.all())


def test_the_keyboard_edits_one_message_and_many(browser: Browser, live_server: Any):
    letter = stored_letter(body='{"order_no": "4711"}')
    memory_connection()
    page = sign_in(browser, live_server.url)
    page.goto(f"{live_server.url}/dead-letters/{letter.pk}/")
    press(page, "e")
    expect(page.locator("#edit-reason")).to_be_focused()
    page.keyboard.type("a typing error")
    press(page, "Enter")
    expect(page.locator("h1")).to_have_text("Change this message before it is sent")

    page.locator("#edit-body").focus()
    press(page, "Control+a")
    page.keyboard.type('{"order_no": "4712"}')
    page.locator("#edit-body").blur()
    press(page, "p")
    expect(page.locator("#plan-edit-preview .chip")).to_have_text("edited")
    expect(page.locator("#plan-edit-preview ins")).to_have_text("2")
    press(page, "s")
    expect(page.locator("main, body").first).to_contain_text("Nothing is sent until it is started")

    assert opened_edits(Plan.objects.get())[0].text == '{"order_no": "4712"}'


def test_the_page_fits_a_phone_and_a_desk_and_axe_finds_nothing(browser: Browser, live_server: Any):
    many = orders(3)
    set_edits(
        many,
        edits(
            {"kind": "jq", "program": '.vat = "DE8" | .customer.name = "Red"'},
            {"kind": "set_header", "name": "x-mended", "value": "by us"},
        ),
        by=ROOT,
    )
    one = plan_of(DeadLetter.objects.order_by("pk")[:1])
    page = sign_in(browser, live_server.url)
    counts = {f"/plans/{plan.reference}/edit/": plan.items_count for plan in (many, one)}

    def preview(path: str, width: int) -> None:
        page.get_by_role("button", name="Preview").click()
        expect(page.locator("#plan-edit-preview section")).to_have_count(counts[path])

    found = faults_of(page, live_server.url, counts, widths=(390, 920, 1440), then=preview)

    assert found == {}
