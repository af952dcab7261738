"""What the console itself holds back costs no attempt, and is never lost: a stop, a pause, a receiver's wish, an approval that is withdrawn."""

from __future__ import annotations

from typing import Any

import pytest

from messages.catalog.connections import approve_connection, withdraw_connection
from messages.connectors import memory
from messages.connectors.base import Published
from messages.models import DeadLetter, Plan, Replay
from messages.plans import stops
from messages.plans.advance import advance_plan
from messages.plans.queries import counts_of, total_of
from messages.plans.services import Options, pause_plan, resume_plan
from messages.replay import sending
from messages.replay.services import request_replay
from messages.replay.states import MOST_ATTEMPTS, mark_of
from messages.replay.window import claim, mark
from tests.factories import ROOT, stored_letter
from tests.plans.test_engine import now_of
from tests.plans.test_plans import begin, letters, plan_of, run

pytestmark = pytest.mark.django_db
AT_ONCE = Options(rate_per_s=None, steps=("100%",), waits_for="confirmed")


def at_the_last_look(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Have something happen while a window is made ready: after its claim, before its last look."""
    monkeypatch.setattr("messages.replay.sending._record_sends", lambda window, **_: act())


def is_due_again() -> None:
    Replay.objects.filter(state="queued").update(not_before=None)


def test_pauses_that_come_in_between_spend_no_attempts_and_are_not_taken_for_a_broker_that_is_away(line, monkeypatch):
    plan = plan_of(letters(2), AT_ONCE)
    begin(plan)
    at_the_last_look(monkeypatch, lambda: pause_plan(Plan.objects.get(pk=plan.pk), by=ROOT))
    for _ in range(MOST_ATTEMPTS + 2):
        sending.send_due(line.pk)
        assert set(Replay.objects.values_list("state", "sent_at")) == {("queued", None)}
        resume_plan(now_of(plan), by=ROOT)
        advance_plan(plan.pk)
        assert now_of(plan).state == "running"
    assert set(Replay.objects.values_list("attempt", "spared")) == {(MOST_ATTEMPTS + 2, MOST_ATTEMPTS + 2)}

    monkeypatch.undo()
    run(plan, line)
    assert total_of(counts_of(plan)) == {"confirmed": 2}
    assert len(memory.QUEUES[line.address]["erp.orders"]) == 2


def test_a_stop_that_comes_in_between_spends_none_either(line, monkeypatch):
    replay = request_replay(stored_letter(), by=ROOT, reason="fixed")
    at_the_last_look(monkeypatch, lambda: stops.stop_replays(replay.environment, None, by=ROOT, reason="storm"))
    sending.send_due(line.pk)
    replay.refresh_from_db()
    assert (replay.state, replay.attempt, replay.spared, replay.detail) == ("queued", 1, 1, sending.HELD_BACK)


def withdrawn_before_the_claim(line, monkeypatch) -> None:
    withdraw_connection(line, by=ROOT)


def withdrawn_before_the_last_look(line, monkeypatch) -> None:
    at_the_last_look(monkeypatch, lambda: withdraw_connection(line, by=ROOT))


@pytest.mark.parametrize("withdraw", [withdrawn_before_the_claim, withdrawn_before_the_last_look])
def test_a_withdrawn_approval_refuses_nothing_of_a_plan_it_pauses_and_goes_on(line, monkeypatch, withdraw):
    """All of it was handed over already: nothing is left that the release would find."""
    plan = plan_of(letters(3), AT_ONCE)
    begin(plan)
    withdraw(line, monkeypatch)
    sending.send_due(line.pk)
    advance_plan(plan.pk)
    assert now_of(plan).state == "paused"
    assert now_of(plan).why == f"the connection {line.name} is not approved any more: approve it, then resume"
    assert set(Replay.objects.values_list("state", "sent_at", "spared")) == {("queued", None, 1)}
    assert set(DeadLetter.objects.values_list("state", flat=True)) == {"replaying"}

    monkeypatch.undo()
    approve_connection(line, by=ROOT)
    resume_plan(now_of(plan), by=ROOT)
    run(plan, line)
    assert total_of(counts_of(plan)) == {"confirmed": 3}
    assert now_of(plan).state == "finished"


def test_of_one_window_the_letter_of_a_single_replay_is_open_again(line):
    single = request_replay(stored_letter(), by=ROOT, reason="fixed")
    plan = plan_of(letters(1), AT_ONCE)
    begin(plan)
    withdraw_connection(line, by=ROOT)
    sending.send_due(line.pk)
    assert dict(Replay.objects.values_list("plan", "state")) == {None: "refused", plan.pk: "queued"}
    single.dead_letter.refresh_from_db()
    assert single.dead_letter.state == "open"


def test_a_worker_does_not_claim_what_is_withheld_again_and_again(line):
    plan = plan_of(letters(3), AT_ONCE)
    begin(plan)
    withdraw_connection(line, by=ROOT)
    assert sending.send_due(line.pk) == 3
    assert sending.send_due(line.pk) == 0


def test_what_the_broker_does_not_take_still_counts():
    busy = Published(id="1", result="unavailable", detail="busy")
    held = Published(id="1", result="withheld", detail="stopped")
    assert mark_of(busy, MOST_ATTEMPTS, idempotent=True).state == "refused"
    assert mark_of(held, MOST_ATTEMPTS, idempotent=False).state == "queued"
    assert mark_of(held, 3, idempotent=True).wait_s > 0  # else a worker would claim it again at once


def test_a_given_back_attempt_is_no_attempt_of_another_claim(line):
    """The number goes on, so that who was given back something cannot mark what somebody else claimed since."""
    replay = request_replay(stored_letter(), by=ROOT, reason="fixed")
    first = claim(line.pk, 1)
    held = Published(id=str(replay.pk), result="withheld", detail="stopped")
    assert mark(first, {replay.pk: held}) == 1
    is_due_again()
    second = claim(line.pk, 1)
    assert [one.attempt for one in first + second] == [1, 2]
    assert mark(first, {replay.pk: Published(id=str(replay.pk), result="confirmed", detail="")}) == 0
    assert mark(second, {replay.pk: Published(id=str(replay.pk), result="confirmed", detail="")}) == 1
