"""Owner, team mate, operator, stranger and a member of another environment, on every REST route."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Agent, Role, Team
from messages.models import Change, Connection, DeadLetter, Event, Flow, Message, Replay, System
from messages.replay.services import request_replay
from tests.factories import ROOT, agent_key, api_key, event, letter, memory_connection, person, push

pytestmark = pytest.mark.django_db
LISTS = [
    "messages",
    "events",
    "journeys",
    "dead-letters",
    "flows",
    "systems",
    "connections",
    "agents",
    "changes",
    "audit",
]


@pytest.fixture
def landscape() -> dict[str, str]:
    """One owned flow with a message, an event, a dead letter and its replay; returns the path of each object."""
    memory_connection()
    sent = event(destination="erp.orders", trace_id="ab" * 16, span_id="cd" * 8, payload={"body": "x"})
    push("/ingest/v1/events", [sent], key=agent_key("exporter"))
    push(
        "/ingest/v1/dead-letters",
        [letter(message_id=sent["message_id"], trace_id="ab" * 16)],
        key=agent_key("harvester"),
    )
    change = {"id": "1", "kind": "deployment", "title": "x", "flows": [Flow.objects.first().name]}
    push("/ingest/v1/changes", [change], key=agent_key("pipeline"))
    Flow.objects.update(team=Team.objects.get_or_create(name="Order team")[0])
    dead = DeadLetter.objects.get()
    replay = request_replay(dead, by=ROOT, reason="for the tests")
    Replay.objects.update(state="refused")
    DeadLetter.objects.update(state="open")
    found = Event.objects.get()
    return {
        "messages": f"messages/{Message.objects.get().id}", "events": f"events/{found.id}", "events payload": f"events/{found.id}/payload",
        "journeys": f"journeys/{'ab' * 16}", "dead-letters": f"dead-letters/{dead.pk}", "payload": f"dead-letters/{dead.pk}/payload",
        "replays of": f"dead-letters/{dead.pk}/replays", "replays": f"replays/{replay.pk}", "flows": f"flows/{dead.flow_id}",
        "systems": f"systems/{System.objects.first().pk}", "connections": f"connections/{Connection.objects.get().pk}",
        "agents": f"agents/{Agent.objects.first().pk}", "changes": f"changes/{Change.objects.get().pk}",
        "audit": f"audit/{AuditEntry.objects.filter(action='replay.requested').get().pk}",
    }  # fmt: skip


def ask(path: str, key: str, body: Any = None) -> Any:
    client, header = Client(raise_request_exception=False), {"HTTP_AUTHORIZATION": f"Bearer {key}"}
    if body is None:
        return client.get(f"/api/v1/{path}", **header)
    return client.post(f"/api/v1/{path}", body, content_type="application/json", **header)


WHO = {
    "root": (None, {}, True), "viewer": (Role.VIEWER, {}, False), "operator": (Role.OPERATOR, {}, False),
    "member of another team": (Role.ADMINISTRATOR, {"team": "Finance team"}, False),
    "member elsewhere": (Role.ADMINISTRATOR, {"slug": "staging"}, False), "stranger": (None, {}, False),
}  # fmt: skip


@pytest.fixture(params=WHO, ids=lambda name: name)
def caller(request: pytest.FixtureRequest) -> tuple[str, str]:
    role, where, root = WHO[request.param]
    user = person("someone", role, **where)
    if root:
        user.is_superuser = True
        user.save(update_fields=["is_superuser"])
    return request.param, api_key(user)


def test_who_reads_what(landscape: dict[str, str], caller: tuple[str, str]):
    who, key = caller

    got = {name: ask(path, key).status_code for name, path in landscape.items()}

    insider = who in ("root", "viewer", "operator")
    same_environment = insider or who == "member of another team"
    expected = dict.fromkeys(landscape, 200 if insider else 404)
    for name in ("systems", "connections", "agents"):  # of the environment, not of a team
        expected[name] = 200 if same_environment else 404
    if who == "viewer":
        expected["payload"] = expected["events payload"] = 403
    assert got == expected


def test_who_sees_anything_in_lists(landscape: dict[str, str], caller: tuple[str, str]):
    who, key = caller

    counts = {name: len(ask(name, key).json()["results"]) for name in LISTS}

    seen = {name for name, count in counts.items() if count}
    if who in ("root", "viewer", "operator"):
        assert seen == set(LISTS)
    elif who == "member of another team":
        assert seen <= {"systems", "connections", "agents", "audit"}
    else:
        assert seen == set()


@pytest.mark.parametrize("action", ["replay", "discard", "restore"])
def test_who_acts(landscape: dict[str, str], caller: tuple[str, str], action: str):
    who, key = caller

    status = ask(f"{landscape['dead-letters']}/{action}", key, {"reason": "because"}).status_code

    done = {"replay": 202, "discard": 200, "restore": 409}[action]
    assert status == {"root": done, "operator": done, "viewer": 403}.get(who, 404)


def test_an_action_needs_a_reason_and_a_body(landscape: dict[str, str]):
    key = api_key(person("op", Role.OPERATOR))

    answers = [
        ask(f"{landscape['dead-letters']}/replay", key, body)
        for body in ({}, {"reason": " "}, {"reason": "x" * 2000}, [1], "text")
    ]

    assert [a.status_code for a in answers] == [400] * 5
    assert {a.headers["Content-Type"] for a in answers} == {"application/problem+json"}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("junk", ["?limit=x", "?limit=0", "?limit=501", "?cursor=%00x", "?cursor=WzFd", "?cursor=eyJ9"])
def test_junk_in_a_list_is_a_problem_that_says_so(name: str, junk: str):
    answer = ask(name + junk, api_key(person("op", Role.OPERATOR)))

    assert (answer.status_code, answer["Content-Type"], bool(answer.json()["code"])) == (
        400,
        "application/problem+json",
        True,
    )


@pytest.mark.parametrize("name", [n for n in LISTS if n != "journeys"])
@pytest.mark.parametrize(
    "pk", ["9eb43137-79fc-4b55-9e57-396207f78d62", "0", "9" * 40, "x", "%00", "..%2f", "%F0%9F%92%A9"]
)
def test_an_unknown_or_junk_id_is_404(name: str, pk: str):
    answer = ask(f"{name}/{pk}", api_key(person("op", Role.OPERATOR)))

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "q",
    [
        "(",
        "a AND",
        "order_no:",
        "age:>soon",
        "at:[x TO y]",
        "status:sideways",
        "*:*",
        "a^b",
        "~",
        "\\",
        "order_no:\x00",
        "a" * 3000,
        "((((((((((" * 10,
        "[",
        "key:>5",
        "%",
    ],
)
@pytest.mark.parametrize("name", ["messages", "events", "dead-letters"])
def test_no_query_breaks_a_search(name: str, q: str):
    from urllib.parse import quote

    answer = ask(f"{name}?q={quote(q)}", api_key(person("op", Role.OPERATOR)))

    assert answer.status_code in (200, 400)
    assert answer.status_code == 200 or answer.json()["code"] == "bad_query"


def test_pages_of_a_list_are_complete_when_times_tie():
    at = event()["occurred_at"]
    key = agent_key()
    push("/ingest/v1/events", [event(occurred_at=at) for _ in range(25)], key=key)
    reader, seen, path = api_key(person("op", Role.OPERATOR)), [], "events?limit=7"

    while path:
        body = ask(path, reader).json()
        seen += [item["id"] for item in body["results"]]
        path = body["next"].split("/api/v1/")[1] if body["next"] else ""

    assert len(seen) == len(set(seen)) == 25
