"""REST of mappings."""

from __future__ import annotations

import pytest

from console.audit.models import AuditEntry
from console.identity.models import Membership, Role
from messages.mappings.shipped import EVENTBRIDGE
from messages.models import Mapping
from tests.factories import environment
from tests.http.test_rest_administration import Caller

pytestmark = pytest.mark.django_db
WANTED = {"environment": "production", "slug": "shop", "name": "Shop", "definition": EVENTBRIDGE.definition}


def test_mappings_are_added_read_changed_and_removed_and_the_secret_is_write_only():
    environment()
    admin = Caller("admin", Role.ADMINISTRATOR)

    made = admin("post", "mappings", WANTED | {"signature_header": "X-Sign", "secret": "hidden words"})
    one = f"mappings/{made.json()['id']}"
    changed = admin("put", one, {"name": "Shop 2", "definition": EVENTBRIDGE.definition, "signature_header": "X-Sign"})
    listed = admin("get", "mappings?environment=production").json()["results"]
    alone = admin("get", one).json()
    gone = admin("delete", one, {"reason": "closed"})

    assert made.status_code == 201
    assert (made.json()["definition"], made.json()["enabled"]) == (EVENTBRIDGE.definition, True)
    assert (changed.status_code, changed.json()["name"], changed.json()["slug"]) == (200, "Shop 2", "shop")
    assert listed == [alone]
    assert "hidden words" not in f"{made.json()}{listed}"
    assert gone.status_code == 204
    assert AuditEntry.objects.get(action="mapping.removed").reason == "closed"
    assert AuditEntry.objects.get(action="mapping.changed").details == {"changed": ["name"]}
    assert not Mapping.objects.exists()


def test_what_ships_can_be_previewed():
    environment()
    admin = Caller("admin", Role.ADMINISTRATOR)
    shipped = admin("get", "mappings/shipped").json()["results"]

    said = {"environment": "production", "definition": shipped[0]["definition"], "sample": shipped[0]["sample"]}
    found = admin("post", "mappings/preview", said).json()

    assert [one["slug"] for one in shipped] == ["webhook", "logic-apps", "eventbridge"]
    assert [(one["index"], one["becomes"], one["item"]["id"]) for one in found["lines"]] == [
        (0, "event", "evt-4711"),
        (0, "dead_letter", "evt-4711"),
    ]
    assert found["ignored"] == 0
    bad = admin("post", "mappings/preview", said | {"sample": "{"})
    assert (bad.status_code, bad.json()["code"]) == (400, "malformed")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"definition": {}}, 400, "bad_mapping"),
        ({"definition": {"event": {"fields": {"id": "\x00"}}}}, 400, "bad_mapping"),
        ({"definition": "{}"}, 400, "invalid"),
        ({"slug": "No"}, 400, "invalid"),
        ({"signature_header": "x"}, 400, "invalid"),
        ({"environment": "elsewhere"}, 404, "not_found"),
    ],
)
def test_a_mapping_that_cannot_be_is_a_problem(changes: dict[str, object], status: int, code: str):
    environment()

    answer = Caller("admin", Role.ADMINISTRATOR)("post", "mappings", WANTED | changes)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not Mapping.objects.exists()


def test_only_administrators_of_the_environment_change_mappings():
    environment()
    admin, operator = Caller("admin", Role.ADMINISTRATOR), Caller("operator", Role.OPERATOR)
    stranger = Caller("stranger", Role.ADMINISTRATOR, team="Other team")
    Membership.objects.filter(user__username="stranger").update(environment=environment("staging"))
    made = admin("post", "mappings", WANTED).json()
    one = f"mappings/{made['id']}"
    changed = {name: WANTED[name] for name in ("name", "definition")}
    tried = {name: WANTED[name] for name in ("environment", "definition")} | {"sample": "{}"}

    assert len(operator("get", "mappings").json()["results"]) == 1
    assert operator("get", one).status_code == 200
    assert stranger("get", "mappings").json()["results"] == []
    for method, path, body in [
        ("post", "mappings", WANTED | {"slug": "b"}), ("put", one, changed), ("delete", one, {"reason": "x"}),
        ("post", "mappings/preview", tried),
    ]:  # fmt: skip
        assert operator(method, path, body).status_code == 403, path
        assert stranger(method, path, body).status_code == 404, path
    assert admin("delete", one, {}).status_code == 400
    assert admin("post", "mappings", WANTED).status_code == 409
    assert Mapping.objects.count() == 1


DEEP = b'{"environment": "production", "slug": "a", "name": "a", "definition": ' + b'{"a":' * 900 + b"1" + b"}" * 901


@pytest.mark.parametrize("path", ["mappings", "mappings/preview"])
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"environment": "a\\u0000b"}', b"null", b"\xff", DEEP])
def test_bad_bodies_are_problems_never_a_500(path: str, body: bytes):
    environment()
    answer = Caller("root", superuser=True)("post", path, body)

    assert answer.status_code in {400, 404}, answer.content
    assert "code" in answer.json()
