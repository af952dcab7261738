"""Flows, rules, connections, agents, teams: who changes what."""

from __future__ import annotations

import re

import pytest

from console.audit.models import AuditEntry
from console.identity.models import Agent, Key, Role
from messages.models import Connection, Flow, FlowRule
from tests.factories import environment, event, push
from tests.pages.people import journey_of_two, signed_in, text_of

pytestmark = pytest.mark.django_db


# catalog -------------------------------------------------------------------------------------------------------------


def test_an_administrator_changes_a_flow_and_an_operator_may_not():
    journey_of_two()
    flow = Flow.objects.get()
    said = {
        "criticality": "high",
        "runbook_url": "wiki/erp",
        "description": "",
        "receiver_is_idempotent": "on",
        "team": "",
    }

    assert signed_in("operator", Role.OPERATOR).post(f"/flows/{flow.pk}/", said).status_code == 422
    administrator = signed_in()
    refused = administrator.post(f"/flows/{flow.pk}/", said | {"runbook_url": "javascript:alert(1)"})
    assert (refused.status_code, "a runbook is an address that begins with http" in text_of(refused)) == (422, True)
    assert administrator.post(f"/flows/{flow.pk}/", said).status_code == 303

    flow.refresh_from_db()
    assert (flow.criticality, flow.receiver_is_idempotent, flow.runbook_url) == ("high", True, "https://wiki/erp")
    assert AuditEntry.objects.get(action="flow.changed").details.keys() == {
        "criticality",
        "runbook_url",
        "receiver_is_idempotent",
    }


REPLAYS = {
    "replay_forbidden": "on", "most_replays": "3", "replay_days": "30", "replay_rate": "2.5", "approve_above": "0", "order_key": " order_no ",
    "supersede_key": "order_no",
}  # fmt: skip


def test_an_administrator_says_how_messages_of_a_flow_are_replayed():
    journey_of_two()
    flow = Flow.objects.get()
    client, said = signed_in(), {"criticality": "normal", "team": ""}

    assert client.post(f"/flows/{flow.pk}/", said | REPLAYS).status_code == 303

    flow.refresh_from_db()
    assert (flow.replay_allowed, flow.most_replays, flow.replay_days, flow.replay_rate) == (False, 3, 30, 2.5)
    assert (flow.approve_above, flow.order_key, flow.supersede_key) == (0, "order_no", "order_no")
    assert AuditEntry.objects.get(action="flow.changed").details == {
        "replay_allowed": "False", "most_replays": "3", "replay_days": "30", "replay_rate": "2.5", "approve_above": "0", "order_key": "order_no",
        "supersede_key": "order_no",
    }  # fmt: skip
    page = text_of(client.get(f"/flows/{flow.pk}/"))
    assert "Replays forbidden" in page
    assert client.post(f"/flows/{flow.pk}/", said).status_code == 303
    flow.refresh_from_db()
    assert (flow.replay_allowed, flow.most_replays, flow.replay_days, flow.replay_rate) == (True, 5, None, None)
    assert (flow.approve_above, flow.order_key, flow.supersede_key) == (None, "", "")


@pytest.mark.parametrize(
    "wrong",
    [{"most_replays": "0"}, {"most_replays": "101"}, {"replay_days": "0"}, {"replay_days": "4000"}, {"replay_rate": "0"}, {"replay_rate": "nan"},
     {"replay_rate": "inf"}, {"approve_above": "-1"}, {"order_key": "x" * 65}],
)  # fmt: skip
def test_a_flow_refuses_settings_of_replays_that_cannot_be_meant(wrong):
    journey_of_two()
    flow = Flow.objects.get()
    assert signed_in().post(f"/flows/{flow.pk}/", {"criticality": "normal", "team": ""} | wrong).status_code == 422
    assert not AuditEntry.objects.filter(action="flow.changed").exists()


