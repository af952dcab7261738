"""An objective on a saved search is counted with the rights of whoever made it, as they are at the moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alerts.breaches.acts import acknowledge
from alerts.breaches.services import observe
from alerts.conditions import Holds
from alerts.models import Breach, FlowAgent, Objective, Standing
from alerts.objectives import assess, counting
from alerts.objectives.assess import gone
from alerts.objectives.excluding import NewExclusion, add_exclusion, withdraw_exclusion
from alerts.objectives.services import change_objective, remove_objective
from alerts.objectives.wishes import NewObjective
from console.audit.models import AuditEntry
from console.identity.models import Agent, Membership, Role
from messages.models import Flow, MessageStatus
from tests.factories import actor, agent
from tests.objectives.searching import hide, old_flow, on_search, operator, total
from tests.objectives.stored import DAY, MINUTE, NOW, looked, message
from tests.services.reconciling import flow

pytestmark = pytest.mark.django_db
BIG = {"size": "big"}
NEXT = timedelta(seconds=15)


def test_a_flow_that_its_maker_sees_no_more_is_counted_no_more():
    now = datetime.now(UTC)
    hidden = old_flow("hidden")
    message(now - DAY, took=MINUTE, keys=BIG)
    message(now - DAY, took=MINUTE, keys=BIG, of=hidden)
    one = on_search(now=now)
    looked(now)
    before = total(one)

    hide(hidden)
    looked(now + NEXT)

    assert (before, total(one)) == ((2, 0, 0), (1, 0, 0))


def test_rights_that_a_maker_gets_have_everything_counted_again():
    now = datetime.now(UTC)
    hidden, maker = old_flow("hidden"), operator()
    hide(hidden)
    message(now - DAY, took=MINUTE, keys=BIG, of=hidden)
    one = on_search(by=maker, now=now)
    looked(now)
    before = total(one)

    Membership.objects.create(user=maker, team=hidden.team, environment=hidden.environment, role=Role.VIEWER)
    looked(now + NEXT)

    assert (before, total(one)) == ((0, 0, 0), (1, 0, 0))


@pytest.mark.parametrize(("about", "frozen"), [("flow:orders", True), ("flow:another", False), ("size:big", False)])
def test_a_silent_agent_freezes_what_its_messages_are_promised_of(about: str, frozen: bool):
    """And nothing else: neither what another agent brings, nor a search of more flows of which something comes still."""
    one = on_search(about)
    message(NOW - DAY, took=MINUTE, of=flow("another"))
    for number in range(40):
        message(NOW - number * MINUTE, status=MessageStatus.FAILED, keys=BIG)
        message(NOW - number * MINUTE, status=MessageStatus.FAILED, of=flow("another"))
    brings = agent("harvester")
    Agent.objects.filter(pk=brings.pk).update(last_seen_at=NOW, heartbeat_at=NOW)
    FlowAgent.objects.create(flow=flow(), agent=brings, seen_at=NOW)

    def held(at: datetime) -> tuple[str, str]:
        if at > NOW:
            message(at, took=timedelta(), of=flow("another"), keys=BIG)
        counting.count(at)
        conditions = assess.assess(at)
        observe(conditions, now=at)
        return next(str(row.holds) for row in conditions if row.severity == "page"), Standing.objects.get().state

    looked()
    first = held(NOW)
    states = [held(NOW + minute * MINUTE) for minute in range(1, 90)]

    assert first == ("yes", "spent")
    assert states[-1] == (("unknown", "no_data") if frozen else ("no", "spent"))
    assert Breach.objects.get(severity="page").state == ("firing" if frozen else "resolved")
    if frozen:
        assert "the agent harvester has been silent since" in Standing.objects.get().problem
    Agent.objects.filter(pk=brings.pk).update(last_seen_at=NOW + 90 * MINUTE, heartbeat_at=NOW + 90 * MINUTE)
    assert held(NOW + 90 * MINUTE) == ("no", "spent")
    assert one.pk


def test_the_audit_list_names_no_objective_on_a_search_of_ones_own():
    one = on_search(name="Bribes arrive")
    by = actor(operator())
    said = NewExclusion(starts_at=NOW, minutes=5, reason="x")

    withdraw_exclusion(add_exclusion(said, objective=one, by=by), by=by)
    change_objective(one, NewObjective(name="Bribes are late", kind="success", target="0.9"), by=by)
    condition = gone(one)[0]
    observe([replace(condition, holds=Holds.YES)], now=NOW)
    acknowledge(Breach.objects.get(), by=by)
    remove_objective(one, by=by)

    entries = AuditEntry.objects.filter(action__regex="objective|exclusion|breach")
    assert entries.count() == 6
    assert not entries.filter(object_label__icontains="bribes").exists()


def test_a_flow_of_another_name_is_another_answer_and_a_new_one_is_not():
    now = datetime.now(UTC)
    message(now - DAY, took=MINUTE, of=old_flow("letters"))
    one = on_search("flow:letters", now=now)
    looked(now)
    before, filled = total(one), Objective.objects.get().filled_since

    flow("letters too")
    counting.count(now + NEXT, history_s=0)
    still = Objective.objects.get().filled_since
    Flow.objects.filter(name="letters").update(name="parcels")
    looked(now + 2 * NEXT)

    assert (before, filled, total(one)) == ((1, 0, 0), still, (0, 0, 0))


def test_a_flow_that_is_given_its_team_after_its_first_messages_is_counted_as_its_maker_sees_it_then():
    now = datetime.now(UTC)
    one = on_search(now=now)
    looked(now)
    made = flow("new")
    message(now + MINUTE, took=MINUTE, keys=BIG, of=made)
    counting.count(now + 2 * MINUTE)
    before = total(one)

    hide(made)
    counting.count(now + 12 * MINUTE)

    assert (before, total(one)) == ((1, 0, 0), (0, 0, 0))
