"""Who opens pages in these tests, what they read in them, and one of each object."""

from __future__ import annotations

import re
from typing import Any

from django.test import Client

from console.identity.models import Agent, Role
from messages.models import Flow, Message
from tests.factories import agent_key, environment, event, memory_connection, person, push, stored_letter

LISTS = [
    "/",
    "/messages/",
    "/dead-letters/",
    "/topology/",
    "/figures/",
    "/groups/",
    "/groups/rules/",
    "/replay-rules/",
    "/plans/",
    "/plans/stops/",
    "/compensations/",
    "/compensations/?show=all",
    "/compensations/?show=tasks",
    "/breaches/",
    "/breaches/silences/",
    "/reports/",
    "/flows/",
    "/changes/",
    "/connections/",
    "/agents/",
    "/audit/",
    "/settings/",
    "/settings/retention/",
    "/settings/alerting/",
    "/ingest/",
    "/ingest/refused/",
    "/account/password/",
]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
REPLAY = {"HTTP_HX_REQUEST": "true", "HTTP_HX_TARGET": "letter"}


def signed_in(
    name: str = "root", role: Role | None = Role.ADMINISTRATOR, *, superuser: bool = False, team: str = "Order team"
) -> Client:
    user = person(name, role, team=team)
    if superuser:
        user.is_superuser = True
        user.save(update_fields=["is_superuser"])
    client = Client()
    client.force_login(user)
    return client


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def journey_of_two(order: str = "4711") -> None:
    """A shop sends, the ERP fails: two events of one trace and message."""
    common = {
        "trace_id": TRACE,
        "destination": "erp.orders",
        "message_id": f"order-{order}-long-enough",
        "keys": {"order_no": order},
    }
    failed = {
        "type": "ErpTimeout",
        "message": "erp did not answer",
        "stack": 'Traceback (most recent call last):\n  File "erp.py", line 1\nErpTimeout: no',
    }
    body = {"content_type": "application/json", "body": '{"order_no": "4711", "note": "<script>alert(1)</script>"}'}
    events = [
        event(**common, span_id="a" * 16, payload=body),
        event(
            **common,
            id=f"erp-{order}",
            system="erp",
            operation="process",
            span_id="b" * 16,
            parent_span_id="a" * 16,
            outcome="error",
            error=failed,
            attributes={"erp.client": "<b>42</b>"},
        ),
    ]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == 2


def objects() -> list[str]:
    """Addresses of one of each object."""
    journey_of_two()
    letter = stored_letter(message_id="order-4711-long-enough", trace_id=TRACE, keys={"order_no": "4711"})
    connection = memory_connection()
    message = Message.objects.get()
    flow, agent = Flow.objects.filter(environment=environment()).first(), Agent.objects.first()
    assert flow
    assert agent
    return [
        f"/messages/{message.id}/", f"/dead-letters/{letter.pk}/", f"/flows/{flow.pk}/", f"/connections/{connection.pk}/",
        f"/agents/{agent.pk}/", f"/j/{TRACE}", f"/groups/G-{letter.group_id}/",
    ]  # fmt: skip
