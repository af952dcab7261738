"""Rules that replay by themselves: what they send, what holds them back, what switches them off."""

from __future__ import annotations

from copy import copy
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread

import pytest
from django.db import IntegrityError, connections, transaction

from console.audit.models import AuditEntry
from console.core.errors import Conflict, Forbidden, Invalid
from console.identity.models import Membership, Role
from messages.automatic.queries import budget_of
from messages.automatic.running import run_rule, run_rules
from messages.automatic.services import (
    NewAutomaticRule,
    add_automatic_rule,
    change_automatic_rule,
    switch_all_off,
    switch_off,
    switch_on,
)
from messages.connectors import memory
from messages.models import AutomaticRule, DeadLetter, FailureGroup, Flow, Plan, Replay, ReplayStop
from messages.plans.services import approve_plan, end_plan, refuse_plan
from messages.replay.sending import send_due
from tests.automatic.failing import died, fails_again, processed, rule_on, run_plan
from tests.factories import ROOT, actor, agent_key, environment, event, memory_connection, person, push

pytestmark = pytest.mark.django_db


@pytest.fixture
def line():
    return memory_connection()


def look(rule):
    """Let the rule have its turn now; return it as it is then."""
    AutomaticRule.objects.filter(pk=rule.pk, is_on=True).update(next_look_at=datetime.now(UTC))
    run_rules()
    rule.refresh_from_db()
    return rule


def test_a_new_rule_is_off_and_sends_nothing(line):
    died(2)
    processed(10)
    rule = add_automatic_rule(
        environment(), NewAutomaticRule(name="erp", failure_class="transient"), by=actor(person("ada", Role.OPERATOR))
    )

    assert (rule.is_on, rule.why, run_rules(), Plan.objects.count()) == (False, "it was never switched on", 0, 0)


def test_what_is_due_becomes_a_plan_of_the_rule_and_is_sent_and_proved(line):
    letters = died(3)
    young = died(1, minutes_ago=1)[0]
    died(1, error={"type": "ValueError", "message": "customer is required", "stack": ""})
    processed(20)

    rule = look(rule_on())
    plan = Plan.objects.get()
    run_plan(plan, line)

    assert sorted(plan.items.values_list("dead_letter_id", flat=True)) == sorted(one.pk for one in letters)
    assert (plan.automatic, plan.created_by, plan.created_by_user) == (rule, "automatic: erp is away", rule.author)
    assert plan.reason == "automatic replay by the rule “erp is away”: 3 due"
    assert (plan.state, plan.stop_failed_percent, plan.wave_ends) == ("finished", 50, [1, 3])
    assert {one.resolution for one in DeadLetter.objects.filter(pk__in=[one.pk for one in letters])} == {"processed"}
    assert DeadLetter.objects.get(pk=young.pk).state == "open"
    assert len(memory.QUEUES[line.address]["erp.orders"]) == 3
    acts = AuditEntry.objects.filter(actor="automatic: erp is away").order_by("id")
    assert [(one.action, one.via) for one in acts] == [("plan.created", "system"), ("plan.started", "system")]
    assert set(Replay.objects.values_list("requested_by", flat=True)) == {f"automatic: erp is away, {plan.reference}"}


def test_one_batch_at_a_time_and_the_next_when_it_is_over(line):
    died(1)
    processed(20)
    rule = look(rule_on())
    died(1)
    assert (look(rule).waits_because, Plan.objects.count()) == (
        f"P-{Plan.objects.get().pk} is under way: begins by itself",
        1,
    )
    run_plan(Plan.objects.get(), line)
    look(rule)
    assert Plan.objects.count() == 2
    assert look(rule).is_on


@pytest.mark.parametrize(
    ("good", "bad", "because"),
    [
        (0, 0, "erp.orders: nothing was processed in the last 15 min"),
        (19, 1, "erp.orders: 95.0 % of 20 succeeded in the last 15 min, and it sends only above 95 %"),
    ],
)
def test_it_waits_while_the_receiver_does_not_do_well_and_says_so(line, good, bad, because):
    died(1)
    processed(good, bad) if good + bad else None

    rule = look(rule_on())

    assert (rule.waits_because, rule.is_on, Plan.objects.count()) == (because, True, 0)


