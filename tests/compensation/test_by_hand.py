"""What people do by hand, and what is held: the event of their work proves no other step, and nobody is asked to do what is held."""

from __future__ import annotations

from typing import Any

import pytest

from messages.compensation import sending
from messages.compensation.execute import work_on
from messages.compensation.services import look_again, mark_step, pause, skip_step, start
from messages.models import Compensation, CompensationStep, Connection
from messages.plans.stops import lift_stop, stop_replays
from tests.compensation.orders import BOOK, proposed
from tests.compensation.runs import now_of, passes, sent, states, told
from tests.factories import ROOT, memory_connection

pytestmark = pytest.mark.django_db
BY_HAND = BOOK.replace(
    "      message: {destination: refunds}\n      connection: redis\n      body: {order: \"{order}\", amount: \"{amount}\", payment: \"{payment}\"}\n",
    "      manual: {instructions: 'refund {amount}'}\n",
)  # fmt: skip


@pytest.fixture(autouse=True)
def line(db: None) -> Connection:
    return memory_connection()


def two_payments() -> Compensation:
    """A compensation of an order that was paid twice, which a person refunds."""
    run = proposed("payment", text=BY_HAND)
    told(run, "payment", "payments", message_id=f"second-{run.pk}", payload={"body": '{"amount": 5}'}, attributes={"payment.id": "2"})  # fmt: skip
    look_again(run, by=ROOT)
    start(now_of(run), by=ROOT)
    work_on(run.pk)
    return now_of(run)


def in_order(run: Compensation) -> list[CompensationStep]:
    return list(CompensationStep.objects.filter(compensation=run).select_related("compensation").order_by("ordinal"))


def test_the_event_of_what_was_done_by_hand_proves_no_other_step():
    run = two_payments()
    first, second = in_order(run)
    assert (first.state, second.state) == ("task", "waiting")
    mark_step(first, by=ROOT, reason="refunded at the bank")
    told(run, "payment", "refunds")
    passes(run, 1)
    work_on(run.pk)

    first, second = in_order(run)
    assert (first.state, second.state) == ("by_hand", "task")
    assert (first.proof_event_id is not None, first.detail) == (True, "refunded at the bank")
    told(run, "payment", "refunds", message_id="another")
    passes(run, 1)
    work_on(run.pk)
    assert (in_order(run)[1].state, now_of(run).state) == ("done", "compensated")


def test_nobody_is_asked_to_do_what_is_held():
    run = proposed("payment", text=BY_HAND)
    standing, _ = stop_replays(run.environment, None, by=ROOT, reason="all stop")
    start(run, by=ROOT)
    work_on(run.pk)
    assert states(run) == {"payment": "waiting"}
    lift_stop(standing, by=ROOT, reason="go on")
    work_on(run.pk)
    assert states(run) == {"payment": "task"}


def test_what_was_marked_before_its_turn_takes_the_event_before_a_task_that_still_waits():
    run = two_payments()
    _, second = in_order(run)
    mark_step(second, by=ROOT, reason="refunded at the bank")
    told(run, "payment", "refunds")
    passes(run, 1)
    work_on(run.pk)
    assert [one.state for one in in_order(run)] == ["task", "by_hand"]


def test_what_a_skipped_call_did_after_all_proves_no_other_step():
    run = proposed("payment")
    told(run, "payment", "payments", message_id=f"second-{run.pk}", payload={"body": '{"amount": 5}'}, attributes={"payment.id": "2"})  # fmt: skip
    look_again(run, by=ROOT)
    start(now_of(run), by=ROOT)
    work_on(run.pk)
    first, second = in_order(run)
    skip_step(first, by=ROOT, reason="it does not answer")
    work_on(run.pk)
    told(run, "payment", "refunds", trace_id=first.trace_id.hex)
    passes(run, 1)
    work_on(run.pk)
    assert [one.state for one in in_order(run)] == ["skipped", "sent"]
    told(run, "payment", "refunds", trace_id=second.trace_id.hex, message_id="its own")
    passes(run, 1)
    work_on(run.pk)
    assert ([one.state for one in in_order(run)], now_of(run).state) == (["skipped", "done"], "partially_compensated")


def test_a_pause_while_the_call_is_put_into_the_journey_lets_nothing_leave(
    line: Connection, monkeypatch: pytest.MonkeyPatch
):
    run = proposed("stock")
    start(run, by=ROOT)
    record = sending._record_send

    def slowly(*of: Any) -> None:
        record(*of)
        pause(now_of(run), by=ROOT)

    monkeypatch.setattr(sending, "_record_send", slowly)
    work_on(run.pk)
    assert (states(run), sent(line, "releases")) == ({"stock": "waiting"}, 0)
