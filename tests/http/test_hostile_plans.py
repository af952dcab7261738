"""Hostile input to the making of plans, over REST and in the form: refused in words, nothing made, and never a failure of ours."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from console.identity.models import Role
from messages.models import Plan
from tests.factories import api_key, environment, memory_connection, person
from tests.pages.planning import FORM, letters

pytestmark = pytest.mark.django_db
HUGE = "9" * 400


def said(rest: str) -> str:
    """Return a body that lacks nothing but sense."""
    return '{"environment": "production", "reason": "x", ' + rest + "}"


def option(rest: str) -> str:
    return said('"q": "state:open", "options": {' + rest + "}")


RAW = [
    *(option('"rate_per_s": ' + one) for one in ("NaN", "Infinity", "1e400", "-1", '"x"', "[]", HUGE)),
    option('"concurrency": ' + HUGE),
    option('"concurrency": 1.5'),
    option('"wave_wait_s": ' + HUGE),
    option('"stop_latency_times": -1e308'),
    option('"waves": ["' + HUGE + '%"]'),
    option('"waves": [' + ",".join(['"1"'] * 5000) + "]"),
    option('"waves": {"1": 2}'),
    option('"destination": {"a": 1}'),
    option('"expiry": "never"'),
    said('"q": "state:open", "options": [1]'),
    said('"q": "\\u0000"'),
    said('"q": ["state:open"]'),
    said('"ids": "all"'),
    said('"ids": [1]'),
    said('"ids": [' + HUGE + "]"),
    said('"ids": [null]'),
    said('"q": "state:open", "since": "' + HUGE[:40] + '"'),
    said('"q": "state:open", "window": "' + HUGE[:30] + 'd"'),
    said('"q": "state:open", "dry_run": "perhaps"'),
    '{"environment": "production", "reason": "\\u0000", "q": "state:open"}',
    '{"environment": "production", "reason": {"a": 1}, "q": "state:open"}',
    '{"environment": "production", "reason": "' + "x" * 2000 + '", "q": "state:open"}',
    '{"environment": "prod\\u0000uction", "reason": "x", "q": "state:open"}',
    '{"environment": ["production"], "reason": "x", "q": "state:open"}',
    '{"reason": "x", "group": "G-' + HUGE + '"}',
    '{"reason": "x", "group": "G-1\\u0000"}',
    "{" * 2000,
    "[" * 100_000,
    '{"a":' * 2000,
    "\x00",
    "",
    "null",
]


@pytest.fixture
def ada(db: None) -> Any:
    memory_connection()
    environment()
    return person("ada", Role.OPERATOR)


def test_rest_refuses_each_in_words_and_makes_nothing(ada):
    key, client = {"HTTP_AUTHORIZATION": f"Bearer {api_key(ada)}"}, Client(raise_request_exception=False)
    for raw in RAW:
        answer = client.post("/api/v1/plans", raw, content_type="application/json", **key)
        assert answer.status_code in (400, 404), (answer.status_code, raw[:120], answer.content[:300])
        assert answer.json()["detail"], raw[:120]
        assert HUGE not in answer.content.decode()
    assert not Plan.objects.exists()


def test_letters_of_others_and_of_nobody_are_not_there(ada):
    memory_connection("other")
    stranger = person("eve", Role.OPERATOR, slug="staging")
    mine = letters(1)[0]
    body = {"environment": "production", "reason": "x", "ids": [str(mine.pk), str(uuid4())]}
    client = Client()
    foreign = client.post("/api/v1/plans", body, content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {api_key(stranger)}")  # fmt: skip
    assert foreign.status_code == 404
    there = body | {"environment": "staging"}
    made = client.post("/api/v1/plans", there, content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {api_key(stranger)}")  # fmt: skip
    assert (made.status_code, made.json()["selected"]) == (201, 0)
    own = client.post(
        "/api/v1/plans", body, content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {api_key(ada)}"
    )
    assert (own.status_code, own.json()["selected"]) == (201, 1)


FIELDS = [
    {"rate": "nan"}, {"rate": "inf"}, {"rate": "1e400"}, {"rate": HUGE}, {"rate": "-1"}, {"rate": "\x00"}, {"wave_wait": HUGE},
    {"wave_wait": "1.5"}, {"failed": "nan"}, {"failed": ""}, {"latency": "-inf"}, {"waves": "%"}, {"waves": HUGE}, {"waves": "1, \x00"},
    {"waves": ",".join(["1"] * 50)}, {"waits_for": "nothing"}, {"waits_for": ""}, {"reason": "\x00"}, {"reason": "x" * 2000}, {"ticket": "x" * 500},
]  # fmt: skip
LIES: list[dict[str, str]] = [
    {"token": ""}, {"token": "x" * 5000}, {"token": "\x00" * 9}, {"token": "'; DROP TABLE x --"}, {"shown": ""},
    {"shown": f"{HUGE}.1.1"}, {"shown": "1.1"}, {"shown": "-1.1.1"}, {"shown": "999999999.99999999999999999999.99999999999999"}, {"shown": "\x00"},
]  # fmt: skip


def test_the_form_shows_itself_again_with_the_words_and_makes_nothing(ada):
    client, asked = Client(raise_request_exception=False), f"/plans/new/?of=ticked&id={letters(1)[0].pk}"
    client.force_login(ada)
    for changed in FIELDS:
        answer = client.post(asked, FORM | {"token": "0123456789", "shown": "1.1.1"} | changed)
        assert answer.status_code == 422, (answer.status_code, changed)
    assert not Plan.objects.exists()


def test_a_forged_token_or_count_makes_the_plan_and_opens_no_other(ada):
    """They say which press it is and what was shown: a lie about either tells nothing, and reaches nobody else's plan."""
    client, asked = Client(raise_request_exception=False), f"/plans/new/?of=ticked&id={letters(1)[0].pk}"
    client.force_login(ada)
    for number, changed in enumerate(LIES, 1):
        answer = client.post(asked, FORM | {"token": f"0123456789{number}", "shown": "1.1.1"} | changed)
        assert answer.status_code == 303, (answer.status_code, changed)
        assert Plan.objects.count() == number
    first = Plan.objects.earliest("pk")
    Plan.objects.filter(pk=first.pk).update(figures=first.figures | {"token": "shared-token"})
    other = Client()
    other.force_login(person("bob", Role.OPERATOR))
    made = other.post(asked, FORM | {"token": "shared-token", "shown": "1.1.1"})
    assert made.status_code == 303
    assert first.reference not in made["Location"]


