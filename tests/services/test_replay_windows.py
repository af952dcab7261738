"""Replays are sent in windows: claimed, looked at and marked together, and each with its own fence and its own outcome."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connections

from messages import tasks
from messages.catalog.connections import approve_connection, create_connection, rotate_secret, withdraw_connection
from messages.connectors import memory
from messages.connectors.base import Address, Family, Outgoing, Published
from messages.models import Connection, DeadLetter, Event, Flow, Replay
from messages.replay import lines, proofs, sending
from messages.replay.holds import hold_connection
from messages.replay.lines import line_to
from messages.replay.proofs import settle_replays
from messages.replay.sending import send_due, sweep_replays
from messages.replay.services import request_replay
from messages.replay.window import claim, mark
from tests.factories import ROOT, agent_key, environment, event, letter, memory_connection, push

pytestmark = pytest.mark.django_db

COUNTED = Family(
    kind="counted", label="Counted", schemes=("memory",), connector="tests.services.test_replay_windows.Counted"
)


class Counted(memory.MemoryConnector):
    """The double, and what becomes of its connectors."""

    opened = 0
    closed = 0
    windows: list[int] = []
    at_once = 10

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        Counted.opened += 1

    def publish(self, items: Any, *, timeout_s: float) -> list[Published]:
        Counted.windows.append(len(items))
        if self.address.options.get("breaks"):
            raise RuntimeError("a bug of the family, with Bearer t0ken in it")
        return super().publish(items, timeout_s=timeout_s)

    def close(self) -> None:
        Counted.closed += 1


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.CONSOLE_FAMILIES, "counted", "tests.services.test_replay_windows.COUNTED")
    Counted.opened, Counted.closed, Counted.windows = 0, 0, []


def counted_connection(name: str = "redis", **options: Any) -> Connection:
    before = Counted.opened, Counted.closed
    found = create_connection(
        environment(), name=name, kind="counted", address=f"memory://{name}", options=options, by=ROOT
    )
    Counted.opened, Counted.closed = before  # its address was tried
    approve_connection(found, by=ROOT)
    memory.QUEUES.pop(found.address, None)
    return found


def asked(count: int, broker: str = "redis", *destinations: str) -> list[Replay]:
    """Return the replays of so many letters, in the order of their requests."""
    answer = push("/ingest/v1/dead-letters", [letter(broker=broker) for _ in range(count)], key=agent_key("harvester"))
    assert answer.json()["accepted"] == count
    letters = DeadLetter.objects.filter(broker=broker, state="open").order_by("id").select_related("flow__team")
    where = iter(destinations)
    return [request_replay(one, by=ROOT, reason="fixed", destination=next(where, None)) for one in letters]


def ids(items: Any) -> list[str]:
    return [str(item.id) if isinstance(item, Outgoing) else str(item.pk) for item in items]


def states(replays: list[Replay]) -> list[str]:
    now = {one.pk: one.state for one in Replay.objects.filter(pk__in=[replay.pk for replay in replays])}
    return [now[replay.pk] for replay in replays]


def test_they_go_out_in_the_order_of_the_requests_in_windows_of_what_goes_at_once():
    found = counted_connection()
    replays = asked(25)

    sent = send_due(found.pk)

    assert (sent, Counted.windows) == (25, [10, 10, 5])
    assert ids(memory.QUEUES[found.address]["erp.orders"]) == ids(replays)
    assert set(states(replays)) == {"confirmed"}


def test_what_is_claimed_is_not_claimed_again_and_another_connections_are_left():
    found, other = counted_connection(), counted_connection("other")
    replays, others = asked(3), asked(2, "other")

    first, second, elsewhere = claim(found.pk, 2), claim(found.pk, 2), claim(other.pk, 9)

    assert [ids(first), ids(second), ids(elsewhere)] == [ids(replays[:2]), ids(replays[2:]), ids(others)]
    assert claim(found.pk, 9) == []


def test_a_window_ends_where_its_bodies_are_too_many_and_one_that_is_too_large_goes_alone():
    found = counted_connection()
    replays = asked(5)
    sizes = [3, 4, 2, 9, 1]
    for replay, size in zip(replays, sizes, strict=True):
        DeadLetter.objects.filter(pk=replay.dead_letter_id).update(size_bytes=size * 2**20)

    windows = [ids(claim(found.pk, 100)) for _ in range(3)]

    # the one that fills it is in; what comes behind a full window waits
    assert windows == [ids(replays[:3]), ids(replays[3:4]), ids(replays[4:])]


def test_two_workers_at_once_send_each_once(committed: None):
    found = counted_connection()
    replays = asked(60)
    start = threading.Barrier(2)

    def work() -> None:
        start.wait()
        send_due(found.pk)
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Counter(ids(memory.QUEUES[found.address]["erp.orders"])) == Counter(ids(replays))
    assert set(Replay.objects.values_list("state", "attempt")) == {("confirmed", 1)}


def test_a_row_that_another_statement_holds_is_passed_over_and_not_waited_for(committed: None):
    found = counted_connection()
    replays = asked(3)
    known = connections["default"].settings_dict
    names = {"host": "HOST", "port": "PORT", "dbname": "NAME", "user": "USER", "password": "PASSWORD"}

    with psycopg.connect(**{name: known[key] for name, key in names.items() if known[key]}) as session:
        session.execute("SELECT 1 FROM messaging_replay WHERE id = %s FOR UPDATE", [replays[0].pk])
        claimed = claim(found.pk, 10)

    assert ids(claimed) == ids(replays[1:])


@pytest.mark.parametrize("idempotent", [False, True])
def test_every_message_of_a_window_has_an_outcome_of_its_own(idempotent: bool):
    memory_connection(refuse="r", unavailable="a", unknown="u")
    replays = asked(4, "redis", "r", "a", "u", "fine")
    Flow.objects.update(receiver_is_idempotent=idempotent)

    send_due(replays[0].connection_id)

    assert states(replays) == ["refused", "queued", "queued" if idempotent else "unknown", "confirmed"]
    letters = [DeadLetter.objects.get(pk=replay.dead_letter_id).state for replay in replays]
    assert letters == ["open", "replaying", "replaying", "replaying"]
    refused, waits, unknown, confirmed = Replay.objects.filter(pk__in=[r.pk for r in replays]).order_by("id")
    assert refused.finished_at
    assert "no queue takes it" in refused.detail
    assert waits.not_before
    assert "cannot be reached" in waits.detail
    assert "the line broke" in unknown.detail
    assert confirmed.confirmed_at
    assert Event.objects.filter(trace_id__in=[r.trace_id for r in replays], operation=2).count() == 4


def test_a_mark_counts_only_under_the_attempt_of_its_claim():
    found = counted_connection()
    replays = asked(3)
    Flow.objects.update(receiver_is_idempotent=True)
    window = claim(found.pk, 10)
    Replay.objects.filter(pk=replays[1].pk).update(lease_until=datetime.now(UTC) - timedelta(seconds=1))
    [taken_over] = claim(found.pk, 10)

    marked = mark(window, {one.pk: Published(id="", result="refused", detail="late") for one in window})

    assert (taken_over.pk, taken_over.attempt, marked) == (replays[1].pk, 2, 2)
    assert states(replays) == ["refused", "sending", "refused"]


def test_what_has_lost_its_lease_meanwhile_is_not_sent_and_the_rest_of_its_window_is():
    found = counted_connection()
    replays = asked(3)
    window = claim(found.pk, 10)
    Replay.objects.filter(pk=replays[1].pk).update(lease_until=datetime.now(UTC) + timedelta(seconds=5))

    with line_to(found.pk) as line:
        results = sending._send(line, window)
    mark(window, results)

    assert ids(memory.QUEUES[found.address]["erp.orders"]) == ids([replays[0], replays[2]])
    assert states(replays) == ["confirmed", "queued", "confirmed"]


@pytest.mark.parametrize(
    ("meanwhile", "state", "words"),
    [
        (lambda found: withdraw_connection(found, by=ROOT), "refused", "is not approved any more"),
        (
            lambda found: rotate_secret(found, username="new", secret="new", by=ROOT),
            "queued",
            "the connection was changed",
        ),
        (lambda found: hold_connection(found.pk, 60), "queued", "asks to be left alone"),
    ],
    ids=["withdrawn", "changed", "held"],
)
def test_nothing_goes_over_a_connection_that_changed_between_claim_and_send(meanwhile: Any, state: str, words: str):
    found = counted_connection()
    replays = asked(3)

    with line_to(found.pk) as line:
        window = claim(found.pk, 10)
        meanwhile(found)
        results = sending._send(line, window)
    mark(window, results)

    assert (set(states(replays)), memory.QUEUES[found.address]["erp.orders"]) == ({state}, [])
    assert words in Replay.objects.get(pk=replays[0].pk).detail


def test_what_cannot_be_prepared_is_refused_and_the_rest_goes():
    found = counted_connection()
    replays = asked(3)
    DeadLetter.objects.filter(pk=replays[0].dead_letter_id).update(payload_on=None)

    send_due(found.pk)

    assert states(replays) == ["refused", "confirmed", "confirmed"]
    assert Replay.objects.get(pk=replays[0].pk).detail == "its body is not stored any more"


def test_a_connector_that_breaks_leaves_its_window_unknown_and_is_not_used_again():
    found = counted_connection(breaks=True)
    replays = asked(12)

    sent = send_due(found.pk)

    assert (sent, Counted.windows, Counted.closed) == (10, [10], 1)
    assert states(replays) == ["unknown"] * 10 + ["queued"] * 2
    [said] = set(Replay.objects.filter(state="unknown").values_list("detail", flat=True))
    assert ("RuntimeError" in said, "t0ken" in said) == (True, False)


def test_behind_a_full_window_another_worker_is_told_once(monkeypatch: pytest.MonkeyPatch):
    told: list[int] = []
    monkeypatch.setattr(tasks.send_replays, "delay", told.append)
    found = counted_connection()
    asked(25)

    send_due(found.pk)

    assert told == [found.pk]


def test_a_look_ends_after_its_time_and_leaves_the_rest_to_who_was_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sending, "LOOK_S", -1.0)
    monkeypatch.setattr(tasks.send_replays, "delay", lambda pk: None)
    found = counted_connection()
    replays = asked(15)

    send_due(found.pk)

    assert Counter(states(replays)) == {"confirmed": 10, "queued": 5}


def test_the_sweep_sends_over_every_connection_that_has_something_due():
    counted_connection(), counted_connection("other"), counted_connection("idle")
    replays = asked(3) + asked(2, "other")

    rows = sweep_replays()

    assert (rows, set(states(replays)), Counted.opened) == (5, {"confirmed"}, 2)


def statements_of(window: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many statements a window of so many costs, those past Django's cursors too."""
    found = memory_connection(f"broker {window}")
    asked(window, found.name)
    count = 0

    def counting(real: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            return real(*arguments, **named)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Cursor, "execute", counting(psycopg.Cursor.execute))
        patched.setattr(psycopg.Cursor, "copy", counting(psycopg.Cursor.copy))
        assert send_due(found.pk) == window
    return count


