"""Steps are found in a journey of thousands of events; only what the book may mean is read, and beyond the bounds nothing is proposed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from messages.compensation import journey
from messages.compensation.execute import work_on
from messages.compensation.journey import TooLarge, events_of
from messages.compensation.proposing import propose, target_of_letter
from messages.compensation.services import start
from messages.models import Connection, DeadLetter
from tests.compensation.orders import book, failed_order, saved
from tests.compensation.runs import now_of, passes, states, told
from tests.factories import ROOT, agent_key, event, memory_connection, push

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def line(db: None) -> Connection:
    return memory_connection()


def noisy(found: DeadLetter, count: int = 600, **changes: Any) -> DeadLetter:
    """So many more events of the same trace, which no step of the book means."""
    at = datetime.now(UTC) - timedelta(minutes=4)
    fields = {"system": "tracker", "operation": "process", "outcome": "ok", "destination": "parcels"} | changes
    events = [
        event(**fields, trace_id=found.trace_id.hex, occurred_at=(at + timedelta(milliseconds=n)).isoformat())
        for n in range(count)
    ]
    assert push("/ingest/v1/events", {"events": events}, key=agent_key("estate")).json()["rejected"] == []
    return found


def test_steps_are_found_undone_and_seen_late_among_hundreds_of_other_events():
    letter = noisy(failed_order("payment"))
    saved(letter.flow)

    run = propose(target_of_letter(letter), by=ROOT, reason="billing refused it")
    assert list(states(run)) == ["payment"]
    start(run, by=ROOT)
    work_on(run.pk)
    told(run, "payment", "refunds", message_id="refund")
    told(run, "stock", "reservations", message_id="late")
    passes(run, 60)
    work_on(run.pk)

    assert states(run) == {"payment": "done"}
    assert [one["step"] for one in now_of(run).late] == ["stock"]
    assert now_of(run).state == "stuck"


def test_only_what_the_book_may_mean_is_read_in_full():
    letter = noisy(failed_order("payment", "stock"))
    noisy(letter, 20, system="payment", destination="ledger")
    noisy(letter, 20, system="payment", destination="payments", outcome="error")
    with CaptureQueriesContext(connection) as asked:
        found = events_of(target_of_letter(letter), book())
    assert sorted((one.system, one.destination) for one in found) == [
        ("payment", "payments"),
        ("stock", "reservations"),
    ]
    assert len(asked) < 15


def test_beyond_what_is_looked_through_or_read_nothing_is_proposed(monkeypatch: pytest.MonkeyPatch):
    letter = noisy(failed_order("payment"), 30)
    saved(letter.flow)
    monkeypatch.setattr(journey, "MOST_SEEN", 20)
    with pytest.raises(TooLarge, match="more than the 20 events that are looked through"):
        propose(target_of_letter(letter), by=ROOT, reason="x")
    monkeypatch.setattr(journey, "MOST_SEEN", 20_000)
    monkeypatch.setattr(journey, "MOST_READ", 0)
    with pytest.raises(TooLarge, match="say more narrowly"):
        propose(target_of_letter(letter), by=ROOT, reason="x")


def test_it_is_not_ended_as_compensated_when_nobody_can_see_what_completed_late(monkeypatch: pytest.MonkeyPatch):
    letter = failed_order("stock")
    saved(letter.flow)
    run = propose(target_of_letter(letter), by=ROOT, reason="x")
    start(run, by=ROOT)
    noisy(letter, 30)
    monkeypatch.setattr(journey, "MOST_SEEN", 20)
    work_on(run.pk)
    assert (now_of(run).state, states(run)) == ("partially_compensated", {"stock": "done"})
    assert "grown too large" in now_of(run).why
    assert now_of(run).dead_letter.state == "open"
