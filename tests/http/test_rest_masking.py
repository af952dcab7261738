"""REST of masking rules."""

from __future__ import annotations

import pytest

from console.audit.models import AuditEntry
from console.identity.models import Membership, Role
from messages.models import DeadLetter, MaskingRule
from tests.factories import environment, stored_letter
from tests.http.test_rest_administration import Caller

pytestmark = pytest.mark.django_db
ROUTE = "rules/masking"
WANTED = {"environment": "production", "kind": "json_path", "expression": "$.card", "keep_last": 4}


def test_masking_rules_are_added_listed_moved_and_removed():
    environment()
    admin = Caller("admin", Role.ADMINISTRATOR)

    made = admin("post", ROUTE, WANTED)
    second = admin("post", ROUTE, WANTED | {"kind": "header", "expression": "x-*"}).json()
    moved = admin("post", f"{ROUTE}/{second['id']}/move", {"up": True, "reason": "first"})
    stored_letter(body='{"card": "4111111111111111"}')
    listed = admin("get", ROUTE).json()["results"]
    gone = admin("delete", f"{ROUTE}/{second['id']}", {"reason": "not needed"})

    assert made.status_code == 201
    assert (made.json()["flow"], made.json()["drop_unreadable"], made.json()["created_by"]) == (None, True, "admin")
    assert (moved.status_code, gone.status_code) == (204, 204)
    assert [(one["kind"], one["masked_24h"], one["not_stored_24h"]) for one in listed] == [
        ("header", 0, 0),
        ("json_path", 1, 0),
    ]
    assert MaskingRule.objects.count() == 1
    assert AuditEntry.objects.get(action="masking_rule.removed").reason == "not needed"
    letter = DeadLetter.objects.get()
    told = admin("get", f"dead-letters/{letter.pk}").json()
    payload = admin("get", f"dead-letters/{letter.pk}/payload").json()
    assert (told["masked"], told["content_masked"]) == ({str(made.json()["id"]): 1}, True)
    assert (payload["body"], payload["masked"]) == ('{"card":"•••1111"}', {str(made.json()["id"]): 1})
    refused = admin("post", f"dead-letters/{letter.pk}/replay", {"reason": "try"})
    assert (refused.status_code, refused.json()["code"]) == (409, "replay_not_allowed")
    assert "•••" in refused.json()["detail"]


def test_a_preview_shows_what_would_be_stored():
    environment()
    admin = Caller("admin", Role.ADMINISTRATOR)
    rule = {"kind": "regex", "expression": "[0-9]{4}"}

    found = admin(
        "post",
        f"{ROUTE}/preview",
        {"environment": "production", "body": "pin 1234", "headers": {"a": "1234"}, "rule": rule},
    )
    without = admin("post", f"{ROUTE}/preview", {"environment": "production", "body": "pin 1234"})

    assert found.json() == {"body": "pin •••", "headers": {"a": "•••"}, "masked": {"0": 2}, "replayable": False}
    assert without.json() == {"body": "pin 1234", "headers": {}, "masked": {}, "replayable": True}


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"expression": "a("}, 400, "bad_expression"),
        ({"expression": "card", "kind": "json_path"}, 400, "bad_expression"),
        ({"kind": "jq"}, 400, "invalid"),
        ({"keep_last": 9}, 400, "invalid"),
        ({"flow": "nothing"}, 404, "not_found"),
        ({"environment": "elsewhere"}, 404, "not_found"),
    ],
)
def test_a_rule_that_cannot_be_is_a_problem(changes: dict[str, object], status: int, code: str):
    environment()
    admin = Caller("admin", Role.ADMINISTRATOR)

    answer = admin("post", ROUTE, WANTED | {"kind": "regex", "expression": "a+"} | changes)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not MaskingRule.objects.exists()


def test_only_administrators_of_the_environment_change_masking_rules():
    environment()
    admin, operator = Caller("admin", Role.ADMINISTRATOR), Caller("operator", Role.OPERATOR)
    stranger = Caller("stranger", Role.ADMINISTRATOR, team="Other team")
    Membership.objects.filter(user__username="stranger").update(environment=environment("staging"))
    made = admin("post", ROUTE, WANTED).json()
    one = f"{ROUTE}/{made['id']}"

    assert len(operator("get", ROUTE).json()["results"]) == 1
    assert stranger("get", ROUTE).json()["results"] == []
    for method, path, body in [
        ("post", ROUTE, WANTED | {"expression": "$.b"}), ("delete", one, {"reason": "x"}), ("post", f"{one}/move", {"up": True, "reason": "x"}),
        ("post", f"{ROUTE}/preview", {"environment": "production", "body": "x"}),
    ]:  # fmt: skip
        assert operator(method, path, body).status_code == 403, path
        assert stranger(method, path, body).status_code == 404, path
    assert admin("delete", one, {}).status_code == 400
    assert MaskingRule.objects.count() == 1


@pytest.mark.parametrize("path", [ROUTE, f"{ROUTE}/preview", f"{ROUTE}/1/move"])
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"environment": "a\\u0000b"}', b"null", b"\xff"])
def test_bad_bodies_are_problems_never_a_500(path: str, body: bytes):
    answer = Caller("root", superuser=True)("post", path, body)

    assert answer.status_code in {400, 404}, answer.content
    assert "code" in answer.json()
