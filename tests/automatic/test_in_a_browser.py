"""Replay rules in Chromium: switched on by keyboard alone, nothing that overflows or that axe finds."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from console.identity.models import User
from messages.automatic.running import run_rules
from messages.automatic.services import NewAutomaticRule, add_automatic_rule
from messages.groups.refresh import refresh_groups
from messages.models import AutomaticRule, FailureGroup, Plan
from tests.automatic.failing import died, processed, rule_on, run_plan
from tests.axe import faults_of
from tests.factories import actor, environment, memory_connection
from tests.pages.keys import press
from tests.pages.test_in_a_browser import browser, sign_in, unsafe_async

__all__ = ["browser", "unsafe_async"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


def rules() -> tuple[AutomaticRule, AutomaticRule]:
    """One that has sent a batch and waits, and one for a group that is off."""
    line = memory_connection()
    died(3)
    processed(20)
    busy = rule_on()
    run_rules()
    run_plan(Plan.objects.get(), line)
    died(2)
    died(1, origin="billing")
    AutomaticRule.objects.update(next_look_at="2026-01-01T00:00:00Z")
    run_rules()
    refresh_groups()
    group = FailureGroup.objects.order_by("pk").first()
    Plan.objects.filter(state="finished").update(group=group)
    off = NewAutomaticRule(name="one group only", group=group)
    return busy, add_automatic_rule(environment(), off, by=actor(User.objects.get(username="night-shift")))


def test_a_rule_is_switched_on_by_keyboard_alone(browser: Browser, live_server: Any):
    _, off = rules()
    page = sign_in(browser, live_server.url)
    page.goto(f"{live_server.url}/replay-rules/{off.pk}/")
    expect(page.locator(".note").first).to_contain_text("It is off.")

    page.locator("#on summary").focus()
    press(page, "Enter")
    expect(page.locator("#on-reason")).to_be_focused()
    page.keyboard.type("nights")
    press(page, "Enter")

    expect(page.locator("main")).to_contain_text("It looks within 15 s.")
    assert AutomaticRule.objects.get(pk=off.pk).is_on


def test_pages_of_replay_rules_fit_a_phone_and_a_desk_and_axe_finds_nothing(browser: Browser, live_server: Any):
    busy, off = rules()
    group = FailureGroup.objects.order_by("pk").first()
    page = sign_in(browser, live_server.url)
    paths = [
        "/replay-rules/", "/replay-rules/new/", f"/replay-rules/{busy.pk}/", f"/replay-rules/{off.pk}/", f"/groups/{group.reference}/",
    ]  # fmt: skip
    found = faults_of(page, live_server.url, paths, widths=(390, 920, 1440))

    assert found == {}
