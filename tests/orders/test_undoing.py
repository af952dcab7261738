"""Steps of compensations over a connection that lives with an agent: ordered, sent there, and settled by its report, each once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from messages.catalog.connections import approve_connection, move_connection, withdraw_connection
from messages.compensation import ordering
from messages.compensation.execute import work_on
from messages.compensation.services import pause, resume, skip_step, start, stop
from messages.connectors.base import Published
from messages.models import Compensation, CompensationStep, Connection, Event, Flow, Plan, ReplayOrder
from messages.orders.services import Reported, hand_over, settle_report
from messages.orders.wire import Order
from messages.plans.stops import stop_replays
from tests.compensation.orders import failed_order, proposed, refund_of
from tests.compensation.runs import again, begun, now_of, passes, states, step
from tests.factories import ROOT, agent, environment
from tests.orders.test_services import agents_connection, ask, asked, ids, ordered, report
from tests.plans.test_plans_that_compensate import plan_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def line() -> Connection:
    made = agents_connection()
    Connection.objects.filter(pk=made.pk).update(agent_asked_at=datetime.now(UTC))
    return made


def settled(order: Order, result: Any = "confirmed") -> tuple[int, int, int]:
    told = settle_report(agent("harvester"), report(order, result))
    return told.marked, told.again, told.not_yours


def test_each_step_is_ordered_in_its_turn_sent_once_and_proved(line: Connection):
    run = begun("payment", "stock")
    work_on(run.pk)
    assert states(run) == {"stock": "waiting", "payment": "waiting"}  # no worker sends over it

    first = ordered()
    assert ids(first) == [str(step(run, "stock").idempotency_key)]
    assert first.items[0].message.destination == "releases"
    assert {header.name for header in first.items[0].message.headers} >= {"traceparent", "x-waybill-compensation"}
    assert ids(ordered()) == []
    assert states(run) == {"stock": "sending", "payment": "waiting"}
    assert settled(first) == (1, 0, 0)
    assert settled(first) == (0, 1, 0)
    second = ordered()
    assert second.items[0].message.destination == "refunds"
    assert settled(second) == (1, 0, 0)
    assert states(run) == {"stock": "done", "payment": "sent"}
    refund_of(run.dead_letter)
    passes(run, 1)
    work_on(run.pk)

    assert now_of(run).state == "compensated"
    ours = Event.objects.filter(system__name="waybill", message_uid=run.message_uid)
    assert sorted(one.attributes["compensation.step"] for one in ours) == ["payment", "stock"]


def test_the_same_question_gets_the_same_order_and_is_recorded_once(line: Connection):
    run = begun("stock")
    question = ask()
    assert ids(ordered(question)) == ids(ordered(question)) == [str(step(run, "stock").idempotency_key)]
    assert step(run, "stock").attempt == 1
    assert Event.objects.filter(system__name="waybill", message_uid=run.message_uid).count() == 1
    settled(ordered(question))
    assert ids(ordered(question)) == []
    assert ReplayOrder.objects.count() == 1


@pytest.mark.parametrize(
    ("result", "state"), [("refused", "failed"), ("unknown", "unknown"), ("unavailable", "waiting")]
)
def test_what_an_agent_says_leads_where_a_worker_s_word_does(line: Connection, result: str, state: str):
    run = begun("stock")
    settled(ordered(), result)
    assert states(run) == {"stock": state}
    work_on(run.pk)
    assert now_of(run).state == ("running" if state == "waiting" else "stuck")


def test_an_agent_that_dies_leaves_it_unknown_and_its_late_word_settles_it(line: Connection):
    run = begun("stock")
    order = ordered()
    passes(run, 3600)
    work_on(run.pk)
    assert (now_of(run).state, states(run)) == ("stuck", {"stock": "unknown"})
    assert settled(order) == (1, 0, 0)
    work_on(run.pk)
    assert now_of(run).state == "compensated"


def test_another_attempt_another_agent_and_a_key_that_is_none_settle_nothing(line: Connection):
    run = begun("stock")
    order = ordered()
    (item,) = order.items
    confirmed = Published(id="", result="confirmed", detail="")
    for who, key, attempt in (
        ("harvester", item.message.id, 2), ("another", item.message.id, 1), ("harvester", str(step(run, "stock").pk), 1),
    ):  # fmt: skip
        told = settle_report(agent(who), [Reported(pk=UUID(key), attempt=attempt, result=confirmed)])
        assert (told.marked, told.not_yours) == (0, 1)
    assert hand_over(agent("another"), ask()) != order
    assert states(run) == {"stock": "sending"}


def test_replays_go_first_and_nothing_goes_while_it_is_paused_stopped_or_not_approved(line: Connection):
    run = begun("stock")
    (replay,) = asked(1)
    assert ids(ordered()) == [str(replay.pk)]
    pause(run, by=ROOT)
    assert ids(ordered()) == []
    resume(now_of(run), by=ROOT)
    withdraw_connection(line, by=ROOT)
    assert "not approved" in str(hand_over(agent("harvester"), ask()))
    work_on(run.pk)
    assert "is not approved any more" in now_of(run).why
    approve_connection(line, by=ROOT)
    passes(run, 1)
    work_on(run.pk)
    assert now_of(run).state == "running"
    stop(now_of(run), by=ROOT, reason="the customer wants it")
    assert ids(ordered()) == []
    assert states(run) == {"stock": "waiting"}


def test_a_silent_agent_makes_it_stuck_and_it_goes_on_when_the_agent_asks_again(line: Connection):
    run = begun("stock")
    Connection.objects.update(agent_asked_at=datetime.now(UTC) - timedelta(minutes=11))
    work_on(run.pk)
    assert (now_of(run).state, "the agent harvester, which sends over redis, has not asked" in now_of(run).why) == ("stuck", True)  # fmt: skip
    assert ids(ordered()) == []
    passes(run, 1)
    work_on(run.pk)
    assert now_of(run).state == "running"
    assert len(ids(ordered())) == 1


def test_a_connection_that_moves_takes_its_steps_along(line: Connection):
    run = begun("stock")
    move_connection(line, agent=None, address="memory://moved", by=ROOT)
    approve_connection(line, by=ROOT)
    assert not isinstance(hand_over(agent("harvester"), ask()), Order)
    work_on(run.pk)
    assert states(run) == {"stock": "done"}


def test_two_questions_at_once_order_a_step_once(committed: None):
    line = agents_connection()
    Connection.objects.filter(pk=line.pk).update(agent_asked_at=datetime.now(UTC))
    run = proposed("stock")
    start(run, by=ROOT)
    barrier, orders = threading.Barrier(3), []

    def asks() -> None:
        barrier.wait()
        orders.append(ordered())
        database.close()

    threads = [threading.Thread(target=asks) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(order.items) for order in orders) == [0, 0, 1]
    assert CompensationStep.objects.get().attempt == 1
    assert Compensation.objects.get().state == "running"


def test_a_late_report_of_one_compensation_settles_nothing_of_the_next_one_of_the_same_event(line: Connection):
    first = begun("stock")
    order = ordered()
    passes(first, 3600)
    work_on(first.pk)
    skip_step(step(first, "stock"), by=ROOT, reason="nobody knows what became of it")
    work_on(first.pk)
    assert now_of(first).state == "partially_compensated"
    second = again(first.dead_letter)
    start(second, by=ROOT)
    now = ordered()
    assert ids(now) == ids(order)

    assert settled(order, "refused") == (0, 1, 0)
    assert (states(first), states(second)) == ({"stock": "skipped"}, {"stock": "sending"})
    assert settled(now) == (1, 0, 0)
    assert states(second) == {"stock": "done"}


def test_those_of_a_stopped_flow_or_a_paused_plan_keep_no_other_from_its_turn(
    line: Connection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ordering, "MOST_LOOKED_AT", 1)
    held, free = begun("stock"), begun("stock")
    first, last = sorted((held, free), key=lambda run: step(run, "stock").pk)
    plan = plan_of([failed_order("stock")])
    Compensation.objects.filter(pk=first.pk).update(plan=plan)
    for state in ("paused", "aborted"):
        Plan.objects.filter(pk=plan.pk).update(state=state)
        order = ordered()
        assert ids(order) == [str(step(last, "stock").idempotency_key)], state
        settled(order, "unavailable")
        passes(last, 3600)
    Plan.objects.filter(pk=plan.pk).update(state="running")
    stop_replays(environment(), now_of(first).flow, by=ROOT, reason="all stop")
    Compensation.objects.filter(pk=last.pk).update(flow=Flow.objects.exclude(pk=first.flow_id).first())
    assert ids(ordered()) == [str(step(last, "stock").idempotency_key)]


def test_a_report_takes_the_compensation_before_its_step_as_everybody_does(line: Connection):
    begun("stock")
    order = ordered()
    with CaptureQueriesContext(database) as queries:
        settled(order)
    locks = [one["sql"] for one in queries if "FOR NO KEY UPDATE" in one["sql"] or one["sql"].startswith("UPDATE")]
    assert ['FROM "messaging_compensation"' in locks[0], "FOR NO KEY UPDATE" in locks[0]] == [True, True], locks[0]
