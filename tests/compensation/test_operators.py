"""Two operators and two workers at once, with real threads and real transactions: one of two is told, nothing leaves twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection

from console.core.errors import ConsoleError
from messages.compensation.execute import advance, work_on, work_on_all
from messages.compensation.proposing import propose, target_of_letter
from messages.compensation.seats import Seats, seated
from messages.compensation.services import mark_step, pause, retry_step, skip_step, start, stop
from messages.models import Compensation, Connection
from tests.compensation.orders import failed_order, proposed, saved
from tests.compensation.runs import again, begun, now_of, passes, sent, states, step
from tests.factories import ROOT, memory_connection
from tests.product import wait_until

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def line(committed: None) -> Connection:
    return memory_connection()


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Do these in threads that begin together; return what each returned, or the refusal."""
    barrier, results = threading.Barrier(len(acts)), [None] * len(acts)

    def do(at: int, act: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            results[at] = act()
        except ConsoleError as refusal:
            results[at] = refusal
        finally:
            connection.close()

    threads = [threading.Thread(target=do, args=pair) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def refused(results: list[Any]) -> int:
    return sum(isinstance(one, ConsoleError) for one in results)


def test_of_two_who_propose_start_or_decide_at_once_one_is_told(line: Connection):
    letter = failed_order("stock")
    saved(letter.flow)
    assert refused(at_once(*[lambda: propose(target_of_letter(letter), by=ROOT, reason="x")] * 2)) == 1
    run = Compensation.objects.get()
    assert refused(at_once(*[lambda: start(now_of(run), by=ROOT)] * 2)) == 1
    advance(run.pk)
    passes(run, 3600)
    work_on(run.pk)
    assert states(run) == {"stock": "unknown"}
    acts = [(act, step(run, "stock")) for act in (retry_step, skip_step, mark_step)]  # each as its own page showed it
    results = at_once(*[lambda act=act, lost=lost: act(lost, by=ROOT, reason=act.__name__) for act, lost in acts])
    assert refused(results) == 2
    assert step(run, "stock").state in ("waiting", "skipped", "by_hand")


def test_many_workers_at_once_send_each_step_once(line: Connection):
    runs = [begun("payment", "stock") for _ in range(3)]
    at_once(*[work_on_all] * 3, *[lambda run=run: work_on(run.pk) for run in runs])
    work_on_all()
    for run in runs:
        passes(run, 0)
        work_on(run.pk)
    assert (sent(line, "releases"), sent(line, "refunds")) == (3, 3)
    assert [states(run) for run in runs] == [{"stock": "done", "payment": "sent"}] * 3


def test_a_pause_and_a_stop_beside_a_worker_leave_true_rows(line: Connection):
    for act in (lambda run: pause(run, by=ROOT), lambda run: stop(run, by=ROOT, reason="x")):
        run = begun("payment", "stock")
        at_once(lambda run=run: work_on(run.pk), lambda run=run, act=act: act(now_of(run)))
        work_on(run.pk)
        of_steps = states(run)
        assert "sending" not in of_steps.values()
        letter = now_of(run).dead_letter
        assert letter.state == ("open" if now_of(run).state == "stopped" else "compensating")


def test_a_step_done_by_hand_in_one_compensation_while_another_claims_it_takes_effect_once(line: Connection):
    first = begun("stock")
    two = proposed("stock")
    two.steps.update(idempotency_key=step(first, "stock").idempotency_key)
    results = at_once(lambda: work_on(first.pk), lambda: mark_step(step(two, "stock"), by=ROOT, reason="by hand"))
    assert refused(results) + (now_of(first).state == "stuck") == 1


def test_one_worker_at_a_time_sends_over_a_connection_and_others_do_not_wait_for_it(line: Connection):
    runs = [begun("stock"), begun("stock")]
    holding, done = threading.Event(), threading.Event()

    def sends_slowly() -> None:
        with seated() as seats:
            assert seats.take(line.pk)
            holding.set()
            done.wait(30)
        connection.close()

    slow = threading.Thread(target=sends_slowly)
    slow.start()
    holding.wait(30)

    assert work_on_all() == 0
    assert [states(run) for run in runs] == [{"stock": "waiting"}] * 2
    assert not Seats().take(memory_connection("another").pk)  # nor over another: a worker is left for replays

    done.set()
    slow.join()
    Compensation.objects.update(due_at=datetime.now(UTC))
    assert work_on_all() == 2


def test_who_dies_leaves_its_seat(line: Connection):
    taken: list[bool] = []

    def dies() -> None:
        taken.append(Seats().take(line.pk))
        connection.close()

    thread = threading.Thread(target=dies)
    thread.start()
    thread.join()

    assert taken == [True]
    with seated() as seats:  # PostgreSQL sees the closed line within moments
        wait_until(lambda: seats.take(line.pk), seconds=30, what="the seat")


def test_a_stopped_one_and_the_next_of_the_same_letter_do_not_open_it_for_each_other(line: Connection):
    run = begun("stock")
    stop(run, by=ROOT, reason="x")
    other = again(now_of(run).dead_letter)
    at_once(lambda: start(now_of(other), by=ROOT), lambda: advance(run.pk), lambda: advance(run.pk))
    advance(run.pk)
    assert now_of(other).dead_letter.state == "compensating"
