"""Steps that complete late, while a compensation is open and after it has ended: seen, asked about, never dropped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from console.audit.models import AuditEntry
from console.core.errors import Forbidden, Invalid
from console.identity.models import Role
from messages.compensation.execute import work_on, work_on_all
from messages.compensation.late import answer_late
from messages.compensation.proposing import propose, target_after
from messages.compensation.services import CompensationState, OwnCompensation, approve, pause, start
from messages.models import Compensation, Connection, Flow
from tests.compensation.orders import BOOK, proposed
from tests.compensation.runs import begun, now_of, passes, sent, states, step, told, worked_on
from tests.factories import ROOT, actor, memory_connection, person

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def line(db: None) -> Connection:
    return memory_connection()


def stock_completes(run: Compensation, at: datetime | None = None) -> None:
    told(run, "stock", "reservations", at=at, message_id=f"late-{run.pk}")


def pays(run: Compensation, at: datetime | None = None) -> None:
    told(run, "payment", "payments", at=at, message_id=f"late-payment-{run.pk}", payload={"body": '{"amount": 5}'},
         attributes={"payment.id": "late"})  # fmt: skip


def test_what_completes_while_it_runs_is_asked_about_and_added_it_is_undone_too(line):
    run = begun("payment")
    stock_completes(run)
    work_on(run.pk)
    passes(run, 1)
    work_on(run.pk)
    (late,) = now_of(run).late
    assert (late["step"], late["answer"]) == ("stock", "")
    assert AuditEntry.objects.filter(action="compensation.step_seen_late", object_id=str(run.pk)).count() == 1
    told(run, "payment", "refunds")
    passes(run, 1)
    work_on(run.pk)
    stuck = now_of(run)
    assert (stuck.state, states(run)) == ("stuck", {"payment": "done"})
    assert stuck.why == "stock reserved: that completed since the start. Say whether it is undone too"

    answer_late(stuck, 0, add=True, by=ROOT, reason="it must not stay reserved")
    work_on(run.pk)

    assert (now_of(run).state, states(run), sent(line, "releases")) == (
        "compensated",
        {"payment": "done", "stock": "done"},
        1,
    )
    assert AuditEntry.objects.get(action="compensation.late_step_added").reason == "it must not stay reserved"


def test_what_is_left_makes_the_whole_partial(line):
    run = begun("stock")
    pays(run)
    work_on(run.pk)
    assert now_of(run).state == "stuck"

    answer_late(now_of(run), 0, add=False, by=ROOT, reason="the customer keeps paying")
    work_on(run.pk)

    ended = now_of(run)
    assert (ended.state, ended.dead_letter.state) == ("partially_compensated", "open")
    assert ended.late[0] | {"seen_at": "", "at": "", "event": "", "key": ""} == {
        "step": "payment", "title": "payment taken", "event": "", "at": "", "key": "", "seen_at": "", "answer": "leave", "by": "root",
        "reason": "the customer keeps paying",
    }  # fmt: skip


def test_it_takes_its_place_in_the_order_before_what_it_comes_before_and_has_not_begun(line):
    run = begun("payment", "mailer")
    pause(run, by=ROOT)
    stock_completes(run)
    passes(run, 1)
    work_on(run.pk)
    answer_late(now_of(run), 0, add=True, by=ROOT, reason="x")

    assert list(states(run)) == ["mail", "stock", "payment"]
    assert now_of(run).state == "paused"


def test_one_that_happened_before_the_others_comes_after_them(line):
    run = begun("stock")
    pause(run, by=ROOT)
    pays(run, at=datetime.now(UTC) - timedelta(minutes=10))
    passes(run, 1)
    work_on(run.pk)
    answer_late(now_of(run), 0, add=True, by=ROOT, reason="x")

    assert list(states(run)) == ["stock", "payment"]


def test_one_answer_counts_and_only_of_who_may(line):
    run = begun("stock")
    pays(run)
    work_on(run.pk)
    Flow.objects.filter(pk=run.flow_id).update(team=None)
    with pytest.raises(Forbidden):
        answer_late(now_of(run), 0, add=False, by=actor(person("viewer", Role.VIEWER)), reason="x")
    with pytest.raises(Invalid):
        answer_late(now_of(run), 7, add=False, by=ROOT, reason="x")
    answer_late(now_of(run), 0, add=False, by=ROOT, reason="first")
    with pytest.raises(CompensationState, match="root answered already: first"):
        answer_late(now_of(run), 0, add=True, by=ROOT, reason="second")
    assert states(run).keys() == {"stock"}


def test_what_was_approved_by_two_takes_no_further_step_from_its_author(line):
    mine, other = actor(person("mine", Role.OPERATOR)), actor(person("other", Role.OPERATOR))
    run = proposed("stock", text="needs_approval: true\n" + BOOK, by=mine)
    approve(run, by=other, checksum=run.checksum)
    start(now_of(run), by=mine)
    pays(run)
    work_on(run.pk)
    with pytest.raises(OwnCompensation):
        answer_late(now_of(run), 0, add=True, by=mine, reason="x")
    answer_late(now_of(run), 0, add=True, by=other, reason="x")
    assert set(states(run)) == {"stock", "payment"}


def test_one_that_cannot_be_sent_is_there_as_failed_and_needs_a_person(line):
    run = begun("stock")
    told(run, "payment", "payments", message_id="without-amount", payload={"body": "{}"})
    work_on(run.pk)
    answer_late(now_of(run), 0, add=True, by=ROOT, reason="x")
    work_on(run.pk)

    assert (now_of(run).state, states(run)) == ("stuck", {"stock": "done", "payment": "failed"})
    assert "leads to nothing" in step(run, "payment").detail


def test_after_its_end_it_is_shown_and_another_compensation_undoes_it(line):
    run = worked_on("stock")
    assert run.state == "compensated"
    pays(run)
    passes(run, 1)
    work_on_all()
    ended = now_of(run)
    assert (ended.state, [one["step"] for one in ended.late]) == ("compensated", ["payment"])
    with pytest.raises(CompensationState, match="propose another"):
        answer_late(ended, 0, add=True, by=ROOT, reason="x")

    more = propose(target_after(ended), by=ROOT, reason="it was paid after all")
    start(more, by=ROOT)
    work_on(more.pk)

    assert [one["by"] for one in more.already] == [run.reference]
    assert (states(more), sent(line, "refunds"), sent(line, "releases")) == ({"payment": "sent"}, 1, 1)
    answer_late(ended, 0, add=False, by=ROOT, reason=f"{more.reference} undoes it")
    assert now_of(run).late[0]["answer"] == "leave"
