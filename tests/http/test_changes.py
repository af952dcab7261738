"""Changes that pipelines tell: stored once, told on by their id, refused by index; and who reads them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Role, Team
from console.identity.services import grant_role
from messages.models import Change, Flow, IngestReject, System
from tests.factories import agent_key, api_key, environment, person, push

pytestmark = pytest.mark.django_db
CHANGES = "/ingest/v1/changes"
NOW = datetime.now(UTC).replace(microsecond=0)


def deployment(**changes: Any) -> dict[str, Any]:
    return {
        "id": "github/shop/erp/17/1", "kind": "deployment", "title": "Deploy ERP", "systems": ["erp"], "version": "2.4.1",
    } | changes  # fmt: skip


def tell(*items: Any, key: str | None = None, **headers: str) -> Any:
    return push(CHANGES, list(items), key=key or agent_key("pipeline"), **headers)


def ask(path: str, key: str, body: Any = None) -> Any:
    client, header = Client(raise_request_exception=False), {"HTTP_AUTHORIZATION": f"Bearer {key}"}
    if body is None:
        return client.get(f"/api/v1/{path}", **header)
    return client.post(f"/api/v1/{path}", body, content_type="application/json", **header)


def operator(name: str = "op", role: Role = Role.OPERATOR, **where: Any) -> str:
    return api_key(person(name, role, **where))


# what is stored ----------------------------------------------------------------------------------------------------------


def test_a_change_is_stored_as_it_was_told():
    said = deployment(
        flows=["orders: shop → erp"], started_at=(NOW - timedelta(minutes=9)).isoformat(), ended_at=NOW.isoformat(),
        outcome="success", url="https://ci.example/run/17", author="ana",
    )  # fmt: skip

    answer = tell(said)

    assert (answer.status_code, answer.json()) == (200, {"accepted": 1, "duplicates": 0, "rejected": []})
    found = Change.objects.get()
    assert (found.kind, found.title, found.version, found.systems) == ("deployment", "Deploy ERP", "2.4.1", ["erp"])
    assert (found.flows, found.outcome, found.author) == (["orders: shop → erp"], "succeeded", "ana")
    assert (found.started_at, found.ended_at) == (NOW - timedelta(minutes=9), NOW)
    assert (found.url, found.external_id, found.agent.name) == (
        "https://ci.example/run/17",
        "github/shop/erp/17/1",
        "pipeline",
    )
    assert (System.objects.count(), Flow.objects.count()) == (0, 0)  # naming something does not make it


def test_the_same_change_sent_twice_is_one_in_the_same_batch_and_in_another():
    key = agent_key()

    first = tell(deployment(), key=key)
    again = tell(deployment(), key=key)
    elsewhere = tell(deployment(), deployment(), deployment(id="another"), key=key)

    assert first.json() == again.json() == {"accepted": 1, "duplicates": 0, "rejected": []}
    assert elsewhere.json() == {"accepted": 1, "duplicates": 2, "rejected": []}
    assert Change.objects.count() == 2


def test_a_batch_id_with_another_body_is_a_conflict_and_changes_nothing():
    key = agent_key()
    tell(deployment(), key=key, HTTP_IDEMPOTENCY_KEY="batch 1")

    answer = tell(deployment(title="Other"), key=key, HTTP_IDEMPOTENCY_KEY="batch 1")

    assert (answer.status_code, answer.json()["code"]) == (409, "batch_conflict")
    assert Change.objects.get().title == "Deploy ERP"


def test_a_later_message_says_how_it_ended_and_needs_only_the_id():
    tell(deployment(outcome="running"))
    began_at = Change.objects.get().started_at

    answer = tell({"id": "github/shop/erp/17/1", "outcome": "failure"})

    found = Change.objects.get()
    assert answer.json()["accepted"] == 1
    assert (found.outcome, found.started_at, found.title) == ("failed", began_at, "Deploy ERP")
    assert found.ended_at is not None
    assert found.ended_at >= began_at


def test_a_start_that_comes_late_or_again_does_not_undo_the_end():
    end, start = deployment(outcome="succeeded"), deployment(outcome="running", author="ana")

    tell(end)
    ended_at = Change.objects.get().ended_at
    tell(start)
    tell(start, deployment(id="in one batch", outcome="running"), deployment(id="in one batch", outcome="cancelled"))

    found = Change.objects.get(external_id="github/shop/erp/17/1")
    assert (found.outcome, found.ended_at, found.author) == ("succeeded", ended_at, "ana")
    assert Change.objects.get(external_id="in one batch").outcome == "cancelled"


def test_a_window_may_lie_ahead_and_its_early_end_is_its_end():
    begins, ends = NOW + timedelta(days=3), NOW + timedelta(days=3, hours=2)
    planned = {"id": "m1", "kind": "maintenance", "title": "ERP patch", "systems": ["erp"]}
    tell(planned | {"started_at": begins.isoformat(), "ended_at": ends.isoformat()})
    tell({"id": "m2", "kind": "maintenance", "title": "now", "ended_at": ends.isoformat()})

    tell({"id": "m2", "outcome": "succeeded"})

    first, second = Change.objects.get(external_id="m1"), Change.objects.get(external_id="m2")
    assert (first.started_at, first.ended_at) == (begins, ends)
    assert second.ended_at is not None
    assert second.ended_at < datetime.now(UTC) + timedelta(minutes=5)


def test_nul_and_long_texts_are_stored_clean():
    tell(deployment(title="a\x00b" + "ü" * 900, systems=["e\x00rp", "e\x00rp"], author="x" * 300))

    found = Change.objects.get()
    assert found.title.startswith("a\ufffdb")
    assert len(found.title.encode()) <= 300
    assert found.systems == ["e\ufffdrp"]


BAD = {
    "no id": {"kind": "deployment", "title": "x"},
    "no kind at first": {"id": "1", "title": "x"},
    "no title at first": {"id": "1", "kind": "deployment"},
    "only spaces for a title": {"id": "1", "kind": "deployment", "title": "  "},
    "unknown kind": deployment(kind="release"),
    "unknown outcome": deployment(outcome="great"),
    "unknown field": deployment(environment="staging"),
    "no time zone": deployment(started_at="2026-11-24T10:00:00"),
    "out of reason": deployment(started_at="2051-01-01T00:00:00Z"),
    "year 1": deployment(started_at="0001-01-01T00:00:00+14:00"),
    "ends before it starts": deployment(started_at=NOW.isoformat(), ended_at=(NOW - timedelta(hours=1)).isoformat()),
    "lasts too long": deployment(started_at=NOW.isoformat(), ended_at=(NOW + timedelta(days=32)).isoformat()),
    "a script": deployment(url="javascript:alert(1)"),
    "a script with a host": deployment(url="javascript://ci.example/%0aalert(1)"),
    "another scheme": deployment(url="ftp://ci.example/"),
    "no host": deployment(url="https:///x"),
    "a password": deployment(url="https://ana:secret@ci.example/"),
    "a line break": deployment(url="https://ci.example/\nx"),
    "systems are no list": deployment(systems="erp"),
    "an empty name": deployment(systems=[""]),
    "too many names": deployment(systems=[f"s{n}" for n in range(51)]),
    "no object": 7,
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_item_is_answered_by_index_and_kept_and_the_others_are_stored(what: str):
    answer = tell(deployment(id="good"), BAD[what])

    body = answer.json()
    assert (answer.status_code, body["accepted"]) == (200, 1)
    assert [(one["index"], one["code"]) for one in body["rejected"]] == [(1, "invalid_item")]
    assert body["rejected"][0]["detail"]
    assert (IngestReject.objects.get().endpoint, Change.objects.count()) == ("changes", 1)


def test_an_id_belongs_to_one_kind():
    tell(deployment())

    answer = tell(deployment(kind="maintenance"))

    assert "belongs to a deployment" in answer.json()["rejected"][0]["detail"]
    assert Change.objects.get().kind == "deployment"


@pytest.mark.parametrize(("body", "status"), [(b"{}", 400), (b'{"events": []}', 400), (b"[", 400), (b"[" * 70, 400)])
def test_a_body_that_is_no_list_of_changes_is_refused_whole(body: bytes, status: int):
    answer = push(CHANGES, body, key=agent_key())

    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")


def test_envelope_and_lines_are_taken_like_those_of_the_other_addresses():
    key = agent_key()
    lines = b"\n".join(json.dumps(deployment(id=f"line {n}")).encode() for n in range(2))

    envelope = push(CHANGES, {"batch_id": "b", "changes": [deployment()]}, key=key)
    ndjson = push(CHANGES, lines, key=key, content_type="application/x-ndjson")

    assert (envelope.json()["accepted"], ndjson.json()["accepted"]) == (1, 2)


def test_without_a_key_nothing_is_taken():
    environment()

    assert tell(deployment(), key="wb_agent_nobody").status_code == 401


def test_two_environments_do_not_share_ids():
    tell(deployment(), key=agent_key("one"))
    tell(deployment(title="Staging"), key=agent_key("two", slug="staging"))

    assert {change.title for change in Change.objects.all()} == {"Deploy ERP", "Staging"}


def test_the_same_new_change_told_by_many_at_once_is_one(committed: None):
    key, barrier, answers = agent_key(), Barrier(6), []

    def send(number: int) -> None:
        barrier.wait()
        answers.append(tell(deployment(author=f"sender {number}"), key=key))
        connections.close_all()

    threads = [Thread(target=send, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [(answer.status_code, answer.json()["accepted"]) for answer in answers] == [(200, 1)] * 6
    assert Change.objects.count() == 1


# who reads and does what --------------------------------------------------------------------------------------------------


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


# the list ------------------------------------------------------------------------------------------------------------------


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