def test_a_window_of_99_costs_no_more_statements_than_one_of_9(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("messages.ingest.catalog.RULES_FRESH_S", 3600)
    statements_of(1, monkeypatch)  # what a process asks once

    few, many = statements_of(9, monkeypatch), statements_of(99, monkeypatch)

    assert few == many < 25


def test_a_line_is_kept_between_windows_until_its_row_changes():
    found = counted_connection()
    for _ in range(2):
        asked(1)
        send_due(found.pk)
    kept = (Counted.opened, Counted.closed)

    rotate_secret(found, username="new", secret="new", by=ROOT)
    asked(1)
    send_due(found.pk)

    assert (kept, (Counted.opened, Counted.closed)) == ((1, 0), (2, 1))


def test_a_line_over_which_something_was_not_taken_for_sure_is_not_kept():
    found = counted_connection(unknown="erp.orders")
    asked(1)

    send_due(found.pk)

    assert (Counted.opened, Counted.closed, lines._kept) == (1, 1, {})


def test_a_line_that_rests_is_closed_and_so_is_the_oldest_of_too_many(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lines, "MOST_KEPT", 2)
    found = [counted_connection(name) for name in ("a", "b", "c")]
    for one in found:
        with line_to(one.pk):
            pass
    assert (list(lines._kept), Counted.closed) == ([found[1].pk, found[2].pk], 1)

    lines._let_go(lines._kept[found[1].pk])

    assert (list(lines._kept), Counted.closed) == ([found[2].pk], 2)


def test_a_line_that_was_taken_again_is_not_closed_by_its_timer():
    found = counted_connection()
    with line_to(found.pk):
        pass
    resting = lines._kept[found.pk]

    with line_to(found.pk) as line:
        lines._let_go(resting)

    assert (line, Counted.closed) == (resting, 0)


def test_proofs_of_many_are_looked_for_in_turns_and_the_newest_every_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(proofs, "LOOKED_AT", 2)
    monkeypatch.setattr(proofs, "HOW_MANY", proofs.HOW_MANY.replace(f"OFFSET {proofs.NEWEST}", "OFFSET 1"))
    found = counted_connection()
    replays = asked(8)
    send_due(found.pk)
    shown = [
        event(system="erp", operation="process", destination="erp.orders", trace_id=one.trace_id.hex, span_id="cd" * 8,
              occurred_at=datetime.now(UTC).isoformat(), message_id="")
        for one in replays
    ]  # fmt: skip
    assert push("/ingest/v1/events", shown, key=agent_key("erp")).json()["accepted"] == 8

    first = settle_replays(within=timedelta(minutes=15))
    newest = states(replays)[-1]
    rest = sum(settle_replays(within=timedelta(minutes=15)) for _ in range(60))

    assert (newest, first + rest, set(states(replays))) == ("processed", 8, {"processed"})
    assert first < 8
