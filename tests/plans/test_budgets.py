"""The budget policy: a plan that would spend what is left of a flow's error budget, were all of it to fail, needs a second person."""

from __future__ import annotations

from typing import Any

import pytest

from alerts.models import Standing
from alerts.objectives.queries import budgets_left
from console.identity.models import Role
from messages.models import DeadLetter, Flow, Plan
from messages.plans.approvals import why_approval
from messages.plans.selection import Selection
from messages.plans.services import ApprovalNeeded, approve_plan, create_plan, request_approval, start_plan
from tests.factories import ROOT, actor, agent_key, environment, letter, memory_connection, person, push
from tests.objectives.stored import promised

pytestmark = pytest.mark.django_db


def letters(count: int) -> list[DeadLetter]:
    memory_connection("redis")
    push("/ingest/v1/dead-letters", [letter() for _ in range(count)], key=agent_key("harvester"))
    return list(DeadLetter.objects.order_by("-pk")[:count])


def budget(of: Flow, total: float, spent: float, **changes: Any) -> None:
    """Promise something of a flow of which so much of a budget is spent."""
    said = {name: changes.pop(name) for name in ("kind", "limit_minutes", "method") if name in changes}
    one = promised(name=changes.pop("name", "Orders arrive"), of=of, **said)
    Standing.objects.filter(objective=one).update(**{"state": "kept", "budget": total, "spent": spent, **changes})


def plan_of(found: list[DeadLetter], by: Any = ROOT) -> Plan:
    ids = [one.pk for one in found]
    return create_plan(Selection(source=Plan.Source.TICKED, ids=ids), environment=environment(), by=by, reason="x")


def test_a_plan_within_the_budget_needs_nobody_and_one_that_would_spend_what_is_left_a_second_person():
    found = letters(4)
    budget(found[0].flow, 10, 7)

    small, large = plan_of(found[:2]), plan_of(found[:3])

    assert small.approval_why == ""
    assert large.approval_why == "the budget of Orders arrive has 3 left: a second person"
    with pytest.raises(ApprovalNeeded, match="has 3 left"):
        start_plan(large, by=ROOT)
    request_approval(large, by=ROOT)
    approve_plan(large, by=actor(person("second", Role.OPERATOR)), checksum=large.checksum)
    assert start_plan(large, by=ROOT).state == "scheduled"


def test_a_budget_that_was_spent_since_the_draft_counts_at_the_start():
    found = letters(2)
    budget(found[0].flow, 10, 0)
    plan = plan_of(found)
    assert plan.approval_why == ""
    Standing.objects.update(spent=25.0)

    with pytest.raises(ApprovalNeeded, match="has 0 left"):
        start_plan(plan, by=ROOT)


def test_one_plan_after_the_other_spends_as_much_as_both_together():
    found = letters(4)
    budget(found[0].flow, 10, 7)
    start_plan(plan_of(found[:2]), by=ROOT)

    second = plan_of(found[2:])

    assert second.approval_why.startswith("the budget of Orders arrive has 3 left: a second person, and ")
    assert "sent 2 there within the last hour" in second.approval_why


@pytest.mark.parametrize(
    "changes",
    [
        {"total": 0.5, "spent": 0},  # less than an event: nothing is left to protect
        {"total": 10, "spent": 10, "state": "filling"},
        {"total": 10, "spent": 10, "kind": "freshness", "limit_minutes": 15},
        {"total": 10, "spent": 10, "method": "timeslices"},
    ],
)
def test_what_is_no_budget_of_events_asks_for_nobody(changes: dict[str, Any]):
    found = letters(1)
    budget(found[0].flow, **changes)

    assert budgets_left([found[0].flow_id]) == []
    assert plan_of(found).approval_why == ""


def test_the_smallest_budget_of_the_flows_that_are_sent_counts_and_others_do_not():
    found = letters(2)
    other = Flow.objects.create(environment=environment(), name="another")
    budget(found[0].flow, 10, 1, name="wide"), budget(found[0].flow, 10, 9, name="narrow"), budget(other, 10, 10)

    assert budgets_left([found[0].flow_id]) == [(found[0].flow_id, "narrow", 1), (found[0].flow_id, "wide", 9)]
    assert why_approval(plan_of(found)) == "the budget of narrow has 1 left: a second person"


def test_an_operator_can_switch_it_off(settings: Any):
    found = letters(1)
    budget(found[0].flow, 10, 10)
    settings.CONSOLE_BUDGETS = ""

    assert plan_of(found).approval_why == ""