def test_rules_are_added_moved_and_removed_and_a_double_one_is_refused():
    environment()
    client = signed_in()
    for pattern in ("orders.*", "*.dlq"):
        assert (
            client.post("/settings/", {"kind": "flow", "pattern": pattern, "flow": "orders: shop → erp"}).status_code
            == 303
        )
    again = client.post("/settings/", {"kind": "flow", "pattern": "orders.*", "flow": "x"})
    assert (again.status_code, "there is a rule for orders.* already" in text_of(again)) == (422, True)

    second = FlowRule.objects.get(pattern="*.dlq")
    assert client.post(f"/settings/rules/flow/{second.pk}/up").status_code == 303
    assert [rule.pattern for rule in FlowRule.objects.all()] == ["*.dlq", "orders.*"]
    client.post(f"/settings/rules/flow/{second.pk}/remove")
    assert [rule.pattern for rule in FlowRule.objects.all()] == ["orders.*"]
    viewer = signed_in("viewer", Role.VIEWER)
    assert viewer.post("/settings/", {"kind": "flow", "pattern": "a", "flow": "b"}).status_code == 403
    assert viewer.post(f"/settings/rules/flow/{FlowRule.objects.get().pk}/remove").status_code == 403


def test_a_connection_is_added_approved_and_never_shows_its_secret():
    environment()
    client = signed_in()
    said = {
        "name": "redis",
        "kind": "redis-streams",
        "address": "redis://broker.example:6379/0",
        "username": "waybill",
        "secret": "s3cret-words",
    }

    made = client.post("/connections/", said)
    client.post(f"{made['Location']}approve")

    found = Connection.objects.get()
    page = client.get(made["Location"])
    assert found.approved_by == "root"
    assert "s3cret" not in page.content.decode() + client.get("/connections/").content.decode()
    assert "Password set" in text_of(page)
    refused = client.post("/connections/", said | {"name": "two", "address": "redis://user:pass@broker.example"})
    assert (refused.status_code, "not into the address" in text_of(refused)) == (422, True)
    operator = signed_in("operator", Role.OPERATOR)
    assert operator.post("/connections/", said | {"name": "three"}).status_code == 422
    assert operator.post(f"/connections/{found.pk}/withdraw").status_code == 422
    assert client.post(f"/connections/{found.pk}/nonsense").status_code == 404


def test_an_agents_key_is_shown_once_and_revoked():
    environment()
    client = signed_in()

    shown = client.post("/agents/", {"name": "harvest-eu"})
    key = re.search(r"wb_agent_\w+", shown.content.decode())
    assert key
    agent = Agent.objects.get()
    assert key[0] not in client.get(f"/agents/{agent.pk}/").content.decode()
    assert push("/ingest/v1/events", [event()], key=key[0]).status_code == 200

    client.post(f"/agents/{agent.pk}/keys/{Key.objects.get().pk}/revoke")

    assert Key.objects.get().revoked_at is not None
    assert (
        signed_in("operator", Role.OPERATOR).post(f"/agents/{agent.pk}/keys/{Key.objects.get().pk}/revoke").status_code
        == 403
    )


def test_teams_are_for_superusers_and_a_role_takes_effect():
    journey_of_two()
    root = signed_in(superuser=True)
    nobody = signed_in("nobody", None)
    assert signed_in("admin of one", Role.ADMINISTRATOR).get("/settings/teams/").status_code == 403

    assert root.post("/settings/teams/", {"do": "team", "name": "Billing team"}).status_code == 303
    team = re.search(r'<option value="(\d+)">Billing team', root.get("/settings/teams/").content.decode())
    assert team
    root.post(
        "/settings/teams/",
        {"do": "member", "username": "nobody", "team": team[1], "environment": "production", "role": "1"},
    )

    assert nobody.get("/messages/").status_code == 200
    assert root.post("/settings/teams/", {"do": "user", "username": "eve", "password": "short"}).status_code == 422
    assert (
        root.post(
            "/settings/teams/",
            {"do": "member", "username": "none", "team": "x", "environment": "production", "role": "9"},
        ).status_code
        == 422
    )
