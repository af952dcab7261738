"""A message that stopped shows where such messages usually go on, as far as the reader may see it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from console.identity.models import Role, Team
from messages.journeys.queries import journey_of_dead_letter
from messages.models import DeadLetter, Flow
from tests.factories import ROOT, agent_key, api_key, event, letter, person, push
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
LAST, STUCK, LINKED = "aa" * 16, "bb" * 16, "cc" * 16


def hop(trace: str, system: str, operation: str, destination: str, seconds_ago: float, **more: Any) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return event(
        trace_id=trace, system=system, operation=operation, destination=destination, occurred_at=at.isoformat(),
        message_id=f"{destination} of {trace}", **more,
    )  # fmt: skip


def delivered(trace: str = LAST, *, linked: bool = False) -> list[dict[str, Any]]:
    """Shop → ERP → billing → shipping; linked: shipping starts a trace of its own, as many receivers do."""
    span = "12" * 8
    shipping = (
        {"trace_id": LINKED, "span_id": "34" * 8, "links": [{"trace_id": trace, "span_id": span}]} if linked else {}
    )
    return [
        hop(trace, "shop", "send", "orders", 300),
        hop(trace, "erp", "process", "orders", 299),
        hop(trace, "erp", "send", "invoices", 298),
        hop(trace, "billing", "process", "invoices", 297),
        hop(trace, "billing", "send", "shipments", 296, span_id=span),
        hop(trace, "shipping", "process", "shipments", 295) | shipping,
    ]


def stuck() -> DeadLetter:
    """The same order got no further than the ERP, and lies in its dead-letter queue."""
    events = [
        hop(STUCK, "shop", "send", "orders", 200),
        hop(STUCK, "erp", "process", "orders", 199, outcome="error", error={"type": "ErpTimeout", "message": "no"}),
    ]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == 2
    body = letter(message_id=f"orders of {STUCK}", origin="orders", trace_id=STUCK, system="erp")
    assert push("/ingest/v1/dead-letters", [body], key=agent_key()).json()["accepted"] == 1
    return DeadLetter.objects.get()


def give(flow: str, team: str) -> None:
    Flow.objects.filter(name=flow).update(team=Team.objects.get_or_create(name=team)[0])


@pytest.mark.parametrize("linked", [False, True])
def test_the_systems_after_the_stop_are_those_of_the_last_delivered_message(linked: bool):
    push("/ingest/v1/events", delivered(linked=linked), key=agent_key())

    journey = journey_of_dead_letter(ROOT, stuck())

    assert [station.system for station in journey.stations] == ["shop", "erp"]
    assert journey.unreached == ["billing", "shipping"]


def test_the_page_and_rest_say_that_they_were_not_reached():
    push("/ingest/v1/events", delivered(), key=agent_key())
    found = stuck()

    page = signed_in(superuser=True).get(f"/dead-letters/{found.pk}/")

    assert "erp failed queue 1.0 s, work 0 ms billing not reached shipping not reached" in text_of(page)
    user = person("reader", Role.VIEWER)
    answer = Client().get(f"/api/v1/journeys/{STUCK}", HTTP_AUTHORIZATION=f"Bearer {api_key(user)}").json()
    assert answer["unreached"] == ["billing", "shipping"]


def test_a_message_that_arrived_has_no_further_stations():
    push("/ingest/v1/events", delivered() + delivered("dd" * 16)[:2], key=agent_key())
    client = signed_in(superuser=True)

    words = text_of(client.get(f"/j/{'dd' * 16}"))

    assert "not reached" not in words


def test_without_a_delivered_message_of_the_flow_nothing_is_claimed():
    push("/ingest/v1/events", delivered()[2:], key=agent_key())  # of other flows only

    assert journey_of_dead_letter(ROOT, stuck()).unreached == []


def test_a_flow_of_another_team_does_not_tell_where_its_messages_go():
    push("/ingest/v1/events", delivered(), key=agent_key())
    found = stuck()
    give("orders", "Order team")
    give("shipments", "Shipping team")
    client = signed_in("reader", Role.VIEWER)

    words = text_of(client.get(f"/dead-letters/{found.pk}/"))

    assert "billing not reached" in words
    assert "shipping" not in words