def test_a_receiver_that_gives_back_what_it_failed_with_does_not_do_well_for_it(line):
    died(1)
    processed(19, 1)
    at = (datetime.now(UTC) - timedelta(minutes=2)).isoformat()
    back = {"system": "erp", "operation": "settle", "outcome": "unset", "destination": "erp.orders", "occurred_at": at}
    assert push("/ingest/v1/events", [event(**back) for _ in range(20)], key=agent_key("erp")).json()["accepted"] == 20

    assert look(rule_on()).waits_because.startswith("erp.orders: 95.0 % of 20 succeeded")


def test_a_flow_that_does_not_do_well_does_not_hold_the_others_back(line):
    died(1)
    died(1, origin="billing")
    processed(20)
    rule = look(rule_on())
    assert rule.waits_because == "billing: nothing was processed in the last 15 min"
    assert Plan.objects.get().items.get().dead_letter.flow.name == "erp.orders"


def test_the_budget_holds_and_what_is_left_over_waits(line):
    died(5)
    processed(20)
    rule = look(rule_on(per_hour=2, per_day=3))
    assert rule.waits_because == "its budget is used up: 0 in the last hour, 0 in the last day"
    run_plan(Plan.objects.get(), line)
    assert look(rule).waits_because == "its budget is used up: 2 in the last hour, 2 in the last day"
    now = datetime.now(UTC)
    Plan.objects.update(created_at=now - timedelta(minutes=61))
    look(rule)

    assert sorted(Plan.objects.values_list("items_count", flat=True)) == [1, 2]
    assert budget_of(rule, now).left == 0


def test_a_message_is_tried_as_often_as_the_rule_says_all_its_deaths_together(line):
    died(1)
    processed(100)
    rule = rule_on(waits=(5, 15), stop_failed_percent=100)
    for tries in (1, 2):
        look(rule)
        plan = Plan.objects.latest("pk")
        assert Plan.objects.count() == tries
        run_plan(plan, line, proved=False, turns=2)
        fails_again(plan)
        run_plan(plan, line, proved=False, turns=2)
        assert plan.state == "finished"
        look(rule)
        assert Plan.objects.count() == tries, "the new death is too young"
        DeadLetter.objects.filter(state="open").update(failed_at=datetime.now(UTC) - timedelta(minutes=20))
    look(rule)

    assert (Plan.objects.count(), rule.is_on, DeadLetter.objects.filter(state="open").count()) == (2, True, 1)


def test_a_rule_whose_plan_stops_itself_switches_itself_off_and_says_why(line):
    died(1)
    processed(20)
    rule = look(rule_on(stop_failed_percent=5))
    plan = Plan.objects.get()
    run_plan(plan, line, proved=False, turns=2)
    fails_again(plan)
    run_plan(plan, line, proved=False)

    look(rule)

    why = f"{plan.reference} stopped itself: 1 of 1 failed again: more than 5 %"
    assert (rule.is_on, rule.why, rule.switched_by, rule.next_look_at) == (False, why, "automatic: erp is away", None)
    entry = AuditEntry.objects.get(action="automatic_rule.switched_itself_off")
    assert (entry.actor, entry.via, entry.reason) == ("automatic: erp is away", "system", why)
    switch_on(rule, by=actor(rule.author), reason="mended")
    assert look(rule).waits_because.startswith(f"{plan.reference} is under way: 1 of 1 failed again")
    assert rule.is_on


def test_a_rule_whose_plan_a_person_ended_switches_itself_off(line):
    died(2)
    processed(20)
    rule = look(rule_on())
    end_plan(Plan.objects.get(), by=ROOT, reason="not tonight")

    look(rule)

    assert (rule.is_on, rule.why) == (False, f"root cancelled {Plan.objects.get().reference}: not tonight")


