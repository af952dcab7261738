"""What administrators do on pages, over REST: flows, rules, connections, keys, teams; by whom, and with what refusals."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Agent, Key, Membership, Role, Team
from messages.catalog.replaying import NAMES
from messages.models import Connection, Flow, FlowRule, KeyRule
from tests.factories import agent_key, api_key, environment, event, person, push

pytestmark = pytest.mark.django_db


class Caller:
    """Somebody with an API key."""

    def __init__(
        self, name: str, role: Role | None = None, *, superuser: bool = False, team: str = "Order team"
    ) -> None:
        user = person(name, role, team=team)
        if superuser:
            user.is_superuser = True
            user.save(update_fields=["is_superuser"])
        self.headers = {"HTTP_AUTHORIZATION": f"Bearer {api_key(user)}"}

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        client = Client(raise_request_exception=False)
        if method == "delete" and body is None:
            body = ""  # Django's client would send the word None
        return getattr(client, method)(f"/api/v1/{path}", body, content_type="application/json", **self.headers)


def test_an_agent_gets_a_key_that_works_until_it_is_revoked():
    admin, operator = Caller("admin", Role.ADMINISTRATOR), Caller("operator", Role.OPERATOR)
    wanted = {"environment": "production", "name": "harvest-eu"}

    made = admin("post", "agents", wanted)
    key, agent = made.json()["key"], Agent.objects.get()
    assert (made.status_code, made["Cache-Control"]) == (201, "no-store")
    assert push("/ingest/v1/events", [event()], key=key).status_code == 200
    listed = admin("get", f"agents/{agent.pk}/keys")
    assert key not in listed.content.decode()
    gone = admin("delete", f"agents/{agent.pk}/keys/{listed.json()['results'][0]['id']}")

    assert gone.status_code == 204
    assert Key.objects.get(kind="agent").revoked_at is not None
    for method, path, body in [
        ("post", "agents", wanted), ("get", f"agents/{agent.pk}/keys", None), ("delete", f"agents/{agent.pk}/keys/1", None),
    ]:  # fmt: skip
        assert operator(method, path, body).status_code == 403, path
    assert admin("post", "agents", {"environment": "elsewhere", "name": "x"}).status_code == 404


def test_a_connection_is_added_approved_withdrawn_and_its_secret_is_never_shown():
    admin, operator = Caller("admin", Role.ADMINISTRATOR), Caller("operator", Role.OPERATOR)
    wanted = {
        "environment": "production", "name": "redis", "kind": "redis-streams", "address": "redis://broker.example:6379/0", "secret": "s3cret words",
    }  # fmt: skip

    made = admin("post", "connections", wanted)
    path = f"connections/{made.json()['id']}"
    approved = admin("post", f"{path}/approve")
    renewed = admin("put", f"{path}/secret", {"username": "waybill", "secret": "an0ther"})
    withdrawn = admin("post", f"{path}/withdraw", {"reason": "the broker moves"})

    assert (made.status_code, made.json()["approved_at"]) == (201, None)
    assert approved.json()["approved_by"] == "admin"
    assert (renewed.json()["username"], renewed.json()["has_secret"]) == ("waybill", True)
    assert withdrawn.json()["approved_at"] is None
    everything = b"".join(a.content for a in (made, approved, renewed, withdrawn, admin("get", path)))
    assert b"s3cret" not in everything
    assert b"an0ther" not in everything
    assert admin("post", "connections", wanted).json()["code"] == "connection_exists"
    assert admin("post", "connections", wanted | {"kind": "gopher"}).json()["code"] == "connection_invalid"
    for action in ("approve", "withdraw", "test"):
        assert operator("post", f"{path}/{action}", {}).status_code == 403
    assert operator("put", f"{path}/secret", {"secret": "x"}).status_code == 403
    assert Connection.objects.get().approved_at is None


def test_rules_are_added_moved_and_removed():
    admin, operator = Caller("admin", Role.ADMINISTRATOR), Caller("operator", Role.OPERATOR)
    elsewhere = Caller("elsewhere", Role.ADMINISTRATOR, team="Other team")
    Membership.objects.filter(user__username="elsewhere").update(environment=environment("staging"))
    for pattern in ("orders.*", "*.dlq"):
        answer = admin("post", "rules/flows", {"environment": "production", "pattern": pattern, "flow": "orders"})
        assert answer.status_code == 201
    key = admin("post", "rules/keys", {"environment": "production", "attribute": "tenant"}).json()
    second = FlowRule.objects.get(pattern="*.dlq")

    assert admin("post", f"rules/flows/{second.pk}/move", {"up": True}).status_code == 204
    assert [rule["pattern"] for rule in admin("get", "rules/flows").json()["results"]] == ["*.dlq", "orders.*"]
    assert admin("delete", f"rules/keys/{key['id']}").status_code == 204
    assert not KeyRule.objects.filter(attribute="tenant").exists()
    assert (
        admin("post", "rules/flows", {"environment": "production", "pattern": "*.dlq", "flow": "x"}).status_code == 409
    )
    assert operator("delete", f"rules/flows/{second.pk}").status_code == 403
    assert elsewhere("delete", f"rules/flows/{second.pk}").status_code == 404
    assert FlowRule.objects.count() == 2


def test_what_a_flow_says_of_replays_is_read_and_changed_part_by_part():
    push("/ingest/v1/events", [event()], key=agent_key())
    flow = Flow.objects.get()
    admin, operator = Caller("admin", Role.ADMINISTRATOR), Caller("operator", Role.OPERATOR)
    told = admin("get", f"flows/{flow.pk}").json()
    assert {name: told[name] for name in NAMES} == {
        "replay_allowed": True, "replay_days": None, "most_replays": 5, "replay_rate": None, "approve_above": None, "order_key": "",
        "supersede_key": "",
    }  # fmt: skip

    admin("patch", f"flows/{flow.pk}", {"approve_above": 100, "order_key": "order_no"})
    changed = admin("patch", f"flows/{flow.pk}", {"replay_allowed": False, "replay_rate": 0.5}).json()

    assert [changed[name] for name in ("approve_above", "order_key", "replay_allowed", "replay_rate")] == [
        100,
        "order_no",
        False,
        0.5,
    ]
    assert operator("patch", f"flows/{flow.pk}", {"replay_allowed": True}).status_code == 403
    for wrong in (
        {"most_replays": 0},
        {"replay_days": 0},
        {"replay_rate": "nan"},
        {"approve_above": -1},
        {"replay_rate": 1e9},
    ):
        assert admin("patch", f"flows/{flow.pk}", wrong).status_code == 400, wrong
    assert AuditEntry.objects.filter(action="flow.changed").count() == 2


def test_a_flow_is_changed_by_its_administrators_and_given_only_to_a_team_of_theirs():
    root, admin = Caller("root", superuser=True), Caller("admin", Role.ADMINISTRATOR)
    push(
        "/ingest/v1/events",
        [event()],
        key=root("post", "agents", {"environment": "production", "name": "a"}).json()["key"],
    )
    flow = Flow.objects.get()
    Team.objects.create(name="Finance team")

    changed = admin("patch", f"flows/{flow.pk}", {"team": "Order team", "receiver_is_idempotent": True})

    assert (changed.json()["team"], changed.json()["receiver_is_idempotent"], changed.json()["criticality"]) == (
        "Order team", True, flow.criticality,
    )  # fmt: skip
    assert admin("patch", f"flows/{flow.pk}", {"team": "Finance team"}).status_code == 400
    assert admin("patch", f"flows/{flow.pk}", {"runbook_url": "https://wiki/orders"}).status_code == 200
    for url in ("javascript:alert(1)", "ftp://wiki/orders"):
        assert admin("patch", f"flows/{flow.pk}", {"runbook_url": url}).status_code == 400
    assert Caller("operator", Role.OPERATOR)("patch", f"flows/{flow.pk}", {"description": "x"}).status_code == 403
    assert Caller("stranger", Role.ADMINISTRATOR, team="Other")("patch", f"flows/{flow.pk}", {}).status_code == 404
    assert AuditEntry.objects.filter(action="flow.changed").count() == 2


def test_teams_and_people_are_for_administrators_of_everything():
    environment()
    root, admin = Caller("root", superuser=True), Caller("admin", Role.ADMINISTRATOR)

    team = root("post", "teams", {"name": "Billing team"}).json()
    assert root("post", "users", {"username": "eve", "password": "short"}).status_code == 400
    assert root("post", "users", {"username": "eve", "password": "long-enough-Secret-1"}).status_code == 201
    member = {"user": "eve", "environment": "production", "role": "operator"}
    made = root("post", f"teams/{team['id']}/members", member)

    assert (made.status_code, made.json()["role"]) == (201, "operator")
    assert root("post", f"teams/{team['id']}/members", member | {"role": "king"}).status_code == 400
    assert "eve" in [user["username"] for user in root("get", "users").json()["results"]]
    assert b"long-enough" not in root("get", "users").content
    assert root("delete", f"members/{made.json()['id']}").status_code == 204
    assert not Membership.objects.filter(user__username="eve").exists()
    for method, path, body in [
        ("get", "teams", None), ("post", "teams", {"name": "x"}), ("get", "users", None), ("post", f"teams/{team['id']}/members", member),
        ("post", "users", {"username": "x", "password": "long-enough-Secret-1"}), ("delete", "members/1", None),
    ]:  # fmt: skip
        assert admin(method, path, body).status_code == 403, path


@pytest.mark.parametrize(
    "path",
    [
        "agents",
        "connections",
        "rules/flows",
        "rules/keys",
        "teams",
        "users",
        "teams/x/members",
        "flows/1",
        "rejects/x/resubmit",
    ],
)
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"name": "a\\u0000b"}', b"null", b"\xff"])
def test_bad_bodies_are_problems_never_a_500(path: str, body: bytes):
    root = Caller("root", superuser=True)
    method = "patch" if path.startswith("flows") else "post"

    answer = root(method, path, body)

    assert answer.status_code in {400, 404}, answer.content
    assert "code" in answer.json()
