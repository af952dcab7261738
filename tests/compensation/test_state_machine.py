"""Any order of what people, workers, receivers and time do to a compensation: whatever it is, the rows stay true."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from console.core.errors import ConsoleError
from messages.compensation.execute import Claimed, advance
from messages.compensation.late import answer_late
from messages.compensation.sending import send_step
from messages.compensation.services import (
    look_again,
    mark_step,
    pause,
    resume,
    retry_step,
    skip_step,
    start,
    stop,
)
from messages.compensation.settling import settle
from messages.compensation.states import ENDED, STEP_OVER, STEP_STATES, TOOK_EFFECT, UNDONE
from messages.connectors.memory import QUEUES
from messages.models import Compensation, CompensationStep, Connection, DeadLetter, Event
from tests.compensation.orders import BOOK, failed_order, saved
from tests.compensation.runs import again, passes, refund_told, told
from tests.conftest import forget_everything
from tests.factories import ROOT, memory_connection

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(600)]
WAYS = st.sampled_from(
    [{}, {"refuse": "releases"}, {"unknown": "refunds"}, {"unavailable": "releases"}, {"unknown": "releases"}]
)


class Compensating(RuleBasedStateMachine):
    """Two operators, workers that die, sleep and come back, receivers of every mood, over all the compensations of one order."""

    @initialize(repeatable=st.booleans())
    def begin(self, repeatable: bool) -> None:
        self.point = transaction.atomic()
        self.point.__enter__()
        self.line = memory_connection()
        text = BOOK.replace("      body:", f"      repeatable: {str(repeatable).lower()}\n      body:")
        self.letter = failed_order("payment", "stock")
        saved(self.letter.flow, text)
        self.claims: list[Claimed] = []
        self.answers: list[tuple[Claimed, Any]] = []
        self.late = False
        self.refusals: list[str] = []
        self.run = again(self.letter)
        self.repeatable = repeatable

    def teardown(self) -> None:
        if hasattr(self, "point"):
            transaction.set_rollback(True)
            self.point.__exit__(None, None, None)
        forget_everything()

    def try_to(self, act: Any, *args: Any, **more: Any) -> None:
        """Do what a person may ask for at any moment: it is done, or refused in words; never anything else."""
        try:
            with transaction.atomic():
                act(*args, by=ROOT, **more)
        except ConsoleError as refusal:
            self.refusals.append(str(refusal))

    def now(self) -> Compensation:
        return Compensation.objects.select_related("flow", "dead_letter", "environment", "book").get(pk=self.run.pk)

    @rule()
    def starts(self) -> None:
        self.try_to(start, self.now())

    @rule()
    def pauses_and_goes_on(self) -> None:
        self.try_to(pause, self.now())
        self.try_to(resume, self.now())

    @rule(act=st.sampled_from([pause, resume]))
    def holds(self, act: Any) -> None:
        self.try_to(act, self.now())

    @rule()
    def stops(self) -> None:
        self.try_to(stop, self.now(), reason="stopped")

    @rule()
    def reads_anew(self) -> None:
        self.try_to(look_again, self.now())

    @precondition(lambda self: self.now().state in ENDED)
    @rule()
    def proposes_another(self) -> None:
        try:
            with transaction.atomic():
                self.run = again(
                    DeadLetter.objects.select_related("flow__environment", "flow__team").get(pk=self.letter.pk)
                )
        except ConsoleError as refusal:
            self.refusals.append(str(refusal))

    @rule(act=st.sampled_from([retry_step, skip_step, mark_step]), at=st.integers(0, 5))
    def decides_on_a_step(self, act: Any, at: int) -> None:
        steps = list(
            CompensationStep.objects.select_related("compensation__flow__team", "compensation__environment").order_by(
                "pk"
            )
        )
        self.try_to(act, steps[at % len(steps)], reason="decided")

    @rule(add=st.booleans())
    def answers_for_what_was_late(self, add: bool) -> None:
        self.try_to(answer_late, self.now(), 0, add=add, reason="answered")

    @rule(ways=WAYS)
    def the_receiver_changes(self, ways: dict[str, str]) -> None:
        Connection.objects.filter(pk=self.line.pk).update(options=ways)

    @rule()
    def a_worker_claims(self) -> None:
        for pk in Compensation.objects.filter(due_at__isnull=False).values_list("pk", flat=True):
            if (claimed := advance(pk)) is not None:
                self.claims.append(claimed)

    @precondition(lambda self: self.claims)
    @rule()
    def a_worker_sends(self) -> None:
        claimed = self.claims.pop(0)
        self.answers.append((claimed, send_step(claimed.run, claimed.step, claimed.undo)))

    @precondition(lambda self: self.answers)
    @rule()
    def a_worker_marks(self) -> None:
        claimed, answer = self.answers.pop(0)
        settle(claimed.step, claimed.undo, answer)

    @precondition(lambda self: self.answers or self.claims)
    @rule()
    def a_worker_dies(self) -> None:
        self.answers, self.claims = self.answers[1:], self.claims if self.answers else self.claims[1:]

    @rule()
    def time_passes(self) -> None:
        for run in Compensation.objects.all():
            passes(run, 3600)

    @rule()
    def the_payment_system_tells_of_a_refund(self) -> None:
        step = CompensationStep.objects.filter(name="payment", sent_at__isnull=False).order_by("-sent_at").first()
        if step is not None and QUEUES[self.line.address]["refunds"] and not refund_told(step):
            told(self.run, "payment", "refunds", trace_id=step.trace_id.hex)

    @precondition(lambda self: not self.late)
    @rule()
    def something_completes_late(self) -> None:
        self.late = True
        told(self.run, "mailer", "mails", message_id="late mail")

    @invariant()
    def the_rows_are_true(self) -> None:
        if not hasattr(self, "run"):
            return
        assert all(self.refusals)
        steps = list(CompensationStep.objects.select_related("compensation"))
        self._nothing_that_did_not_happen(steps)
        self._at_most_once_or_said(steps)
        self._nothing_is_dropped()
        self._the_letter_is_held_by_who_works()

    def _nothing_that_did_not_happen(self, steps: list[CompensationStep]) -> None:
        happened = set(Event.objects.filter(outcome=1, agent_id__isnull=False).values_list("id", flat=True))
        assert {step.event_id for step in steps} <= happened

    def _at_most_once_or_said(self, steps: list[CompensationStep]) -> None:
        sent = Counter(one.id for queue in QUEUES[self.line.address].values() for one in queue)
        attempts = Counter[str]()
        for step in steps:
            attempts[str(step.idempotency_key)] += step.attempt
            if step.state == "done" and not step.proof_event_id:
                assert sent[str(step.idempotency_key)], "done, and nothing ever left"
        assert all(count <= attempts[key] for key, count in sent.items())
        effective = Counter(step.idempotency_key for step in steps if step.state in TOOK_EFFECT)
        assert all(count == 1 for count in effective.values())
        proofs = Counter(step.proof_event_id for step in steps if step.proof_event_id)
        assert all(count == 1 for count in proofs.values())

    def _nothing_is_dropped(self) -> None:
        for run in Compensation.objects.all():
            states = {step.name: step.state for step in run.steps.all()}
            assert set(states.values()) <= set(STEP_STATES)
            told_of = set(states) | {one["step"] for one in run.already}
            assert {"payment", "stock"} <= told_of, "a completed step is nowhere"
            if run.state == "compensated":
                assert set(states.values()) <= UNDONE
                assert all(one["answer"] == "add" for one in run.late if one["seen_at"] < run.finished_at.isoformat())
            if run.state == "partially_compensated":
                assert set(states.values()) <= STEP_OVER
                assert set(states.values()) - UNDONE or any(one["answer"] == "leave" for one in run.late)

    def _the_letter_is_held_by_who_works(self) -> None:
        letter = DeadLetter.objects.get(pk=self.letter.pk)
        at_work = Compensation.objects.filter(state__in=["running", "paused", "stuck"]).exists()
        has_a_step = CompensationStep.objects.filter(state="sending").exists()
        if letter.state == "compensating":
            assert (
                at_work
                or has_a_step
                or Compensation.objects.filter(state="stopped", due_at__lte=datetime.now(UTC)).exists()
            )
        if at_work:
            assert letter.state in ("compensating", "closed")


def test_whatever_happens_the_rows_stay_true():
    run_state_machine_as_test(
        Compensating,
        settings=settings(
            max_examples=10,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
