"""A sender hands over for itself: what it takes of a plan without a rate is in its hands at once, and as safe as what it claims."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from messages.catalog.connections import withdraw_connection
from messages.connectors import memory
from messages.connectors.base import Published
from messages.models import Connection, DeadLetter, Flow, Plan, PlanItem, Replay
from messages.plans.advance import advance_plan, take_more
from messages.plans.queries import counts_of, total_of
from messages.plans.services import Options, end_plan, pause_plan
from messages.plans.stops import stop_replays
from messages.replay import window
from messages.replay.lines import line_to
from messages.replay.sending import ready, send_due, sweep_replays
from tests.factories import ROOT, environment
from tests.plans.test_plans import begin, letters, plan_of

pytestmark = pytest.mark.django_db
FAST = Options(rate_per_s=None, steps=("100%",), waits_for="confirmed")


@pytest.fixture
def plan(line: Connection, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan of 12 that has begun, of which 2 were handed to anybody and sent."""
    monkeypatch.setattr("messages.plans.release.MOST_AT_ONCE", 2)
    plan = plan_of(letters(12), FAST)
    begin(plan)
    monkeypatch.setattr("messages.replay.sending._taken", lambda line: [])
    send_due(line.pk)
    monkeypatch.undo()
    return plan


def test_what_is_taken_is_claimed_under_its_first_attempt_in_the_order_of_the_plan(plan: Plan, line: Connection):
    taken = take_more(line.pk, 100)

    ids = list(
        PlanItem.objects.filter(plan=plan, ordinal__gt=2).order_by("ordinal").values_list("replay_id", flat=True)
    )
    rows = Replay.objects.filter(pk__in=ids)
    assert [one.pk for one in taken] == ids
    assert set(rows.values_list("state", "attempt")) == {("sending", 1)}
    assert {row.lease_until - row.sent_at for row in rows} == {timedelta(seconds=window.LEASE_S)}
    assert set(DeadLetter.objects.values_list("state", flat=True)) == {"replaying"}
    assert taken == window.still_claimed(ids, [1] * len(ids))  # what is read again is the same
    assert take_more(line.pk, 100) == []


def test_what_one_window_does_not_hold_waits_for_any_worker(plan: Plan, line: Connection):
    taken = take_more(line.pk, 3)

    assert len(taken) == 3
    assert total_of(counts_of(plan)) == {"confirmed": 2, "sending": 3, "queued": 7}


def test_a_window_is_bounded_in_bytes_but_for_one_that_is_larger(
    plan: Plan, line: Connection, monkeypatch: pytest.MonkeyPatch
):
    DeadLetter.objects.update(size_bytes=3 * window.MOST_BYTES // 4)
    assert len(take_more(line.pk, 100)) == 2
    assert total_of(counts_of(plan))["queued"] == 8


@pytest.mark.parametrize("what", ["another connection", "held", "withdrawn", "paused", "stopped", "all stopped"])
def test_it_takes_nothing_that_it_may_not_send_now(plan: Plan, line: Connection, what: str):
    if what == "held":
        Connection.objects.filter(pk=line.pk).update(not_before=datetime.now(UTC) + timedelta(minutes=1))
    elif what == "withdrawn":
        withdraw_connection(line, by=ROOT)
    elif what == "paused":
        pause_plan(plan, by=ROOT)
    elif what == "stopped":
        end_plan(plan, by=ROOT)
    elif what == "all stopped":
        stop_replays(environment(), None, by=ROOT, reason="look first")

    assert take_more(line.pk + (what == "another connection"), 100) == []
    assert not Replay.objects.filter(state="sending").exists()
    handed = (
        {"confirmed": 2, "queued": 10} if what in ("another connection", "held") else {"confirmed": 2, "waiting": 10}
    )
    assert total_of(counts_of(plan)) == handed


@pytest.mark.parametrize(("idempotent", "state"), [(True, "confirmed"), (False, "unknown")])
def test_a_worker_that_is_lost_with_what_it_took_leaves_it_to_be_settled(
    plan: Plan, line: Connection, idempotent: bool, state: str
):
    Flow.objects.update(receiver_is_idempotent=idempotent)
    taken = take_more(line.pk, 100)
    Replay.objects.filter(state="sending").update(
        lease_until=datetime.now(UTC) - timedelta(hours=1)
    )  # and it is killed

    sweep_replays()

    rows = Replay.objects.filter(pk__in=[one.pk for one in taken])
    assert set(rows.values_list("state", "attempt")) == {(state, 2 if idempotent else 1)}
    assert len(memory.QUEUES[line.address]["erp.orders"]) == (12 if idempotent else 2)


def test_a_worker_that_wakes_after_its_lease_sends_and_marks_nothing_of_what_it_took(plan: Plan, line: Connection):
    taken = take_more(line.pk, 100)
    Flow.objects.update(receiver_is_idempotent=True)
    Replay.objects.filter(state="sending").update(lease_until=datetime.now(UTC) - timedelta(hours=1))
    sweep_replays()

    with line_to(line.pk) as lent:
        assert lent is not None
        messages, _ = ready(lent, taken)
    assert messages == {}
    assert window.mark(taken, {one.pk: Published(id="", result="refused", detail="") for one in taken}) == 0


def test_a_pause_gives_back_what_was_taken_and_has_not_left(
    plan: Plan, line: Connection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("messages.replay.sending._record_sends", lambda window, **_: pause_plan(plan, by=ROOT))

    send_due(line.pk)

    waiting = Replay.objects.exclude(state="confirmed")
    assert set(waiting.values_list("state", "sent_at")) == {("queued", None)}
    assert len(memory.QUEUES[line.address]["erp.orders"]) == 2


def test_a_letter_that_somebody_else_was_faster_with_is_not_taken(plan: Plan, line: Connection):
    third = PlanItem.objects.get(plan=plan, ordinal=3)
    DeadLetter.objects.filter(pk=third.dead_letter_id).update(state="replaying")

    taken = take_more(line.pk, 100)

    assert third.replay_id not in {one.pk for one in taken}
    assert len(taken) == 9
    assert PlanItem.objects.get(pk=third.pk).left_out == "not_open"


def test_a_plan_with_a_rate_or_an_order_is_left_to_the_ticks(line: Connection):
    for number, options in enumerate([Options(rate_per_s=5), Options(rate_per_s=None, order_key="customer")]):
        chosen = letters(4, keys={"customer": f"c{number}"})
        begin(plan_of(chosen, options))

    assert take_more(line.pk, 100) == []


def test_one_sender_drains_a_plan_without_waiting_for_a_tick(plan: Plan, line: Connection):
    assert send_due(line.pk) == 10
    advance_plan(plan.pk)
    assert Plan.objects.get(pk=plan.pk).state == "finished"
    assert len(memory.QUEUES[line.address]["erp.orders"]) == 12


def test_no_index_of_a_letter_knows_its_state_so_that_a_replay_that_begins_writes_to_none():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT i.relname FROM pg_depend p JOIN pg_class i ON i.oid = p.objid AND i.relkind = 'i' "
            "JOIN pg_attribute a ON a.attrelid = p.refobjid AND a.attnum = p.refobjsubid "
            "WHERE p.refobjid = 'messaging_deadletter'::regclass AND a.attname = 'state'"
        )
        assert cursor.fetchall() == []
        cursor.execute("SELECT reloptions FROM pg_class WHERE oid = 'messaging_deadletter'::regclass")
        assert cursor.fetchone()[0] == ["fillfactor=50"]
