"""A message that died in another team's flow is in that team's failures: whoever may not see those is told how many, and finds them."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext

from console.identity.models import Role, Team
from messages.dead_letters.services import discard_dead_letter
from messages.groups import unseen
from messages.models import DeadLetter, Flow, Message
from tests.factories import ROOT, actor, agent_key, api_key, environment, event, person, push, stored_letter
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
NAMES = [f"a message that died {number}" for number in range(4)]  # longer than what is told apart by its flow
LINE = "of the last 24 hours died in flows of other teams"


def sent(*names: str) -> None:
    push("/ingest/v1/events", [event(message_id=name, destination="orders") for name in names], key=agent_key())


def died(*names: str, queue: str = "payroll") -> list[DeadLetter]:
    """Let messages of the flow orders die in another one, which is another team's."""
    sent(*names)
    letters = [stored_letter(message_id=name, origin=queue, queue=f"{queue}.dlq") for name in names]
    team, _ = Team.objects.get_or_create(name="Payroll team")
    Flow.objects.filter(name="payroll").update(team=team)
    return letters


def link_in(client: Client, path: str) -> str:
    """Return where the line leads, empty when there is none."""
    found = re.search(
        r'href="([^"]+)">(?:At least )?<b>[\d,]+ messages?</b></a> of the last', client.get(path).content.decode()
    )
    return unescape(found[1]) if found else ""


@pytest.mark.parametrize("path", ["/groups/", "/"])
def test_who_may_not_see_where_messages_died_is_told_how_many_and_finds_exactly_these(path: str):
    died(*NAMES[:2])
    died(NAMES[2], queue="invoices")
    sent(NAMES[3])
    client = signed_in()

    assert f"2 messages {LINE}, and are in their failures." in text_of(client.get(path))
    shown = client.get(link_in(client, path)).context["page"].rows
    assert {row.message_id for row in shown} == {*NAMES[:2]}


@pytest.mark.parametrize("path", ["/groups/", "/"])
def test_who_may_see_it_has_it_among_the_failures_alone(path: str):
    died(NAMES[0])
    owner = signed_in("owner", team="Payroll team")

    assert [LINE in text_of(client.get(path)) for client in (owner, signed_in(superuser=True))] == [False, False]


def test_what_died_in_flows_of_others_that_sent_it_too_is_not_the_readers_and_not_told():
    died(NAMES[0])
    Flow.objects.filter(name="orders").update(team=Team.objects.get(name="Payroll team"))

    assert unseen.died_unseen(actor(person("member", Role.OPERATOR)), environment()).count == 0


def test_what_was_dealt_with_is_told_no_more():
    (letter,) = died(NAMES[0])
    client = signed_in()
    assert link_in(client, "/groups/")

    discard_dead_letter(letter, by=ROOT, reason="paid by hand")

    assert not link_in(client, "/groups/")


def test_of_more_than_are_counted_and_of_more_failures_than_are_looked_through_it_says_at_least(
    monkeypatch: pytest.MonkeyPatch,
):
    died(*NAMES[:3])
    member = actor(person("member", Role.OPERATOR))
    monkeypatch.setattr(unseen, "MOST_COUNTED", 2)
    counted = unseen.died_unseen(member, environment())
    monkeypatch.setattr(unseen, "MOST_COUNTED", 3)
    exact = unseen.died_unseen(member, environment())
    monkeypatch.setattr(unseen, "MOST_WALKED", 1)
    walked = unseen.died_unseen(member, environment())

    assert [(one.count, one.at_least) for one in (counted, exact, walked)] == [(2, True), (3, False), (2, True)]
    assert Message.objects.count() == 3
    assert "At least 2 messages" in text_of(signed_in().get("/groups/"))


def test_where_none_of_those_that_were_looked_through_is_meant_it_does_not_say_that_none_is(
    monkeypatch: pytest.MonkeyPatch,
):
    died(NAMES[0])
    Message.objects.update(first_seen_at=F("first_seen_at") - timedelta(hours=3))
    for number in range(2):
        push(
            "/ingest/v1/events", [event(message_id=f"failed here of itself {number}", outcome="error")], key=agent_key()
        )
    monkeypatch.setattr(unseen, "MOST_WALKED", 1)

    one = unseen.died_unseen(actor(person("member", Role.OPERATOR)), environment())

    assert (one.count, one.at_least) == (0, True)
    assert "older ones of the last 24 hours were not looked through" in text_of(signed_in().get("/groups/"))


def test_it_costs_who_sees_every_flow_nothing_and_others_one_query():
    died(NAMES[0])
    member, here = actor(person("member", Role.OPERATOR)), environment()

    with CaptureQueriesContext(connection) as of_member:
        unseen.died_unseen(member, here)
    with CaptureQueriesContext(connection) as of_root:
        unseen.died_unseen(ROOT, here)

    assert [len(of_member), len(of_root)] == [1, 0]


def test_rest_says_the_same():
    died(NAMES[0])
    key, whole = api_key(person("asks", Role.OPERATOR)), api_key(person("owner", Role.OPERATOR, team="Payroll team"))

    def asked(path: str, by: str) -> object:
        return Client().get(f"/api/v1/{path}", HTTP_AUTHORIZATION=f"Bearer {by}").json()

    told = {"environment": "production", "count": 1, "at_least": False, "q": "status:dead NOT group:*"}
    assert asked("groups", key)["died_elsewhere"] == [told]
    assert asked("groups", whole)["died_elsewhere"] == []
    assert asked("overview", key)[0]["died_elsewhere"] == told
    found = Client().get("/api/v1/messages", {"q": told["q"]}, HTTP_AUTHORIZATION=f"Bearer {key}").json()["results"]
    assert [one["message_id"] for one in found] == [NAMES[0]]
