"""Which list decides an occurrence of a check: one that comes late, again or refused, and where no worker has looked for days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from console.core.errors import Invalid
from messages.models import Reconciliation, ReconciliationCheck
from messages.reconcile import services
from messages.reconcile.check_services import receive_list_of_check
from messages.reconcile.checking import run_checks
from messages.reconcile.evaluating import reconcile
from messages.reconcile.lists import ListReader
from tests.services.reconciling import message, operator
from tests.services.test_reconcile_checks import check, on_due, subjects

pytestmark = pytest.mark.django_db


def test_a_list_that_did_not_come_is_told_each_time():
    one = check()
    assert run_checks() == 0  # not due yet

    assert (on_due(one), on_due(one)) == (1, 1)

    assert (one.state, one.problem[:20]) == ("raised", "no list had come by ")
    assert len(subjects()) == 2
    assert subjects()[0].startswith("[production] every order: no list had come by")


def test_a_list_that_came_is_compared_again_when_it_is_due_and_what_is_missing_is_told():
    one = check()
    message("1")
    received = receive_list_of_check(one, [b"1\n2\n"], by=operator())
    reconcile()
    received.refresh_from_db()
    assert (received.of_check_id, received.until, received.never) == (one.pk, one.due_at, 1)
    message("2")  # late, but before it is due

    assert on_due(one) == 1

    assert (one.state, one.problem, subjects()) == ("calm", "", [])
    received.refresh_from_db()
    assert (received.never, received.processed) == (0, 2)


def test_where_a_newer_list_is_refused_while_the_check_waits_that_of_before_is_compared_at_that_time():
    one = check()
    received = receive_list_of_check(one, [b"1\n"], by=operator())
    reconcile()
    upload = services._open_upload(received)
    one.refresh_from_db()
    with time_machine.travel(one.due_at + timedelta(minutes=1), tick=True):
        assert run_checks() == 0  # it waits for the newer list
        message("1")
        services._fail_upload(received.pk, upload, ListReader(key_name="order_no"), Invalid("it was cut"))

    assert on_due(one, minutes=2, work=False) == 0
    assert on_due(one, minutes=3) == 1
    assert (one.state, one.problem) == ("calm", "")


def test_a_list_that_comes_late_decides_the_day_that_was_decided_without_it():
    one = check()
    assert on_due(one) == 1
    missed = one.due_at - timedelta(days=1)
    assert one.problem.startswith("no list had come")
    message("1", at=missed - timedelta(hours=3))

    with time_machine.travel(missed + timedelta(minutes=5), tick=True):
        received = receive_list_of_check(one, [b"1\n"], by=operator())
        reconcile()
        decided = run_checks()
    one.refresh_from_db()

    assert (received.until, decided, one.state, one.due_at) == (missed, 1, "calm", missed + timedelta(days=1))
    assert subjects()[1].endswith("every key of the list was processed")
    with time_machine.travel(missed + timedelta(minutes=10), tick=True):
        assert receive_list_of_check(one, [b"1\n"], by=operator()).until == one.due_at  # that day has its list


def test_a_list_that_comes_hours_late_is_waited_for_and_one_nearer_to_the_next_time_is_of_that():
    one = check()
    on_due(one)
    missed = one.due_at - timedelta(days=1)

    with time_machine.travel(missed + timedelta(hours=5), tick=True):
        receive_list_of_check(one, [b"1\n"], by=operator())
        assert run_checks() == 0  # not compared yet: no verdict
        reconcile()
    with time_machine.travel(missed + timedelta(hours=6), tick=True):
        assert run_checks() == 1
    one.refresh_from_db()
    assert (one.state, one.problem) == ("raised", "1 of 1 keys never seen")
    assert [subject.rpartition(": ")[2] for subject in subjects()][1:] == ["1 of 1 keys never seen"]
    with time_machine.travel(missed + timedelta(hours=7), tick=True):
        assert receive_list_of_check(one, [b"2\n"], by=operator()).until == missed  # corrected
        reconcile()
        run_checks()
    one.refresh_from_db()

    assert on_due(one) == 1  # without a list again
    with time_machine.travel(one.due_at - timedelta(hours=11), tick=True):
        assert receive_list_of_check(one, [b"1\n"], by=operator()).until == one.due_at


def test_a_list_that_decided_one_day_does_not_stand_for_that_of_the_next():
    one = check(hours=48)  # the period of the next day has the list of this one in it
    message("1")
    receive_list_of_check(one, [b"1\n"], by=operator())
    assert on_due(one) == 1
    assert one.state == "calm"

    assert on_due(one) == 1

    assert (one.state, one.problem[:20]) == ("raised", "no list had come by ")


def come_back(one: ReconciliationCheck, **later: float) -> None:
    """The worker is there again, so long after the check was due first, and looks and compares until nothing is due."""
    with time_machine.travel(one.due_at + timedelta(**later), tick=True):
        for _ in range(6):
            run_checks()
            reconcile()
            ReconciliationCheck.objects.filter(waiting_for__isnull=False).update(next_look_at=datetime.now(UTC))
    one.refresh_from_db()


def test_after_days_without_a_worker_each_occurrence_is_decided_in_turn_by_its_own_list():
    one = check()
    first, day = one.due_at, timedelta(days=1)
    message("1", at=first - timedelta(hours=3)), message("2", at=first + day - timedelta(hours=3))
    receive_list_of_check(one, [b"1\n"], by=operator())
    reconcile()
    with time_machine.travel(first + timedelta(hours=2), tick=True):
        assert receive_list_of_check(one, [b"2\n9\n"], by=operator()).until == first + day

    come_back(one, hours=51)

    said = [subject.rpartition("every order: ")[2] for subject in subjects()]
    assert said == ["1 of 2 keys never seen", f"no list had come by {first:%H:%M} UTC"]
    assert [(row.until, row.listed, row.never) for row in Reconciliation.objects.order_by("until")] == [
        (first, 1, 0),
        (first + day, 2, 1),
    ]
    assert (one.state, one.due_at) == ("raised", first + 3 * day)
    assert run_checks() == 0


@pytest.mark.parametrize(("hours", "days"), [(1, 0), (11, 0), (13, 1), (25, 1)])
def test_a_list_that_comes_while_nobody_has_looked_is_late_for_a_time_without_one_or_of_the_next(hours: int, days: int):
    one = check()
    first = one.due_at

    with time_machine.travel(first + timedelta(hours=hours), tick=True):
        received = receive_list_of_check(one, [b"1\n"], by=operator())
    assert received.until == first + timedelta(days=days)
    with time_machine.travel(first + timedelta(hours=hours, minutes=5), tick=True):  # corrected
        assert receive_list_of_check(one, [b"2\n"], by=operator()).until == received.until


def test_a_list_sent_again_takes_the_place_of_the_first_of_that_day():
    one = check()
    first = receive_list_of_check(one, [b"1\n"], by=operator())
    reconcile()
    second = receive_list_of_check(one, [b"1\n2\n"], by=operator())

    assert first.pk == second.pk
    assert Reconciliation.objects.count() == 1
