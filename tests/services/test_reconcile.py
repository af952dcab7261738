"""Reconciliations: counts that add up and are those of the rows, work that dies anywhere, lists taken whole or not at all."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from console.audit.models import AuditEntry
from console.core.errors import Conflict, Forbidden, Invalid, NotFound
from console.identity.models import Role, Team
from messages.models import Flow, Message, MessageStatus, ReconciledKey, Reconciliation
from messages.reconcile import evaluating, services
from messages.reconcile.access import get_visible_reconciliation, visible_reconciliations
from messages.reconcile.evaluating import claim, delete_rows, do_step, reconcile, sweep_leftovers, sweep_removed
from messages.reconcile.export import csv_of
from messages.reconcile.lists import ListTooLarge
from messages.reconcile.queries import every_key, find_keys, letters_of_keys
from messages.reconcile.services import (
    ListBusy,
    NewReconciliation,
    begin_reconciliation,
    cancel_reconciliation,
    compare_again,
    receive_list,
    remove_reconciliation,
)
from messages.reconcile.sets import SETS
from tests.factories import ROOT, actor, person, stored_letter
from tests.services.reconciling import begun, compared, flow, message, operator

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


def keys_in(one: Reconciliation, slug: str) -> list[str]:
    return [row.key for row in every_key(one, SETS[slug])]


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
        failed = {key for key in wanted if key in seen and key not in processed and {FAILED, DEAD} & set(seen[key])}
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


def test_a_list_is_taken_whole_or_not_at_all_and_what_was_compared_before_stays(monkeypatch: pytest.MonkeyPatch):
    message("1")
    one = compared("1\n")

    def broken() -> Iterator[bytes]:
        yield b"2\n" * 30_000
        raise ConnectionResetError("the client is gone")

    with pytest.raises(ConnectionResetError):
        receive_list(one, broken(), by=operator())

    one.refresh_from_db()
    assert (one.state, one.problem, one.processed) == ("failed", "the list did not come whole", 1)
    assert keys_in(one, "processed") == ["1"]
    assert rows_in("reconciliation_line") > 1
    sweep_leftovers()
    assert rows_in("reconciliation_line") == 1
    monkeypatch.setattr("messages.reconcile.lists.MOST_KEYS", 3)
    with pytest.raises(ListTooLarge):
        receive_list(one, [b"1\n" * 4], by=operator())
    compare_again(one, by=operator())
    reconcile()
    one.refresh_from_db()
    assert (one.state, one.processed) == ("done", 1)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"a,b\n", b"order_no\n"])
def test_a_list_without_any_key_is_refused_in_words(data: bytes):
    one = begun()

    with pytest.raises(Invalid, match="there is no key in this list"):
        receive_list(one, [data], by=operator())

    one.refresh_from_db()
    assert one.state == "failed"


def test_another_list_takes_the_place_of_the_first():
    message("1")
    one = compared("2\n")

    receive_list(one, [b"1\n3\n"], by=operator())
    reconcile()

    one.refresh_from_db()
    assert (one.listed, one.processed, one.never) == (2, 1, 1)
    assert sweep_leftovers() == 2  # the first line, and the count of the message
    assert keys_in(one, "never-seen") == ["3"]


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


def test_an_upload_that_is_cancelled_stops_at_its_next_part_and_a_second_one_is_refused():
    one = begun()

    def cancelled_meanwhile() -> Iterator[bytes]:
        yield b"1\n" * services.COPIED
        with pytest.raises(ListBusy):
            receive_list(one, [b"2\n"], by=operator())
        cancel_reconciliation(one, by=operator())
        yield b"3\n" * services.COPIED

    with pytest.raises(ListBusy):
        receive_list(one, cancelled_meanwhile(), by=operator())

    one.refresh_from_db()
    assert (one.state, one.list_attempt) == ("cancelled", None)


def test_an_upload_whose_process_died_is_ended_and_can_be_sent_again():
    one = begun()
    services._open_upload(one)

    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=11), tick=True):
        evaluating.end_dead_uploads()
        one.refresh_from_db()
        assert (one.state, one.problem) == ("failed", "the list did not come whole")
        assert receive_list(one, [b"1\n"], by=operator()).state == "queued"


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


# rights ------------------------------------------------------------------------------------------------------------------
def test_viewers_look_operators_compare_and_strangers_see_nothing():
    team = Team.objects.create(name="Order team")
    of = flow(team=team)
    one = compared("1\n", of=of)
    viewer, stranger = (
        actor(person("viewer", Role.VIEWER)),
        actor(person("stranger", Role.ADMINISTRATOR, team="Others")),
    )
    elsewhere = actor(person("elsewhere", Role.ADMINISTRATOR, slug="staging"))

    assert [visible_reconciliations(who).count() for who in (viewer, stranger, elsewhere)] == [1, 0, 0]
    for do in (compare_again, cancel_reconciliation, remove_reconciliation):
        with pytest.raises(Forbidden):
            do(one, by=viewer)
    with pytest.raises(Forbidden):
        receive_list(one, [b"1\n"], by=viewer)
    now = datetime.now(UTC)
    with pytest.raises(Forbidden):
        begin_reconciliation(
            of, NewReconciliation(name="", key_name="x", since=now, until=now + timedelta(hours=1)), by=viewer
        )
    one.refresh_from_db()
    assert one.state == "done"
    assert Flow.objects.get(pk=of.pk).team == team


def test_of_a_message_that_died_again_and_again_the_newest_letter_alone_is_read(django_assert_num_queries: Any):
    first, second = (stored_letter(message_id="m-1", origin="orders", keys={"order_no": "1"}) for _ in range(2))
    one = compared("1\n", of=first.flow)

    rows = find_keys(one, SETS["failed"]).rows
    with django_assert_num_queries(1) as captured:
        found = letters_of_keys(ROOT, rows)

    assert list(found.values()) == [second]
    assert "DISTINCT ON" in captured[0]["sql"]


def test_the_letters_behind_failed_keys_are_those_that_the_reader_may_see():
    letter = stored_letter(origin="orders", keys={"order_no": "1"})
    one = compared("1\n", of=letter.flow)
    rows = find_keys(one, SETS["failed"]).rows
    Flow.objects.update(team=Team.objects.create(name="Others"))

    assert [row.key for row in rows] == ["1"]
    assert letters_of_keys(actor(person("root", Role.VIEWER, team="Others")), rows) == {letter.message_uid: letter}
    assert letters_of_keys(operator(), rows) == {}


@pytest.mark.parametrize(
    "said",
    [
        {"key_name": " "},
        {"key_name": "x" * 65},
        {"key_name": "a\x00b"},
        {"name": "x" * 121},
        {"until": datetime(2020, 1, 1, tzinfo=UTC)},
        {"since": datetime(2020, 1, 1, tzinfo=UTC)},
    ],
)
def test_what_cannot_be_compared_is_refused(said: dict[str, Any]):
    with pytest.raises(Invalid):
        begun(**said)


# reading -----------------------------------------------------------------------------------------------------------------
def test_pages_of_a_set_walk_through_every_key_once_and_the_csv_has_them_all_without_formulas():
    for key in ("=1+1", "b", "b", "-5"):
        message(key)
    listed = [f"key {number:03d}" for number in range(60)]
    one = compared("\n".join(["=1+1", "b", "-5", '"a,""b"""', *listed]))

    walked, cursor = [], None
    while True:
        page = find_keys(one, SETS["never-seen"], limit=7, cursor=cursor)
        walked += [row.key for row in page.rows]
        cursor = page.next
        if cursor is None:
            break
    text = b"".join(csv_of(one, None).streaming_content).decode()  # type: ignore[arg-type]

    assert walked == ['a,"b"', *listed]
    lines = text.split("\r\n")
    assert lines[0] == "order_no,outcome,times_on_list,line,messages,message_id"
    assert len(lines) == 1 + 64 + 1
    assert lines[1].startswith("'-5,processed,1,3,1,")
    assert lines[2].startswith("'=1+1,processed,1,1,1,")
    assert '"a,""b""",never seen,1,4,0,' in text
    with pytest.raises(Invalid):
        find_keys(one, SETS["twice"], cursor="nonsense")


def test_pages_and_sets_are_served_by_their_index():
    one = compared("".join(f"{number}\n" for number in range(5000)))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE messaging_reconciled_key")
    for slug, index in (
        ("never-seen", "reconciled_key_by_kind"),
        ("arrived", "reconciled_key_by_kind"),
        ("twice", "reconciled_key_twice"),
    ):
        first, last = SETS[slug].kinds
        rows = ReconciledKey.objects.filter(reconciliation_id=one.pk, kind__gte=first, kind__lte=last)
        rows = rows.filter(messages__gt=1, listed__gt=0) if SETS[slug].twice else rows
        plan = rows.order_by("reconciliation_id", "kind", "key")[:51].explain()
        assert index in plan, plan
        assert "Sort" not in plan, plan
