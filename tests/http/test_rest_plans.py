"""REST of plans: made, tried, approved, started and read; by whom, how often, and what is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db.models import F
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Role, Team
from messages.answers.services import expire_answers
from messages.groups.sweep import sweep_groups
from messages.models import DeadLetter, FailureGroup, Flow, KeptAnswer, Plan, Replay, ReplayStop
from messages.plans import waiting
from messages.plans.advance import advance_plan
from messages.replay.sending import send_due
from tests.factories import agent_key, api_key, letter, memory_connection, person, push
from tests.http.test_rest_administration import Caller

pytestmark = pytest.mark.django_db
DOCS = Path(__file__).resolve().parents[2] / "docs"
WHY = {"reason": "erp is back"}
AT_ONCE = {"rate_per_s": None, "waits_for": "confirmed"}


@pytest.fixture
def line():
    return memory_connection()


def letters(count: int, **changes: Any) -> list[DeadLetter]:
    answer = push("/ingest/v1/dead-letters", [letter(**changes) for _ in range(count)], key=agent_key("harvester"))
    assert answer.json()["accepted"] == count
    return list(DeadLetter.objects.order_by("pk"))


def plan_of(who: Caller, ids: list[Any], **more: Any) -> Any:
    body = {"environment": "production", "ids": [str(one) for one in ids], "options": AT_ONCE, **WHY, **more}
    return who("post", "plans", body)


def send(who: Caller, method: str, path: str, body: Any = None, **headers: Any) -> Any:
    client = Client(raise_request_exception=False)
    return getattr(client, method)(f"/api/v1/{path}", body, content_type="application/json", **who.headers, **headers)


def run(reference: str, line: Any) -> None:
    pk = Plan.objects.get(pk=int(reference.removeprefix("P-"))).pk
    for _ in range(12):
        advance_plan(pk)
        send_due(line.pk)


def test_a_plan_is_tried_made_started_waited_for_and_read_item_by_item(line):
    ada = Caller("ada", Role.OPERATOR)
    found = letters(3)
    [bare] = [one for one in letters(1, body=None) if one.size_bytes is None]
    everything = [one.pk for one in [*found, bare]]

    tried = plan_of(ada, everything, dry_run=True)
    assert (tried.status_code, tried.json()["reference"], tried.json()["items"], tried.json()["selected"]) == (
        200,
        None,
        3,
        4,
    )
    assert tried.json()["sentence"] == "dry run, nothing is kept: 3 would be sent, 1 left out"
    assert not Plan.objects.exists()
    assert not AuditEntry.objects.filter(action="plan.created").exists()

    made = plan_of(ada, everything, ticket="OPS-17")
    plan = made.json()
    assert (made.status_code, made["Location"]) == (201, f"/api/v1/plans/{plan['reference']}")
    assert plan["left_out"] == [{"reason": "no_payload", "words": "its body is not stored", "items": 1}]
    assert plan["checksum"] != tried.json()["checksum"]  # of another plan's replays
    assert (plan["state"], plan["actions"]) == ("draft", ["request-approval", "start", "cancel", "stop"])
    assert not Replay.objects.exists()

    started = ada("post", f"plans/{plan['reference']}/start", {})
    assert (started.status_code, started.json()["state"]) == (202, "scheduled")
    run(plan["reference"], line)
    read = send(ada, "get", f"plans/{plan['reference']}", HTTP_PREFER="respond-async, wait=5")
    now = read.json()
    assert (now["state"], read["Preference-Applied"]) == ("finished", "wait=5")
    assert (
        now["counts"]["confirmed"]
        == 3
        == sum(now["counts"].values())
        == sum(sum(w["counts"].values()) for w in now["waves"])
    )
    assert now["sentence"].endswith("of 3 messages 3 confirmed by the broker, not proved, 1 of the selection left out")

    items = ada("get", f"plans/{plan['reference']}/items?limit=2").json()
    rest = ada("get", items["next"].split("/api/v1/")[1]).json()
    rows = items["results"] + rest["results"]
    assert [(row["ordinal"], row["outcome"], row["left_out"]) for row in rows] == [
        (1, "confirmed", ""), (2, "confirmed", ""), (3, "confirmed", ""), (4, "left_out", "no_payload"),
    ]  # fmt: skip
    assert rest["next"] is None
    assert rows[0]["replay"] == str(Replay.objects.get(dead_letter=rows[0]["dead_letter"]).pk)
    assert rows[0]["attempt"] == 1
    only = ada("get", f"plans/{plan['reference']}/items?outcome=left_out").json()["results"]
    assert [row["dead_letter"] for row in only] == [str(bare.pk)]
    csv = ada("get", f"plans/{plan['reference']}/csv?outcome=confirmed").getvalue().decode().splitlines()
    assert (len(csv), csv[0].split(",")[:4]) == (4, ["ordinal", "dead_letter", "key", "outcome"])
    listed = ada("get", "plans?environment=production&q=ops-17").json()["results"]
    assert [row["reference"] for row in listed] == [plan["reference"]]
    assert ada("get", f"plans?q={plan['reference']}&state=finished").json()["results"] == listed
    assert ada("get", "plans?q=nothing%20like%20it").json()["results"] == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "exactly one of"),
        ({"q": "state:open", "group": "G-1"}, "exactly one of"),
        ({"q": "state:open"}, "in which `environment`"),
        ({"ids": [str(uuid4())], "window": "7d", "environment": "production"}, "go with `q`"),
        ({"ids": [], "environment": "production"}, "some fields are not valid"),
        ({"ids": ["x"], "environment": "production"}, "some fields are not valid"),
        ({"q": "state:", "environment": "production"}, ""),
        ({"q": "state:open", "environment": "production", "reason": ""}, ""),
        ({"q": "state:open", "environment": "production", "reason": None}, ""),
        ({"q": "state:open", "environment": "production", "options": {"rate_per_s": "nan"}}, "some fields are not valid"),
        ({"q": "state:open", "environment": "production", "options": {"waves": ["500%"]}}, "is no wave"),
        ({"q": "state:open", "environment": "production", "window": "soon"}, "a span is"),
        ({"q": "nonsense(", "environment": "production"}, ""),
        ('"text"', "send a JSON object"),
        ([1], "send a JSON object"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_in_words(body, words):
    ada = Caller("ada", Role.OPERATOR)
    answer = ada("post", "plans", WHY | body if isinstance(body, dict) else body)
    assert answer.status_code == 400, answer.content
    assert words in answer.json()["detail"]
    assert not Plan.objects.exists()


def test_a_reason_is_needed_but_for_a_dry_run(line):
    ada = Caller("ada", Role.OPERATOR)
    [one] = letters(1)
    body = {"environment": "production", "ids": [str(one.pk)]}
    assert ada("post", "plans", body).status_code == 400
    assert ada("post", "plans", body | {"dry_run": True}).json()["items"] == 1


def test_a_list_of_ids_comes_as_the_body_a_line_each_or_as_a_csv(line):
    ada = Caller("ada", Role.OPERATOR)
    found = letters(3)
    ids = [str(one.pk) for one in found]
    asked = "plans?environment=production&reason=back&rate_per_s=null&waves=1,100%25&waits_for=confirmed"

    def upload(body: str, address: str = asked, content_type: str = "text/plain") -> Any:
        client = Client(raise_request_exception=False)
        return client.post(f"/api/v1/{address}", body.encode(), content_type=content_type, **ada.headers)

    plain = upload("\n".join([*ids, ids[0], ids[1].upper().replace("-", ""), str(uuid4())]))
    assert (plain.status_code, plain.json()["selected"], plain.json()["source"]) == (201, 3, "list")
    assert plain.json()["options"]["waves"] == ["1", "100%"]
    assert plain.json()["options"]["rate_per_s"] is None
    csv = upload(f"order;letter\n1;{ids[0]}\n2;{ids[2]}\n", asked + "&column=letter&dry_run=true", "text/csv")
    assert (csv.status_code, csv.json()["selected"], csv.json()["reference"]) == (200, 2, None)
    for body, words in [
        ("\n\n", "the list is empty"), (f"{ids[0]}\nx' DROP TABLE\n", "line 2 is no id"),
        ("-" * 36, "line 1 is no id"), (f"{ids[0]},{ids[1]}\n", "needs a header"), ("\x00" * 36, "control characters"),
    ]:  # fmt: skip
        refused = upload(body)
        assert (refused.status_code, words in refused.json()["detail"]) == (400, True), refused.content
    assert upload(ids[0], content_type="application/x-www-form-urlencoded").status_code == 415
    assert "knows no parameter “q”" in upload(ids[0], asked + "&q=x").json()["detail"]


def test_all_that_match_a_query_and_a_whole_group(line):
    ada = Caller("ada", Role.OPERATOR)
    letters(2)
    by_query = ada(
        "post", "plans", {"environment": "production", "q": "system:erp", "window": "90d", "dry_run": True}
    ).json()
    assert (by_query["items"], by_query["q"]) == (2, "system:erp")
    assert ada("post", "plans", {"group": "G-999999", **WHY}).status_code == 404


def test_strangers_see_nothing_and_viewers_do_nothing(line):
    ada, vic, eve = (
        Caller("ada", Role.OPERATOR),
        Caller("vic", Role.VIEWER),
        Caller("eve", Role.OPERATOR, team="Others"),
    )
    found = letters(2)
    Flow.objects.update(team=Team.objects.get(name="Order team"))
    plan = plan_of(ada, [one.pk for one in found]).json()["reference"]

    assert plan_of(vic, [found[0].pk]).status_code == 403
    assert vic("get", f"plans/{plan}").json()["actions"] == []
    assert eve("get", "plans").json()["results"] == []
    none = plan_of(eve, [one.pk for one in found]).json()
    assert (none["selected"], none["left_out"]) == (0, [])
    for path in ("", "/items", "/csv"):
        assert eve("get", f"plans/{plan}{path}").status_code == 404
    for verb in ("request-approval", "approve", "refuse", "start", "undo", "pause", "resume", "cancel", "stop"):
        body = {"approve": {"checksum": "y"}, "start": {}}.get(verb, {"reason": "x"})
        assert eve("post", f"plans/{plan}/{verb}", body).status_code == 404, verb
        assert vic("post", f"plans/{plan}/{verb}", body).status_code == 403, verb
    assert Client().get("/api/v1/plans").status_code == 401
    for path in ("plans/P-0", "plans/12x", "plans/P-99999999999999999999", "plans/%00"):
        assert ada("get", path).status_code == 404, path


def test_a_second_person_approves_what_they_saw_and_no_key_of_the_author_does(line):
    ada, bob, ben = (Caller(name, Role.OPERATOR) for name in ("ada", "bob", "ben"))
    found = letters(2)
    Flow.objects.update(approve_above=1)
    plan = plan_of(ada, [one.pk for one in found]).json()
    one = f"plans/{plan['reference']}"
    assert (plan["approval"]["needed"], plan["approval"]["why"]) == (
        True,
        "erp.orders asks for a second person for more than 1 messages",
    )

    assert ada("post", f"{one}/start").json()["code"] == "approval_needed"
    asked = ada("post", f"{one}/request-approval")
    assert (asked.status_code, asked.json()["state"], "approve" in asked.json()["actions"]) == (
        200,
        "awaiting_approval",
        False,
    )
    assert "approve" in bob("get", one).json()["actions"]
    said = {"checksum": plan["checksum"]}
    assert ada("post", f"{one}/approve", said).json()["code"] == "own_plan"
    assert bob("post", f"{one}/approve", {"checksum": "0" * 64}).json()["code"] == "plan_state"
    assert bob("post", f"{one}/approve", {}).status_code == 400
    assert ben("post", f"{one}/refuse", {"reason": "wrong day"}).json()["state"] == "draft"
    ada("post", f"{one}/request-approval")
    approved = bob("post", f"{one}/approve", said).json()
    assert (approved["approval"]["approved_by"], approved["approval"]["checksum"]) == ("bob", plan["checksum"])
    begun = ada("post", f"{one}/start", {"undo_s": 10})
    assert (begun.status_code, begun.json()["actions"]) == (202, ["undo", "cancel", "stop"])
    assert ada("post", f"{one}/undo").json()["state"] == "approved"
    assert ada("post", f"{one}/pause").json()["code"] == "plan_state"
    assert ada("post", f"{one}/cancel", {"reason": "not today"}).json()["state"] == "cancelled"


def test_who_changed_a_plan_does_not_approve_it_either(line):
    ada, bob = Caller("ada", Role.OPERATOR), Caller("bob", Role.OPERATOR)
    found = letters(1)
    Flow.objects.update(approve_above=0)
    plan = plan_of(ada, [found[0].pk]).json()
    ada("post", f"plans/{plan['reference']}/request-approval")
    pk = plan["reference"].removeprefix("P-")
    AuditEntry.objects.create(
        actor="bob", via="web", action="plan.changed", object_kind="plan", object_id=pk, object_label=plan["reference"]
    )
    refused = bob("post", f"plans/{plan['reference']}/approve", {"checksum": plan["checksum"]})
    assert (refused.status_code, refused.json()["code"]) == (403, "own_plan")


def test_the_console_asks_for_a_second_person_above_its_own_number(line, settings):
    settings.APPROVE_ABOVE = 1
    ada = Caller("ada", Role.OPERATOR)
    found = letters(2)
    assert plan_of(ada, [found[0].pk]).json()["approval"]["needed"] is False
    assert (
        plan_of(ada, [one.pk for one in found]).json()["approval"]["why"]
        == "this console asks for a second person for more than 1 messages"
    )


def test_a_threshold_that_came_after_the_plan_holds_for_it_too(line):
    ada = Caller("ada", Role.OPERATOR)
    plan = plan_of(ada, [one.pk for one in letters(2)]).json()
    Flow.objects.update(approve_above=0)
    assert ada("post", f"plans/{plan['reference']}/start").json()["code"] == "approval_needed"


def test_pause_resume_stop_and_cancel_say_what_they_did(line):
    ada = Caller("ada", Role.OPERATOR)
    plan = plan_of(ada, [one.pk for one in letters(3)]).json()["reference"]
    ada("post", f"plans/{plan}/start")
    advance_plan(int(plan[2:]))
    paused = ada("post", f"plans/{plan}/pause", {"reason": "look"}).json()
    assert (paused["state"], paused["why"], paused["actions"]) == ("paused", "look", ["resume", "stop"])
    resumed = ada("post", f"plans/{plan}/resume", {})
    assert (resumed.status_code, resumed.json()["state"]) == (202, "running")
    refused = ada("post", f"plans/{plan}/cancel")
    assert (refused.status_code, "`stop` ends it" in refused.json()["detail"]) == (409, True)
    stopped = ada("post", f"plans/{plan}/stop", {"reason": "wrong queue"}).json()
    assert (stopped["state"], stopped["counts"]["withdrawn"], sum(stopped["counts"].values())) == ("stopped", 1, 3)
    draft = plan_of(ada, [one.pk for one in letters(1)]).json()["reference"]
    assert ada("post", f"plans/{draft}/stop").json()["state"] == "cancelled"


# the same request twice ---------------------------------------------------------------------------------------------------


def keyed(who: Caller, path: str, body: Any, key: str = "K-1") -> Any:
    return send(who, "post", path, body, HTTP_IDEMPOTENCY_KEY=key)


def test_the_same_request_with_the_same_key_is_carried_out_once(line):
    ada, bob = Caller("ada", Role.OPERATOR), Caller("bob", Role.OPERATOR)
    ids = [str(one.pk) for one in letters(2)]
    body = {"environment": "production", "ids": ids, **WHY}

    first, again = keyed(ada, "plans", body), keyed(ada, "plans", json.loads(json.dumps(body, sort_keys=True)))
    other = keyed(ada, "plans", body | {"reason": "another"})

    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert (again["Waybill-Repeated"], again["Location"]) == ("1", first["Location"])
    assert not first.has_header("Waybill-Repeated")
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
    assert Plan.objects.count() == 1
    assert keyed(bob, "plans", body).status_code == 201  # another person's key
    one = f"plans/{first.json()['reference']}"
    assert keyed(ada, f"{one}/start", {}, key="go").status_code == 202
    assert keyed(ada, f"{one}/start", {}, key="go").json()["state"] == "scheduled"
    assert keyed(ada, f"{one}/start", {"undo_s": 5}, key="go").status_code == 409
    assert ada("post", f"{one}/start").json()["code"] == "plan_state"  # without a key it is another request
    assert AuditEntry.objects.filter(action="plan.started").count() == 1


def test_a_refusal_is_not_kept_and_an_old_key_is_free_again(line):
    ada = Caller("ada", Role.OPERATOR)
    [one] = letters(1)
    Flow.objects.update(approve_above=0)
    plan = plan_of(ada, [one.pk]).json()["reference"]
    assert keyed(ada, f"plans/{plan}/start", {}).status_code == 409
    Flow.objects.update(approve_above=None)
    Plan.objects.update(approval_why="")
    assert keyed(ada, f"plans/{plan}/start", {}).status_code == 202
    KeptAnswer.objects.update(created_at=F("created_at") - timedelta(hours=25))
    assert keyed(ada, f"plans/{plan}/start", {}).status_code == 409  # carried out anew, and refused: it is scheduled
    assert expire_answers() == 1
    assert keyed(ada, f"plans/{plan}/pause", {}, key="x" * 181).status_code == 400
    assert keyed(ada, f"plans/{plan}/pause", {}, key="umlaut-\xe4").status_code == 400


# waiting ------------------------------------------------------------------------------------------------------------------


def test_a_wait_ends_when_the_plan_needs_a_person_or_the_time_is_over(line, monkeypatch):
    ada = Caller("ada", Role.OPERATOR)
    plan = plan_of(ada, [one.pk for one in letters(2)]).json()["reference"]
    monkeypatch.setattr(waiting, "LOOK_S", 0.01)
    draft = send(ada, "get", f"plans/{plan}", HTTP_PREFER="wait=30")
    assert draft["Preference-Applied"] == "wait=30"  # a draft waits for a person
    started = send(ada, "post", f"plans/{plan}/start", {}, HTTP_PREFER="wait=1")
    assert (started.status_code, started["Preference-Applied"], started.json()["state"]) == (202, "wait=1", "scheduled")
    held = [waiting._room.acquire(blocking=False) for _ in range(waiting.MOST_WAITING)]
    try:
        full = send(ada, "get", f"plans/{plan}", HTTP_PREFER="wait=30")
    finally:
        for _ in held:
            waiting._room.release()
    assert (full.status_code, full.has_header("Preference-Applied"), full["Retry-After"]) == (200, False, "5")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("wait=5", 5), ("respond-async, wait=90", 30), ('Wait="7"', 7), ("wait = 3; x", 3), ("", 0), ("wait", 0), ("wait=-1", 0),
     ("waiting=5", 0), ("await=5", 0), ("wait=1e9", 0), ("wait=" + "9" * 5000, 0), ("\x00wait=5", 0)],
)  # fmt: skip
def test_the_preference_is_read_as_the_rfc_writes_it(header, seconds):
    assert waiting.preferred_wait_s(header) == seconds


# the pasted lines ---------------------------------------------------------------------------------------------------------


def test_the_lines_of_the_runbook_make_approve_start_and_read_a_plan(committed, live_server, tmp_path):
    page = (DOCS / "api.md").read_text().partition("## A plan from a runbook")[2].partition("## What a flow says")[0]
    make, approve, start, stop = re.findall(r"```sh\n(.*?)```", page, re.S)
    line = memory_connection()
    letters(2)
    while sweep_groups():
        pass
    Flow.objects.update(approve_above=0)
    ada, bob = (person(name, Role.OPERATOR) for name in ("ada", "bob"))
    group = FailureGroup.objects.get().reference
    environ = {**os.environ, "WAYBILL": live_server.url, "KEY": api_key(ada), "KEY2": api_key(bob)}

    def paste(lines: str, **more: str) -> str:
        asked = ["sh", "-ec", lines.replace("G-204", group)]
        return subprocess.run(
            asked, env=environ | more, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    made = paste(make)
    plan = Plan.objects.get()
    assert (made.count('"dry_run":true'), plan.items_count, plan.rate_per_s) == (1, 2, 5)
    more = {"PLAN": plan.reference, "CHECKSUM": plan.checksum}
    paste(approve, **more)
    plan.refresh_from_db()
    assert (plan.state, plan.approved_by) == ("approved", "bob")
    first, *rest = start.splitlines(keepends=True)
    assert "202 Accepted" in paste(first, **more)
    Plan.objects.update(waits_for="confirmed", rate_per_s=None)
    run(plan.reference, line)
    told = paste("".join(rest), **more)
    assert "Preference-Applied: wait=30" in told
    assert '"state":"finished"' in told
    assert len((tmp_path / "plan.csv").read_text().splitlines()) == 3
    placed, lift = stop.split("curl")[1:]
    stops = json.loads(paste("curl" + placed))["results"]
    paste("curl" + lift, STOP=str(stops[0]["id"]))
    assert not ReplayStop.objects.exists()
