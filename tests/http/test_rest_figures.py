"""REST says what the pages Overview, Flows, Settings and Demo estate say, to those who may see it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Role, Team, User
from messages.models import Event, Flow, LoggedException
from tests.factories import (
    agent_key,
    api_key,
    environment,
    event,
    memory_connection,
    person,
    push,
    stored_letter,
)

pytestmark = pytest.mark.django_db


def asking(user: User) -> Any:
    key = api_key(user)

    def ask(method: str, path: str, body: Any = None) -> Any:
        return Client().generic(
            method, f"/api/v1/{path}", json.dumps(body or {}), "application/json", HTTP_AUTHORIZATION=f"Bearer {key}"
        )

    return ask


def traffic() -> Flow:
    item = {"destination": "orders", "message_id": "message-of-the-figures"}
    push("/ingest/v1/events", [event(**item), event(**item, system="erp", operation="process")], key=agent_key())
    stored_letter(origin="orders", message_id="another-message-of-it")
    flow = Flow.objects.get(name="orders")
    Flow.objects.filter(pk=flow.pk).update(team=Team.objects.get_or_create(name="Order team")[0])
    return flow


def test_environments_are_those_that_the_key_may_see():
    environment("staging")
    member = asking(person("member", Role.ADMINISTRATOR))
    root = person("root")
    User.objects.filter(pk=root.pk).update(is_superuser=True)

    own = member("GET", "environments").json()["results"]

    assert own == [{"slug": "production", "name": "production", "colour": "red", "position": 0, "may_administer": True}]
    assert {one["slug"] for one in asking(root)("GET", "environments").json()["results"]} >= {"production", "staging"}


def test_the_overview_says_what_fails_what_waits_and_what_passes():
    traffic()

    [found] = asking(person("viewer", Role.VIEWER))("GET", "overview?window=1h").json()

    assert (found["environment"], found["has_data"], found["flows_failing"], found["waiting"]) == (
        "production",
        True,
        1,
        1,
    )
    [failing] = found["failing"]
    assert (failing["flow"], failing["error_type"], failing["waiting"], sum(failing["hours"])) == (
        "orders",
        "ErpTimeout",
        1,
        1,
    )
    assert failing["sample"]["id"] == found["oldest"]["id"]
    assert len(found["rates"]) == 60
    assert sum(rate["delivered"] for rate in found["rates"]) == 1
    assert {agent["name"]: agent["state"] for agent in found["agents"]} == {"shop agent": "alive", "harvester": "alive"}


@pytest.mark.parametrize("window", ["7d", "abc", "24H"])
def test_the_overview_refuses_a_window_that_it_does_not_have(window: str):
    traffic()

    answer = asking(person("viewer", Role.VIEWER))("GET", f"overview?window={window}")

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_window")
    assert "1h or 24h" in answer.json()["detail"]


def test_the_overview_of_a_stranger_to_the_team_is_empty():
    traffic()

    [found] = asking(person("stranger", Role.VIEWER, team="Other team"))("GET", "overview").json()

    assert (found["has_data"], found["waiting"], found["failing"], found["oldest"]) == (False, 0, [], None)
    assert sum(rate["delivered"] for rate in found["rates"]) == 0


def test_the_figures_and_systems_of_a_flow_are_for_those_who_may_see_it():
    flow = traffic()
    member = asking(person("viewer", Role.VIEWER))

    figures, systems = (
        member("GET", f"flows/{flow.pk}/figures").json(),
        member("GET", f"flows/{flow.pk}/systems").json(),
    )

    assert (figures["delivered"], figures["failed"], figures["waiting"]) == (1, 0, 1)
    assert [(one["system"], one["operation"], one["count"]) for one in systems["results"]] == [
        ("shop", "send", 1), ("erp", "process", 1),
    ]  # fmt: skip
    stranger = asking(person("stranger", Role.ADMINISTRATOR, team="Other team"))
    assert [stranger("GET", f"flows/{flow.pk}/{what}").status_code for what in ("figures", "systems")] == [404, 404]
    assert stranger("GET", "rules/destinations").json() == {"results": []}


def test_destinations_say_which_rule_decides():
    traffic()
    root = asking(person("admin", Role.ADMINISTRATOR))
    root("POST", "rules/flows", {"environment": "production", "pattern": "ord*", "flow": "orders: shop → erp"})

    found = root("GET", "rules/destinations").json()["results"]

    assert [(one["destination"], one["count"], one["pattern"], one["flow"]) for one in found] == [
        ("orders", 2, "ord*", "orders: shop → erp")
    ]


def test_a_dead_letter_says_why_it_cannot_be_sent_again():
    found = stored_letter(broker="redis")
    ask = asking(person("operator", Role.OPERATOR))

    before = ask("GET", f"dead-letters/{found.pk}").json()
    memory_connection("redis")
    after = ask("GET", f"dead-letters/{found.pk}").json()

    assert "no connection in production is named" in before["hindrance"]
    assert (after["hindrance"], after["later"]) == ("", None)


def test_the_demo_is_read_and_switched_by_its_members_alone():
    environment("demo")
    operator = asking(person("operator", Role.OPERATOR, slug="demo"))
    viewer = asking(person("viewer", Role.VIEWER, slug="demo"))
    stranger = asking(person("stranger", Role.ADMINISTRATOR))

    off = operator("PUT", "demo/faults/poison", {"on": False})
    seen = {one["name"]: one["on"] for one in viewer("GET", "demo").json()["faults"]}
    operator("PUT", "demo/faults/poison", {"on": True})

    assert (off.status_code, off.json()["running"]) == (200, False)
    assert (seen["poison"], seen["erp-timeout"]) == (False, True)
    assert viewer("PUT", "demo/faults/poison", {"on": False}).status_code == 403
    assert operator("PUT", "demo/faults/none", {"on": False}).status_code == 404
    assert [stranger("GET", "demo").status_code, stranger("PUT", "demo/faults/poison", {"on": True}).status_code] == [
        404,
        404,
    ]
    assert AuditEntry.objects.filter(action="demo.fault_switched", actor="operator", via="api").count() == 2


def test_a_step_says_what_its_system_logged():
    push("/ingest/v1/events", [event(trace_id="ab" * 16, span_id="cd" * 8)], key=agent_key())
    known = Event.objects.get()
    LoggedException.objects.create(
        occurred_at=known.occurred_at, id=known.id, environment_id=known.environment_id, event_id=known.id, system="shop",
        error_type="Oops", error_message="no stock", attached=True,
    )  # fmt: skip

    found = asking(person("viewer", Role.VIEWER))("GET", f"journeys/{'ab' * 16}").json()

    assert [step["logged"] for step in found["steps"]] == [
        [{"error_type": "Oops", "error_message": "no stock", "error_stack": None}]
    ]
