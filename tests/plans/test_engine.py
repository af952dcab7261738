"""How a plan is executed: rates, order, waits, what it stops itself for, and what a stop may call withdrawn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from console.audit.models import AuditEntry
from messages.connectors.base import Published
from messages.models import DeadLetter, Flow, Plan, PlanItem, Replay, ReplayStop, RollupHour, RollupLatency
from messages.plans import advance, release, watch
from messages.plans.advance import advance_plan, advance_plans, take_more
from messages.plans.doing import rows_of
from messages.plans.queries import counts_of, held_behind, total_of
from messages.plans.services import Options, end_plan, pause_plan, resume_plan, start_plan
from messages.plans.stops import why_stopped
from messages.replay.proofs import settle_replays
from messages.replay.sending import send_due, sweep_replays
from messages.replay.window import claim, mark
from tests.factories import ROOT, agent_key, environment, event, letter, memory_connection, push
from tests.plans.test_plans import begin, letters, plan_of, run

pytestmark = pytest.mark.django_db
AT_ONCE = ("100%",)
COPIES = """
INSERT INTO messaging_replay (id, dead_letter_id, environment_id, connection_id, plan_id, destination, state, attempt, requested_by,
    reason, expiry, trace_id, span_id, created_at, sent_at, detail, proof_event_id, proof_tie)
SELECT gen_random_uuid(), dead_letter_id, environment_id, connection_id, plan_id, destination, 'processed', 1, requested_by,
    reason, expiry, gen_random_uuid(), span_id, created_at, now(), '', gen_random_uuid(), 'trace'
