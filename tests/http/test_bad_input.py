"""Hostile values on every border but ingest's: query parameters, headers, forms, bodies of REST. Never a 500."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from console.identity.models import Agent, Team, User
from messages.models import DeadLetter, Flow, KeyRule
from tests.factories import api_key, environment, memory_connection, stored_letter

pytestmark = pytest.mark.django_db
PROBLEM = "application/problem+json"


@pytest.fixture
def root() -> User:
    environment()
    return User.objects.create_superuser("boss", password="long-enough-Secret-1")


@pytest.fixture
def browser(root: User) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(root)
    return client


@pytest.fixture
def program(root: User) -> Callable[..., Any]:
    client, key = Client(raise_request_exception=False), api_key(root)

    def ask(method: str, path: str, body: bytes = b"", content_type: str = "application/json", **headers: str) -> Any:
        return client.generic(
            method, f"/api/v1/{path}", body, content_type, HTTP_AUTHORIZATION=f"Bearer {key}", **headers
        )

    return ask


TIMES = ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-07-20T20:17:40Z"]


@pytest.mark.parametrize("at", TIMES)
@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize("path", ["messages", "events", "journeys", "dead-letters"])
def test_a_window_may_begin_and_end_in_any_year(program, path: str, name: str, at: str):
    assert program("GET", f"{path}?{name}={quote(at)}").status_code == 200


QUERIES = [
    "a~1.5.",
    "a^1..5",
    "a\x00b",
    "[* TO *]",
    "((((",
    'a"',
    "x:/re/",
    "at:9999-12-31T23:59:59-14:00",
    "é" * 1999,
    "(" * 60,
]


@pytest.mark.parametrize("q", QUERIES)
@pytest.mark.parametrize("path", ["/messages/", "/dead-letters/", "/api/v1/messages", "/api/v1/events"])
def test_any_query_is_answered_or_refused_in_words(browser: Client, path: str, q: str):
    assert browser.get(path, {"q": q}).status_code in (200, 400)


@pytest.mark.parametrize("address", ["http://[", "", "http://testserver/messages/?q=1&next=/x#y"])
def test_a_part_polled_after_the_session_ended_leads_to_sign_in_whatever_its_header_says(address: str):
    answer = Client(raise_request_exception=False).get("/", headers={"HX-Request": "true", "HX-Current-URL": address})

    assert answer.status_code == 200
    assert answer["HX-Redirect"].startswith("/sign-in/?next=%2F")
    assert "&" not in answer["HX-Redirect"]


def test_a_nul_where_no_border_looks_for_one_is_a_refusal(browser: Client):
    answer = browser.get("/admin/messaging/deadletter/", {"state": "\x00"})

    assert answer.status_code == 400


def test_nul_in_the_name_of_a_key_is_left_out(browser: Client):
    browser.post("/settings/", {"kind": "key", "attribute": "a", "key_name": "b\x00c"})

    assert KeyRule.objects.get(attribute="a").key_name == "bc"


@pytest.mark.parametrize("number", ["", "x", "-1", "²", "9" * 18, "9" * 30, "9" * 5000])
def test_the_number_of_a_membership_may_be_anything(browser: Client, number: str):
    assert browser.post("/settings/teams/", {"do": "remove", "membership": number}).status_code == 422


def action(name: str) -> tuple[str, str]:
    """Return (method, path) of a REST action on an object made for it."""
    if name == "discard":
        return "POST", f"dead-letters/{stored_letter().pk}/discard"
    if name == "flow":
        stored_letter()
        return "PATCH", f"flows/{Flow.objects.get().pk}"
    return "POST", f"teams/{Team.objects.create(name='t').pk}/members"


BODIES = {
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"reason":' * 50_000,
    "65 deep": b'{"reason":' + b"[" * 64 + b"]" * 64 + b"}",
    "NaN": b'{"reason": NaN}',
    "UTF-16": '{"reason": "x"}'.encode("utf-16"),
    "latin-1": b'{"reason": "\xe9"}',
    "a lone surrogate": b'{"reason": "\\ud800", "criticality": "\\ud800", "role": "\\ud800", "user": "x", "environment": "production"}',
    "a list": b"[]",
    "null": b"null",
    "a long number": b'{"reason": ' + b"9" * 5000 + b"}",
    "cut": b'{"reason": "',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("name", ["discard", "flow", "member"])
def test_a_rest_body_that_cannot_be_used_is_a_problem_with_a_code(program, name: str, body: bytes):
    method, path = action(name)

    answer = program(method, path, body)

    assert (answer.status_code, answer["Content-Type"]) == (400, PROBLEM)
    assert answer.json()["code"] in {"malformed", "invalid"}
    assert not DeadLetter.objects.exclude(state="open").exists()


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", "objectives", {"limit_minuts": 5}, "“limit_minuts” here: limit_minutes was probably meant"),
        ("POST", "exclusions", {"reasn": "x"}, "“reasn” here: reason was probably meant"),
        ("POST", "silences", {"expires": 5}, "“expires” here: expires_at was probably meant"),
        ("POST", "channels", {"ennvironment": "x"}, "“ennvironment” here: environment was probably meant"),
        ("POST", "reports/schedules", {"cadense": "daily"}, "“cadense” here: cadence was probably meant"),
        ("POST", "alerting/policies", {"steps": [{"after_minutes": 5}, {"after": 5}]}, "“steps[1].after” here"),
        ("PUT", "alerting/groups", {"klass": {}}, "“klass” here: classes was probably meant"),
        ("POST", "silences", {"labels": {"any": "word"}, "zz": 1}, "“zz” here: there are environment, flow, source"),
        ("POST", "saved-searches", {"query": "x"}, "“query” here"),
        ("POST", "agents", {"nme": "x"}, "“nme” here: name was probably meant"),
        ("POST", "agents", {"n\u0000" * 99: "x"}, "there is no field"),
    ],
)
def test_a_misspelt_field_of_a_rest_body_is_named(program, method: str, path: str, body: dict[str, Any], words: str):
    answer = program(method, path, json.dumps(body).encode())

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert words in answer.json()["detail"]


def test_a_rest_body_beyond_24_mib_is_refused_before_it_is_parsed(program):
    answer = program(
        "PATCH", f"agents/{Agent.objects.create(environment=environment(), name='a').pk}", b" " * (24 * 2**20 + 1)
    )

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/livez", "GET, HEAD"), ("/readyz", "GET, HEAD"), ("/metrics", "GET, HEAD"), ("/ingest/v1/events", "POST")],
)
def test_a_wrong_method_is_a_problem_for_programs(path: str, allowed: str):
    answer = Client().delete(path)

    assert (answer.status_code, answer["Content-Type"], answer.json()["code"]) == (405, PROBLEM, "method_not_allowed")
    assert answer["Allow"] == allowed


@pytest.mark.parametrize(
    ("accept", "status", "code"),
    [("text/xml", 406, "not_acceptable"), ("*/*", 200, None)],
)
def test_what_the_framework_refuses_has_a_documented_code(program, accept: str, status: int, code: str | None):
    answer = program("GET", "flows", HTTP_ACCEPT=accept)

    assert answer.status_code == status
    assert code is None or answer.json()["code"] == code


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_program_with_a_key_and_a_wrong_address_is_told_so(root: User, method: str):
    client = Client(enforce_csrf_checks=True)

    answer = client.generic(method, "/api/v1/rules/nothing/1", HTTP_AUTHORIZATION=f"Bearer {api_key(root)}")

    assert (answer.status_code, answer["Content-Type"], answer.json()["code"]) == (404, PROBLEM, "not_found")


LISTS = [
    "dead-letters/{letter}/replays",
    "agents/{agent}/keys",
    "rules/flows",
    "rules/keys",
    "teams",
    "users",
    "flows",
    "audit",
]


@pytest.mark.parametrize("path", LISTS)
def test_lists_and_refusals_have_the_shape_that_the_schema_says(program, path: str):
    letter = stored_letter()
    schema = program("GET", "schema/", HTTP_ACCEPT="application/vnd.oai.openapi+json").json()
    path = path.format(letter=letter.pk, agent=letter.agent_id)
    documented = schema["paths"]["/api/v1/" + re.sub(r"/[0-9a-f-]+(?=/)", "/{id}", path)]["get"]["responses"]
    [shape] = documented["200"]["content"].values()

    answer = program("GET", path).json()

    named = schema["components"]["schemas"][shape["schema"]["$ref"].rpartition("/")[2]]
    assert set(answer) == set(named["properties"])
    assert isinstance(answer["results"], list)
    assert set(documented["404"]["content"]) == {PROBLEM}


def test_a_session_without_the_csrf_token_may_not_act_over_rest(root: User):
    client = Client(enforce_csrf_checks=True)
    client.force_login(root)
    stored = stored_letter()

    answer = client.post(f"/api/v1/dead-letters/{stored.pk}/discard", json.dumps({"reason": "r"}), "application/json")

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    stored.refresh_from_db()
    assert stored.state == "open"


@pytest.mark.parametrize("value", ["\x00", "x" * 6000, "9" * 400, "javascript:x", "http://[", "redis://h:99999999"])
@pytest.mark.parametrize("field", ["name", "kind", "address", "username", "secret"])
def test_a_connection_of_any_words_is_made_or_refused(browser: Client, field: str, value: str):
    form = {"name": "n", "kind": "http", "address": "http://h", "username": "u", "secret": "s"} | {field: value}

    assert browser.post("/connections/", form).status_code in (303, 422)


@pytest.mark.parametrize("path", ["{pk}/test", "{pk}/withdraw", "{pk}/secret", "{pk}/nothing"])
def test_actions_on_a_connection_take_any_words(browser: Client, path: str):
    address = f"/connections/{path.format(pk=memory_connection().pk)}"

    answer = browser.post(
        address, dict.fromkeys(("destination", "reason", "username", "secret"), "\x00" * 3 + "é" * 3000)
    )

    assert answer.status_code in (303, 404, 422)


MANY_FIELDS = "&".join(f"a{number}=1" for number in range(2_100))
IN_PUBLIC = [
    "/sign-in/",
    "/reports/stop/x",
    "/reports/r/x",
    "/ingest/v1/events",
    "/ingest/v1/alerts",
    "/v1/traces",
    "/api/v1/messages",
    "/livez",
]


@pytest.mark.parametrize("path", IN_PUBLIC)
@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary=x"]
)
def test_a_form_of_thousands_of_fields_is_its_sender_s_fault_at_every_address_that_needs_no_session(
    path: str, kind: str
):
    answer = Client(raise_request_exception=False, enforce_csrf_checks=True).post(path, MANY_FIELDS, content_type=kind)

    assert 400 <= answer.status_code < 500 or (path, answer.status_code) == ("/livez", 200)
