"""A reply whose correlation id is the request's message id is tied to it, both ways: JMS, AMQP and Service Bus reply so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from console.identity.models import Role, Team
from messages.journeys import gather
from messages.journeys.queries import journey_of_dead_letter, journey_of_message
from messages.models import Flow, Message
from tests.factories import ROOT, agent_key, api_key, environment, event, person, push, stored_letter
from tests.http.test_access import ask
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
REQUEST, REPLY = "request-message-000001", "reply-message-00000001"


def hop(
    seconds: float, system: str, operation: str, message_id: str, correlation_id: str = "", **more: Any
) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(minutes=5) + timedelta(seconds=seconds)
    return event(
        system=system, operation=operation, message_id=message_id, correlation_id=correlation_id, occurred_at=at.isoformat(),
        destination="replies" if correlation_id else "requests", **more,
    )  # fmt: skip


def asked(request: str = REQUEST, reply: str = REPLY, *, slug: str = "production") -> None:
    """Shop asks ERP, which answers; nobody has a trace or a key, and the shop that takes the answer does not repeat the correlation id."""
    events = [hop(0, "shop", "send", request), hop(1, "erp", "process", request)]
    replies = [hop(2, "erp", "send", reply, request), hop(3, "shop", "process", reply)]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == 2
    assert push("/ingest/v1/events", replies, key=agent_key("erp agent", slug)).json()["accepted"] == 2


def told_of(message_id: str, key: str) -> list[tuple[str, str, str, str]]:
    found = ask(f"messages/{Message.objects.get(message_id=message_id).id}/journey", key).json()
    return [
        (step["label"], step["evidence"]["kind"], step["evidence"]["strength"], step["why"]) for step in found["steps"]
    ]


def test_a_request_leads_to_its_reply_and_a_reply_to_its_request_and_each_says_why():
    asked()
    key = api_key(person("vera", Role.VIEWER))

    answers = f"has the id of shop send, {REQUEST}, as its correlation id: a reply, or of the same conversation"
    assert told_of(REQUEST, key) == [
        ("shop send", "message id", "strong", "is about the same message"),
        ("erp process", "message id", "strong", "is about the same message"),
        ("erp send", "answer", "likely", answers),
        ("shop process", "message id", "likely", "is about the same message as erp send"),
    ]
    request = f"is about {REQUEST}, the correlation id of erp send, a reply to it or of the same conversation"
    assert told_of(REPLY, key) == [
        ("shop send", "request", "likely", request),
        ("erp process", "request", "likely", request),
        ("erp send", "message id", "strong", "is about the same message"),
        ("shop process", "message id", "strong", "is about the same message"),
    ]
    page = text_of(signed_in("victor", Role.VIEWER).get(f"/messages/{Message.objects.get(message_id=REQUEST).id}/"))
    assert "tied by message id, then answer (likely)" in page
    assert f"has the id of shop send, {REQUEST}, as its correlation id" in page


def test_a_short_id_that_other_destinations_may_have_too_ties_nothing():
    asked("request-1")

    assert len(journey_of_message(ROOT, Message.objects.get(message_id="request-1")).steps) == 2
    assert len(journey_of_message(ROOT, Message.objects.get(message_id=REPLY)).steps) == 2


def test_a_reply_of_another_environment_or_team_is_not_there():
    asked(slug="staging")
    asked(REQUEST.replace("1", "2"), REPLY.replace("1", "2"))
    key = api_key(person("vera", Role.VIEWER))
    assert [len(told_of(one, key)) for one in (REQUEST, REQUEST.replace("1", "2"))] == [2, 4]

    Flow.objects.filter(name="replies").update(team=Team.objects.create(name="Finance team"))

    assert len(told_of(REQUEST.replace("1", "2"), key)) == 2


def test_a_dead_letter_of_a_reply_leads_to_its_request():
    asked()

    letter = stored_letter(message_id="another-reply-00001", correlation_id=REQUEST)

    assert [step.label for step in journey_of_dead_letter(ROOT, letter).steps][:2] == ["shop send", "erp process"]


def test_replies_of_many_requests_are_asked_for_together_and_each_is_followed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gather, "MOST_FOLLOWED", 2)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    requests = [f"request-message-{n:06}" for n in range(30)]
    replies = [hop(2, "erp", "send", f"reply-message-{n:06}", one) for n, one in enumerate(requests)]
    taken = [hop(3, "shop", "process", one["message_id"]) for one in replies]
    push("/ingest/v1/events", [hop(0, "shop", "send", one, trace_id=trace) for one in requests], key=agent_key())
    first = Message.objects.get(message_id=requests[0])

    def statements() -> tuple[int, bool, int]:
        with CaptureQueriesContext(connection) as captured:
            found = gather.gather(
                ROOT, [environment()], {first.trace_id}, {first.id}, first.first_seen_at, correlation=None, keys={}
            )
        return len(found.seen), found.truncated, len(captured)

    push("/ingest/v1/events", [replies[0], taken[0]], key=agent_key())
    few = statements()
    push("/ingest/v1/events", [*replies[1:], *taken[1:]], key=agent_key())
    assert few[0] == 32
    assert statements() == (90, False, few[2])


def test_the_request_of_an_id_that_very_many_have_is_not_followed_into_its_trace(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gather, "MOST_FOLLOWED", 3)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    nightly = [hop(0, "shop", "send", one, trace_id=trace) for one in (REQUEST, "another message of its trace")]
    orders = [hop(2, "erp", "send", f"order-of-the-night-{n:06}", REQUEST) for n in range(5)]
    push("/ingest/v1/events", [*nightly, *orders], key=agent_key())

    steps = journey_of_message(ROOT, Message.objects.get(message_id="order-of-the-night-000000")).steps

    assert {step.event.message_id for step in steps} == {one["message_id"] for one in orders}
