"""What failed in a team's flow, of messages of a flow that the team may not see, is told to the team by its own events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html import escape, unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from console.identity.models import Role, Team
from messages.groups import failed_here as of_others
from messages.groups.failed_here import failed_here
from messages.groups.refresh import refresh_groups
from messages.groups.sweep import sweep_groups
from messages.models import Flow
from tests.factories import ROOT, actor, agent_key, api_key, environment, event, person, push, stored_letter
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
WORDS = "erp did not answer <b>"


def through(name: str, *, fails: bool = True, minutes: int = 20, queue: str = "q.erp", **more: str) -> None:
    """Push a message that the shop sent to its exchange and the ERP took from its queue, each a flow of its own."""
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    told = {"message_id": f"message of {name} with a long id", "trace_id": TRACE, **more}
    failure = {"outcome": "error", "error": {"type": "ErpTimeout", "message": WORDS, "stack": ""}} if fails else {}
    events = [
        event(**told, destination="ex.orders", occurred_at=at.isoformat(), span_id="00f067aa0ba902b7"),
        event(**told, system="erp", operation="process", destination=queue, span_id="00f067aa0ba902b8",
              occurred_at=(at + timedelta(seconds=1)).isoformat(), **failure),
    ]  # fmt: skip
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == 2


def owned() -> None:
    """Give the exchange to one team and the queue to another."""
    for flow, team in (("ex.orders", "Shop team"), ("q.erp", "Erp team")):
        Flow.objects.filter(name=flow).update(team=Team.objects.get_or_create(name=team)[0])
    sweep_groups()
    refresh_groups()


def causes(name: str = "mate", team: str = "Erp team") -> list[tuple[str, str, str, int]]:
    found = failed_here(actor(person(name, Role.VIEWER, team=team)), environment()).causes
    return [(one.flow, one.system, one.error_type, one.count) for one in found]


@pytest.mark.parametrize("path", ["/groups/", "/"])
def test_the_team_of_the_queue_is_told_what_failed_in_it_and_where_to_look(path: str):
    for number in range(2):
        through(f"order {number}")
    owned()
    client = signed_in("mate", Role.OPERATOR, team="Erp team")

    answer = client.get(path)
    said = text_of(answer)

    assert "2 messages of other teams failed in your flows." in said
    assert f"2 in q.erp at erp: ErpTimeout, {escape(WORDS)}, the newest 19 min ago" in said
    assert "Nothing is failing" not in said
    assert f'href="/j/{TRACE}"' in answer.content.decode()
    journey = text_of(client.get(f"/j/{TRACE}"))
    assert "erp" in journey
    assert "ex.orders" not in journey


def test_a_search_for_what_failed_there_that_finds_none_of_its_messages_says_why_and_leads_there():
    through("order")
    owned()

    said = text_of(signed_in("mate", Role.OPERATOR, team="Erp team").get("/messages/", {"q": 'via:"q.erp" error:*'}))

    assert "Messages of other teams' flows are not listed to you; 1 of them failed in your flows" in unescape(said)


@pytest.mark.parametrize("team", ["Shop team", "Stock team"])
def test_who_does_not_own_the_queue_or_sees_the_group_is_told_nothing_of_it(team: str):
    through("order")
    owned()

    assert causes(team=team) == []
    assert failed_here(ROOT, environment()).causes == []


def test_what_was_passed_since_and_what_left_a_letter_is_not_among_it():
    for number in range(3):
        through(f"order {number}")
    again = {
        "message_id": "message of order 0 with a long id",
        "system": "erp",
        "destination": "q.erp",
        "operation": "process",
    }
    push("/ingest/v1/events", [event(**again)], key=agent_key())
    stored_letter(message_id="message of order 1 with a long id", origin="q.erp", queue="q.erp.dlq")
    owned()

    assert causes() == [("q.erp", "erp", "ErpTimeout", 1)]


def test_what_the_system_passed_from_another_of_its_queues_is_still_among_it():
    through("order")
    labels = {
        "message_id": "message of order with a long id",
        "system": "erp",
        "destination": "labels",
        "operation": "process",
    }
    push("/ingest/v1/events", [event(**labels)], key=agent_key())
    owned()

    assert causes() == [("q.erp", "erp", "ErpTimeout", 1)]


def test_a_message_that_failed_at_two_systems_is_one_of_two_causes():
    through("order")
    taken = {
        "message_id": "message of order with a long id",
        "system": "mail",
        "destination": "q.mail",
        "operation": "process",
    }
    push("/ingest/v1/events", [event(**taken, outcome="error")], key=agent_key())
    owned()

    found = failed_here(actor(person("mate", Role.VIEWER, team="Erp team")), environment())

    assert (found.count, [(one.flow, one.count) for one in found.causes]) == (1, [("q.mail", 1), ("q.erp", 1)])


def test_what_failed_days_ago_and_what_went_well_is_not_among_it():
    through("order", minutes=25 * 60)
    through("another", fails=False)
    owned()

    assert causes() == []


def test_of_more_failures_than_are_looked_through_it_says_that_there_are_more(monkeypatch: pytest.MonkeyPatch):
    for number in range(3):
        through(f"order {number}")
    owned()
    monkeypatch.setattr(of_others, "MOST_WALKED", 2)

    told = text_of(signed_in("mate", Role.OPERATOR, team="Erp team").get("/groups/"))

    assert "3+ messages of other teams failed in your flows." in told


def test_who_sees_every_flow_is_asked_for_nothing():
    through("order")
    member, here = actor(person("member", Role.OPERATOR)), environment()

    with CaptureQueriesContext(connection) as of_root:
        failed_here(ROOT, here)
    with CaptureQueriesContext(connection) as of_member:
        failed_here(member, here)  # no flow has a team yet

    assert [len(of_root), len(of_member)] == [0, 1]


def test_rest_says_the_same():
    through("order")
    owned()
    key = api_key(person("asks", Role.VIEWER, team="Erp team"))

    def asked(path: str) -> object:
        return Client().get(f"/api/v1/{path}", HTTP_AUTHORIZATION=f"Bearer {key}").json()

    [told] = asked("groups")["failed_here"]
    [cause] = told["causes"]
    assert (told["environment"], told["count"], told["at_least"]) == ("production", 1, False)
    assert {name: cause[name] for name in ("flow", "system", "error_type", "error_message", "count", "trace_id")} == {
        "flow": "q.erp", "system": "erp", "error_type": "ErpTimeout", "error_message": WORDS, "count": 1, "trace_id": TRACE,
    }  # fmt: skip
    assert asked("overview")[0]["failed_here"] == told
