"""Compensations go as closed letters do, with what they sent and the keys under which it is sealed; what is open keeps all of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from messages.compensation.execute import work_on
from messages.compensation.sealed import opened_action
from messages.compensation.services import start
from messages.models import Compensation, CompensationStep, Connection, DataKey, DeadLetter
from messages.retention.plan import plan_retention
from messages.retention.run import run_retention
from messages.retention.services import place_hold
from tests.compensation.orders import proposed
from tests.compensation.runs import now_of, states, worked_on
from tests.factories import ROOT, memory_connection

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def line(db: None) -> Connection:
    return memory_connection()


def in_days(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def planned(days: float) -> int:
    lines = plan_retention(now=in_days(days)).lines
    return sum(one.rows for one in lines if one.table == "messaging_compensation")


def test_what_has_ended_goes_with_its_letter_after_the_days_of_letters_and_what_is_open_stays():
    ended, waiting = worked_on("stock"), proposed("stock")
    start(waiting, by=ROOT)
    assert ended.state == "compensated"
    assert (planned(29), planned(31)) == (0, 1)

    run_retention(now=in_days(31))

    assert set(Compensation.objects.values_list("pk", flat=True)) == {waiting.pk}
    assert not CompensationStep.objects.filter(compensation_id=ended.pk).exists()
    assert not DeadLetter.objects.filter(pk=ended.dead_letter_id).exists()
    assert DeadLetter.objects.filter(pk=waiting.dead_letter_id).exists()


def test_a_proposal_keeps_its_key_however_old_it_gets_and_is_executed_with_it():
    run = proposed("stock")
    start(run, by=ROOT)

    run_retention(now=in_days(100))

    step = CompensationStep.objects.get(compensation=run)
    assert opened_action(step, run.environment_id).destination == "releases"
    work_on(run.pk)
    assert states(run) == {"stock": "done"}


def test_the_key_goes_when_nothing_is_sealed_under_it_any_more():
    run = worked_on("stock")
    key = int.from_bytes(bytes(CompensationStep.objects.get(compensation=run).action)[:8], "big")

    run_retention(now=in_days(31))
    run_retention(now=in_days(31))

    assert not DataKey.objects.filter(pk=key).exists()


def test_a_hold_on_the_flow_keeps_it_and_an_open_letter_keeps_what_undid_a_part_of_it():
    held, partly = worked_on("stock"), worked_on("stock", "mailer")
    assert now_of(partly).dead_letter.state == "open"
    place_hold(held.environment, held.flow, by=ROOT, reason="a lawsuit")

    run_retention(now=in_days(400))

    assert Compensation.objects.filter(pk__in=[held.pk, partly.pk]).count() == 2