@pytest.mark.parametrize(
    "address",
    [
        "of=ticked&id=1", f"of=ticked&id={HUGE}", "of=ticked&id=%00", f"of=group&group=G-{HUGE}", "of=group&group=%00", "of=query&window=9999999999d",
        "of=%00", "of=ticked" + f"&id={uuid4()}" * 1001, "of=query&q=" + "(" * 300,
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_meant_is_refused(ada, address: str):
    client = Client(raise_request_exception=False)
    client.force_login(ada)
    for answer in (client.get(f"/plans/new/?{address}"), client.post(f"/plans/new/?{address}", FORM)):
        assert answer.status_code in (400, 404, 422), answer.status_code
    assert not Plan.objects.exists()


@pytest.mark.parametrize("reference", ["P-0", f"P-{HUGE}", "P-1%00", "P--1", "P-1;drop", "%F0%9F%98%80"])
def test_a_plan_that_cannot_be_is_not_found(ada, reference: str):
    key, client = {"HTTP_AUTHORIZATION": f"Bearer {api_key(ada)}"}, Client(raise_request_exception=False)
    for path in ("", "/items", "/csv", "/report", "/edits"):
        assert client.get(f"/api/v1/plans/{reference}{path}", **key).status_code == 404, path
    assert client.patch(f"/api/v1/plans/{reference}", {}, content_type="application/json", **key).status_code == 404


def test_the_csv_is_for_those_alone_who_see_every_flow_at_that_moment(ada):
    made = json.loads(
        Client().post(
            "/api/v1/plans", {"environment": "production", "reason": "x", "ids": [str(one.pk) for one in letters(2)]}, content_type="application/json",
            HTTP_AUTHORIZATION=f"Bearer {api_key(ada)}",
        ).content
    )  # fmt: skip
    browser = Client()
    browser.force_login(ada)
    addresses = (made["links"]["csv"], f"/plans/{made['reference']}/csv")
    assert [browser.get(one).status_code for one in addresses] == [200, 200]
    ada.memberships.all().delete()
    assert [browser.get(one).status_code for one in addresses] == [404, 403]  # the page: a member of nothing at all
