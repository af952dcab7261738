"""Search over REST: refusals that point and suggest, and completions of what the key may see."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from console.identity.models import Membership, Role, Team
from messages.models import Flow
from messages.search.complete import complete
from tests.factories import (
    ROOT,
    actor,
    agent_key,
    api_key,
    environment,
    event,
    memory_connection,
    person,
    push,
    stored_letter,
)
from tests.pages.people import signed_in
from tests.services.search_corpus import fill

pytestmark = pytest.mark.django_db


def ask(path: str, key: str, **parameters: object) -> Any:
    address = f"/api/v1/{path}?{urlencode(parameters)}"
    return Client(raise_request_exception=False).get(address, HTTP_AUTHORIZATION=f"Bearer {key}")


@pytest.mark.parametrize(
    ("q", "column", "suggestion"),
    [
        ("stauts:failed x", 1, "status:failed x"),
        ("status:faild", 8, "status:failed"),
        ("a AND", 6, None),
        ('"a', 1, '"a"'),
    ],
)
def test_a_query_that_cannot_be_read_is_a_problem_with_its_column_and_a_suggestion(
    q: str, column: int, suggestion: str | None
):
    environment()

    answer = ask("messages", api_key(person("op", Role.OPERATOR)), q=q)

    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    body = answer.json()
    assert (body["code"], body["column"], body.get("suggestion")) == ("bad_query", column, suggestion)
    assert f"(at column {column})" in body["detail"]
    if suggestion:
        assert ask("messages", api_key(person("op2", Role.OPERATOR)), q=suggestion).status_code == 200


@pytest.mark.parametrize("path", ["events", "dead-letters", "changes", "journeys"])
def test_every_list_refuses_in_the_same_way(path: str):
    environment()

    body = ask(path, api_key(person("op", Role.OPERATOR)), q="flow:(a b").json()

    assert (body["code"], body["column"], body["suggestion"]) == ("bad_query", 6, "flow:(a b)")


def labels(who: str, q: str, of: str = "messages", **more: object) -> list[str]:
    answer = ask("completions", who, q=q, of=of, **more)
    assert answer.status_code == 200, answer.content
    return [item["label"] for item in answer.json()["items"]]


def test_completions_offer_fields_words_names_and_key_names_and_no_values_of_keys():
    fill()
    key = api_key(person("op", Role.OPERATOR))

    assert labels(key, "sta") == ["status"]
    assert labels(key, "o")[:1] == ["order_no"]
    assert labels(key, "customer") == ["customer_no"]
    assert labels(key, "key.cust") == ["key.customer_no"]
    assert labels(key, "status:") == ["moving", "delivered", "failed", "dead", "compensated"]
    assert labels(key, "-status:(failed OR de") == ["delivered", "dead"]
    assert labels(key, "flow:") == ["contacts", "invoices", "orders"]
    assert labels(key, "flow:or") == ["orders"]
    assert labels(key, "system:c") == ["crm"]
    assert labels(key, "agent:shop") == ["shop agent"]
    assert labels(key, "destination:cont") == ["contacts"]
    assert labels(key, "queue:inv", of="dead-letters") == ["invoices.dlq"]
    assert labels(key, "status:w", of="dead-letters")[0] == "waiting"
    assert labels(key, "kind:m", of="changes")[0] == "maintenance"
    assert labels(key, "order_no:47") == labels(key, "customer_no:") == labels(key, "key.order_no:") == []
    assert labels(key, '"some wo') == labels(key, "flow:zzz") == []
    assert labels(key, "group") == ["group"]
    assert [one.partition(" ")[2] for one in labels(key, "group:Time")] == ["ErpTimeout: erp did not answer, timed out"]
    assert len(labels(key, "group:", of="dead-letters")) == 3


def test_a_completion_replaces_the_token_before_the_cursor_and_quotes_what_needs_it():
    push("/ingest/v1/events", [event(destination="orders: shop → erp")], key=agent_key())
    key = api_key(person("op", Role.OPERATOR))

    whole = ask("completions", key, q="🚚 flow:shop").json()
    inside = ask("completions", key, q="sta:failed", cursor=3).json()
    quoted = ask("completions", key, q='a flow:"orders: s').json()

    assert (whole["start"], whole["cursor"]) == (7, 11)
    assert whole["items"][0]["text"] == '"orders: shop → erp" '
    assert (inside["start"], inside["cursor"], inside["items"][0]["text"]) == (0, 3, "status")
    assert (quoted["start"], quoted["items"][0]["text"]) == (7, '"orders: shop → erp" ')


def test_completions_name_nothing_that_the_reader_may_not_see():
    fill()
    push("/ingest/v1/events", [event(destination="payroll", keys={"salary_no": "1"}, system="hr")], key=agent_key())
    stored_letter(queue="payroll.dlq", origin="payroll", keys={"salary_no": "1"})
    secret = Team.objects.create(name="Payroll team")
    Flow.objects.filter(name__in=["payroll", "contacts"]).update(team=secret)
    stranger, mate = api_key(person("stranger")), api_key(person("mate", Role.OPERATOR))
    owner = api_key(person("owner", Role.VIEWER, team="Payroll team"))
    asked = [
        ("flow:pay", "messages"),
        ("destination:pay", "messages"),
        ("destination:pay", "dead-letters"),
        ("queue:pay", "dead-letters"),
        ("salary", "messages"),
    ]

    assert [labels(owner, q, of) for q, of in asked] == [
        ["payroll"],
        ["payroll"],
        ["payroll"],
        ["payroll.dlq"],
        ["salary_no"],
    ]
    assert [labels(mate, q, of) for q, of in asked] == [[]] * len(asked)
    assert [
        labels(stranger, q, of)
        for q, of in [*asked, ("system:", "messages"), ("agent:", "messages"), ("order", "messages")]
    ] == [[]] * 8
    assert labels(mate, "system:h") == ["hr", "shop"]  # names of systems are every member's


def test_completions_of_another_environment_are_its_own():
    fill()
    environment("staging")
    key = api_key(person("op", Role.OPERATOR, slug="staging"))

    assert labels(key, "flow:") == labels(key, "flow:", environment="staging") == []
    assert ask("completions", key, q="flow:", environment="production").status_code == 404


@pytest.mark.parametrize("parameters", [{"of": "plans"}, {"cursor": "-1"}, {"cursor": "x"}, {"cursor": "٣"}])
def test_junk_parameters_of_completions_are_refused_in_words(parameters: dict[str, str]):
    environment()

    answer = ask("completions", api_key(person("op", Role.OPERATOR)), q="a", **parameters)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


JUNK = [
    "",
    "(",
    "a" * 9000,
    "\x00",
    "flow:\x00",
    'flow:"\\',
    "flow:%",
    "-",
    ":",
    "::",
    "flow:(((",
    "\\",
    "status:" * 400,
]


def test_no_text_breaks_completion():
    memory_connection()
    key = api_key(person("op", Role.OPERATOR))

    assert all(len(labels(key, q, of)) <= 10 for q in JUNK for of in ("messages", "events", "dead-letters", "changes"))


def test_a_completion_takes_few_queries_however_much_there_is():
    fill()
    member, here = actor(person("member", Role.OPERATOR)), environment()
    counts = {}
    for q in ("sta", "flow:o", "system:s", "agent:s", "destination:o", "status:"):
        with CaptureQueriesContext(connection) as captured:
            complete(member, [here], "messages", q)
        counts[q] = len(captured)

    assert counts == {"sta": 4, "flow:o": 2, "system:s": 2, "agent:s": 2, "destination:o": 1, "status:": 0}
    assert complete(ROOT, [here], "messages", "x" * 50, 7).cursor == 7


LISTS = ("messages", "events", "journeys", "dead-letters")


@pytest.mark.parametrize("path", LISTS)
def test_a_misspelt_business_key_is_told_beside_results_that_are_none_and_a_known_one_is_not(path: str):
    stored_letter(keys={"order_no": "4711"})
    push("/ingest/v1/events", [event(keys={"order_no": "4711"})], key=agent_key())
    key = api_key(person("op", Role.OPERATOR))

    slip = ask(path, key, q="oder_no:4711 OR key.flwo:1").json()
    found, none = ask(path, key, q="order_no:4711").json(), ask(path, key, q="order_no:1").json()
    both = ask(path, key, q="oder_no:1 OR order_no:4711").json()

    words = "is no field: taken for a business key, and nothing among the latest 300 that you may see carries it"
    assert slip == {"results": [], "next": None, "warnings": [f"key.flwo {words}", f"oder_no {words}"]}
    assert none == {"results": [], "next": None}
    assert [set(one) for one in (found, both)] == [{"results", "next"}] * 2
    assert found["results"]


@pytest.mark.parametrize("path", LISTS)
def test_warnings_cost_nothing_where_something_is_found(path: str, monkeypatch: pytest.MonkeyPatch):
    stored_letter(keys={"order_no": "4711"})
    push("/ingest/v1/events", [event(keys={"order_no": "4711"})], key=agent_key())
    key = api_key(person("op", Role.OPERATOR))
    ask(path, key, q="order_no:4711")

    def counted(q: str) -> int:
        with CaptureQueriesContext(connection) as made:
            ask(path, key, q=q)
        return len(made)

    with_rows = counted("order_no:4711")
    monkeypatch.setattr("messages.api.base.slips_of", lambda *_: [])
    assert counted("order_no:4711") == with_rows


def test_names_that_nothing_visible_has_and_small_operators_are_told_on_pages_and_beside_results_that_are_none():
    push("/ingest/v1/events", [event()], key=agent_key())
    user = person("op", Role.OPERATOR)
    key = api_key(user)
    slips = {
        "flow:ordrs": ["ordrs names no flow that you may see"],
        "system:(shopp OR shop) flow:orders nothing_said": ["shopp names no system that you may see"],
        "agent:shopp*": ["shopp names no agent that you may see"],
        "via:ordrs": ["ordrs names no flow that you may see"],
        "4711 or 4712": ["or was looked for as a word: between terms OR is written in capitals"],
        'flow:orders "or" 4712': None,
        "flow:orders 4711": None,
    }

    told = {q: ask("messages", key, q=q).json().get("warnings") for q in slips}
    page = signed_in("reader", Role.OPERATOR).get("/messages/", {"q": "flow:ordrs or 1"}).content.decode()
    Flow.objects.update(team=Team.objects.create(name="Payroll"))

    assert told == slips
    assert '<p class="break">ordrs names no flow that you may see.</p>' in page
    assert '<p class="break">or was looked for as a word' in page
    assert ask("messages", key, q="flow:orders").json()["warnings"] == ["orders names no flow that you may see"]


def test_a_key_of_another_team_is_told_as_one_that_nobody_knows_and_one_of_any_environment_is_known():
    push("/ingest/v1/events", [event(keys={"salary_no": "1"})], key=agent_key())
    push("/ingest/v1/events", [event(keys={"parcel_no": "1"})], key=agent_key(slug="staging"))
    Flow.objects.filter(environment=environment()).update(team=Team.objects.create(name="Payroll"))
    user = person("op", Role.OPERATOR)
    Membership.objects.create(
        user=user, team=Team.objects.get(name="Order team"), environment=environment("staging"), role=Role.VIEWER
    )
    key = api_key(user)

    told = {
        name: "warnings" in ask("messages", key, q=f"{name}:2").json()
        for name in ("salary_no", "parcel_no", "salarx_no")
    }

    assert told == {"salary_no": True, "parcel_no": False, "salarx_no": True}
