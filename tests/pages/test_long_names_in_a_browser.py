"""Names as integration platforms make them, long and without a space: nothing is wider than its window or panel."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser

from messages.groups.refresh import refresh_groups
from messages.models import Event, FailureGroup, Message, MessageStatus
from tests.axe import WIDER
from tests.factories import agent_key, event, memory_connection, push, stored_letter
from tests.pages.test_in_a_browser import browser, sign_in, unsafe_async
from tests.services.reconciling import compared, flow, message

__all__ = ["browser", "unsafe_async"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
FLOW, SYSTEM = (
    "com.example.integration.orders.erp.inbound.v2.high-priority.queue",
    "order-orchestration-service-prod-eu-1",
)
KEY = "0199f0a0-7a6f-7cd8-aa87-b50550f060da"


def test_long_names_break_on_a_phone_and_on_a_desk(browser: Browser, live_server: Any):
    memory_connection()
    message(KEY, MessageStatus.DEAD, of=flow(FLOW))
    sent = {
        "destination": FLOW,
        "message_id": f"ID:{SYSTEM}-{KEY}-{KEY}",
        "trace_id": KEY.replace("-", ""),
        "correlation_id": f"{KEY}{KEY}",
    }
    body = {"content_type": "application/json", "body": f'{{"{KEY}{KEY}": "{KEY}{KEY}{KEY}"}}'}
    taken = event(**sent, system="erp-adapter-of-the-northern-warehouse", operation="process", payload=body)
    push(
        "/ingest/v1/events",
        [event(**sent, system=SYSTEM, payload=body, keys={"invoice_no": KEY + KEY}), taken],
        key=agent_key(),
    )
    error = {
        "type": "org.example.MessageHandlingExceptionOfAllKinds",
        "message": f"no {FLOW}.Confirmation",
        "stack": "",
    }
    letter = stored_letter(origin=FLOW, system=SYSTEM, error=error, keys={"order_no": KEY})
    one_id, other_id = Event.objects.order_by("id").values_list("id", flat=True)
    refresh_groups()
    group, one = FailureGroup.objects.get(), compared(f"{KEY}\n1\n", of=flow(FLOW))
    page = sign_in(browser, live_server.url)
    paths = [
        "/", "/groups/", f"/groups/{group.reference}/", f"/groups/{group.reference}/different/", "/topology/", f"/topology/?system={SYSTEM}",
        f"/j/{sent['trace_id']}", f"/messages/{Message.objects.get(message_id=sent['message_id']).id}/", f"/dead-letters/{letter.pk}/",
        f"/compare/?left={one_id}&right={other_id}", f"/k/order_no/{KEY}",
        "/dead-letters/", "/messages/", "/reconciliations/", f"/reconciliations/{one.pk}/", f"/reconciliations/{one.pk}/failed/",
    ]  # fmt: skip

    wide = []
    for width in (390, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        for path in paths:
            page.goto(live_server.url + path)
            wide += [f"{path} {width}"] if page.evaluate(WIDER, width) else []

    assert wide == []
