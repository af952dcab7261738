"""REST of compensations: tried, proposed, approved, started, settled step by step; by whom, how often, and what is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from console.audit.models import AuditEntry
from console.identity.models import Role, Team
from messages.compensation.execute import work_on
from messages.models import Compensation, Connection, Flow
from tests.compensation.orders import BOOK, failed_order, proposed, refund_of, saved
from tests.compensation.runs import begun, passes, told
from tests.factories import api_key, memory_connection, person
from tests.http.test_rest_administration import Caller
from tests.pages.compensating import TASK

pytestmark = pytest.mark.django_db
DOCS = Path(__file__).resolve().parents[2] / "docs"
WHY = {"reason": "billing refused it"}


@pytest.fixture(autouse=True)
def line(db: None) -> Connection:
    return memory_connection()


def keyed(who: Caller, path: str, body: Any, key: str = "K-1") -> Any:
    client = Client(raise_request_exception=False)
    return client.post(f"/api/v1/{path}", body, content_type="application/json", HTTP_IDEMPOTENCY_KEY=key, **who.headers)  # fmt: skip


def test_one_is_tried_proposed_started_and_read_step_by_step(line):
    ada = Caller("ada", Role.OPERATOR)
    found = failed_order("payment", "stock", "mailer")
    saved(found.flow)

    tried = ada("post", "compensations", {"letter": str(found.pk), "dry_run": True})
    steps = tried.json()["steps"]
    assert (tried.status_code, Compensation.objects.count()) == (200, 0)
    assert [(one["step"], one["name"], one["state"]) for one in steps] == [
        (1, "mail", "irreversible"), (2, "stock", "would_undo"), (3, "payment", "would_undo"),
    ]  # fmt: skip
    assert steps[2]["action"]["title"] == "refund 1284.50"
    assert json.loads(steps[2]["action"]["body"])["amount"] == 1284.5

    made = ada("post", "compensations", {"letter": str(found.pk), "ticket": "OPS-1", "on_failure": "continue", **WHY})
    run = made.json()
    one = f"compensations/{run['reference']}"
    assert (made.status_code, made["Location"], run["state"]) == (201, f"/api/v1/{one}", "proposed")
    assert run["actions"] == ["start", "stop", "look-again"]
    assert run["sentence"].startswith("Billing refused it for good. Payment, stock and mailer had already happened.")
    assert ada("post", "compensations", {"letter": str(found.pk), **WHY}).json()["code"] == "compensation_open"

    begun = ada("post", f"{one}/start", {"undo_s": 10})
    assert (begun.status_code, begun.json()["actions"]) == (202, ["undo", "stop"])
    assert ada("post", f"{one}/undo").json()["state"] == "proposed"
    ada("post", f"{one}/start")
    work_on(Compensation.objects.get().pk)
    refund_of(found)
    Compensation.objects.update(looked_at=None)
    work_on(Compensation.objects.get().pk)
    ended = ada("get", one).json()
    told = ada("get", f"{one}/steps").json()["results"]

    assert (ended["state"], ended["undone"], ended["steps"], ended["actions"]) == ("partially_compensated", 2, 3, [])
    assert "what stays: confirmation mailed" in ended["next_step"]
    assert [(row["name"], row["state"]) for row in told] == [("mail", "irreversible"), ("stock", "done"), ("payment", "done")]  # fmt: skip
    assert told[2]["proof_event_id"]
    listed = ada("get", "compensations?environment=production&q=ops-1").json()["results"]
    assert [row["reference"] for row in listed] == [run["reference"]]
    assert ada("get", f"compensations?q={run['reference']}&state=partially_compensated&flow={found.flow.name}").json()["results"] == listed  # fmt: skip
    assert ada("get", "compensations?state=nothing").status_code == 400
    assert ada("get", "compensations?needs_person=true").json()["results"] == []


def test_a_step_is_retried_skipped_marked_and_assigned(line):
    ada = Caller("ada", Role.OPERATOR)
    Connection.objects.filter(pk=line.pk).update(options={"refuse": "releases"})
    run = proposed("payment", "stock")
    one = f"compensations/{run.reference}"
    ada("post", f"{one}/start")
    work_on(run.pk)

    [needs] = ada("get", "compensations?needs_person=true").json()["results"]
    assert "failed: retry it" in needs["next_step"]
    assert ada("get", "overview?environment=production").json()[0]["compensations"]["count"] == 1
    row = ada("get", f"{one}/steps").json()["results"][0]
    assert (row["state"], row["actions"]) == ("failed", ["retry", "skip", "mark", "assign"])
    assert ada("post", f"{one}/steps/1/retry", {}).status_code == 400
    assigned = ada("post", f"{one}/steps/1/assign", {"assignee": "kim", "due_at": "2026-11-26T22:00:00Z"}).json()
    assert (assigned["assignee"], assigned["due_at"]) == ("kim", "2026-11-26T22:00:00Z")
    assert ada("post", f"{one}/steps/1/retry", WHY).json()["state"] == "waiting"
    work_on(run.pk)
    assert ada("post", f"{one}/steps/1/mark", WHY).json()["state"] == "by_hand"
    again = ada("post", f"{one}/steps/1/skip", WHY)
    assert (again.status_code, again.json()["code"]) == (409, "compensation_state")
    assert ada("post", f"{one}/steps/9/skip", WHY).status_code == 404
    assert ada("post", f"{one}/steps/99999999999999999999/skip", WHY).status_code == 404
    paused = ada("post", f"{one}/pause", {"reason": "look"}).json()
    assert (paused["state"], paused["why"], paused["actions"]) == ("paused", "look", ["resume", "stop"])
    assert ada("post", f"{one}/resume").status_code == 202
    assert ada("post", f"{one}/stop", {}).status_code == 400
    assert ada("post", f"{one}/stop", WHY).json()["state"] == "stopped"
    assert ada("post", f"{one}/late/0", {"add": True, **WHY}).status_code == 400


def test_what_completed_late_is_told_and_answered(line):
    ada = Caller("ada", Role.OPERATOR)
    run = begun("payment")
    told(run, "stock", "reservations", message_id="late")
    work_on(run.pk)
    passes(run, 1)
    work_on(run.pk)
    one = f"compensations/{run.reference}"
    assert [(late["step"], late["answer"]) for late in ada("get", one).json()["late"]] == [("stock", "")]
    assert ada("post", f"{one}/late/0", {"add": True}).status_code == 400
    viewer = Caller("vic", Role.VIEWER)
    assert viewer("post", f"{one}/late/0", {"add": True, **WHY}).status_code == 403
    answered = ada("post", f"{one}/late/0", {"add": True, **WHY})
    assert (answered.status_code, answered.json()["late"][0]["answer"], answered.json()["steps"]) == (200, "add", 2)
    assert ada("post", f"{one}/late/0", {"add": False, **WHY}).json()["code"] == "compensation_state"


def test_tasks_of_people_are_a_list_of_their_own(line):
    ada = Caller("ada", Role.OPERATOR)
    run = proposed("stock", text=TASK)
    ada("post", f"compensations/{run.reference}/start")
    work_on(run.pk)

    [task] = ada("get", "compensations/tasks?environment=production").json()["results"]
    assert (task["compensation"], task["assignee"], task["overdue"]) == (run.reference, "stock desk", False)
    assert ada("get", "compensations/tasks?mine=1").json()["results"] == []
    action = ada("get", f"compensations/{run.reference}/steps/1/action").json()
    assert action["instructions"].startswith("release 4711-")
    assert ada("get", "compensations/tasks?cursor=x").status_code == 400
    run.steps.update(due_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert ada("get", "compensations/tasks").json()["results"][0]["overdue"] is True
    assert ada("get", "compensations?needs_person=1").json()["results"][0]["next_step"].endswith("it is overdue")


def test_a_second_person_approves_with_a_key_of_their_own(line):
    ada, bob = Caller("ada", Role.OPERATOR), Caller("bob", Role.OPERATOR)
    found = failed_order("stock")
    saved(found.flow, "needs_approval: true\n" + BOOK)
    run = ada("post", "compensations", {"letter": str(found.pk), **WHY}).json()
    one = f"compensations/{run['reference']}"

    assert (run["approval"]["needed"], run["actions"]) == (True, ["stop", "look-again"])
    assert ada("post", f"{one}/start").json()["code"] == "compensation_approval_needed"
    said = {"checksum": run["checksum"]}
    assert ada("post", f"{one}/approve", said).json()["code"] == "own_compensation"
    assert "approve" in bob("get", one).json()["actions"]
    assert bob("post", f"{one}/approve", {"checksum": "0" * 64}).json()["code"] == "compensation_state"
    assert bob("post", f"{one}/approve", said).json()["approval"]["approved_by"] == "bob"
    assert bob("post", f"{one}/refuse", {"reason": "wrong day"}).json()["state"] == "proposed"
    bob("post", f"{one}/approve", said)
    assert ada("post", f"{one}/look-again").json()["state"] == "proposed"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400), ({"letter": "x"}, 400), ({"letter": str(uuid4())}, 404), ({"message": str(uuid4())}, 404),
        ({"letter": str(uuid4()), "message": str(uuid4())}, 400), ({"letter": None}, 400), ([], 400), ('"x"', 400),
        ({"letter": str(uuid4()), "on_failure": "explode"}, 400),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(body, status):
    ada = Caller("ada", Role.OPERATOR)
    assert ada("post", "compensations", WHY | body if isinstance(body, dict) else body).status_code == status
    assert not Compensation.objects.exists()


def test_without_a_book_and_without_a_reason_nothing_is_proposed():
    ada = Caller("ada", Role.OPERATOR)
    found = failed_order("stock")
    for dry_run in (True, False):
        answer = ada("post", "compensations", {"letter": str(found.pk), "dry_run": dry_run, **WHY})
        assert (answer.status_code, answer.json()["code"]) == (409, "no_compensation_book")
    saved(found.flow)
    assert ada("post", "compensations", {"letter": str(found.pk)}).status_code == 400


def test_strangers_see_nothing_viewers_do_nothing_and_what_is_sent_is_for_readers_of_payloads():
    ada, vic, eve = (
        Caller("ada", Role.OPERATOR), Caller("vic", Role.VIEWER), Caller("eve", Role.OPERATOR, team="Others"),
    )  # fmt: skip
    run = proposed("payment")
    Flow.objects.update(team=Team.objects.get(name="Order team"))
    one = f"compensations/{run.reference}"

    assert vic("get", one).json()["actions"] == []
    assert vic("get", f"{one}/steps").json()["results"][0]["actions"] == []
    assert "1284.5" not in vic("get", f"{one}/steps").content.decode()
    assert vic("get", f"{one}/steps/1/action").status_code == 403
    assert not AuditEntry.objects.filter(action="payload.read").exists()
    assert ada("get", f"{one}/steps/1/action").json()["title"] == "refund 1284.50"
    assert AuditEntry.objects.filter(action="payload.read", object_id=str(run.pk)).count() == 1
    assert eve("get", "compensations").json()["results"] == []
    for path in ("", "/steps", "/steps/1/action"):
        assert eve("get", one + path).status_code == 404
    letter = {"letter": str(run.dead_letter_id), **WHY}
    assert vic("post", "compensations", letter).status_code == 403
    assert vic("post", "compensations", letter | {"dry_run": True}).status_code == 403
    assert eve("post", "compensations", letter).status_code == 404
    for verb in ("start", "undo", "approve", "refuse", "pause", "resume", "stop", "look-again", "steps/1/skip", "steps/1/mark", "steps/1/assign"):  # fmt: skip
        body = {"approve": {"checksum": "y"}, "start": {}, "steps/1/assign": {}}.get(verb, {"reason": "x"})
        assert eve("post", f"{one}/{verb}", body).status_code == 404, verb
        assert vic("post", f"{one}/{verb}", body).status_code == 403, verb
    assert Client().get("/api/v1/compensations").status_code == 401
    for path in ("C-0", "12x", "C-99999999999999999999", "%00"):
        assert ada("get", f"compensations/{path}").status_code == 404, path


def test_the_same_request_with_the_same_key_is_carried_out_once():
    ada = Caller("ada", Role.OPERATOR)
    found = failed_order("stock")
    saved(found.flow)
    body = {"letter": str(found.pk), **WHY}

    first, again = keyed(ada, "compensations", body), keyed(ada, "compensations", body)
    other = keyed(ada, "compensations", body | {"reason": "another"})

    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert (again["Waybill-Repeated"], other.json()["code"]) == ("1", "idempotency_key_reused")
    one = f"compensations/{first.json()['reference']}"
    assert keyed(ada, f"{one}/steps/1/skip", WHY, key="skip").json()["state"] == "skipped"
    assert keyed(ada, f"{one}/steps/1/skip", WHY, key="skip").json()["state"] == "skipped"
    assert ada("post", f"{one}/steps/1/skip", WHY).status_code == 409
    assert AuditEntry.objects.filter(action="compensation.step_skipped").count() == 1


def test_the_lines_of_the_docs_propose_start_and_settle_one(committed, live_server, tmp_path):
    page = (DOCS / "compensation.md").read_text().partition("## Over REST")[2]
    make, act = re.findall(r"```sh\n(.*?)```", page, re.S)
    line = memory_connection("redis 2")
    found = failed_order("stock")
    saved(found.flow, BOOK.replace("connection: redis", f"connection: {line.name}"))
    Connection.objects.filter(pk=line.pk).update(options={"refuse": "releases"})
    environ = {**os.environ, "WAYBILL": live_server.url, "KEY": api_key(person("ada", Role.OPERATOR))}

    def paste(lines: str, **more: str) -> str:
        return subprocess.run(
            ["sh", "-ec", lines], env=environ | more, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    made = paste(make, LETTER=str(found.pk))
    run = Compensation.objects.get()
    assert (made.count('"dry_run":true'), run.ticket) == (1, "OPS-17")
    first, *rest = act.splitlines(keepends=True)
    assert "202 Accepted" in paste(first, RUN=run.reference)
    work_on(run.pk)
    told = paste("".join(rest), RUN=run.reference)
    assert '"state":"stuck"' in told
    assert '"state":"by_hand"' in told
