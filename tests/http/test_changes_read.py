"""Changes: who reads which, announces a window, withdraws one; the list and its pages."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from console.audit.models import AuditEntry
from console.identity.models import Role, Team
from console.identity.services import grant_role
from messages.models import Change, Flow
from tests.factories import agent_key, api_key, environment, person
from tests.http.test_changes import NOW, ask, deployment, operator, tell

pytestmark = pytest.mark.django_db


@pytest.fixture
def landscape() -> dict[str, Change]:
    """Two flows of two teams, and a change to each kind of thing."""
    for name, team in (("orders", "Order team"), ("payroll", "Finance team"), ("nobody's", None)):
        Flow.objects.create(
            environment=environment(), name=name, team=Team.objects.get_or_create(name=team)[0] if team else None
        )
    about = {
        "a system": {"systems": ["erp"]}, "everything": {"systems": []}, "orders": {"flows": ["orders"]}, "payroll": {"flows": ["payroll"]},
        "both": {"flows": ["orders", "payroll"]}, "erp and payroll": {"systems": ["erp"], "flows": ["payroll"]},
        "nobody's": {"flows": ["nobody's"]}, "unknown": {"flows": ["not here yet"]},
    }  # fmt: skip
    tell(*[deployment(id=title, title=title, **({"systems": []} | named)) for title, named in about.items()])
    tell(deployment(title="elsewhere"), key=agent_key("pipeline", slug="staging"))
    return {change.title: change for change in Change.objects.all()}


ANYBODYS = {"a system", "everything", "erp and payroll", "nobody's", "unknown"}


@pytest.mark.parametrize(
    ("who", "sees"),
    [
        (("Order team", Role.VIEWER, "production"), ANYBODYS | {"orders", "both"}),
        (("Order team", Role.ADMINISTRATOR, "production"), ANYBODYS | {"orders", "both"}),
        (("Finance team", Role.VIEWER, "production"), ANYBODYS | {"payroll", "both"}),
        (("Third team", Role.OPERATOR, "production"), ANYBODYS),
        (("Order team", Role.ADMINISTRATOR, "staging"), {"elsewhere"}),
        ((None, None, "production"), set()),
    ],
)
def test_who_sees_which_changes(landscape: dict[str, Change], who: tuple[Any, Any, str], sees: set[str]):
    team, role, slug = who
    key = api_key(person("someone", role, slug=slug, **({"team": team} if team else {})))

    listed = {row["title"] for row in ask("changes", key).json()["results"]}
    read = {title for title, change in landscape.items() if ask(f"changes/{change.pk}", key).status_code == 200}

    assert listed == read == sees


def test_the_name_of_a_flow_is_told_only_to_those_who_may_see_it(landscape: dict[str, Change]):
    orders, finance = operator("orders", team="Order team"), operator("finance", team="Finance team")

    def told(key: str) -> dict[str, list[str]]:
        return {row["title"]: row["flows"] for row in ask("changes", key).json()["results"]}

    assert (told(orders)["both"], told(orders)["erp and payroll"]) == (["orders"], [])
    assert (told(finance)["both"], told(finance)["erp and payroll"]) == (["orders", "payroll"][1:], ["payroll"])
    for query in ("flow=payroll", "q=flow:payroll"):
        assert ask(f"changes?{query}", orders).json()["results"] == []
        assert len(ask(f"changes?{query}", finance).json()["results"]) == 3


@pytest.mark.parametrize(
    ("who", "title", "status"),
    [
        (("Order team", Role.OPERATOR), "orders", 200),
        (("Order team", Role.OPERATOR), "both", 200),
        (("Order team", Role.OPERATOR), "a system", 200),
        (("Third team", Role.OPERATOR), "nobody's", 200),
        (("Order team", Role.VIEWER), "orders", 403),
        (("Order team", Role.VIEWER), "a system", 403),
        (("Order team", Role.OPERATOR), "payroll", 404),
        (("Order team", Role.OPERATOR), "elsewhere", 404),
    ],
)
def test_who_withdraws_a_change(landscape: dict[str, Change], who: tuple[str, Role], title: str, status: int):
    key = operator(role=who[1], team=who[0])

    answer = ask(f"changes/{landscape[title].pk}/withdraw", key, {"reason": "wrong system"})

    assert answer.status_code == status
    landscape[title].refresh_from_db()
    assert (landscape[title].withdrawn_by == "op") is (status == 200)


def test_a_withdrawn_change_stays_withdrawn_whatever_is_told_of_it(landscape: dict[str, Change]):
    key, path = operator(), f"changes/{landscape['a system'].pk}"

    ask(f"{path}/withdraw", key, {"reason": "a test of the pipeline"})
    tell({"id": "a system", "outcome": "succeeded"})

    assert "a system" not in {row["title"] for row in ask("changes", key).json()["results"]}
    assert [row["title"] for row in ask("changes?show=withdrawn", key).json()["results"]] == ["a system"]
    assert ask(path, key).json()["state"] == "withdrawn"
    assert ask(f"{path}/withdraw", key, {"reason": "again"}).json()["code"] == "change_withdrawn"
    assert ask(f"{path}/withdraw", key, {"reason": " "}).status_code == 400
    assert AuditEntry.objects.get(action="change.withdrawn").reason == "a test of the pipeline"


def test_the_audit_list_does_not_tell_a_team_s_change_to_others(landscape: dict[str, Change]):
    ask(f"changes/{landscape['payroll'].pk}/withdraw", operator("finance", team="Finance team"), {"reason": "x"})

    assert ask("audit", operator("orders", team="Order team")).json()["results"] == []
    assert len(ask("audit", operator("mate", team="Finance team")).json()["results"]) == 1


def test_an_operator_announces_a_window_and_ends_it():
    key = operator()
    window = {"environment": "production", "kind": "maintenance", "title": "ERP patch", "systems": ["erp"]}

    made = ask("changes", key, window)
    ended = ask(f"changes/{made.json()['id']}/end", key, {})

    assert (made.status_code, made.json()["author"], made.json()["state"]) == (201, "op", "open")
    assert (ended.status_code, ended.json()["state"], bool(ended.json()["ended_at"])) == (200, "succeeded", True)
    assert ask(f"changes/{made.json()['id']}/end", key, {}).status_code == 400
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True)) == [
        "change.announced",
        "change.ended",
    ]


@pytest.mark.parametrize(
    ("who", "body", "status"),
    [
        (("Order team", Role.VIEWER), {}, 403),
        (("Order team", Role.OPERATOR), {"flows": ["orders"]}, 201),
        (("Order team", Role.OPERATOR), {"flows": ["payroll"]}, 404),
        (("Order team", Role.OPERATOR), {"flows": ["no such"]}, 404),
        (("Order team", Role.OPERATOR), {"environment": "staging"}, 404),
        (("Order team", Role.OPERATOR), {"url": "javascript:alert(1)"}, 400),
        (("Order team", Role.OPERATOR), {"kind": "party"}, 400),
        (("Order team", Role.OPERATOR), {"started_at": "2051-01-01T00:00:00Z"}, 400),
        (
            ("Order team", Role.OPERATOR),
            {"ended_at": "2020-01-01T00:00:00Z", "started_at": "2021-01-01T00:00:00Z"},
            400,
        ),
    ],
)
def test_who_announces_what(landscape: dict[str, Change], who: tuple[str, Role], body: dict[str, Any], status: int):
    said = {"environment": "production", "kind": "maintenance", "title": "by hand"} | body

    answer = ask("changes", operator(role=who[1], team=who[0]), said)

    assert answer.status_code == status, answer.content
    assert Change.objects.filter(title="by hand").exists() is (status == 201)


def test_who_only_looks_at_a_flow_announces_nothing_about_it(landscape: dict[str, Change]):
    user = person("mixed", Role.VIEWER, team="Order team")
    grant_role(user, Team.objects.create(name="Third team"), environment(), Role.OPERATOR)
    said = {"environment": "production", "kind": "maintenance", "title": "by hand"}

    answers = [ask("changes", api_key(user), said | about) for about in ({"flows": ["orders"]}, {"systems": ["erp"]})]
    withdrawn = ask(f"changes/{landscape['orders'].pk}/withdraw", api_key(user), {"reason": "x"})

    assert [answer.status_code for answer in answers] == [403, 201]
    assert withdrawn.status_code == 403


@pytest.mark.parametrize("before", ["", "\x00"])  # NUL is what sets their ids apart
def test_an_agent_cannot_continue_what_a_person_said(before: str):
    made = ask("changes", operator(), {"environment": "production", "kind": "maintenance", "title": "by hand"}).json()

    tell({"id": before + made["external_id"], "outcome": "succeeded"})

    assert Change.objects.get().outcome == ""


def test_the_list_is_narrowed_by_kind_system_words_and_time():
    tell(
        deployment(id="old", title="old", started_at=(NOW - timedelta(days=40)).isoformat()),
        deployment(id="crm", title="CRM goes out", systems=["crm"], version="7"),
        {"id": "m", "kind": "maintenance", "title": "tonight", "started_at": (NOW + timedelta(hours=5)).isoformat()},
        {"id": "w", "kind": "maintenance", "title": "open", "started_at": (NOW - timedelta(days=3)).isoformat()},
        {"id": "c", "kind": "configuration", "title": "time-out 30 s", "systems": ["erp"], "author": "ana"},
        deployment(id="lost", title="lost", outcome="running", started_at=(NOW - timedelta(days=3)).isoformat()),
    )  # fmt: skip
    key = operator()

    def titles(query: str) -> list[str]:
        return [row["title"] for row in ask(f"changes?{query}", key).json()["results"]]

    assert (titles("")[0], titles("")[-1], len(titles(""))) == ("tonight", "old", 6)
    assert titles("kind=configuration") == titles("q=kind:configuration") == ["time-out 30 s"]
    assert (
        titles("system=crm") == titles("q=system:crm") == titles("q=version:7") == titles("q=goes") == ["CRM goes out"]
    )
    assert titles("q=author:ana AND NOT kind:deployment") == ["time-out 30 s"]
    assert set(titles("window=24h")) == {"CRM goes out", "time-out 30 s", "open"}
    assert titles("show=ahead") == ["tonight", "open"]
    assert {row["title"]: row["state"] for row in ask("changes", key).json()["results"]} == {
        "tonight": "planned", "open": "open", "CRM goes out": "done", "time-out 30 s": "done", "lost": "lost", "old": "done",
    }  # fmt: skip


def test_pages_of_the_list_are_complete_when_times_tie():
    tell(*[deployment(id=f"{n}", title=f"{n}", started_at=NOW.isoformat()) for n in range(25)])
    key, seen, path = operator(), [], "changes?limit=7"

    while path:
        body = ask(path, key).json()
        seen += [row["id"] for row in body["results"]]
        path = body["next"].split("/api/v1/")[1] if body["next"] else ""

    assert len(seen) == len(set(seen)) == 25


@pytest.mark.parametrize(
    "query",
    [
        "q=(",
        "q=flow:",
        "q=color:red",
        "q=kind:party",
        "q=version:>3",
        "kind=x",
        "show=x",
        "limit=0",
        "cursor=x",
        "window=x",
    ],
)
def test_junk_in_the_list_is_a_problem_that_says_so(query: str):
    answer = ask(f"changes?{query}", operator())

    assert (answer.status_code, answer["Content-Type"], bool(answer.json()["code"])) == (
        400,
        "application/problem+json",
        True,
    )
