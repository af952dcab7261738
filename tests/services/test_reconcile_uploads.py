"""Lists of reconciliations as they come: whole or not at all, cancelled, cut, refused, or left by a process that died."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from console.core.errors import Invalid
from messages.reconcile import evaluating, services
from messages.reconcile.evaluating import reconcile, sweep_leftovers
from messages.reconcile.lists import ListTooLarge
from messages.reconcile.services import (
    ListBusy,
    cancel_reconciliation,
    compare_again,
    receive_list,
)
from tests.services.reconciling import begun, compared, keys_in, message, operator
from tests.services.test_reconcile import rows_in

pytestmark = pytest.mark.django_db
KEPT = "another list was refused, and the one before it stays: "


def test_a_list_is_taken_whole_or_not_at_all_and_what_was_compared_before_stays(monkeypatch: pytest.MonkeyPatch):
    message("1")
    one = compared("1\n")

    def broken() -> Iterator[bytes]:
        yield b"2\n" * 30_000
        raise ConnectionResetError("the client is gone")

    with pytest.raises(ConnectionResetError):
        receive_list(one, broken(), by=operator())

    one.refresh_from_db()
    assert (one.state, one.problem, one.processed) == ("done", f"{KEPT}the list did not come whole", 1)
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


def cut() -> Iterator[bytes]:
    yield b"1\n" * services.COPIED
    raise Invalid("the body was cut")


@pytest.mark.parametrize(
    "data", [[b""], [b"a,b\n"], ["1\n".encode("utf-16")], cut()], ids=["empty", "bad", "UTF-16", "cut"]
)
def test_a_list_that_is_refused_leaves_the_comparison_of_the_one_before_it(data: Iterable[bytes]):
    message("1")
    one = compared("1\n2\n")

    with pytest.raises(Invalid) as refusal:
        receive_list(one, data, by=operator())

    one.refresh_from_db()
    assert (one.state, one.processed, one.never, one.lines) == ("done", 1, 1, 2)
    assert one.problem == f"{KEPT}{refusal.value}"
    sweep_leftovers()
    compare_again(one, by=operator())
    reconcile()
    one.refresh_from_db()
    assert (one.state, one.problem, one.processed, one.never) == ("done", "", 1, 1)


def test_an_upload_whose_process_died_leaves_the_comparison_of_the_list_before_it():
    one = compared("1\n2\n")
    services._open_upload(one)

    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=11), tick=True):
        assert evaluating.end_dead_uploads() == 1

    one.refresh_from_db()
    assert (one.state, one.never) == ("done", 2)
    assert one.problem == f"{KEPT}the list did not come whole"


def test_a_list_that_is_refused_where_the_one_before_it_was_never_compared_ends_in_words():
    one = begun()
    receive_list(one, [b"1\n"], by=operator())
    cancel_reconciliation(one, by=operator())

    with pytest.raises(Invalid):
        receive_list(one, [b""], by=operator())

    one.refresh_from_db()
    assert (one.state, one.problem, one.lines) == ("failed", "there is no key in this list", 1)
