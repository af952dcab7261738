"""Reconciliations: counts that add up and are those of the rows, work that dies anywhere."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from console.audit.models import AuditEntry
from console.core.errors import Conflict, Invalid, NotFound
from messages.models import Message, MessageStatus, ReconciledKey, Reconciliation
from messages.reconcile import evaluating, services
from messages.reconcile.access import get_visible_reconciliation
from messages.reconcile.evaluating import claim, delete_rows, do_step, reconcile, sweep_leftovers, sweep_removed
from messages.reconcile.queries import every_key
from messages.reconcile.services import (
    cancel_reconciliation,
    compare_again,
    receive_list,
    remove_reconciliation,
)
from messages.reconcile.sets import SETS
from tests.services.reconciling import begun, compared, flow, keys_in, message, operator

pytestmark = pytest.mark.django_db
MOVING, DELIVERED, FAILED, DEAD = (
    MessageStatus.MOVING,
    MessageStatus.DELIVERED,
    MessageStatus.FAILED,
    MessageStatus.DEAD,
)


def rows_in(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM messaging_{table}")
        return int(cursor.fetchone()[0])


def test_what_a_compensation_undid_is_not_on_the_way():
    message("1", MessageStatus.COMPENSATED)
    message("2", MessageStatus.COMPENSATED)
    message("2", DELIVERED)

    one = compared("1\n2\n")

    assert (one.processed, one.failed, one.moving) == (1, 1, 0)


def test_each_key_is_in_the_set_that_its_messages_say():
    other = flow("invoices")
    message("1")
    message("2", FAILED)
    message("3", DEAD)
    message("4", MOVING)
    message("5", DELIVERED)
    message("5", DEAD)  # reached its receiver, and another copy did not
    message("6", FAILED)
    message("6", MOVING)
    message("8", of=other)
    message("9", at=datetime.now(UTC) - timedelta(hours=25))  # before the period
    message("10")
    message(None)
    message("", MOVING)
    message("1", key_name="customer_no")

    one = compared("1\n2\n3\n4\n5\n6\n7\n8\n9\n1\n1\n\na,b\n")

    assert {slug: keys_in(one, slug) for slug in SETS} == {
        "arrived": ["1", "5", "2", "3", "6", "4"],
        "processed": ["1", "5"],
        "failed": ["2", "3", "6"],
        "on-the-way": ["4"],
        "never-seen": ["7", "8", "9"],
        "twice": ["5", "6"],
        "repeated": ["1"],
        "not-on-the-list": ["10"],
    }
    assert (one.state, one.listed, one.arrived, one.never, one.twice, one.repeated, one.unlisted) == (
        "done",
        9,
        6,
        3,
        2,
        2,
        1,
    )
    assert (one.lines, one.bad_lines, one.blank_lines) == (12, 1, 1)
    assert one.bad == [
        {"line": 13, "why": "it has 2 values: a list of several columns needs a header that names the key"}
    ]
    assert (one.messages, one.without_key) == (12, 3)
    row = ReconciledKey.objects.get(reconciliation_id=one.pk, key="1")
    assert (row.listed, row.line, row.messages) == (3, 1, 1)


def test_a_message_whose_partition_is_another_day_than_its_first_event_is_seen():
    at = datetime.now(UTC) - timedelta(hours=1)
    message("1", at=at, on=at - timedelta(days=1))

    assert compared("1\n").processed == 1


class CountsAddUp(TestCase):
    @settings(max_examples=20)  # each compares a list: a second
    @given(
        messages=st.lists(
            st.tuples(st.sampled_from("abcdef"), st.sampled_from(list(MessageStatus)), st.integers(0, 3)), max_size=25
        ),
        listed=st.lists(st.sampled_from(["a", "b", "c", "g", "h", ""]), max_size=20),
    )
    def test_counts_are_those_of_the_rows(self, messages: list[tuple[str, MessageStatus, int]], listed: list[str]):
        now = datetime.now(UTC)
        for key, status, days in messages:
            message(key, status, at=now - timedelta(days=days, hours=1))
        text = "\n".join([*listed, "x,y"])
        try:
            one = compared(text, since=now - timedelta(days=2))
        except Invalid:
            assert not any(listed)
            return

        in_period = Message.objects.filter(flow=flow(), first_seen_at__gte=now - timedelta(days=2))
        seen: dict[str, list[int]] = {}
        for row in in_period:
            seen.setdefault(row.keys["order_no"], []).append(row.status)
        wanted = Counter(key for key in listed if key)
        processed = {key for key in wanted if DELIVERED in seen.get(key, [])}
        went_wrong = {FAILED, DEAD, MessageStatus.COMPENSATED}
        failed = {key for key in wanted if key in seen and key not in processed and went_wrong & set(seen[key])}
        moving = {key for key in wanted if key in seen} - processed - failed
        assert set(keys_in(one, "processed")) == processed
        assert set(keys_in(one, "failed")) == failed
        assert set(keys_in(one, "on-the-way")) == moving
        assert set(keys_in(one, "never-seen")) == set(wanted) - set(seen)
        assert set(keys_in(one, "not-on-the-list")) == set(seen) - set(wanted)
        assert set(keys_in(one, "twice")) == {key for key in wanted if len(seen.get(key, [])) > 1}
        assert set(keys_in(one, "repeated")) == {key for key, times in wanted.items() if times > 1}
        assert one.listed == len(wanted) == one.arrived + one.never
        assert one.arrived == one.processed + one.failed + one.moving == len(keys_in(one, "arrived"))
        assert one.lines == one.listed + one.repeated + one.bad_lines == len([key for key in listed if key]) + 1
        assert one.blank_lines == len([key for key in listed if not key])
        assert one.messages == in_period.count()
        assert sum(row.messages for row in every_key(one)) + one.without_key == one.messages


def test_comparing_again_sees_what_has_come_meanwhile():
    one = compared("1\n", until=datetime.now(UTC) + timedelta(hours=1))
    assert one.never == 1
    message("1")

    compare_again(one, by=operator())
    reconcile()

    one.refresh_from_db()
    assert (one.never, one.processed) == (0, 1)
    assert sweep_leftovers() == 1
    assert rows_in("reconciliation_seen") == 0


@pytest.mark.parametrize("steps", [0, 1, 3, 9])
def test_a_worker_that_dies_after_any_step_loses_nothing(steps: int):
    message("1")
    one = begun()
    receive_list(one, [b"1\n2\n"], by=operator())
    dead = claim()
    assert dead is not None
    for _ in range(min(steps, dead.steps - 1)):
        do_step(dead)

    assert reconcile() == 0  # it is leased
    with time_machine.travel(datetime.now(UTC) + services.STEP_LEASE + timedelta(seconds=1), tick=True):
        done = reconcile()

    one.refresh_from_db()
    assert (one.state, one.processed, one.never, one.messages) == ("done", 1, 1, 1)
    assert done == dead.steps - min(steps, dead.steps - 1)
    with pytest.raises(evaluating.Lost):  # the first wakes up, late
        do_step(dead)
    one.refresh_from_db()
    assert (one.processed, one.messages) == (1, 1)


def test_a_comparison_that_keeps_killing_its_workers_ends_in_words():
    one = begun()
    receive_list(one, [b"1\n"], by=operator())
    at = datetime.now(UTC)
    for number in range(evaluating.MOST_DEATHS + 2):
        with time_machine.travel(at + number * timedelta(minutes=3), tick=True):
            claim()

    one.refresh_from_db()
    assert (one.state, one.problem) == ("failed", "its workers died again and again: see their log")


def test_a_step_that_takes_too_long_ends_in_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        evaluating,
        "SEEN",
        "SELECT pg_sleep(5), %(pk)s, %(key)s, %(day)s, %(environment)s, %(flow)s, %(since)s, %(until)s",
    )
    monkeypatch.setattr(evaluating, "STEP_S", "0.1")
    one = begun()
    receive_list(one, [b"1\n"], by=operator())

    reconcile()

    one.refresh_from_db()
    assert (one.state, one.problem) == ("failed", "a step took longer than 0.1 s: compare a shorter period")


def test_cancelled_is_cancelled_and_the_step_in_hand_is_thrown_away():
    message("1")
    one = begun()
    receive_list(one, [b"1\n"], by=operator())
    working = claim()
    assert working is not None

    cancel_reconciliation(one, by=operator())

    with pytest.raises(evaluating.Lost):
        do_step(working)
    assert reconcile() == 0
    one.refresh_from_db()
    assert (one.state, one.evaluated_at) == ("cancelled", None)
    with pytest.raises(Conflict):
        cancel_reconciliation(one, by=operator())


def test_several_workers_at_once_compare_each_list_once(committed: None):
    message("1")
    by = operator()
    for number in range(4):
        receive_list(begun(by=by, name=str(number)), [b"1\n2\n"], by=by)
    barrier, failed = threading.Barrier(3), []

    def work() -> None:
        try:
            barrier.wait()
            reconcile()
        except Exception as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    found = set(Reconciliation.objects.values_list("state", "processed", "never", "messages", "deaths"))
    assert found == {("done", 1, 1, 1, 0)}
    sweep_leftovers()
    assert rows_in("reconciliation_seen") == 0
    for one in Reconciliation.objects.all():
        while delete_rows(one.pk):
            pass


def test_removed_is_gone_for_everybody_and_its_rows_follow():
    message("1")
    one = compared("1\n2\n")

    remove_reconciliation(one, by=operator(), reason="not needed")

    with pytest.raises(NotFound):
        get_visible_reconciliation(operator(), one.pk)
    assert sweep_removed() == 5  # two lines, two keys, a count
    assert not Reconciliation.objects.exists()
    assert (rows_in("reconciliation_line"), rows_in("reconciled_key")) == (0, 0)
    assert AuditEntry.objects.get(action="reconciliation.removed").reason == "not needed"