def test_a_flow_that_asks_for_a_second_person_gets_one_who_is_not_the_rules_author(line):
    died(2)
    processed(20)
    Flow.objects.update(approve_above=1)
    rule = look(rule_on())
    plan = Plan.objects.get()
    assert (plan.state, send_due(line.pk)) == ("awaiting_approval", 0)
    assert look(rule).waits_because == f"{plan.reference} is under way: waits for a second person"
    with pytest.raises(Forbidden):
        approve_plan(plan, by=actor(rule.author), checksum=plan.checksum)
    second = actor(person("second", Role.OPERATOR))
    approve_plan(plan, by=second, checksum=plan.checksum)
    assert look(rule).waits_because == f"{plan.reference} was approved: begins by itself"
    plan.refresh_from_db()
    run_plan(plan, line)
    assert (plan.state, plan.approved_by) == ("finished", "second")


def test_a_refused_plan_switches_the_rule_off(line):
    died(2)
    processed(20)
    Flow.objects.update(approve_above=0)
    rule = look(rule_on())
    plan = Plan.objects.get()
    refuse_plan(plan, by=actor(person("second", Role.OPERATOR)), reason="never by itself")
    look(rule)
    assert (rule.is_on, rule.why) == (False, f"second refused {plan.reference}: never by itself")


def test_the_authors_rights_are_looked_up_at_each_look(line):
    died(1)
    processed(20)
    rule = rule_on()
    Membership.objects.filter(user=rule.author).update(role=Role.VIEWER)

    look(rule)

    assert (rule.is_on, rule.why) == (False, "night-shift, its author, is no operator of production any more")
    assert Plan.objects.count() == 0


def test_an_author_who_may_not_sign_in_ends_it_too(line):
    rule = rule_on()
    rule.author.is_active = False
    rule.author.save()
    assert look(rule).why == "its author's account is switched off"
    assert rule.author_id
    switch_on(rule, by=actor(person("ada", Role.OPERATOR)), reason="mine now")
    assert look(rule).is_on


def test_letters_of_flows_that_the_author_does_not_operate_are_never_sent(line):
    died(1)
    died(1, origin="payroll")
    processed(20)
    processed(20, destination="payroll")
    from console.identity.models import Team

    team = Team.objects.create(name="Payroll")
    Flow.objects.filter(name="payroll").update(team=team)

    rule = look(rule_on())

    assert [item.dead_letter.flow.name for item in Plan.objects.get().items.all()] == ["erp.orders"]
    run_plan(Plan.objects.get(), line)
    look(rule)
    assert (Plan.objects.count(), rule.waits_because) == (1, "")


def test_a_rule_of_a_group_follows_what_was_merged_into_it(line):
    one, other = died(1)[0], died(1, error={"type": "OtherError", "message": "who knows", "stack": ""})[0]
    died(1, error={"type": "ThirdError", "message": "something else", "stack": ""})
    processed(20)
    FailureGroup.objects.filter(pk=other.group_id).update(merged_into=one.group_id)

    look(rule_on(group=FailureGroup.objects.get(pk=one.group_id)))

    plan = Plan.objects.get()
    assert {item.dead_letter_id for item in plan.items.all()} == {one.pk, other.pk}
    assert plan.group_id == one.group_id


def test_letters_of_resolved_groups_and_of_forbidden_flows_are_left_alone(line):
    died(1)
    processed(20)
    FailureGroup.objects.update(state="resolved")
    rule = look(rule_on())
    FailureGroup.objects.update(state="open")
    Flow.objects.update(replay_allowed=False)
    look(rule)
    assert Plan.objects.count() == 0


@pytest.mark.parametrize("of_flow", [True, False])
def test_nothing_is_begun_while_replays_are_stopped(line, of_flow):
    died(1)
    processed(20)
    flow = Flow.objects.get(name="erp.orders") if of_flow else None
    ReplayStop.objects.create(environment=environment(), flow=flow, stopped_by="me", reason="erp is down")
    rule = look(rule_on())
    assert "erp is down" in rule.waits_because
    assert Plan.objects.count() == 0


