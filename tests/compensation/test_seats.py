"""Seats: so many workers a connection, so many in all; bounded by administrators, on the page and over REST."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from console.audit.models import AuditEntry
from console.identity.models import Role
from messages.compensation.execute import work_on_all
from messages.compensation.seats import LAST_CLASS, MOST_OF_ONE, OF_ALL, OF_CONNECTION, Seats
from messages.models import Compensation, Connection
from tests.compensation.runs import begun, states
from tests.factories import memory_connection
from tests.http.test_rest_administration import Caller
from tests.pages.people import signed_in, text_of

ROOT_DIR = Path(__file__).resolve().parents[2]


@contextmanager
def another_worker(*wanted: tuple[int, int]) -> Iterator[list[bool]]:
    """A worker with a session of its own, which takes these seats (connection, how many it has) and keeps them meanwhile."""
    taken: list[bool] = []
    ready, done = threading.Event(), threading.Event()

    def works() -> None:
        seats = Seats()
        taken.extend(seats.take(*one) for one in wanted)
        ready.set()
        done.wait(30)
        seats.leave()
        connection.close()

    thread = threading.Thread(target=works)
    thread.start()
    ready.wait(30)
    try:
        yield taken
    finally:
        done.set()
        thread.join()


def test_a_connection_has_as_many_seats_as_its_row_says_and_all_of_them_as_the_setting_says(
    committed: None, settings: Any
):
    settings.COMPENSATION_SENDERS = 3
    with ExitStack() as workers:
        took = [workers.enter_context(another_worker((7, 2)))[0] for _ in range(3)]
        assert took == [True, True, False]  # of this connection
        assert workers.enter_context(another_worker((8, 2))) == [True]
        assert workers.enter_context(another_worker((9, 2))) == [False]  # of all
        mine = Seats()
        assert not mine.take(9)
        assert mine.held == []
    assert mine.take(7, 2)
    assert mine.take(7, 2)
    assert len(mine.held) == 2
    mine.leave()


def test_a_worker_that_goes_on_to_another_connection_leaves_the_seat_of_the_first(committed: None):
    mine = Seats()
    assert mine.take(7)
    assert mine.take(8)
    assert [seat for seat in mine.held if seat[0] != OF_ALL] == [(OF_CONNECTION, 8)]
    mine.leave()


def test_several_workers_over_one_connection_send_each_step_once(committed: None, settings: Any):
    settings.COMPENSATION_SENDERS = 4
    line = memory_connection()
    Connection.objects.filter(pk=line.pk).update(undo_at_once=4)
    runs = [begun("stock") for _ in range(6)]
    sent: list[int] = []

    def works() -> None:
        sent.append(work_on_all())
        connection.close()

    threads = [threading.Thread(target=works) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while Compensation.objects.filter(state="running").exists():
        Compensation.objects.update(due_at="2026-01-01T00:00:00Z")
        sent.append(work_on_all())

    assert sum(sent) == 6
    assert [states(run) for run in runs] == [{"stock": "done"}] * 6


@pytest.mark.django_db
def test_administrators_say_how_many_on_the_page_and_over_rest():
    line = memory_connection()
    admin, operator = Caller("ada", Role.ADMINISTRATOR), Caller("olga", Role.OPERATOR)
    assert admin("put", f"connections/{line.pk}/undoing", {"at_once": 4}).json()["undo_at_once"] == 4
    assert operator("put", f"connections/{line.pk}/undoing", {"at_once": 2}).status_code == 403
    for wrong in (0, 33, "x", None):
        assert admin("put", f"connections/{line.pk}/undoing", {"at_once": wrong}).status_code == 400
    page = signed_in("anne", Role.ADMINISTRATOR)
    assert 'value="4"' in page.get(f"/connections/{line.pk}/").content.decode()
    assert page.post(f"/connections/{line.pk}/undoing", {"at_once": "8"}).status_code == 303
    for wrong in ("", "0", "33", "-1", "9" * 30, "²"):
        refused = page.post(f"/connections/{line.pk}/undoing", {"at_once": wrong})
        assert (refused.status_code, "1 to 32 workers" in text_of(refused)) == (422, True)
    viewer = signed_in("vic", Role.VIEWER)
    assert viewer.post(f"/connections/{line.pk}/undoing", {"at_once": "2"}).status_code == 422
    assert 'id="undoing"' not in viewer.get(f"/connections/{line.pk}/").content.decode()
    line.refresh_from_db()
    assert line.undo_at_once == 8
    assert AuditEntry.objects.filter(action="connection.bounded").count() == 2
    with pytest.raises(IntegrityError), transaction.atomic():
        Connection.objects.filter(pk=line.pk).update(undo_at_once=0)


def test_every_advisory_lock_has_a_number_of_its_own():
    """A number that two use makes them wait for each other: constants from 7,219,000 on, wherever they stand."""
    found: dict[int, list[str]] = {}
    for path in [
        *ROOT_DIR.glob("messages/**/*.py"),
        *ROOT_DIR.glob("alerts/**/*.py"),
        *ROOT_DIR.glob("console/**/*.py"),
    ]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and any(name in ast.unparse(node.targets[0]) for name in ("LOCK", "OF_")):
                for value in ast.walk(node.value):
                    if (
                        isinstance(value, ast.Constant)
                        and isinstance(value.value, int)
                        and 7_219_000 <= value.value < 7_220_000
                    ):
                        found.setdefault(value.value, []).append(f"{path.relative_to(ROOT_DIR)}:{node.lineno}")
    assert {number: places for number, places in found.items() if len(places) > 1} == {}
    assert MOST_OF_ONE > 1
    assert not [number for number in found if OF_CONNECTION < number <= LAST_CLASS]
