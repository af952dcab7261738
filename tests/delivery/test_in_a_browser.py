"""Channels in Chromium: made, tried and tested by keyboard; on a phone and a desk, light and dark, nothing that axe finds."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from alerts.delivery.notifiers.base import Told
from alerts.delivery.notifiers.memory import ANSWERS
from alerts.delivery.sending import at_once, look
from alerts.delivery.services import approve_host, tell
from alerts.models import Channel, NoticeDelivery
from tests.axe import faults_of
from tests.delivery.notices import hostile, memory_channel, notice
from tests.factories import ROOT, environment
from tests.pages.keys import press
from tests.pages.test_in_a_browser import browser, sign_in, unsafe_async  # noqa: F401  fixtures

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
LIST = "/settings/channels/"


def test_the_keyboard_makes_a_channel_sees_its_words_and_sends_a_test(browser: Browser, live_server: Any):  # noqa: F811
    environment()
    page = sign_in(browser, live_server.url)
    page.goto(f"{live_server.url}{LIST}")

    page.get_by_role("link", name="Memory").focus()
    press(page, "Enter")
    page.locator("#id_name").focus()
    page.keyboard.type("Ops")
    page.locator("#id_field_name").focus()
    page.keyboard.type("ops")
    page.get_by_label("Title").focus()
    page.keyboard.type("{severity} of {flow}")
    expect(page.locator("#channel-preview")).to_contain_text("page of orders: shop → erp")  # without a press
    expect(page.get_by_label("Title")).to_be_focused()
    press(page, "Enter")
    expect(page.locator("h1")).to_have_text("Ops")
    page.get_by_role("button", name="Send a test").focus()
    press(page, "Enter")

    expect(page.locator("#attempts")).to_contain_text("kept in memory")
    assert (Channel.objects.get().title_template, NoticeDelivery.objects.get().state) == (
        "{severity} of {flow}",
        "delivered",
    )


def test_its_pages_have_no_finding_and_overflow_nowhere(browser: Browser, live_server: Any):  # noqa: F811
    environment()
    approve_host("hooks.example.com:8443", by=ROOT)
    channel = memory_channel()
    ANSWERS[channel.settings["name"]] = [Told(result="refused", answer="HTTP 400: " + "x" * 900, status=400)]
    tell(notice(), [channel.pk])
    look(begin=at_once)
    tell(hostile(), [channel.pk])
    look(begin=at_once)
    row = NoticeDelivery.objects.earliest("pk")
    page = sign_in(browser, live_server.url)
    paths = [
        LIST,
        f"{LIST}new/",
        f"{LIST}new/?kind=webhook",
        f"{LIST}{channel.pk}/",
        f"{LIST}dead/",
        f"/settings/deliveries/{row.pk}/",
    ]

    assert faults_of(page, live_server.url, paths) == {}