FROM messaging_replay, generate_series(1, 20000)
"""


def passes(plan: Plan, seconds: float) -> None:
    """So much time passes for the plan and its replays."""
    then = timedelta(seconds=seconds)
    now = Plan.objects.get(pk=plan.pk)
    moved = {name: getattr(now, name) - then for name in ("allowance_at", "wave_released_at") if getattr(now, name)}
    Plan.objects.filter(pk=plan.pk).update(**moved)
    for one in Replay.objects.filter(plan=plan, not_before__isnull=False):
        Replay.objects.filter(pk=one.pk).update(not_before=one.not_before - then)


def released(plan: Plan) -> int:
    return Replay.objects.filter(plan=plan).count()


def now_of(plan: Plan) -> Plan:
    return Plan.objects.get(pk=plan.pk)


def test_the_first_goes_at_once_and_the_others_as_the_rate_allows(line):
    plan = plan_of(letters(30), Options(rate_per_s=4, steps=AT_ONCE, waits_for="confirmed"))
    begin(plan)
    handed = [released(plan)]

    for _ in range(3):
        send_due(line.pk)
        passes(plan, 1)
        advance_plan(plan.pk)
        handed.append(released(plan))

    assert handed == [1, 5, 9, 13]


def test_what_waits_for_a_broker_does_not_pile_up_into_a_burst(line):
    plan = plan_of(letters(30), Options(rate_per_s=3, steps=AT_ONCE, waits_for="confirmed"))
    begin(plan)
    for _ in range(8):  # nobody sends
        passes(plan, 1)
        advance_plan(plan.pk)
    assert released(plan) == 6


def test_a_flow_bounds_all_plans_that_send_in_it_together(line):
    chosen = letters(10)
    flow = chosen[0].flow
    flow.replay_rate = 4
    flow.save(update_fields=["replay_rate"])
    plans = [plan_of(chosen[:5], Options(rate_per_s=None)), plan_of(chosen[5:], Options(rate_per_s=100))]
    begin(plans[0])
    assert release.rate_of(plans[0]) == 4
    begin(plans[1])
    assert [release.rate_of(one) for one in plans] == [2, 2]


def test_no_more_are_on_their_way_than_the_concurrency(line):
    plan = plan_of(letters(20), Options(rate_per_s=None, steps=AT_ONCE, concurrency=3, waits_for="confirmed"))
    begin(plan)
    assert (released(plan), take_more(line.pk, 100)) == (3, [])
    assert len(claim(line.pk, 2)) == 2
    assert (released(plan), take_more(line.pk, 100)) == (3, [])


def test_a_sender_does_not_run_dry_between_two_ticks(line, monkeypatch):
    monkeypatch.setattr(release, "MOST_AT_ONCE", 100)
    chosen = letters(20)
    push("/ingest/v1/dead-letters", [letter() for _ in range(400)], key=agent_key("harvester"))
    plan = plan_of(DeadLetter.objects.all(), Options(rate_per_s=None, steps=AT_ONCE, waits_for="confirmed"))
    begin(plan)
    assert released(plan) == 100
    send_due(line.pk)
    assert len(chosen) + 400 == released(plan) == total_of(counts_of(plan))["confirmed"]


def test_an_item_behind_one_that_failed_is_held_and_says_behind_which(line):
    chosen = letters(3, keys={"customer": "c1"})
    options = Options(
        rate_per_s=None, steps=AT_ONCE, order_key="customer", waits_for="confirmed", stop_failed_percent=100
    )
    plan = plan_of(chosen, options)
    begin(plan)
    assert released(plan) == 1
    send_due(line.pk)
    advance_plan(plan.pk)
    assert released(plan) == 2
    send_due(line.pk)
    push(
        "/ingest/v1/dead-letters",
        [letter(replay_id=str(Replay.objects.filter(plan=plan).latest("pk").pk))],
        key=agent_key("harvester"),
    )
    advance_plan(plan.pk)

    items = list(PlanItem.objects.filter(plan=plan).order_by("ordinal"))
    assert {pk: one.ordinal for pk, one in held_behind(plan, [one.pk for one in items]).items()} == {items[2].pk: 2}
    assert (now_of(plan).state, now_of(plan).why) == ("paused", "1 are held back behind an earlier one of their key")


def test_a_key_that_is_held_does_not_keep_others_from_going_however_far_behind(line, monkeypatch):
    monkeypatch.setattr(release, "LOOK_AHEAD", 2)
    held, free = letters(4, keys={"customer": "c1"}), letters(2, keys={"customer": "c2"})
    DeadLetter.objects.filter(pk__in=[one.pk for one in held]).update(failed_at=datetime(2026, 10, 1, tzinfo=UTC))
    chosen = DeadLetter.objects.all()
    plan = plan_of(
        chosen, Options(rate_per_s=None, steps=AT_ONCE, order_key="customer", waits_for="confirmed", stop_failed_percent=100)
    )  # fmt: skip
    begin(plan)
    first = Replay.objects.get(plan=plan)
    send_due(line.pk)
    push("/ingest/v1/dead-letters", [letter(replay_id=str(first.pk))], key=agent_key("harvester"))
    for _ in range(6):
        advance_plan(plan.pk)
        send_due(line.pk)
    assert total_of(counts_of(plan)) == {"failed_again": 1, "confirmed": 2, "waiting": 3}
    assert now_of(plan).why == "3 are held back behind an earlier one of their key"
    assert len(free) > 0


def test_a_wave_without_proof_pauses_the_plan_and_the_last_one_finishes_it(line):
    plan = plan_of(letters(4), Options(rate_per_s=None, steps=("1",), waits_for="processed", wave_wait_s=60))
    begin(plan)
    send_due(line.pk)
    advance_plan(plan.pk)
    passes(plan, 61)
    advance_plan(plan.pk)
    assert (now_of(plan).state, now_of(plan).why) == ("paused", "1 of 1 in wave 1 are not proved within 60 s")

    Replay.objects.filter(plan=plan).update(finished_at=datetime.now(UTC))  # a person closed it on their word
    resume_plan(plan, by=ROOT)
    run(plan, line, turns=4)
    passes(plan, 61)
    advance_plan(plan.pk)
    assert (now_of(plan).state, now_of(plan).why) == ("finished", "3 of 3 in wave 2 are not proved within 60 s")


def test_a_broker_that_stays_away_pauses_the_plan_before_its_attempts_are_spent():
    gone = memory_connection(unavailable="erp.orders")
    plan = plan_of(letters(3), Options(rate_per_s=None, steps=AT_ONCE, waits_for="confirmed"))
    begin(plan)
    for _ in range(6):
        send_due(gone.pk)
        advance_plan(plan.pk)
        passes(plan, 60)
    assert (now_of(plan).state, now_of(plan).why) == (
        "paused",
        "redis does not take them: the broker cannot be reached",
    )
    assert set(Replay.objects.values_list("attempt", "sent_at")) == {(4, None)}

    gone.options = {}
    gone.save(update_fields=["options"])
    resume_plan(plan, by=ROOT)
    run(plan, gone)
    assert total_of(counts_of(plan)) == {"confirmed": 3}


def test_a_broker_that_takes_nothing_to_that_queue_aborts_it_with_the_reason():
    full = memory_connection(refuse="erp.orders")
    plan = plan_of(letters(4), Options(rate_per_s=None, waits_for="confirmed"))
    begin(plan)
    send_due(full.pk)
    advance_plan(plan.pk)
    assert (now_of(plan).state, now_of(plan).why) == ("aborted", "1 of 1 failed again: more than 5 %")
    assert set(DeadLetter.objects.values_list("state", flat=True)) == {"open"}


def slowed(line):
    """Return a plan of eight in two waves whose receivers took ten times as long as usual for the six of the first."""
    chosen = letters(8)
    plan = plan_of(chosen, Options(rate_per_s=None, steps=("6",), waits_for="processed"))
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    RollupLatency.objects.create(hour=hour, environment=environment(), flow=chosen[0].flow, bucket=8, count=100)
    begin(plan)
    send_due(line.pk)
    at = datetime.now(UTC).isoformat()
    done = [
        event(system="erp", operation="process", destination="erp.orders", occurred_at=at, message_id="", duration_ms=2000, trace_id=one.trace_id.hex)
        for one in Replay.objects.filter(plan=plan)
    ]  # fmt: skip
    push("/ingest/v1/events", done, key=agent_key("erp exporter"))
    settle_replays()
    advance_plan(plan.pk)
    return plan


def test_it_stops_itself_when_receivers_take_much_longer_than_usual(line):
    plan = slowed(line)

    assert now_of(plan).state == "aborted"
    assert now_of(plan).why.startswith("the receiver takes 2.0 s, usually 0.2 s")


def test_what_a_wave_waits_for_goes_by_what_receivers_report(line):
    chosen = letters(2)
    assert plan_of(chosen, Options()).waits_for == "confirmed"
    push(
        "/ingest/v1/events",
        [event(system="erp", operation="process", destination="erp.orders")],
        key=agent_key("erp exporter"),
    )
    reported = set(RollupHour.objects.filter(operation=4).values_list("flow_id", flat=True))
    assert reported == {chosen[0].flow_id}
    assert plan_of(chosen, Options()).waits_for == "processed"


def test_a_stop_of_one_flow_holds_the_whole_plan_and_says_which(line):
    first, second = letters(2)
    push("/ingest/v1/dead-letters", [letter(origin="crm.orders", queue="crm.dlq")], key=agent_key("harvester"))
    other = DeadLetter.objects.exclude(pk__in=[first.pk, second.pk]).get()
    plan = plan_of([first, second, other], Options(rate_per_s=None))
    ReplayStop.objects.create(environment=environment(), flow=other.flow, stopped_by="me", reason="crm is down")
    begin(plan)
    assert released(plan) == 0
    assert why_stopped(plan) == f"me stopped all replays of {other.flow.name}: crm is down"


def test_a_stop_calls_withdrawn_only_what_surely_has_not_left(line):
    """Tried in vain is withdrawn; tried with an unknown end, and anything after that, is unknown."""
    never, in_vain, doubtful, again = letters(4)
    for one in (in_vain, doubtful, again):
        one.flow.receiver_is_idempotent = True
        one.flow.save(update_fields=["receiver_is_idempotent"])
    plan = plan_of([never, in_vain, doubtful, again], Options(rate_per_s=None, steps=AT_ONCE, waits_for="confirmed"))
    begin(plan)
    replays = {one.dead_letter_id: one for one in Replay.objects.filter(plan=plan)}
    tried = {in_vain: ["unavailable"], doubtful: ["unknown"], again: ["unknown", "unavailable"]}
    for one, results in tried.items():
        others = Replay.objects.filter(plan=plan).exclude(dead_letter=one)
        others.update(not_before=datetime.now(UTC) + timedelta(hours=1))
        for result in results:
            line.options = {result: "erp.orders"}
            line.save(update_fields=["options"])
            Replay.objects.filter(pk=replays[one.pk].pk).update(not_before=None)
            assert send_due(line.pk) == 1
            Replay.objects.update(sent_at=F("sent_at") - timedelta(seconds=2))  # which pass until the next attempt

    end_plan(plan, by=ROOT)

    ends = {one: Replay.objects.get(pk=replays[one.pk].pk).state for one in (never, in_vain, doubtful, again)}
    assert ends == {never: "withdrawn", in_vain: "withdrawn", doubtful: "unknown", again: "unknown"}
    open_ones = set(DeadLetter.objects.filter(state="open").values_list("pk", flat=True))
    assert open_ones == {never.pk, in_vain.pk}


def test_a_tick_costs_the_same_few_statements_however_many_items(line):
    spent = []
    for count in (5, 60):
        DeadLetter.objects.filter(state="open").update(
            state="closed", resolution="discarded", closed_at=datetime.now(UTC)
        )
        known = set(DeadLetter.objects.values_list("pk", flat=True))
        push("/ingest/v1/dead-letters", [letter() for _ in range(count)], key=agent_key("harvester"))
        plan = plan_of(
            DeadLetter.objects.exclude(pk__in=known), Options(rate_per_s=None, steps=AT_ONCE, waits_for="processed")
        )
        begin(plan)
        send_due(line.pk)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            advance_plan(plan.pk)
        spent.append(len(queries))
        assert not [one for one in queries if "width_bucket" in one["sql"]], "it counted every item"
    assert spent[0] == spent[1]


def test_a_plan_that_cannot_be_advanced_does_not_keep_the_others_from_it(line, monkeypatch):
    first = plan_of(letters(1), Options(rate_per_s=None))
    push("/ingest/v1/dead-letters", [letter()], key=agent_key("harvester"))
    second = plan_of(DeadLetter.objects.order_by("-id")[:1], Options(rate_per_s=None))
    for one in (first, second):
        start_plan(one, by=ROOT)
    really = advance.advance_plan

    def broken(pk: int) -> int:
        if pk == first.pk:
            raise RuntimeError("a bug")
        return really(pk)

    monkeypatch.setattr(advance, "advance_plan", broken)
    advance_plans()
    assert (now_of(first).state, now_of(second).state) == ("scheduled", "running")


def test_a_draft_nobody_started_expires_and_is_audited(line):
    plan = plan_of(letters(1), Options())
    Plan.objects.filter(pk=plan.pk).update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    advance_plans()
    assert now_of(plan).state == "expired"
    assert AuditEntry.objects.filter(action="plan.expired", object_id=str(plan.pk)).count() == 1


def test_what_a_tick_looks_at_is_found_by_small_indexes(line):
    """Of a plan of 20,000 sent items a tick reads a few rows."""
    plan = plan_of(letters(1), Options(rate_per_s=None, waits_for="confirmed"))
    begin(plan)
    send_due(line.pk)
    with connection.cursor() as cursor:
        cursor.execute(COPIES)
        cursor.execute("ANALYZE messaging_replay")
        asked = {"plan": plan.pk, "first": 1, "last": 1}
        in_flight = {"replay_due", "replay_one_in_flight_per_dead_letter"}  # the smaller one
        for sql, named, indexes in (
            (rows_of("replay", watch.WENT_WRONG), [plan.pk], {"replay_odd"}),
            (release.ON_THEIR_WAY, [plan.pk], in_flight),
            (advance.UNDECIDED["confirmed"], asked, {"replay_odd"}),
            (watch.AWAY, [plan.pk, 4], in_flight),
        ):
            cursor.execute("EXPLAIN " + sql, named)
            told = "\n".join(row[0] for row in cursor.fetchall())
            assert [index for index in indexes if index in told], told


def test_what_a_worker_puts_back_or_loses_while_its_plan_is_stopped_is_not_left_between(line):
    plan = plan_of(letters(3), Options(rate_per_s=None, steps=("100%",)))
    begin(plan)
    put_back, lost, sent = claim(line.pk, 10)
    Replay.objects.filter(pk=lost.pk).update(lease_until=datetime.now(UTC) - timedelta(seconds=1))
    Flow.objects.update(receiver_is_idempotent=True)

    end_plan(plan, by=ROOT, reason="enough")
    mark([put_back], {put_back.pk: Published(id=str(put_back.pk), result="unavailable", detail="not sent")})
    mark([sent], {sent.pk: Published(id=str(sent.pk), result="confirmed", detail="")})
    advance_plans()
    sweep_replays()

    states = dict(Replay.objects.values_list("pk", "state"))
    assert (states[put_back.pk], states[lost.pk], states[sent.pk]) == ("withdrawn", "unknown", "confirmed")
    assert DeadLetter.objects.filter(state="open").count() == 1


def test_a_plan_with_a_rate_goes_on_when_it_is_resumed(line):
    plan = plan_of(letters(4), Options(rate_per_s=1, steps=("100%",)))
    begin(plan)
    pause_plan(plan, by=ROOT)
    resume_plan(plan, by=ROOT, reason="go on")

    assert advance_plan(plan.pk) == 1
