"""Approval against change, with real threads: what was approved is what is started, whoever was faster."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from django.db import IntegrityError, connection, transaction

from console.core.errors import ConsoleError
from console.identity.actor import SYSTEM
from console.identity.models import Role
from messages.models import DeadLetter, Flow, KeptAnswer, Plan
from messages.plans import services
from messages.plans.approvals import OwnPlan
from messages.plans.selection import Selection
from messages.plans.services import (
    ApprovalNeeded,
    approve_plan,
    create_plan,
    move,
    request_approval,
    seal_plan,
    start_plan,
)
from messages.replay.services import ReplayNotAllowed, request_replay
from tests.factories import ROOT, actor, agent_key, environment, letter, memory_connection, person, push
from tests.http.test_rest_administration import Caller
from tests.http.test_rest_plans import keyed
from tests.pages.people import signed_in

ROUNDS = 12


def asked_plan() -> Plan:
    """A plan that waits for a second person."""
    if not DeadLetter.objects.exists():
        memory_connection()
        push("/ingest/v1/dead-letters", [letter() for _ in range(2)], key=agent_key("harvester"))
        Flow.objects.update(approve_above=0)
    ids = list(DeadLetter.objects.values_list("pk", flat=True))
    Plan.objects.all().delete()
    plan = create_plan(Selection(source=Plan.Source.TICKED, ids=ids), environment=environment(), by=ROOT, reason="x")
    return request_approval(plan, by=ROOT)


def change(plan: Plan) -> None:
    """Send it elsewhere, as its author would: a change makes it a draft again, under a new checksum."""
    with transaction.atomic():
        now = move(plan, "change", by=ROOT)
        now.destination = "erp.orders.other"
        seal_plan(now)


def at_once(*acts) -> list[str]:
    """Run the acts at the same time; return the code of what refused each, "" for none."""
    together = threading.Barrier(len(acts))

    def run(act) -> str:
        together.wait(10)
        try:
            act()
        except (ConsoleError, IntegrityError) as refusal:
            return getattr(refusal, "code", "integrity")
        finally:
            connection.close()
        return ""

    with ThreadPoolExecutor(len(acts)) as pool:
        return [one.result(30) for one in [pool.submit(run, act) for act in acts]]


def test_an_approval_never_stands_for_what_was_changed_at_the_same_moment(committed):
    second = actor(person("erp-owner", Role.OPERATOR))
    for _ in range(ROUNDS):
        plan = asked_plan()
        seen, pk = plan.checksum, plan.pk
        refused = at_once(
            partial(approve_plan, plan, by=second, checksum=seen), lambda pk=pk: change(Plan.objects.get(pk=pk))
        )

        now = Plan.objects.get(pk=plan.pk)
        assert refused[1] == ""  # a change is possible before and after
        assert (now.state, now.checksum != seen) == ("draft", True)
        assert refused[0] in ("", "plan_state")
        with pytest.raises(ApprovalNeeded):
            start_plan(now, by=ROOT)


def test_a_start_never_begins_what_was_changed_at_the_same_moment(committed):
    second = actor(person("erp-owner", Role.OPERATOR))
    for _ in range(ROUNDS):
        plan = asked_plan()
        approved = approve_plan(plan, by=second, checksum=plan.checksum)
        seen = approved.checksum
        at_once(partial(start_plan, approved, by=ROOT), lambda pk=plan.pk: change(Plan.objects.get(pk=pk)))
        now = Plan.objects.get(pk=plan.pk)
        assert now.state in ("scheduled", "draft")
        assert (now.state == "scheduled") == (now.checksum == seen)


def test_without_the_guard_a_start_begins_what_nobody_approved(committed, monkeypatch):
    """The negative control: the change has happened between the look and the start."""
    second = actor(person("erp-owner", Role.OPERATOR))
    plan = asked_plan()
    approved = approve_plan(plan, by=second, checksum=plan.checksum)
    monkeypatch.setattr(services, "check_checksum", lambda plan: change(Plan.objects.get(pk=plan.pk)))
    with pytest.raises(services.PlanState):
        start_plan(approved, by=ROOT)
    unguarded = services.move
    monkeypatch.setattr(
        services, "move", lambda plan, happening, **said: unguarded(plan, happening, **(said | {"same": {}}))
    )
    start_plan(approved, by=ROOT)
    now = Plan.objects.get(pk=plan.pk)
    assert (now.state, now.checksum == now.approved_checksum) == ("scheduled", False)


def test_two_who_approve_at_once_are_told_apart(committed):
    people = [actor(person(name, Role.OPERATOR)) for name in ("one", "two")]
    plan = asked_plan()
    refused = at_once(*(lambda by=by: approve_plan(plan, by=by, checksum=plan.checksum) for by in people))
    assert sorted(refused) == ["", "plan_state"]
    assert Plan.objects.get(pk=plan.pk).approved_by in ("one", "two")


def test_two_requests_with_one_key_at_once_are_carried_out_once(committed):
    plan = asked_plan()
    ids = [str(one.pk) for one in DeadLetter.objects.all()]
    Plan.objects.all().delete()
    del plan
    ada = Caller("ada", Role.OPERATOR)
    body = {"environment": "production", "ids": ids, "reason": "erp is back"}
    answers = []
    at_once(*[lambda: answers.append(keyed(ada, "plans", body))] * 3)
    assert [one.status_code for one in answers] == [201] * 3
    assert {one.json()["reference"] for one in answers} == {f"P-{Plan.objects.get().pk}"}
    assert KeptAnswer.objects.count() == 1


@pytest.mark.django_db
def test_the_system_approves_nothing():
    plan = asked_plan()
    with pytest.raises(OwnPlan, match="a person approves a plan"):
        approve_plan(plan, by=SYSTEM, checksum=plan.checksum)


@pytest.mark.django_db
def test_where_every_plan_needs_a_second_person_nobody_replays_alone():
    asked_plan()
    one = DeadLetter.objects.first()

    with pytest.raises(ReplayNotAllowed, match="make a plan"):
        request_replay(one, by=ROOT, reason="quickly")

    assert one.replays.count() == 0


@pytest.mark.django_db
def test_more_than_a_flow_lets_one_person_send_are_not_replayed_by_ticking_them():
    memory_connection()
    push("/ingest/v1/dead-letters", [letter() for _ in range(3)], key=agent_key("harvester"))
    Flow.objects.update(approve_above=2)
    ids = list(DeadLetter.objects.values_list("pk", flat=True))
    client = signed_in()

    shown = client.get("/dead-letters/selected/", {"do": "replay", "id": ids}).content.decode()
    client.post("/dead-letters/selected/", {"do": "replay", "id": ids, "reason": "quickly"})
    assert "make a plan of them" in shown
    assert not DeadLetter.objects.exclude(state="open").exists()

    client.post("/dead-letters/selected/", {"do": "replay", "id": ids[:2], "reason": "two may go"})
    assert DeadLetter.objects.filter(state="replaying").count() == 2


@pytest.mark.django_db
def test_who_was_renamed_since_does_not_approve_their_own_plan():
    ada = person("ada", Role.OPERATOR)
    memory_connection()
    push("/ingest/v1/dead-letters", [letter()], key=agent_key("harvester"))
    ids = list(DeadLetter.objects.values_list("pk", flat=True))
    plan = create_plan(
        Selection(source=Plan.Source.TICKED, ids=ids), environment=environment(), by=actor(ada), reason="x"
    )
    request_approval(plan, by=actor(ada))
    ada.username = "countess"
    ada.save()

    with pytest.raises(OwnPlan):
        approve_plan(plan, by=actor(ada), checksum=plan.checksum)
