"""What the freeze asked of an item is asked again when its turn comes, which may be hours later: what changed since leaves it out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from messages.models import DeadLetter, Plan, PlanItem, Replay
from messages.plans.advance import advance_plan
from messages.plans.queries import counts_of, total_of
from messages.plans.reasons import LEFT_OUT
from messages.plans.services import start_plan
from tests.factories import ROOT, memory_connection
from tests.plans.test_left_out import one, plan_of, processed_since, replayed, set_flow, set_letter

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def line():
    return memory_connection()


def is_processed(found: DeadLetter) -> None:
    processed_since(found)


def is_superseded(found: DeadLetter) -> None:
    set_flow(found, supersede_key="order_no")
    processed_since(found, message_id="the newer one", keys={"order_no": "17"})


def reaches_the_cap(found: DeadLetter) -> None:
    """Somebody replayed it alone, and the broker refused it: it is open again."""
    set_flow(found, most_replays=2)
    replayed(found), replayed(found)


def is_forbidden(found: DeadLetter) -> None:
    set_flow(found, replay_allowed=False)


SINCE: list[tuple[Callable[[DeadLetter], None], str]] = [
    (is_processed, "processed"), (is_superseded, "superseded"), (reaches_the_cap, "attempt_cap"), (is_forbidden, "flow_forbids"),
]  # fmt: skip


def an_hour_old() -> DeadLetter:
    return one(failed_at=(timezone.now() - timedelta(hours=1)).isoformat(), keys={"order_no": "17"})


def frozen(*found: DeadLetter, ago_s: float = 60, **options) -> Plan:
    """A plan of these, frozen so long ago, whose turn has come."""
    plan = plan_of(found, rate_per_s=None, **options)
    assert plan.figures["left_out"] == {}
    start_plan(plan, by=ROOT)
    Plan.objects.filter(pk=plan.pk).update(created_at=datetime.now(UTC) - timedelta(seconds=ago_s))
    return plan


@pytest.mark.parametrize(("happens", "reason"), SINCE)
def test_what_happened_since_the_freeze_leaves_an_item_out_with_its_reason(happens, reason):
    found = an_hour_old()
    plan = frozen(found)
    happens(found)
    advance_plan(plan.pk)
    assert (PlanItem.objects.get(plan=plan).left_out, reason in LEFT_OUT) == (reason, True)
    assert total_of(counts_of(plan)) == {"left_out": 1}
    assert not Replay.objects.filter(plan=plan).exists()
    found.refresh_from_db()
    assert found.state == "open"


@pytest.mark.parametrize(("happens", "reason"), SINCE)
def test_it_does_not_leave_out_another(happens, reason):
    """Of another flow, message and key: only what it happened to is left out."""
    found, other = an_hour_old(), one(keys={"order_no": "18"}, origin="erp.invoices", system="billing")
    assert found.flow_id != other.flow_id
    plan = frozen(found, other, steps=("100%",))
    happens(found)
    advance_plan(plan.pk)
    assert total_of(counts_of(plan)) == {"left_out": 1, "queued": 1}
    assert Replay.objects.get(plan=plan).dead_letter_id == other.pk


def test_the_caps_of_a_plan_that_was_just_frozen_are_asked_and_the_costly_two_are_not():
    found = an_hour_old()
    plan = frozen(found, ago_s=0)
    is_processed(found)
    advance_plan(plan.pk)
    assert Replay.objects.filter(plan=plan).count() == 1

    capped = an_hour_old()
    plan = frozen(capped, ago_s=0)
    reaches_the_cap(capped)
    advance_plan(plan.pk)
    assert PlanItem.objects.get(plan=plan).left_out == "attempt_cap"


def test_an_item_that_was_processed_meanwhile_holds_nobody_of_its_key_back():
    first, second = an_hour_old(), one(keys={"order_no": "17"})
    plan = frozen(first, second, order_key="order_no", steps=("100%",))
    is_processed(first)
    advance_plan(plan.pk)
    advance_plan(plan.pk)
    assert total_of(counts_of(plan)) == {"left_out": 1, "queued": 1}


def test_the_plan_goes_on_and_ends_when_all_that_was_left_is_left_out():
    found = [an_hour_old() for _ in range(3)]
    plan = frozen(*found)
    for letter in found:
        set_letter(letter, keys={})
        is_processed(letter)
    for _ in range(4):
        advance_plan(plan.pk)
    assert Plan.objects.get(pk=plan.pk).state == "finished"
