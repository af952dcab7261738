"""A plan from its selection to its end: what is frozen is what is sent, in waves, and everything is accounted for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from console.identity.models import Role
from messages.connectors import memory
from messages.models import DeadLetter, Plan, PlanItem, Replay, ReplayStop
from messages.plans.advance import advance_plan
from messages.plans.checksum import PlanChanged
from messages.plans.queries import counts_of, total_of
from messages.plans.selection import Selection
from messages.plans.services import (
    ApprovalNeeded,
    Options,
    OwnPlan,
    PlanState,
    approve_plan,
    create_plan,
    end_plan,
    pause_plan,
    request_approval,
    resume_plan,
    start_plan,
    undo_start,
)
from messages.replay.proofs import settle_replays
from messages.replay.sending import send_due
from messages.search.parse import parse_query
from tests.factories import ROOT, actor, agent_key, environment, event, letter, person, push

pytestmark = pytest.mark.django_db
FAST = Options(rate_per_s=None, waits_for="confirmed")


def letters(count, **changes):
    """Push so many letters; return them, the one that failed first first."""
    made = [letter(failed_at=f"2026-11-0{1 + n // 20}T10:{n % 20:02d}:00Z", **changes) for n in range(count)]
    assert push("/ingest/v1/dead-letters", made, key=agent_key("harvester")).json()["accepted"] == count
    return list(DeadLetter.objects.order_by("failed_at"))


def plan_of(chosen, options=FAST, by=ROOT):
    ids = [one.pk for one in chosen]
    return create_plan(
        Selection(source=Plan.Source.TICKED, ids=ids),
        environment=environment(),
        by=by,
        reason="erp is back",
        options=options,
    )


def begin(plan, by=ROOT):
    start_plan(plan, by=by)
    advance_plan(plan.pk)
    plan.refresh_from_db()


def run(plan, line, turns=30):
    for _ in range(turns):
        advance_plan(plan.pk)
        send_due(line.pk)
        plan.refresh_from_db()
        if plan.state != "running":
            return


def test_what_is_frozen_is_what_is_sent_wave_by_wave(line):
    chosen = letters(40)
    plan = plan_of(chosen)
    assert (plan.items_count, plan.wave_ends) == (40, [1, 2, 10, 40])

    begin(plan)
    assert Replay.objects.filter(plan=plan).count() == 1
    run(plan, line)

    assert plan.state == "finished"
    assert total_of(counts_of(plan)) == {"confirmed": 40}
    frozen = list(PlanItem.objects.filter(plan=plan).order_by("ordinal").values_list("dead_letter_id", "replay_id"))
    assert [one.pk for one in chosen] == [pk for pk, _ in frozen]
    assert [(r.dead_letter_id, r.pk) for r in Replay.objects.filter(plan=plan).order_by("pk")] == frozen
    assert len(memory.QUEUES[line.address]["erp.orders"]) == 40


def test_what_cannot_be_sent_is_left_out_with_its_reason(line):
    closed, fine, other = letters(3)
    letters(1, body=None)
    DeadLetter.objects.filter(pk=closed.pk).update(state="closed", resolution="discarded", closed_at=datetime.now(UTC))
    held = plan_of([other])
    start_plan(held, by=ROOT, at=datetime.now(UTC) + timedelta(hours=1))

    plan = plan_of(DeadLetter.objects.all())

    assert plan.figures["left_out"] == {"closed": 1, "in_plan": 1, "no_payload": 1}
    assert plan.items_count == 1
    assert PlanItem.objects.get(plan=plan, left_out="").dead_letter == fine


def test_a_letter_that_was_taken_meanwhile_is_left_out_when_its_turn_comes(line):
    first, second = letters(2)
    plan, faster = plan_of([first, second]), plan_of([second])
    begin(faster)
    run(faster, line)
    begin(plan)
    run(plan, line)
    assert total_of(counts_of(plan)) == {"confirmed": 1, "left_out": 1}
    assert plan.state == "finished"


def test_nothing_is_sent_while_it_is_paused_or_replays_are_stopped(line):
    plan = plan_of(letters(30))
    begin(plan)
    pause_plan(plan, by=ROOT)
    assert (advance_plan(plan.pk), send_due(line.pk)) == (0, 0)
    resume_plan(plan, by=ROOT)
    stop = ReplayStop.objects.create(environment=environment(), stopped_by="me", reason="erp is down")
    assert (advance_plan(plan.pk), send_due(line.pk)) == (0, 0)
    stop.delete()
    run(plan, line)
    assert total_of(counts_of(plan)) == {"confirmed": 30}


def test_a_stopped_plan_takes_back_what_has_not_left(line):
    chosen = letters(5)
    plan = plan_of(chosen, Options(rate_per_s=None, steps=("100%",)))
    begin(plan)
    end_plan(plan, by=ROOT, reason="wrong queue")
    assert send_due(line.pk) == 0
    assert total_of(counts_of(plan)) == {"withdrawn": 5}
    assert {one.state for one in DeadLetter.objects.all()} == {"open"}
    assert plan.state == "stopped"


def test_a_plan_stops_itself_when_its_canary_fails(line):
    plan = plan_of(letters(10), Options(rate_per_s=None, waits_for="processed"))
    begin(plan)
    send_due(line.pk)
    replay = Replay.objects.get(plan=plan)
    died = letter(replay_id=str(replay.pk))
    push("/ingest/v1/dead-letters", [died], key=agent_key("harvester"))
    advance_plan(plan.pk)
    plan.refresh_from_db()
    assert (plan.state, plan.why) == ("aborted", "1 of 1 failed again: more than 5 %")

    resume_plan(plan, by=ROOT, reason="erp is mended")
    advance_plan(plan.pk)  # the canary's wave is over
    advance_plan(plan.pk)
    assert Replay.objects.filter(plan=plan).count() == 3


def test_a_wave_waits_for_the_receivers_proof(line):
    plan = plan_of(letters(2), Options(rate_per_s=None, waits_for="processed"))
    begin(plan)
    send_due(line.pk)
    assert advance_plan(plan.pk) == 0
    replay = Replay.objects.get(plan=plan)
    proof = event(system="erp", operation="process", destination="erp.orders", occurred_at=datetime.now(UTC).isoformat(),
                  message_id="", trace_id=replay.trace_id.hex)  # fmt: skip
    push("/ingest/v1/events", [proof], key=agent_key("erp exporter"))
    settle_replays()
    run(plan, line, turns=2)
    assert total_of(counts_of(plan)) == {"processed": 1, "confirmed": 1}


def test_items_of_one_key_wait_for_those_before_them(line):
    chosen = letters(4, keys={"customer": "c1"})
    plan = plan_of(chosen, Options(rate_per_s=None, steps=("100%",), order_key="customer", waits_for="processed"))
    begin(plan)
    send_due(line.pk)
    assert list(Replay.objects.filter(plan=plan).values_list("dead_letter_id", flat=True)) == [chosen[0].pk]


def test_a_second_person_approves_exactly_what_was_shown(line):
    chosen = letters(2)
    flow = chosen[0].flow
    flow.approve_above = 0
    flow.save()
    plan = plan_of(chosen)
    with pytest.raises(ApprovalNeeded):
        start_plan(plan, by=ROOT)
    request_approval(plan, by=ROOT)
    with pytest.raises(OwnPlan):
        approve_plan(plan, by=ROOT, checksum=plan.checksum)
    second = actor(person("erp-owner", Role.OPERATOR))
    with pytest.raises(PlanState):
        approve_plan(plan, by=second, checksum="0" * 64)
    approve_plan(plan, by=second, checksum=plan.checksum)
    start_plan(plan, by=ROOT, undo_s=10)
    undo_start(plan, by=ROOT)
    assert plan.state == "approved"
    PlanItem.objects.filter(plan=plan, ordinal=2).delete()
    with pytest.raises(PlanChanged):
        start_plan(plan, by=ROOT)


def test_all_that_match_are_frozen_from_the_query(line):
    letters(3)
    query = parse_query("system:erp state:open")
    plan = create_plan(
        Selection(source=Plan.Source.QUERY, q="system:erp state:open", query=query),
        environment=environment(),
        by=ROOT,
        reason="x",
    )
    assert (plan.items_count, plan.figures["selected"]) == (3, 3)
    letters(1)
    assert plan.items.count() == 3
