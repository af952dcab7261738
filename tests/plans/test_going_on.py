"""Whoever resumes a plan, closes an item on their word, or sends one again, gets what they asked for: nothing stands for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from console.identity.models import Role
from messages.models import DeadLetter, Plan, PlanItem, Replay
from messages.plans.advance import advance_plan, advance_plans
from messages.plans.queries import counts_of, held_behind, total_of
from messages.plans.services import Options, end_plan, pause_plan, resume_plan, start_plan
from messages.replay.sending import send_due
from messages.replay.services import mark_processed, send_again
from tests.factories import ROOT, actor, person
from tests.plans.test_engine import now_of, passes, slowed
from tests.plans.test_plans import begin, letters, plan_of, run

pytestmark = pytest.mark.django_db
AT_ONCE = ("100%",)


def test_a_plan_that_stopped_itself_for_slow_receivers_goes_on_when_it_is_resumed(line):
    plan = slowed(line)
    assert now_of(plan).state == "aborted"

    resume_plan(plan, by=ROOT, reason="it is as fast as ever again")
    for _ in range(3):
        advance_plan(plan.pk)
    assert now_of(plan).state == "running"
    assert Replay.objects.filter(plan=plan).count() == 8


@pytest.mark.parametrize("before", ["confirmed", "unknown"])
def test_what_a_person_closed_on_their_word_lets_the_next_of_its_key_go(line, before):
    plan = plan_of(letters(2, keys={"customer": "c1"}), Options(rate_per_s=None, steps=AT_ONCE, order_key="customer", waits_for="processed"))  # fmt: skip
    begin(plan)
    send_due(line.pk)
    first = Replay.objects.get(plan=plan)
    Replay.objects.filter(pk=first.pk).update(state=before)
    advance_plan(plan.pk)
    assert Replay.objects.filter(plan=plan).count() == 1

    mark_processed(first, by=ROOT, reason="the clerk sees it in the erp")
    assert held_behind(plan, list(PlanItem.objects.filter(plan=plan).values_list("pk", flat=True))) == {}
    advance_plan(plan.pk)
    assert Replay.objects.filter(plan=plan).count() == 2


def test_what_a_person_sends_again_of_a_stopped_plan_is_sent_and_nothing_else_of_it(line):
    plan = plan_of(letters(3), Options(rate_per_s=None, steps=("2", "100%"), waits_for="confirmed"))
    begin(plan)
    doubtful, other = Replay.objects.filter(plan=plan).order_by("pk")
    Replay.objects.filter(pk__in=[doubtful.pk, other.pk]).update(state="unknown", attempt=1, sent_at=datetime.now(UTC))
    end_plan(plan, by=ROOT, reason="enough")

    doubtful.refresh_from_db()
    send_again(doubtful, by=ROOT, reason="it is not there")
    advance_plans()
    send_due(line.pk)
    states = dict(Replay.objects.values_list("pk", "state"))
    assert states == {doubtful.pk: "confirmed", other.pk: "unknown"}
    assert total_of(counts_of(plan)) == {"confirmed": 1, "unknown": 1, "waiting": 1}


def test_what_was_sent_again_while_its_plan_was_paused_is_not_sent_once_it_is_stopped(line):
    plan = plan_of(letters(2), Options(rate_per_s=None, steps=AT_ONCE, waits_for="confirmed"))
    begin(plan)
    Replay.objects.update(state="unknown", attempt=1, sent_at=datetime.now(UTC))
    Plan.objects.update(state="paused")
    send_again(Replay.objects.earliest("pk"), by=ROOT, reason="it is not there")
    end_plan(plan, by=ROOT, reason="enough")
    send_due(line.pk)
    assert total_of(counts_of(plan)) == {"unknown": 2}


def test_who_resumes_a_plan_whose_wave_was_not_proved_lets_the_next_wave_go(line):
    plan = plan_of(letters(4), Options(rate_per_s=None, steps=("1", "2"), waits_for="processed", wave_wait_s=60))
    begin(plan)
    for wave, sent in ((1, 1), (2, 2), (3, 4)):
        send_due(line.pk)
        advance_plan(plan.pk)
        assert (now_of(plan).wave, Replay.objects.filter(state="confirmed").count()) == (wave, sent)
        passes(plan, 61)
        advance_plan(plan.pk)
        if wave < 3:
            assert now_of(plan).state == "paused"
            resume_plan(now_of(plan), by=ROOT, reason="their reports are broken, the orders are there")
            advance_plan(plan.pk)
    assert now_of(plan).state == "finished"


def test_who_resumes_what_a_person_paused_skips_no_wave(line):
    plan = plan_of(letters(4), Options(rate_per_s=None, steps=("1",), waits_for="processed", wave_wait_s=60))
    begin(plan)
    send_due(line.pk)
    advance_plan(plan.pk)
    Plan.objects.update(state="paused", state_by=ROOT.name)
    passes(plan, 600)
    resume_plan(now_of(plan), by=ROOT)
    advance_plan(plan.pk)
    assert (now_of(plan).state, now_of(plan).wave) == ("running", 1)


def test_a_plan_that_nobody_could_begin_until_long_after_it_expires_is_not_begun(line):
    plan = plan_of(letters(2))
    start_plan(plan, by=ROOT, at=datetime.now(UTC) + timedelta(hours=1))
    days = datetime.now(UTC) - timedelta(days=3)
    Plan.objects.update(begins_at=days, expires_at=days + timedelta(hours=10))
    advance_plans()
    assert now_of(plan).state == "expired"
    assert "to begin" in now_of(plan).why
    assert not Replay.objects.exists()


def test_a_plan_waits_for_a_connection_that_is_not_approved_any_more(line):
    plan = plan_of(letters(4), Options(rate_per_s=None, steps=("1", "100%"), waits_for="confirmed"))
    begin(plan)
    send_due(line.pk)
    approved = line.approved_at
    type(line).objects.filter(pk=line.pk).update(approved_at=None, approved_by="")
    advance_plan(plan.pk)
    advance_plan(plan.pk)
    assert now_of(plan).state == "paused"
    assert now_of(plan).why.startswith(f"the connection {line.name} is not approved any more")
    assert total_of(counts_of(plan)) == {"confirmed": 1, "waiting": 3}

    type(line).objects.filter(pk=line.pk).update(approved_at=approved, approved_by="root")
    resume_plan(now_of(plan), by=ROOT)
    run(plan, line)
    assert total_of(counts_of(plan)) == {"confirmed": 4}


def test_a_flow_that_forbids_replays_since_sends_no_more(line):
    chosen = letters(3)
    plan = plan_of(chosen, Options(rate_per_s=None, steps=("1", "100%"), waits_for="confirmed"))
    begin(plan)
    send_due(line.pk)
    chosen[0].flow.replay_allowed = False
    chosen[0].flow.save(update_fields=["replay_allowed"])
    run(plan, line)
    assert total_of(counts_of(plan)) == {"confirmed": 1, "left_out": 2}
    assert set(PlanItem.objects.exclude(left_out="").values_list("left_out", flat=True)) == {"flow_forbids"}
    assert DeadLetter.objects.filter(state="open").count() == 2


def test_a_person_called_like_the_console_who_paused_it_is_not_taken_for_it(line):
    """Accounts of that name may be older than the rule that nobody is given it."""
    named = actor(person("system", Role.OPERATOR))
    plan = plan_of(letters(4), Options(rate_per_s=None, steps=("1", "2"), waits_for="processed", wave_wait_s=60))
    begin(plan)
    send_due(line.pk)
    advance_plan(plan.pk)
    pause_plan(now_of(plan), by=named)
    Plan.objects.filter(pk=plan.pk).update(wave_released_at=datetime.now(UTC))
    assert now_of(plan).wave_released_at is not None
    resume_plan(now_of(plan), by=ROOT)
    assert now_of(plan).wave == 1
