"""A compensation from the proposal to its end: what really happened is undone in reverse order, each step once and proved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from console.audit.models import AuditEntry
from console.identity.models import Role
from messages.compensation.execute import advance, work_on, work_on_all
from messages.compensation.proposing import AlreadyOpen, NoBook, NothingToUndo, propose, target_of_letter
from messages.compensation.services import (
    CompensationApproval,
    CompensationChanged,
    CompensationState,
    OwnCompensation,
    StepProblem,
    approve,
    look_again,
    mark_step,
    pause,
    resume,
    retry_step,
    skip_step,
    start,
    stop,
    undo_start,
)
from messages.connectors.memory import QUEUES
from messages.models import Compensation, CompensationStep, Connection, DeadLetter, Event, Flow, Message, MessageStatus
from messages.replay.services import request_replay
from tests.compensation.orders import BOOK, failed_order, proposed, refund_of, saved
from tests.factories import ROOT, actor, memory_connection, person

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def line(db: None) -> Connection:
    return memory_connection()


def now_of(run: Compensation) -> Compensation:
    return Compensation.objects.select_related("dead_letter", "flow__team").get(pk=run.pk)


def states(run: Compensation) -> dict[str, str]:
    return dict(run.steps.order_by("ordinal").values_list("name", "state"))


def step(run: Compensation, name: str) -> CompensationStep:
    return CompensationStep.objects.select_related("compensation__flow__team", "compensation__environment").get(
        compensation=run, name=name
    )


def sent(line: Connection, queue: str) -> list[bytes]:
    return [one.body for one in QUEUES[line.address][queue]]


def message_of(run: Compensation) -> Message:
    return Message.objects.get(id=run.message_uid)


def passes(run: Compensation, seconds: float) -> None:
    """So much time passes for the compensation and its steps."""
    then = timedelta(seconds=seconds)
    Compensation.objects.filter(pk=run.pk).update(looked_at=None, due_at=datetime.now(UTC))
    Connection.objects.update(undo_not_before=None)
    for one in run.steps.all():
        moved = {n: getattr(one, n) - then for n in ("lease_until", "not_before", "answered_at") if getattr(one, n)}
        CompensationStep.objects.filter(pk=one.pk).update(**moved)


def test_what_happened_is_undone_in_reverse_order_and_the_letter_closes_when_the_last_is_proved(line):
    run = proposed("payment", "stock")

    start(run, by=ROOT)
    work_on(run.pk)

    assert list(states(run).items()) == [("stock", "done"), ("payment", "sent")]
    assert sent(line, "releases") == [f"release {run.keys['order_no']}".encode()]
    assert sent(line, "refunds")[0].startswith(b'{"order":"4711-')
    assert b'"amount":1284.50' in sent(line, "refunds")[0]
    assert now_of(run).dead_letter.state == "compensating"

    refund_of(run.dead_letter)
    passes(run, 1)
    work_on(run.pk)

    ended = now_of(run)
    assert (ended.state, states(run)["payment"]) == ("compensated", "done")
    assert step(run, "payment").proof_event_id is not None
    assert (ended.dead_letter.state, ended.dead_letter.resolution) == ("closed", "compensated")
    assert message_of(run).status == MessageStatus.COMPENSATED
    assert AuditEntry.objects.filter(action="compensation.compensated", object_id=str(run.pk)).count() == 1


def test_the_journey_shows_the_calls_and_each_carries_the_key_of_its_step(line):
    run = proposed()
    start(run, by=ROOT)
    work_on(run.pk)

    ours = Event.objects.filter(system__name="waybill", message_uid=run.message_uid).order_by("occurred_at")
    assert [one.attributes["compensation.step"] for one in ours] == ["stock", "payment"]
    (refund,) = QUEUES[line.address]["refunds"]
    assert refund.id == str(step(run, "payment").idempotency_key)
    assert {"traceparent", "x-waybill-compensation"} <= {header.name for header in refund.headers}


def test_only_what_completed_is_listed_and_what_cannot_be_undone_makes_it_partial(line):
    run = proposed("stock", "mailer")
    assert list(states(run).items()) == [("mail", "irreversible"), ("stock", "waiting")]

    start(run, by=ROOT)
    work_on(run.pk)

    assert now_of(run).state == "partially_compensated"
    assert now_of(run).dead_letter.state == "open"
    assert message_of(run).status == MessageStatus.DEAD


def test_nothing_is_proposed_without_a_book_and_without_a_completed_step(line):
    found = failed_order("payment")
    with pytest.raises(NoBook):
        propose(target_of_letter(found), by=ROOT, reason="x")
    saved(found.flow, BOOK.replace("system: payment, destination: payments", "system: nobody"))
    with pytest.raises(NothingToUndo):
        propose(target_of_letter(found), by=ROOT, reason="x")
    assert Compensation.objects.count() == 0


def test_one_compensation_of_a_message_at_a_time_and_no_step_takes_effect_twice(line):
    run = proposed()
    with pytest.raises(AlreadyOpen, match=run.reference):
        propose(target_of_letter(run.dead_letter), by=ROOT, reason="again")
    start(run, by=ROOT)
    work_on(run.pk)
    stop(now_of(run), by=ROOT, reason="the rest by hand")

    again = propose(target_of_letter(now_of(run).dead_letter), by=ROOT, reason="again")

    assert [one["by"] for one in again.already] == [run.reference]
    assert "may have undone it" in step(again, "payment").problem
    with pytest.raises(StepProblem):
        start(again, by=ROOT)
    assert len(sent(line, "releases")) == len(sent(line, "refunds")) == 1


def test_a_refund_that_somebody_made_already_is_not_made_again(line):
    found = failed_order()
    saved(found.flow)
    refund_of(found)

    run = propose(target_of_letter(found), by=ROOT, reason="x")

    assert states(run) == {"stock": "waiting"}
    assert run.already[0]["step"] == "payment"
    assert run.already[0]["event"]


def test_a_step_that_fails_holds_the_others_until_a_person_decides(line):
    Connection.objects.filter(pk=line.pk).update(options={"refuse": "releases"})
    run = proposed("payment", "stock")
    start(run, by=ROOT)
    work_on(run.pk)

    stuck = now_of(run)
    assert (stuck.state, states(run)) == ("stuck", {"stock": "failed", "payment": "waiting"})
    assert "no queue takes it" in stuck.why
    assert "“release the articles of order” failed" in stuck.why
    told = [*AuditEntry.objects.values_list("reason", flat=True), *Event.objects.values_list("name", flat=True)]
    assert "undo: release the articles of order" in told
    assert not [words for words in told if "{" in words]

    mark_step(step(run, "stock"), by=ROOT, reason="released in the stock system by Kim")
    work_on(run.pk)
    refund_of(run.dead_letter)
    passes(run, 1)
    work_on(run.pk)
    assert (now_of(run).state, step(run, "stock").done_by) == ("compensated", "root")


def test_a_skipped_step_is_never_shown_as_done(line):
    Connection.objects.filter(pk=line.pk).update(options={"refuse": "releases"})
    run = proposed("stock")
    start(run, by=ROOT)
    work_on(run.pk)
    skip_step(step(run, "stock"), by=ROOT, reason="the articles are gone anyway")
    work_on(run.pk)

    assert now_of(run).state == "partially_compensated"


def test_continue_goes_past_a_failure_but_not_past_what_waits_for_it(line):
    Connection.objects.filter(pk=line.pk).update(options={"refuse": "releases"})
    run = proposed("payment", "stock", on_failure="continue")
    start(run, by=ROOT)
    work_on(run.pk)
    assert (now_of(run).state, states(run)) == ("running", {"stock": "failed", "payment": "sent"})
    refund_of(run.dead_letter)
    passes(run, 1)
    work_on(run.pk)
    assert (now_of(run).state, states(run)) == ("stuck", {"stock": "failed", "payment": "done"})

    waits = BOOK.replace("  - name: stock\n", "  - name: stock\n    after: []\n").replace(
        "  - name: payment\n", "  - name: payment\n    after: [stock]\n"
    )
    saved(run.flow, waits)
    other = proposed("payment", "stock", on_failure="continue")
    start(other, by=ROOT)
    work_on(other.pk)
    assert (now_of(other).state, states(other)) == ("stuck", {"stock": "failed", "payment": "waiting"})


def test_what_may_have_happened_is_unknown_unless_the_receiver_knows_the_key(line):
    Connection.objects.filter(pk=line.pk).update(options={"unknown": "releases"})
    run = proposed("stock")
    start(run, by=ROOT)
    work_on(run.pk)
    assert (now_of(run).state, states(run)) == ("stuck", {"stock": "unknown"})

    saved(
        run.flow,
        BOOK.replace('      body: "release {order}"\n', '      body: "release {order}"\n      repeatable: true\n'),
    )
    other = proposed("stock")
    start(other, by=ROOT)
    work_on(other.pk)
    assert (now_of(other).state, states(other)) == ("running", {"stock": "waiting"})


def test_a_worker_that_dies_between_sending_and_marking_leaves_unknown(line):
    run = proposed("stock")
    start(run, by=ROOT)
    claimed = advance(run.pk)
    assert claimed is not None
    assert states(run) == {"stock": "sending"}

    assert advance(run.pk) is None  # nobody else has it meanwhile
    passes(run, 3600)
    work_on(run.pk)

    assert (now_of(run).state, states(run)) == ("stuck", {"stock": "unknown"})
    retry_step(step(run, "stock"), by=ROOT, reason="the stock system has no trace of it")
    work_on(run.pk)
    assert now_of(run).state == "compensated"


def test_what_is_surely_not_sent_is_tried_again_later_and_then_given_up(line):
    Connection.objects.filter(pk=line.pk).update(options={"unavailable": "releases"})
    run = proposed("stock")
    start(run, by=ROOT)
    for _ in range(6):
        work_on(run.pk)
        passes(run, 3600)

    assert (now_of(run).state, states(run), step(run, "stock").tries) == ("stuck", {"stock": "failed"}, 4)


def test_a_proof_that_does_not_come_makes_it_stuck_and_one_that_comes_late_still_counts(line):
    run = proposed("payment")
    start(run, by=ROOT)
    work_on(run.pk)
    passes(run, 3600)
    work_on(run.pk)
    assert (now_of(run).state, states(run)) == ("stuck", {"payment": "sent"})

    refund_of(run.dead_letter)
    resume(now_of(run), by=ROOT, reason="it says so now")
    passes(run, 1)
    work_on(run.pk)
    assert now_of(run).state == "compensated"


def test_a_task_waits_for_a_person_with_its_name_and_its_time(line):
    text = BOOK.replace(
        '      message: {destination: releases}\n      connection: redis\n      body: "release {order}"\n',
        "      manual: {instructions: 'release {order} in the stock system', assignee: stock desk, due_minutes: 30}\n",
    )
    run = proposed("stock", text=text)
    start(run, by=ROOT)
    work_on(run.pk)

    task = step(run, "stock")
    assert (now_of(run).state, task.state, task.assignee) == ("running", "task", "stock desk")
    assert timedelta(minutes=29) < task.due_at - datetime.now(UTC) <= timedelta(minutes=30)
    mark_step(task, by=ROOT, reason="released")
    work_on(run.pk)
    assert now_of(run).state == "compensated"


def test_what_changed_since_it_was_shown_is_not_started(line):
    run = proposed("payment")
    number = run.keys["order_no"]
    other = failed_order("stock")
    Event.objects.filter(message_id=f"stock-{other.keys['order_no'].removeprefix('4711-')}").update(
        trace_id=run.dead_letter.trace_id, keys={"order_no": number}
    )

    with pytest.raises(CompensationChanged):
        start(run, by=ROOT)
    assert DeadLetter.objects.get(pk=run.dead_letter_id).state == "open"
    look_again(run, by=ROOT)
    assert set(states(run)) == {"payment", "stock"}
    start(now_of(run), by=ROOT)


def test_a_missing_input_is_said_in_words_and_never_sent(line):
    text = BOOK.replace("$.amount", "$.total")
    run = proposed("payment", text=text)
    assert step(run, "payment").problem == "amount: $.total leads to nothing"
    with pytest.raises(StepProblem, match="leads to nothing"):
        start(run, by=ROOT)
    mark_step(step(run, "payment"), by=ROOT, reason="refunded by phone")
    start(now_of(run), by=ROOT)
    work_on(run.pk)
    assert now_of(run).state == "compensated"
    assert sent(line, "refunds") == []


def test_a_second_person_approves_what_the_checksum_stands_for(line):
    mine, other = actor(person("mine", Role.OPERATOR)), actor(person("other", Role.OPERATOR))
    run = proposed(text="needs_approval: true\n" + BOOK, by=mine)
    with pytest.raises(CompensationApproval):
        start(run, by=mine)
    with pytest.raises(OwnCompensation):
        approve(run, by=mine, checksum=run.checksum)
    with pytest.raises(CompensationState):
        approve(run, by=other, checksum="another")
    approve(run, by=other, checksum=run.checksum)
    start(now_of(run), by=mine)
    assert now_of(run).state == "running"


def test_a_start_is_taken_back_before_it_begins_and_not_after(line):
    run = proposed("stock")
    start(run, by=ROOT, undo_s=10)
    assert work_on_all() == 0
    undo_start(now_of(run), by=ROOT)
    assert (now_of(run).state, now_of(run).dead_letter.state) == ("proposed", "open")

    start(now_of(run), by=ROOT)
    assert work_on_all() == 1
    with pytest.raises(CompensationState):
        undo_start(now_of(run), by=ROOT)


def test_paused_sends_nothing_and_a_stop_of_replays_holds_it_too(line):
    from messages.plans.stops import lift_stop, stop_replays

    run = proposed("stock")
    start(run, by=ROOT)
    pause(now_of(run), by=ROOT)
    assert work_on(run.pk) == 0
    standing, _ = stop_replays(run.environment, None, by=ROOT, reason="all stop")
    resume(now_of(run), by=ROOT)
    assert work_on(run.pk) == 0
    lift_stop(standing, by=ROOT, reason="go")
    assert work_on(run.pk) == 1


def test_a_letter_that_is_replayed_meanwhile_is_not_compensated(line):
    run = proposed("stock")
    request_replay(run.dead_letter, by=ROOT, reason="try")
    from messages.dead_letters.services import NotOpen

    with pytest.raises(NotOpen):
        start(run, by=ROOT)
    assert now_of(run).state == "proposed"


def test_who_does_not_operate_the_flow_does_nothing(line):
    from console.core.errors import Forbidden

    viewer = actor(person("viewer", Role.VIEWER))
    run = proposed("stock")
    Flow.objects.filter(pk=run.flow_id).update(team=None)
    for act in (
        lambda: start(run, by=viewer),
        lambda: stop(run, by=viewer, reason="x"),
        lambda: skip_step(step(run, "stock"), by=viewer, reason="x"),
    ):
        with pytest.raises(Forbidden):
            act()
