"""The engine of compensations attacked: lost claims, sleepers, proofs beside retries, a stop in between, other compensations, many runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from console.audit.models import AuditEntry
from messages.compensation import execute
from messages.compensation.execute import advance, work_on, work_on_all
from messages.compensation.proposing import propose, target_of_letter
from messages.compensation.sending import Answer, send_step
from messages.compensation.services import (
    StepProblem,
    mark_step,
    pause,
    resume,
    retry_step,
    skip_step,
    start,
    stop,
)
from messages.compensation.settling import settle
from messages.models import Compensation, CompensationStep, Connection, DeadLetter, Event
from tests.compensation.orders import BOOK, failed_order, proposed, refund_of, saved
from tests.compensation.runs import again, begun, now_of, passes, sent, states, step, told, worked_on
from tests.factories import ROOT, memory_connection

pytestmark = pytest.mark.django_db
DONE = Answer(kind="done", detail="kept")


@pytest.fixture(autouse=True)
def line(db: None) -> Connection:
    return memory_connection()


def letter_state(run: Compensation) -> str:
    return DeadLetter.objects.get(pk=run.dead_letter_id).state


# a stop, a pause and a sleeper in between ----------------------------------------------------------------------------


def test_of_what_is_stopped_while_a_worker_has_a_step_the_answer_is_written_and_then_the_letter_opens(line):
    run = begun("stock")
    claimed = advance(run.pk)
    stop(now_of(run), by=ROOT, reason="leave it")
    work_on(run.pk)
    assert (letter_state(run), states(run)) == ("compensating", {"stock": "sending"})

    settle(claimed.step, claimed.undo, DONE)
    work_on(run.pk)

    assert (now_of(run).state, letter_state(run), states(run)) == ("stopped", "open", {"stock": "done"})


def test_what_a_worker_lost_of_a_stopped_one_is_unknown_and_can_still_be_settled_by_a_person(line):
    run = begun("stock")
    advance(run.pk)
    stop(now_of(run), by=ROOT, reason="leave it")
    passes(run, 3600)
    work_on_all()
    assert (letter_state(run), states(run)) == ("open", {"stock": "unknown"})

    other = again(now_of(run).dead_letter)
    with pytest.raises(StepProblem, match=run.reference):
        mark_step(step(other, "stock"), by=ROOT, reason="x")
    with pytest.raises(Exception, match="its steps stay as they are"):
        retry_step(step(run, "stock"), by=ROOT, reason="x")
    skip_step(step(run, "stock"), by=ROOT, reason="the stock system knows nothing of it")
    stop(other, by=ROOT, reason="anew")

    assert step(again(now_of(run).dead_letter), "stock").problem == ""


@pytest.mark.parametrize("act", [pause, lambda run, **by: stop(run, reason="x", **by)])
def test_nothing_leaves_when_it_is_paused_or_stopped_between_the_claim_and_the_sending(line, act):
    run = begun("stock")
    claimed = advance(run.pk)
    act(now_of(run), by=ROOT)

    answer = send_step(claimed.run, claimed.step, claimed.undo)
    settle(claimed.step, claimed.undo, answer)

    assert (answer.kind, sent(line, "releases")) == ("withheld", 0)
    now = step(run, "stock")
    assert (now.state, now.tries, now.sent_at) == ("waiting", 0, None)


def test_a_worker_that_slept_since_its_claim_sends_nothing_beside_the_one_that_took_over(line):
    run = begun("stock")
    sleeper = advance(run.pk)
    passes(run, 3600)
    work_on(run.pk)
    retry_step(step(run, "stock"), by=ROOT, reason="it was not")
    work_on(run.pk)
    assert (now_of(run).state, sent(line, "releases")) == ("compensated", 1)

    settle(sleeper.step, sleeper.undo, send_step(sleeper.run, sleeper.step, sleeper.undo))

    assert (sent(line, "releases"), states(run)) == (1, {"stock": "done"})


def test_a_worker_that_comes_back_after_its_lease_tells_what_the_receiver_had_said_and_the_run_goes_on(line):
    run = begun("payment", "stock")
    claimed = advance(run.pk)
    passes(run, 3600)
    work_on(run.pk)
    assert (now_of(run).state, states(run)["stock"]) == ("stuck", "unknown")

    settle(claimed.step, claimed.undo, DONE)
    work_on(run.pk)

    assert (now_of(run).state, states(run)) == ("running", {"stock": "done", "payment": "sent"})


# proofs --------------------------------------------------------------------------------------------------------------


def test_a_proof_of_its_own_trace_counts_whatever_the_clock_says(line):
    run = worked_on("payment")
    own = step(run, "payment").trace_id.hex
    told(run, "payment", "refunds", at=datetime.now(UTC) - timedelta(hours=2), trace_id=own, keys={})

    work_on(run.pk)

    assert (now_of(run).state, step(run, "payment").proof_tie) == ("compensated", "trace")


def test_a_proof_is_found_by_a_link_to_the_call_and_of_no_other_calls_trace(line):
    run, other = worked_on("payment"), worked_on("payment")
    call = step(run, "payment")
    link = {"trace_id": call.trace_id.hex, "span_id": call.span_id}
    told(run, "payment", "refunds", trace_id="ab" * 16, span_id="cd" * 8, links=[link], keys={})

    work_on(run.pk)
    work_on(other.pk)

    assert (now_of(run).state, step(run, "payment").proof_tie) == ("compensated", "link")
    assert states(other) == {"payment": "sent"}


def test_an_unknown_step_that_is_retried_beside_its_proof_is_not_sent_again(line):
    run = begun("payment")
    claimed = advance(run.pk)
    send_step(claimed.run, claimed.step, claimed.undo)
    passes(run, 3600)
    work_on(run.pk)
    assert now_of(run).state == "stuck"
    told(run, "payment", "refunds", trace_id=claimed.step.trace_id.hex, keys={})
    retry_step(step(run, "payment"), by=ROOT, reason="I saw nothing")

    work_on(run.pk)

    assert (now_of(run).state, sent(line, "refunds")) == ("compensated", 1)


def test_a_proof_that_comes_late_lets_a_stuck_run_go_on_by_itself(line):
    run = worked_on("payment")
    passes(run, 3600)
    work_on(run.pk)
    assert now_of(run).state == "stuck"
    refund_of(run.dead_letter)
    passes(run, 1)

    work_on_all()

    assert now_of(run).state == "compensated"
    assert AuditEntry.objects.filter(action="compensation.resumed", object_id=str(run.pk), actor="system").exists()


def test_what_somebody_else_undoes_while_it_waits_is_not_undone_twice(line):
    run = begun("payment")
    refund_of(run.dead_letter)
    passes(run, 1)

    work_on(run.pk)

    assert (now_of(run).state, sent(line, "refunds")) == ("compensated", 0)
    assert step(run, "payment").detail == "undone by somebody else, proved by payment"


def test_a_refund_that_proved_one_payment_says_nothing_of_another_one(line):
    run = proposed("payment")
    told(run, "payment", "payments", at=datetime.now(UTC) - timedelta(minutes=2), message_id="second", payload={"body": '{"amount": 2}'},
         attributes={"payment.id": "second"})  # fmt: skip
    stop(run, by=ROOT, reason="there are two")
    run = again(run.dead_letter)
    start(run, by=ROOT)
    work_on(run.pk)
    first_undone = run.steps.get(state="sent")
    told(run, "payment", "refunds", trace_id=first_undone.trace_id.hex)
    pause(now_of(run), by=ROOT)
    passes(run, 1)
    work_on(run.pk)
    assert run.steps.get(pk=first_undone.pk).state == "done"
    stop(now_of(run), by=ROOT, reason="the rest later")

    rest = again(now_of(run).dead_letter)

    (left,) = rest.steps.all()
    assert (left.event_id, left.problem) == (run.steps.get(ordinal=2).event_id, "")


def test_an_earlier_event_of_the_same_happening_that_comes_late_makes_no_other_one_of_it(line):
    run = proposed("stock")
    before = step(run, "stock")
    told(
        run,
        "stock",
        "reservations",
        at=before.event_at - timedelta(seconds=5),
        message_id=Event.objects.get(id=before.event_id).message_id,
    )

    start(run, by=ROOT)
    work_on(run.pk)

    assert (now_of(run).state, sent(line, "releases"), now_of(run).late) == ("compensated", 1, [])
    assert step(run, "stock").idempotency_key == before.idempotency_key


# others --------------------------------------------------------------------------------------------------------------


def test_a_key_that_another_compensation_has_makes_it_stuck_with_words_and_it_goes_on_when_that_is_settled(line):
    run = worked_on("payment")
    other = failed_order("stock")
    two = propose(target_of_letter(other), by=ROOT, reason="x")
    CompensationStep.objects.filter(compensation=two).update(idempotency_key=step(run, "payment").idempotency_key)
    Compensation.objects.filter(pk=two.pk).update(
        state="running", begins_at=datetime.now(UTC), started_at=datetime.now(UTC)
    )

    work_on(two.pk)
    work_on(two.pk)

    stuck = now_of(two)
    assert (stuck.state, states(two), sent(line, "releases")) == ("stuck", {"stock": "waiting"}, 0)
    assert run.reference in stuck.why
    assert AuditEntry.objects.filter(action="compensation.stuck", object_id=str(two.pk)).count() == 1
    skip_step(step(run, "payment"), by=ROOT, reason="it was not")
    passes(two, 1)
    work_on(two.pk)
    assert states(two) == {"stock": "done"}


def test_a_connection_that_nobody_can_send_over_is_a_problem_of_the_proposal(line):
    saved(failed_order("stock").flow)
    Connection.objects.filter(pk=line.pk).update(approved_at=None, approved_by="")
    assert "is not approved" in step(proposed("stock"), "stock").problem
    Connection.objects.filter(pk=line.pk).update(kind="http", approved_at=datetime.now(UTC), approved_by="root")
    assert "say “http”" in step(proposed("stock"), "stock").problem


def test_after_trouble_other_compensations_leave_the_receiver_alone_and_replays_do_not(line):
    Connection.objects.filter(pk=line.pk).update(options={"unknown": "releases"})
    worked_on("stock")
    other = worked_on("stock")

    assert states(other) == {"stock": "waiting"}
    assert Connection.objects.get(pk=line.pk).held_until is None
    assert now_of(other).due_at > datetime.now(UTC) + timedelta(seconds=10)
    passes(other, 60)
    work_on(other.pk)
    assert states(other) == {"stock": "unknown"}


def test_a_receiver_that_asked_to_be_left_alone_is(line):
    run = begun("stock")
    Connection.objects.filter(pk=line.pk).update(not_before=datetime.now(UTC) + timedelta(minutes=5))
    assert work_on(run.pk) == 0
    Connection.objects.filter(pk=line.pk).update(not_before=None)
    assert work_on(run.pk) == 1


# many ----------------------------------------------------------------------------------------------------------------


def test_one_that_cannot_be_advanced_keeps_nobody_waiting(line, monkeypatch):
    bad, good = begun("stock"), begun("stock")
    Compensation.objects.filter(pk=bad.pk).update(due_at=datetime.now(UTC) - timedelta(hours=1))
    looked = execute.look_at

    def failing(run, *rest, **more):
        if run.pk == bad.pk:
            raise RuntimeError("its journey takes too long")
        return looked(run, *rest, **more)

    monkeypatch.setattr(execute, "look_at", failing)

    assert work_on_all() == 1
    assert states(good) == {"stock": "done"}
    assert now_of(bad).due_at > datetime.now(UTC)


def test_those_that_wait_for_people_are_looked_at_rarely_and_keep_no_place(line):
    text = BOOK.replace(
        '      message: {destination: releases}\n      connection: redis\n      body: "release {order}"\n',
        "      manual: {instructions: 'release {order}'}\n",
    )
    run = worked_on("stock", text=text)

    assert states(run) == {"stock": "task"}
    assert run.due_at > datetime.now(UTC) + timedelta(seconds=10)
    mark_step(step(run, "stock"), by=ROOT, reason="done")
    assert now_of(run).due_at <= datetime.now(UTC)  # a broker that is away does not matter
    work_on_all()
    assert now_of(run).state == "compensated"


def test_the_whole_journey_is_not_read_with_each_turn(line):
    run = worked_on("payment")
    Compensation.objects.filter(pk=run.pk).update(looked_at=datetime.now(UTC))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        work_on(run.pk)

    assert len(queries) < 25
    assert not [one for one in queries if "messaging_message" in one["sql"]]


def test_after_a_day_nobody_looks_at_it_any_more(line):
    run = worked_on("stock")
    assert run.due_at is not None
    Compensation.objects.filter(pk=run.pk).update(finished_at=datetime.now(UTC) - timedelta(days=2))
    work_on(run.pk)
    assert now_of(run).due_at is None


def test_a_journey_that_grew_too_large_still_ends_and_says_so(line, monkeypatch):
    from messages.compensation import looking
    from messages.compensation.journey import TooLarge

    run = begun("stock")

    def too_large(target, book):
        raise TooLarge("it has 50,000 events")

    monkeypatch.setattr(looking, "events_of", too_large)
    work_on(run.pk)
    assert (now_of(run).state, now_of(run).why) == (
        "partially_compensated",
        "its journey has grown too large to look for what completed late: look there yourself",
    )


def test_resume_of_what_still_needs_a_person_sticks_again(line):
    Connection.objects.filter(pk=line.pk).update(options={"refuse": "releases"})
    run = worked_on("stock")
    resume(run, by=ROOT)
    work_on(run.pk)
    assert now_of(run).state == "stuck"