def test_every_rule_of_an_environment_is_switched_off_at_once(line):
    died(1)
    processed(20)
    rule = rule_on()
    other = rule_on(rule.author, name="other")
    off = switch_all_off(environment(), by=actor(rule.author), reason="wrong night")
    assert (off, look(rule).is_on, look(other).why) == (2, False, "wrong night")
    assert Plan.objects.count() == 0
    assert AuditEntry.objects.filter(action="automatic_rule.switched_off").count() == 2


def test_a_rule_that_was_switched_off_while_a_worker_had_it_sends_nothing(line):
    died(1)
    processed(20)
    rule = rule_on()
    held = AutomaticRule.objects.get(pk=rule.pk)
    switch_off(rule, by=actor(rule.author), reason="now")
    assert (run_rule(held, datetime.now(UTC)), Plan.objects.count()) == (0, 0)
    switch_on(rule, by=actor(rule.author), reason="again")
    assert (run_rule(held, datetime.now(UTC)), Plan.objects.count()) == (0, 0)


def test_what_cannot_be_meant_and_who_may_not_is_refused():
    ada, viewer = actor(person("ada", Role.OPERATOR)), actor(person("vic", Role.VIEWER))
    said = NewAutomaticRule(name="x", failure_class="transient")
    for wrong in (
        {"name": " "}, {"failure_class": ""}, {"failure_class": "nonsense"}, {"waits": ()}, {"waits": (0,)}, {"per_hour": 0},
        {"per_hour": 10, "per_day": 9}, {"rate_per_s": float("nan")}, {"success_percent": 100}, {"stop_failed_percent": 101},
    ):  # fmt: skip
        with pytest.raises(Invalid):
            add_automatic_rule(
                environment(), NewAutomaticRule(**{"name": "x", "failure_class": "transient"} | wrong), by=ada
            )
    with pytest.raises(Forbidden):
        add_automatic_rule(environment(), said, by=viewer)
    with pytest.raises(Forbidden):
        add_automatic_rule(environment(), said, by=ROOT)
    rule = add_automatic_rule(environment(), said, by=ada)
    with pytest.raises(Conflict):
        add_automatic_rule(environment(), said, by=ada)
    for act in (switch_on, switch_off):
        with pytest.raises(Forbidden):
            act(rule, by=viewer, reason="x")
        with pytest.raises(Invalid):
            act(rule, by=ada, reason=" ")
    with pytest.raises(Forbidden):
        change_automatic_rule(rule, said, by=viewer)
    with pytest.raises(Forbidden):
        switch_all_off(environment(), by=viewer, reason="x")


def test_the_database_refuses_a_second_batch_of_a_rule_while_one_is_under_way(line):
    died(2)
    processed(20)
    rule = look(rule_on())
    first = Plan.objects.get()
    second = copy(first)
    second.pk = None

    with pytest.raises(IntegrityError, match="plan_one_of_a_rule_at_a_time"), transaction.atomic():
        second.save(force_insert=True)
    end_plan(first, by=ROOT, reason="over")
    second.save(force_insert=True)
    assert rule.plans.count() == 2


def test_a_worker_that_dies_in_the_middle_of_a_look_leaves_nothing_and_the_next_one_does_it(line, monkeypatch):
    died(2)
    processed(20)
    rule = rule_on()

    def die(*_, **__):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("messages.automatic.running.start_plan", die)
        run_rules()
    assert (Plan.objects.count(), AuditEntry.objects.filter(action="plan.created").count(), run_rules()) == (0, 0, 0)
    assert run_rules(now=datetime.now(UTC) + timedelta(minutes=2)) == 1, "its lease is over"
    rule.refresh_from_db()
    assert rule.is_on


@pytest.mark.usefixtures("committed")
@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_make_one_plan_of_a_batch():
    memory_connection()
    died(3)
    processed(20)
    rule = rule_on()
    barrier, made = Barrier(2), []
    held = AutomaticRule.objects.get(pk=rule.pk)  # the same claim twice: a beat that came late

    def work() -> None:
        barrier.wait()
        try:
            made.append(run_rule(held, datetime.now(UTC)))
            made.append(run_rules())
        finally:
            connections.close_all()

    workers = [Thread(target=work) for _ in range(2)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()

    assert (sum(made), Plan.objects.count()) == (1, 1)
