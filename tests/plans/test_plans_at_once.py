"""Several operators and workers at the same plan at once: real transactions, and the guards shown at work."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from console.audit.models import AuditEntry
from messages.connectors import memory
from messages.models import DeadLetter, Plan, Replay
from messages.plans import services
from messages.plans.advance import advance_plan, advance_plans
from messages.plans.queries import counts_of, total_of
from messages.plans.services import Options, end_plan, start_plan
from messages.replay.sending import send_due
from tests.factories import ROOT, memory_connection
from tests.plans.test_plans import letters, plan_of
from tests.services.test_groups_at_once import at_once

pytestmark = pytest.mark.usefixtures("committed")
AT_ONCE = Options(rate_per_s=None, waits_for="confirmed", steps=("100%",))


@pytest.fixture(autouse=True)
def nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker is told: these tests are the workers."""
    monkeypatch.setattr("messages.plans.services.tell_plan", lambda pk: None)
    monkeypatch.setattr("messages.plans.release.tell_worker", lambda pk: None)


def started_times(plan: Plan) -> int:
    return AuditEntry.objects.filter(action="plan.started", object_id=str(plan.pk)).count()


def started_by_two(monkeypatch: pytest.MonkeyPatch) -> tuple[Plan, list[Any]]:
    """Two press start; each has looked at the row before either writes."""
    memory_connection()
    plan = plan_of(letters(3))
    both, looked = threading.Barrier(2), services.check_checksum

    def look(one: Plan) -> None:
        looked(one)
        both.wait(20)

    monkeypatch.setattr(services, "check_checksum", look)
    return plan, at_once(*[lambda: start_plan(Plan.objects.get(pk=plan.pk), by=ROOT)] * 2)


def test_of_two_who_start_the_same_plan_one_is_told(monkeypatch: pytest.MonkeyPatch):
    plan, results = started_by_two(monkeypatch)

    assert sorted(type(one).__name__ for one in results) == ["Plan", "PlanState"]
    assert started_times(plan) == 1


def test_without_the_guard_it_would_be_started_twice(monkeypatch: pytest.MonkeyPatch):
    """The negative control: who only believes what was read before the lock."""
    monkeypatch.setattr(services, "next_state", lambda state, happening: "scheduled")

    plan, results = started_by_two(monkeypatch)

    assert [type(one) for one in results] == [Plan, Plan]
    assert started_times(plan) == 2


def test_two_overlapping_plans_and_many_workers_send_each_letter_once():
    line = memory_connection()
    chosen = letters(40)
    plans = [plan_of(chosen[:30], AT_ONCE), plan_of(chosen[10:], AT_ONCE)]
    for plan in plans:
        start_plan(plan, by=ROOT)

    def worker() -> None:
        for _ in range(4):
            for plan in plans:
                advance_plan(plan.pk)
            send_due(line.pk)  # which takes what nobody was handed

    at_once(*[worker] * 3)
    worker()

    assert sorted(Plan.objects.values_list("state", flat=True)) == ["finished", "finished"]
    assert len(memory.QUEUES[line.address]["erp.orders"]) == 40
    total = total_of(counts_of(plans[0])) + total_of(counts_of(plans[1]))
    assert total == {"confirmed": 40, "left_out": 20}


def test_a_stop_beside_those_who_release_and_send_leaves_nothing_between():
    line = memory_connection()
    plan = plan_of(letters(60), AT_ONCE)
    start_plan(plan, by=ROOT)

    def worker() -> None:
        for _ in range(3):
            advance_plan(plan.pk)
            send_due(line.pk)

    results = at_once(worker, worker, lambda: end_plan(Plan.objects.get(pk=plan.pk), by=ROOT))
    sent = send_due(line.pk)
    advance_plans()

    state = Plan.objects.get(pk=plan.pk).state
    counts = total_of(counts_of(plan))
    assert sent == 0
    assert state in ("stopped", "cancelled", "finished"), results
    assert counts.total() == 60
    assert set(counts) <= {"confirmed", "withdrawn", "waiting"}
    assert counts["confirmed"] == len(memory.QUEUES[line.address]["erp.orders"])
    assert DeadLetter.objects.filter(state="open").count() == 60 - counts["confirmed"]


def test_a_pause_holds_a_window_that_was_claimed_and_has_not_left(monkeypatch: pytest.MonkeyPatch):
    line = memory_connection()
    plan = plan_of(letters(5), AT_ONCE)
    start_plan(plan, by=ROOT)
    advance_plan(plan.pk)
    monkeypatch.setattr(
        "messages.replay.sending._record_sends",
        lambda window, **_: services.pause_plan(Plan.objects.get(pk=plan.pk), by=ROOT),
    )

    send_due(line.pk)

    assert set(Replay.objects.values_list("state", "sent_at")) == {("queued", None)}
    assert not memory.QUEUES[line.address]["erp.orders"]
