"""One event is undone once, whatever the step is called: by another version of the book, or by the book of another flow."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from messages.compensation.execute import work_on
from messages.compensation.proposing import propose, target_of_letter
from messages.compensation.services import StepProblem, look_again, mark_step, skip_step, start, stop
from messages.models import Compensation, Connection
from tests.compensation.orders import BOOK, proposed, saved
from tests.compensation.runs import again, begun, now_of, passes, sent, states, step, told, worked_on
from tests.factories import ROOT, memory_connection

ANEW = BOOK.replace("name: stock", "name: reservation")


@pytest.fixture
def line(db: None) -> Connection:
    return memory_connection()


def named_anew(run: Compensation) -> Compensation:
    """The next compensation of the same letter, by a book in which the step has another name."""
    stop(now_of(run), by=ROOT, reason="the book was wrong")
    saved(run.flow, ANEW)
    return propose(target_of_letter(now_of(run).dead_letter), by=ROOT, reason="again")


def test_a_step_that_was_named_anew_is_not_undone_a_second_time(line: Connection):
    run = worked_on("payment", "stock")
    assert states(run) == {"stock": "done", "payment": "sent"}

    again = named_anew(run)
    problem = step(again, "reservation").problem
    assert f"C-{run.pk} undid the same event" in problem
    with pytest.raises(StepProblem, match="look there first"):
        start(again, by=ROOT)
    skip_step(step(again, "reservation"), by=ROOT, reason="C-1 did it")
    skip_step(step(again, "payment"), by=ROOT, reason="it waits for its proof there")
    start(now_of(again), by=ROOT)
    work_on(again.pk)

    assert sent(line, "releases") == 1
    assert now_of(again).state == "partially_compensated"


def test_a_step_that_was_never_sent_is_undone_under_its_new_name(line: Connection):
    run = proposed("stock")
    start(run, by=ROOT)
    again = named_anew(run)
    start(again, by=ROOT)
    work_on(again.pk)
    assert (states(again), sent(line, "releases")) == ({"reservation": "done"}, 1)


def test_one_that_began_meanwhile_makes_the_other_stuck_until_that_is_settled(line: Connection):
    first, second = begun("stock"), proposed("stock")
    second.steps.update(event_id=step(first, "stock").event_id, name="reservation")
    second.book = saved(second.flow, ANEW)
    second.state, second.begins_at, second.started_at = "running", first.begins_at, first.started_at
    second.save()
    work_on(first.pk)
    work_on(second.pk)

    assert (now_of(second).state, states(second), sent(line, "releases")) == ("stuck", {"reservation": "waiting"}, 1)
    assert first.reference in now_of(second).why
    passes(second, 1)
    work_on(second.pk)
    assert first.reference in now_of(second).why
    mark_step(step(second, "reservation"), by=ROOT, reason="the other one did it")
    work_on(second.pk)
    assert states(second) == {"reservation": "by_hand"}
    assert first.reference not in now_of(second).why


def test_of_two_at_once_under_two_names_one_is_sent(committed: None):
    line = memory_connection()
    first, second = begun("stock"), begun("stock")
    second.steps.update(event_id=step(first, "stock").event_id, name="reservation")
    second.book = saved(second.flow, ANEW)
    second.save()
    barrier = threading.Barrier(2)

    def works(run: Compensation) -> None:
        barrier.wait()
        work_on(run.pk)
        connection.close()

    threads = [threading.Thread(target=works, args=[run]) for run in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run in (first, second):
        passes(run, 0)
        work_on(run.pk)

    assert sent(line, "releases") == 1
    assert sorted(state for run in (first, second) for state in states(run).values()) == ["done", "waiting"]


@pytest.mark.parametrize("name", ["stock", "shelves"])
def test_what_was_undone_is_not_undone_again_when_the_book_recognises_it_by_another_event(line: Connection, name: str):
    first = worked_on("stock")
    number = first.keys["order_no"].partition("-")[2]
    told(first, "stock", "reservations", message_id=f"stock-{number}", operation="settle")
    saved(first.flow, BOOK.replace(
        "happened: {system: stock, destination: reservations}", "happened: {system: stock, operation: settle}",
    ).replace("name: stock", f"name: {name}"))  # fmt: skip
    second = again(first.dead_letter)
    assert f"{first.reference} undid this, or may have" in step(second, name).problem
    with pytest.raises(StepProblem):
        start(second, by=ROOT)

    told(first, "stock", "reservations", message_id=f"another-{number}", operation="settle")
    look_again(second, by=ROOT)
    assert sorted(bool(one.problem) for one in second.steps.all()) == [False, True]
