"""REST of the edits of a plan: set, read, previewed, removed; another destination; and who is refused what."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Role, Team
from messages.models import DeadLetter, Plan
from tests.factories import environment, memory_connection, stored_letter
from tests.http.test_rest_administration import Caller
from tests.plans.test_plans import plan_of

pytestmark = pytest.mark.django_db
STEP = {"kind": "jq", "program": '.vat = "DE8"'}


def test_edits_are_set_read_previewed_and_removed():
    memory_connection()
    letter = stored_letter(body=json.dumps({"order_no": "4711"}))
    operator = Caller("op", Role.OPERATOR)
    made = operator("post", f"dead-letters/{letter.pk}/edit", {"reason": "no vat number"})
    plan = made.json()["plan"]

    put = operator("put", f"plans/{plan}/edits", {"edits": [STEP]})
    got = operator("get", f"plans/{plan}/edits")
    shown = operator("post", f"plans/{plan}/preview").json()
    other = operator(
        "post", f"plans/{plan}/preview", {"edits": [{"kind": "set_header", "name": "a", "value": "1"}]}
    ).json()
    gone = operator("delete", f"plans/{plan}/edits")

    assert (made.status_code, made.json()["items"], put.status_code) == (201, 1, 200)
    assert put.json() == got.json()
    assert got.json()["edits"] == [STEP]
    assert got["Cache-Control"] == "no-store"
    assert got.json()["checksum"] != Plan.objects.get().checksum
    assert shown["items"] == 1
    assert shown["results"][0]["diff"] == [" {", '   "order_no": "4711"', '+  "vat": "DE8"', " }"]
    assert [(one["name"], one["what"], one["after"]) for one in other["results"][0]["headers"]] == [
        ("a", "added", '"1"')
    ]
    assert gone.status_code == 204
    assert operator("get", f"plans/{plan}/edits").json()["edits"] == []
    assert AuditEntry.objects.filter(action="plan.edited").count() == 2


def test_digits_are_kept_as_they_were_written():
    plan = plan_of([stored_letter()])
    operator = Caller("op", Role.OPERATOR)
    body = '{"edits": [{"kind": "json_patch", "patch": [{"op": "add", "path": "/n", "value": 12.500}]}]}'
    answer = Client().put(f"/api/v1/plans/{plan.reference}/edits", body, content_type="application/json", **operator.headers)  # fmt: skip

    assert b'"value":12.500' in answer.content
    assert b'"value":12.500' in operator("get", f"plans/{plan.reference}/edits").content


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, 'send {"edits": [a step'),
        ([], 'send {"edits": [a step'),
        ({"edits": 1}, "edits are a JSON list"),
        ({"edits": [], "x": 1}, "unknown field"),
        ({"edits": [STEP, {"kind": "jq", "program": "{"}]}, "step 2 (jq): jq: error"),
    ],
)
def test_what_cannot_be_an_edit_is_told_with_its_step(body: object, words: str):
    plan = plan_of([stored_letter()])
    answer = Caller("op", Role.OPERATOR)("put", f"plans/{plan.reference}/edits", body)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_edits")
    assert words in answer.json()["detail"]


def test_edits_are_json_and_nothing_else_and_none_is_a_preview_of_those_there_are():
    memory_connection()
    plan = plan_of([stored_letter()])
    operator = Caller("op", Role.OPERATOR)
    path = f"/api/v1/plans/{plan.reference}"
    sent = Client(raise_request_exception=False)

    assert sent.post(f"{path}/preview", {"edits": "[]"}, **operator.headers).status_code == 415
    assert sent.put(f"{path}/edits", "a=b", content_type="application/x-www-form-urlencoded", **operator.headers).status_code == 415  # fmt: skip
    assert sent.post(f"{path}/preview", b"", content_type="", **operator.headers).json()["results"][0]["same"] is True


def test_a_plan_is_redirected_over_an_approved_connection():
    line = memory_connection()
    stored_letter(origin="", broker="nobody")
    plan = plan_of(DeadLetter.objects.all())
    operator = Caller("op", Role.OPERATOR)

    answer = operator("put", f"plans/{plan.reference}/destination", {"destination": "erp.new", "connection": line.pk})
    missing = operator("put", f"plans/{plan.reference}/destination", {"destination": "erp.new", "connection": 987654})

    assert (answer.status_code, answer.json()["items"], answer.json()["left_out"]) == (200, 1, {})
    assert missing.status_code == 404


def test_only_who_may_read_the_payloads_sees_or_changes_edits():
    letter = stored_letter()
    plan = plan_of([letter])
    environment("staging")
    viewer, stranger = Caller("viewer", Role.VIEWER), Caller("stranger", Role.ADMINISTRATOR, team="Other team")
    letter.flow.team = Team.objects.get(name="Order team")
    letter.flow.save()
    path = f"plans/{plan.reference}"
    calls = [
        ("get", f"{path}/edits", None), ("put", f"{path}/edits", {"edits": []}), ("delete", f"{path}/edits", None),
        ("post", f"{path}/preview", {"edits": [STEP]}), ("put", f"{path}/destination", {"destination": "x", "connection": None}),
        ("post", f"dead-letters/{letter.pk}/edit", {"reason": "x"}),
    ]  # fmt: skip

    assert [viewer(*call).status_code for call in calls] == [403] * 6
    assert [stranger(*call).status_code for call in calls] == [404] * 6


XSD = '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="a" type="xs:int"/></xs:schema>'


@pytest.mark.parametrize(
    ("kind", "definition", "good", "bad", "words"),
    [
        ("json", '{"required": ["a"]}', '{"a": 1}', "{}", "$: 'a' is a required property"),
        ("xsd", XSD, "<a>1</a>", "<a>x</a>", "line 1: Element 'a': 'x' is not a valid value"),
    ],
)
def test_a_schema_that_checks_is_tried_and_added(kind: str, definition: str, good: str, bad: str, words: str):
    environment()
    admin = Caller("admin", Role.ADMINISTRATOR)
    said = {"environment": "production", "format": kind, "definition": definition}
    fits = admin("post", "schemas/preview", said | {"sample": good}).json()
    not_so = admin("post", "schemas/preview", said | {"sample": bad}).json()
    homeless = admin("post", "schemas", said | {"name": "Orders"})
    broken = admin("post", "schemas", said | {"name": "Orders", "destination": "*", "definition": "<"})
    made = admin("post", "schemas", said | {"name": "Orders", "destination": "erp.*"})
    letter = stored_letter(body=bad, content_type="text/plain")
    memory_connection()
    plan = plan_of([letter])
    shown = admin("post", f"plans/{plan.reference}/preview", {"edits": [{"kind": "body", "text": good}]}).json()[
        "results"
    ][0]

    assert (fits["json"], fits["steps"], fits["problem"]) == (good, ["It is as the schema says"], "")
    assert words in not_so["problem"]
    assert "is for a destination" in homeless.json()["detail"]
    assert broken.json()["code"] == "bad_schema"
    assert made.status_code == 201, made.content
    assert words in shown["wrong_before"][0]
    assert (shown["checked"], shown["wrong_after"]) == (["Orders"], [])
    assert admin("get", f"dead-letters/{letter.pk}/payload").status_code == 200
