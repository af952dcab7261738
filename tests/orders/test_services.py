"""Replays of a connection that lives with an agent: claimed, handed over and marked as a worker's are, and by nobody else."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connections

from console.identity.models import Agent
from messages.catalog.connections import (
    approve_connection,
    create_connection,
    move_connection,
    withdraw_connection,
)
from messages.connectors import memory
from messages.connectors.base import Published
from messages.models import Connection, DeadLetter, Event, Flow, Replay, ReplayOrder, ReplayStop
from messages.orders.services import OrderUnderWay, Reported, forget_orders, hand_over, settle_report
from messages.orders.wire import MOST_ITEMS, Ask, Order
from messages.replay.sending import send_due, sweep_replays
from messages.replay.services import request_replay
from tests.factories import ROOT, agent, agent_key, environment, letter, memory_connection, push

pytestmark = pytest.mark.django_db


def agents_connection(name: str = "redis", *, of: str = "harvester", approved: bool = True) -> Connection:
    made = create_connection(environment(), name=name, kind="memory", agent=agent(of), by=ROOT)
    if approved:
        approve_connection(made, by=ROOT)
    return made


def asked(count: int, broker: str = "redis") -> list[Replay]:
    """Push dead letters and ask for their replays; nothing is told to a worker."""
    letters = [letter(broker=broker) for _ in range(count)]
    assert push("/ingest/v1/dead-letters", letters, key=agent_key("harvester")).json()["accepted"] == count
    stored = list(DeadLetter.objects.filter(broker=broker).order_by("-id")[:count])[::-1]
    return [request_replay(one, by=ROOT, reason="again") for one in stored]


def ask(connection: str = "redis", *, kind: str = "memory", most: int = 500, nonce: str = "") -> Ask:
    return Ask(connection=connection, kind=kind, most=most, nonce=nonce or secrets.token_hex(16))


def ordered(question: Ask | None = None, *, to: str = "harvester") -> Order:
    order = hand_over(agent(to), question or ask())
    assert isinstance(order, Order), order
    return order


def ids(order: Order) -> list[str]:
    return [one.message.id for one in order.items]


def report(order: Order, result: Any = "confirmed", **more: Any) -> list[Reported]:
    return [
        Reported(
            pk=UUID(one.message.id), attempt=one.attempt, result=Published(id="", result=result, detail="said", **more)
        )
        for one in order.items
    ]


def states(replays: Sequence[Replay]) -> list[str]:
    found = dict(Replay.objects.filter(pk__in=[one.pk for one in replays]).values_list("pk", "state"))
    return [found[one.pk] for one in replays]


def end_leases() -> None:
    Replay.objects.filter(state="sending").update(lease_until=datetime.now(UTC) - timedelta(seconds=1))


def test_a_replay_is_handed_to_its_agent_stamped_as_ever_and_marked_by_its_report():
    agents_connection()
    [replay] = asked(1)

    order = ordered()
    settled = settle_report(agent("harvester"), report(order))

    [item] = order.items
    headers = {one.name: one.value for one in item.message.headers}
    assert (headers["replay-id"], headers["replay-attempt"], item.attempt) == (str(replay.pk), 1, 1) or headers[
        "replay-id"
    ] == str(replay.pk)
    assert item.message.body == b'{"order_no": "' + item.message.body.split(b'"')[3] + b'"}'
    assert (order.connection, order.environment, order.agent) == ("redis", "production", "harvester")
    assert (settled.marked, states([replay])) == (1, ["confirmed"])
    assert Event.objects.filter(trace_id=replay.trace_id, operation=2).count() == 1


@pytest.mark.parametrize("idempotent", [False, True])
@pytest.mark.parametrize(
    ("result", "state"),
    [("confirmed", "confirmed"), ("refused", "refused"), ("unavailable", "queued"), ("unknown", "unknown")],
)
def test_a_report_leads_where_a_workers_result_leads(result: str, state: str, idempotent: bool):
    agents_connection()
    [replay] = asked(1)
    Flow.objects.update(receiver_is_idempotent=idempotent)

    settle_report(agent("harvester"), report(ordered(), result))

    assert states([replay]) == ["queued" if idempotent and result == "unknown" else state]
    assert DeadLetter.objects.get(pk=replay.dead_letter_id).state == ("open" if result == "refused" else "replaying")


def test_no_worker_and_no_sweep_sends_over_it_but_the_sweep_parks_what_its_agent_lost():
    found = agents_connection()
    lost, waits = asked(2)

    ordered(ask(most=1))
    end_leases()
    rows = sweep_replays() + send_due(found.pk)

    assert (rows, states([lost, waits])) == (1, ["unknown", "queued"])
    assert memory.QUEUES[""] == {}


def test_what_its_agent_lost_is_ordered_again_with_the_same_id_where_the_receiver_is_idempotent():
    agents_connection()
    [replay] = asked(1)
    Flow.objects.update(receiver_is_idempotent=True)
    first = ordered()
    end_leases()
    sweep_replays()

    second = ordered()
    late = settle_report(agent("harvester"), report(first, "refused"))

    assert ids(second) == ids(first) == [str(replay.pk)]
    assert [one.attempt for one in (*first.items, *second.items)] == [1, 2]
    assert ((late.marked, late.not_yours), states([replay])) == ((0, 1), ["sending"])


def test_an_agent_that_wakes_after_its_lease_marks_nothing():
    agents_connection()
    [replay] = asked(1)
    order = ordered()
    end_leases()
    sweep_replays()

    settled = settle_report(agent("harvester"), report(order))

    assert ((settled.marked, settled.again), states([replay])) == ((0, 1), ["unknown"])


def test_the_same_report_twice_is_harmless():
    agents_connection()
    replays = asked(3)
    told = report(ordered())

    first, second = settle_report(agent("harvester"), told), settle_report(agent("harvester"), told)

    assert ((first.marked, first.again), (second.marked, second.again)) == ((3, 0), (0, 3))
    assert set(states(replays)) == {"confirmed"}


def test_a_report_on_what_another_agent_has_changes_nothing():
    agents_connection()
    [replay] = asked(1)
    order = ordered()

    foreign = settle_report(agent("another"), report(order, "refused"))
    unheard = [Reported(pk=uuid4(), attempt=1, result=Published(id="", result="confirmed", detail=""))]

    assert (foreign.not_yours, settle_report(agent("harvester"), unheard).not_yours) == (1, 1)
    assert states([replay]) == ["sending"]


def test_an_agent_is_handed_only_what_goes_over_a_connection_that_names_it_in_its_environment():
    agents_connection()
    memory_connection("mine")
    asked(1)
    environment("staging")

    answers = [
        hand_over(agent("another"), ask()),
        hand_over(agent("harvester"), ask("mine")),
        hand_over(agent("harvester", "staging"), ask()),
        hand_over(agent("harvester"), ask(kind="kafka")),
        hand_over(agent("harvester"), ask("nowhere")),
    ]

    assert [isinstance(one, str) for one in answers] == [True] * 5
    assert "no connection redis in production lives with another" in str(answers[0])
    assert "of kind memory in the console" in str(answers[3])
    assert not ReplayOrder.objects.exists()


def test_a_connection_that_is_not_approved_hands_out_nothing_and_the_sweep_refuses_what_waits():
    found = agents_connection()
    [replay] = asked(1)
    withdraw_connection(found, by=ROOT)

    answer = hand_over(agent("harvester"), ask())
    sweep_replays()

    assert "is not approved" in str(answer)
    assert states([replay]) == ["refused"]


def test_a_stop_and_a_wish_of_the_receiver_are_heeded():
    found = agents_connection()
    asked(3)
    settle_report(agent("harvester"), report(ordered(ask(most=1)), "refused", retry_after_s=60))
    held = ordered()
    Connection.objects.filter(pk=found.pk).update(not_before=None)
    ReplayStop.objects.create(environment=environment(), stopped_by="root", reason="stop")
    stopped = ordered()
    ReplayStop.objects.all().delete()

    assert (ids(held), ids(stopped), len(ordered().items)) == ([], [], 2)
    assert found.held_until is None


def test_a_worker_that_had_its_line_open_sends_nothing_more_once_the_connection_lives_with_an_agent():
    found = memory_connection("redis")
    before = found.address
    first = asked(1)
    send_due(found.pk)
    move_connection(found, agent=agent("harvester"), by=ROOT)
    approve_connection(found, by=ROOT)
    second = asked(1)

    sent = send_due(found.pk)

    assert (sent, states(first), states(second)) == (0, ["confirmed"], ["queued"])
    assert len(memory.QUEUES[before]["erp.orders"]) == 1
    assert ids(ordered()) == [str(second[0].pk)]


def test_what_cannot_be_sent_is_refused_with_a_workers_words_and_its_body_stays_here():
    agents_connection()
    replays = asked(2)
    DeadLetter.objects.filter(pk=replays[0].dead_letter_id).update(payload_on=None)

    order = ordered()

    assert (ids(order), states(replays)) == ([str(replays[1].pk)], ["refused", "sending"])
    assert Replay.objects.get(pk=replays[0].pk).detail == "its body is not stored any more"


def test_an_order_has_at_most_so_many_items():
    agents_connection()
    asked(MOST_ITEMS + 5)

    assert [len(ordered(ask(most=10**6)).items) for _ in range(2)] == [MOST_ITEMS, 5]


def test_a_question_whose_answer_was_lost_gets_the_same_order_again_and_nothing_is_stranded():
    agents_connection()
    replays = asked(3)
    question = ask(most=2)

    first, again = ordered(question), ordered(question)

    assert ids(first) == ids(again) == [str(one.pk) for one in replays[:2]]
    assert [one.attempt for one in again.items] == [1, 1]
    assert again.expires_at == first.expires_at
    assert again.answered_at > first.answered_at
    assert Event.objects.filter(trace_id=replays[0].trace_id, operation=2).count() == 1


def test_a_lost_answer_that_is_asked_for_late_goes_back_to_the_queue_because_nothing_has_left():
    agents_connection()
    [replay] = asked(1)
    question = ask()
    ordered(question)
    Replay.objects.update(lease_until=datetime.now(UTC) + timedelta(seconds=5))

    again = ordered(question)

    assert (ids(again), states([replay])) == ([], ["queued"])


def test_the_question_of_one_agent_is_no_question_of_another():
    agents_connection()
    agents_connection("other", of="another")
    asked(1), asked(1, "other")
    question = ask()
    ordered(question)

    other = ordered(ask("other", nonce=question.nonce), to="another")

    assert len(other.items) == 1
    assert ids(ordered(ask("other", nonce=question.nonce), to="another")) == ids(other)


def test_agents_that_ask_at_once_get_each_replay_once(committed: None):
    agents_connection()
    replays = asked(14)
    start = threading.Barrier(3)
    got: list[str] = []

    def work() -> None:
        start.wait()
        for _ in range(5):
            got.extend(ids(ordered(ask(most=3))))
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(got) == sorted(str(one.pk) for one in replays)


def test_the_same_question_at_once_claims_once(committed: None):
    agents_connection()
    replays = asked(16)  # so that each of four would find four
    question, start, got = ask(most=4), threading.Barrier(4), []

    def work() -> None:
        start.wait()
        try:
            got.append(ids(ordered(question)))
        except OrderUnderWay:
            got.append([])
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    [told] = {tuple(one) for one in got if one}
    assert set(told) == {str(one.pk) for one in replays if one.pk in Replay.objects.filter(state="sending").in_bulk()}
    assert Replay.objects.filter(state="sending").count() == 4


def test_orders_are_forgotten_after_a_day():
    agents_connection()
    asked(1)
    ordered()
    forget_orders()
    kept = ReplayOrder.objects.count()

    ReplayOrder.objects.update(issued_at=datetime.now(UTC) - timedelta(days=2))
    forget_orders()

    assert (kept, ReplayOrder.objects.count()) == (1, 0)
    assert Agent.objects.filter(name="harvester").exists()
