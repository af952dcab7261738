"""Whatever people, workers, brokers and receivers do, in any order: a plan's rows stay true, and when all is well again it ends."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from console.core.errors import Conflict
from messages.connectors import memory
from messages.models import Connection, DeadLetter, Plan, PlanItem, Replay, ReplayStop
from messages.plans import states
from messages.plans.advance import advance_plans
from messages.plans.queries import counts_of, held_behind, total_of
from messages.plans.services import end_plan, pause_plan, resume_plan, start_plan, undo_start
from messages.replay.sending import PARK, send_due
from messages.replay.services import send_again
from messages.replay.states import MOST_ATTEMPTS
from messages.replay.window import claim
from tests.factories import ROOT, agent_key, environment, letter, memory_connection, push
from tests.plans.test_plans import Options, letters, plan_of

pytestmark = pytest.mark.django_db
ITEMS = 6


def run(sql: str, *asked: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, asked)


class Life(RuleBasedStateMachine):
    """One plan over a few letters of two keys; the broker takes, is away, loses its line or refuses."""

    @initialize(
        steps=st.sampled_from([("100%",), ("1", "100%"), ("2", "50%")]), ordered=st.booleans(), idempotent=st.booleans(),
        waits_for=st.sampled_from(["processed", "confirmed"]), rate=st.sampled_from([None, 2.0]),
    )  # fmt: skip
    def begin(
        self, steps: tuple[str, ...], ordered: bool, idempotent: bool, waits_for: str, rate: float | None
    ) -> None:
        self.savepoint = transaction.savepoint()
        self.line = Connection.objects.get()
        memory.QUEUES.pop(self.line.address, None)
        chosen = list(DeadLetter.objects.order_by("failed_at", "id"))
        flow = chosen[0].flow
        flow.receiver_is_idempotent = idempotent
        flow.save(update_fields=["receiver_is_idempotent"])
        options = Options(
            rate_per_s=rate, steps=steps, waits_for=waits_for, order_key="customer" if ordered else "",
            stop_failed_percent=50, wave_wait_s=60,
        )  # fmt: skip
        self.plan = plan_of(chosen, options)
        self.frozen = self.rows()
        self.before: dict[Any, str] = {}
        self.state = "draft"
        self.out_by_the_dead: Counter[str] = Counter()

    def teardown(self) -> None:
        """The faults are over, receivers prove what they got, somebody resumes what paused: nothing is stuck."""
        try:
            if hasattr(self, "plan"):
                self.ends()
        finally:
            if hasattr(self, "savepoint"):
                transaction.set_rollback(False)
                transaction.savepoint_rollback(self.savepoint)

    def ends(self) -> None:
        ReplayStop.objects.all().delete()
        for _ in range(8 * ITEMS):
            state = Plan.objects.get(pk=self.plan.pk).state
            if state in states.ENDED or state == "draft":
                break
            if state == "scheduled":
                Plan.objects.filter(pk=self.plan.pk).update(begins_at=datetime.now(UTC))
            self.act(resume_plan, self.plan, by=ROOT)
            self.tick(120)
            self.send("")
            for _ in range(ITEMS):
                self.a_receiver_proves_one(0)
        held = held_behind(self.plan, list(PlanItem.objects.filter(plan=self.plan).values_list("pk", flat=True)))
        if state not in states.ENDED and state != "draft":
            assert held, (state, dict(total_of(counts_of(self.plan))), Plan.objects.get(pk=self.plan.pk).why)
            self.act(end_plan, self.plan, by=ROOT)
        self.tick(120)
        assert not Replay.objects.filter(state__in=["queued", "sending"]).exists()
        self.counters_add_up()

    def rows(self) -> list[tuple[int, Any, Any]]:
        return list(PlanItem.objects.filter(plan=self.plan).order_by("ordinal").values_list("ordinal", "dead_letter_id", "replay_id"))  # fmt: skip

    def act(self, what: Any, *args: Any, **named: Any) -> None:
        """Somebody tries; who may not now is told, and nothing has changed."""
        before = Plan.objects.get(pk=self.plan.pk).state
        try:
            with transaction.atomic():
                what(*args, **named)
        except Conflict:
            assert Plan.objects.get(pk=self.plan.pk).state == before

    @rule(later=st.booleans())
    def start(self, later: bool) -> None:
        self.act(start_plan, self.plan, by=ROOT, undo_s=3600 if later else 0)

    @rule()
    def undo(self) -> None:
        self.act(undo_start, self.plan, by=ROOT)

    @rule()
    def pause(self) -> None:
        self.act(pause_plan, self.plan, by=ROOT)

    @rule()
    def resume(self) -> None:
        self.act(resume_plan, self.plan, by=ROOT)

    @rule()
    def stop(self) -> None:
        self.act(end_plan, self.plan, by=ROOT)

    @rule()
    def stop_or_allow_all_replays(self) -> None:
        if not ReplayStop.objects.all().delete()[0]:
            ReplayStop.objects.create(environment=environment(), stopped_by="me", reason="x")

    @rule(passed_s=st.sampled_from([0, 1, 120]))
    def tick(self, passed_s: int) -> None:
        """So much time passes, and the beat."""
        then = timedelta(seconds=passed_s)
        run("UPDATE messaging_replay SET not_before = not_before - %s, lease_until = lease_until - %s, sent_at = sent_at - %s", then, then, then)  # fmt: skip
        run("UPDATE messaging_plan SET allowance_at = allowance_at - %s, wave_released_at = wave_released_at - %s", then, then)  # fmt: skip
        run(PARK, MOST_ATTEMPTS)
        advance_plans()

    @rule(broker=st.sampled_from(["", "", "", "unavailable", "unknown", "refuse"]))
    def send(self, broker: str) -> None:
        self.line.options = {broker: "erp.orders"} if broker else {}
        self.line.save(update_fields=["options"])
        run("UPDATE messaging_replay SET sent_at = sent_at - interval '1 ms'")  # which passes between two attempts
        stopped = ReplayStop.objects.exists() or Plan.objects.get(pk=self.plan.pk).state not in ("running", "finished")

        sent = send_due(self.line.pk)

        assert not (stopped and sent)

    @rule(published=st.booleans())
    def a_worker_dies(self, published: bool) -> None:
        """It has claimed a window and dies, before its messages are out or after."""
        run("UPDATE messaging_replay SET sent_at = sent_at - interval '1 ms'")
        for one in claim(self.line.pk, 2):
            if published:
                self.out_by_the_dead[str(one.pk)] += 1

    @rule(which=st.integers(0, ITEMS - 1))
    def a_receiver_proves_one(self, which: int) -> None:
        done = Replay.objects.filter(state__in=["sent", "confirmed", "unknown"]).order_by("pk")[which : which + 1]
        for one in done:
            Replay.objects.filter(pk=one.pk).update(state="processed", proof_event_id=one.pk, finished_at=datetime.now(UTC))  # fmt: skip
            DeadLetter.objects.filter(pk=one.dead_letter_id).update(state="closed", resolution="processed", closed_at=datetime.now(UTC))  # fmt: skip

    @rule(which=st.integers(0, ITEMS - 1))
    def one_dies_again(self, which: int) -> None:
        for one in Replay.objects.filter(state__in=["confirmed", "unknown"]).order_by("pk")[which : which + 1]:
            push("/ingest/v1/dead-letters", [letter(replay_id=str(one.pk))], key=agent_key("harvester"))

    @rule()
    def a_person_sends_the_doubtful_again(self) -> None:
        for one in Replay.objects.filter(state="unknown", finished_at=None)[:1]:
            self.act(send_again, one, by=ROOT, reason="x")

    @invariant()
    def counters_add_up(self) -> None:
        if hasattr(self, "plan"):
            assert total_of(counts_of(self.plan)).total() == self.plan.items_count == ITEMS

    @invariant()
    def what_runs_is_what_was_previewed(self) -> None:
        if hasattr(self, "plan"):
            assert self.rows() == self.frozen
            of_items = {(letter, replay) for _, letter, replay in self.frozen}
            assert set(Replay.objects.filter(plan=self.plan).values_list("dead_letter_id", "pk")) <= of_items

    @invariant()
    def states_follow_one_another_as_declared(self) -> None:
        if not hasattr(self, "plan"):
            return
        now = Plan.objects.get(pk=self.plan.pk).state
        assert now in reachable(self.state), f"{self.state} → {now}"
        self.state = now
        after = dict(Replay.objects.values_list("pk", "state"))
        assert all(pk in after for pk in self.before)
        assert not [(was, after[pk]) for pk, was in self.before.items() if was in FINAL and after[pk] != was]
        self.before = after

    @invariant()
    def what_is_marked_sent_was_received_and_no_copy_lacks_its_attempt(self) -> None:
        if not hasattr(self, "plan"):
            return
        copies = self.out_by_the_dead + Counter(item.id for item in memory.QUEUES[self.line.address]["erp.orders"])
        for one in Replay.objects.all():
            assert copies[str(one.pk)] <= one.attempt
            assert one.state not in ("sent", "confirmed") or copies[str(one.pk)] >= 1
            assert one.state != "withdrawn" or copies[str(one.pk)] == 0
            assert one.state != "queued" or one.sent_at or copies[str(one.pk)] == 0

    @invariant()
    def order_is_kept(self) -> None:
        if not hasattr(self, "plan") or not self.plan.order_key:
            return
        items = list(PlanItem.objects.filter(plan=self.plan, left_out="").order_by("ordinal"))
        released = dict(Replay.objects.values_list("pk", "state"))
        behind = held_behind(self.plan, [one.pk for one in items])
        for item in items:
            earlier = [one for one in items if one.key == item.key and one.ordinal < item.ordinal]
            if item.replay_id in released:
                assert all(one.replay_id in released for one in earlier)
            elif any(released.get(one.replay_id) in (None, "failed_again", "refused", "unknown") for one in earlier):
                assert behind[item.pk].ordinal < item.ordinal
                assert behind[item.pk].key == item.key


FINAL = frozenset({"processed", "failed_again", "refused", "withdrawn"})


def reachable(state: str) -> set[str]:
    """Return every state that may follow this one, in any number of steps: a rule may take several."""
    found, asked = {state}, [state]
    while asked:
        for after in states.TRANSITIONS[asked.pop()].values():
            if after not in found:
                found.add(after)
                asked.append(after)
    return found


def test_whatever_happens_in_whatever_order_rows_stay_true_and_nothing_is_stuck():
    memory_connection()
    for key in ("a", "b"):
        letters(ITEMS // 2, keys={"customer": key})
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=15,
            stateful_step_count=15,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
