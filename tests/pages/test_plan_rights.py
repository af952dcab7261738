"""What a reader of a plan may do is what its page and REST offer, and why not is said before the press."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from console.identity.models import Role, User
from messages.models import Flow, Plan
from messages.plans.editing import set_edits
from messages.plans.edits import parse_edits
from messages.plans.services import request_approval
from tests.factories import actor, api_key, memory_connection, person
from tests.pages.planning import letters, plan_of

pytestmark = pytest.mark.django_db


def browser_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def page_of(user: User, plan: Plan) -> str:
    return browser_of(user).get(f"/plans/{plan.reference}/").content.decode()


def rest_of(user: User, plan: Plan) -> dict:
    key = {"HTTP_AUTHORIZATION": f"Bearer {api_key(user)}"}
    return Client().get(f"/api/v1/plans/{plan.reference}", **key).json()


def edits(program: str = '.vat = "mended"'):
    return parse_edits(json.dumps([{"kind": "jq", "program": program}]).encode())


@pytest.fixture
def asked() -> tuple[Plan, User, User, User]:
    """A plan that ada made, bob edited, and that waits for carol or any other operator."""
    memory_connection()
    made = letters(2)
    Flow.objects.update(approve_above=0)
    ada, bob, carol = (person(name, Role.OPERATOR) for name in ("ada", "bob", "carol"))
    plan = set_edits(plan_of(made, by=actor(ada)), edits(), by=actor(bob))
    return request_approval(plan, by=actor(ada)), ada, bob, carol


def test_who_only_edited_it_is_not_offered_to_approve_and_everybody_is_told_who_may(asked):
    plan, ada, bob, carol = asked
    button = f'action="/plans/{plan.reference}/approve/"'

    assert button in page_of(carol, plan)
    for author in (ada, bob):
        shown = page_of(author, plan)
        assert button not in shown
        assert "Any operator of all its flows may, but for who made or changed it: ada, bob." in shown
        assert "Send another one the address of this page." in shown
    assert "Send another one" not in page_of(carol, plan)


def test_rest_tells_the_same(asked):
    plan, ada, bob, carol = asked
    for author in (ada, bob):
        said = rest_of(author, plan)
        assert "approve" not in said["actions"]
        assert said["approval"]["authors"] == ["ada", "bob"]
        assert said["approval"]["why_not"].startswith("nobody approves a plan that they made or changed")
    said = rest_of(carol, plan)
    assert ("approve" in said["actions"], said["approval"]["why_not"]) == (True, "")
    viewer = rest_of(person("vic", Role.VIEWER), plan)
    assert viewer["approval"]["why_not"] == "only operators of every flow in this plan approve it"


def test_what_is_offered_is_what_the_server_does(asked):
    plan, ada, bob, carol = asked
    for who, status in ((ada, 403), (bob, 403), (carol, 303)):
        said = {"checksum": plan.checksum}
        assert browser_of(who).post(f"/plans/{plan.reference}/approve/", said).status_code == status
