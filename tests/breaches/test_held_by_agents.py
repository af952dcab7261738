"""Breaches that a silent agent holds back: whose flows are its, and what lets them go."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerts.breaches import watching
from alerts.breaches.held import environments_to_look_at
from alerts.breaches.silences import look_at_silences
from alerts.models import Breach, FlowAgent
from console.identity.models import Agent
from messages.models import ClockReading, Flow, RollupHour
from messages.queries import flows_of_agents
from tests.breaches.breaching import NOON, Outbox, after, fired, flow, kinds, policy
from tests.factories import agent, agent_key, event, push

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("hours", "known"), [(0, True), (1, True), (2, False)])
def test_what_came_in_the_hour_after_it_happened_is_of_its_agent_too(hours: int, known: bool):
    """An agent that brings a batch at 59 minutes past is heard in the hour after."""
    push("/ingest/v1/events", [event(destination="orders")], key=agent_key("shop agent"))
    hour = RollupHour.objects.values_list("hour", flat=True).first()
    assert hour is not None
    ClockReading.objects.update(hour=hour + timedelta(hours=hours))

    assert bool(flows_of_agents([Agent.objects.get().pk])) == known


def test_a_silent_agent_holds_back_the_breaches_of_its_flows():
    push("/ingest/v1/events", [event(destination="orders")], key=agent_key("shop agent"))
    Agent.objects.update(last_seen_at=NOON)
    from messages.models import Flow

    orders, elsewhere = Flow.objects.get(), flow("elsewhere")
    both = fired(key="1", flow_ids=(orders.pk, elsewhere.pk), source="objective")
    mine = fired(key="2", flow_ids=(orders.pk,), source="objective")

    watching.look(now=after(minutes=11))
    mine.refresh_from_db()
    assert mine.inhibited_by_id is None, "the console itself may have been away"
    watching.look(now=after(minutes=13))

    silent = Breach.objects.get(source="agent")
    mine.refresh_from_db()
    both.refresh_from_db()
    assert (silent.severity, silent.title, silent.flow_ids) == ("page", "Agent shop agent is silent", [])
    assert (mine.inhibited_by_id, both.inhibited_by_id) == (silent.pk, None)
    Agent.objects.update(last_seen_at=after(minutes=14))
    watching.look(now=after(minutes=14))
    watching.look(now=after(minutes=16))
    mine.refresh_from_db()
    assert mine.inhibited_by_id is None


@pytest.mark.parametrize("heartbeats", [True, False])
def test_an_agent_that_only_has_nothing_to_say_holds_back_no_flow_that_others_bring(heartbeats: bool):
    push("/ingest/v1/events", [event(destination="orders")], key=agent_key("a script"))
    Agent.objects.update(last_seen_at=NOON, heartbeat_at=NOON if heartbeats else None)
    orders, shop = Flow.objects.get(), agent("shop")
    FlowAgent.objects.create(flow=orders, agent=Agent.objects.get(name="a script"), seen_at=NOON)
    FlowAgent.objects.create(flow=orders, agent=shop, seen_at=after(minutes=11))

    watching.look(now=after(minutes=11))
    watching.look(now=after(minutes=13))
    page = fired(key="2", flow_ids=(orders.pk,))

    assert Breach.objects.filter(source="agent", state="firing").count() == 1
    assert (page.inhibited_by_id is not None) is heartbeats


def test_agents_that_come_back_after_the_console_was_away_page_nobody():
    push("/ingest/v1/events", [event(destination="orders")], key=agent_key("shop agent"))
    Agent.objects.update(last_seen_at=NOON)
    watching.look(now=after(minutes=60))
    Agent.objects.update(last_seen_at=after(minutes=61))

    watching.look(now=after(minutes=61))
    watching.look(now=after(minutes=63))

    assert not Breach.objects.exists()


def test_what_an_agent_without_heartbeats_holds_back_is_told_when_another_one_brings_its_flow(outbox: Outbox):
    push("/ingest/v1/events", [event(destination="orders")], key=agent_key("a script"))
    Agent.objects.update(last_seen_at=NOON, heartbeat_at=None)
    orders = Flow.objects.get()
    policy(repeat_minutes=0)
    for minutes in (11, 13):
        watching.look(now=after(minutes=minutes))
    silent = Breach.objects.get(source="agent")
    page = fired(after(minutes=14), key="2", flow_ids=(orders.pk,), source="objective")
    assert outbox.told(after(minutes=14)) == [("firing", silent.reference, (1,))]
    assert page.inhibited_by_id == silent.pk

    FlowAgent.objects.create(flow=orders, agent=agent("shop"), seen_at=after(minutes=20))
    look_at_silences(now=after(minutes=20))

    assert outbox.told(after(minutes=20)) == [("firing", page.reference, (1,))]


def test_an_agent_that_is_heard_again_holds_nothing_back_that_another_one_brought_while_it_was_silent():
    push("/ingest/v1/events", [event(destination="orders")], key=agent_key("a script"))
    script, orders = Agent.objects.get(), Flow.objects.get()
    Agent.objects.update(last_seen_at=NOON, heartbeat_at=None)
    FlowAgent.objects.create(flow=orders, agent=agent("shop"), seen_at=after(minutes=14))
    for minutes in (11, 13):
        watching.look(now=after(minutes=minutes))
    page = fired(after(minutes=14), key="2", flow_ids=(orders.pk,), source="objective")

    Agent.objects.filter(pk=script.pk).update(last_seen_at=after(minutes=20))
    watching.look(now=after(minutes=20))
    look_at_silences(now=after(minutes=20))
    fired(after(minutes=20), key="3")

    page.refresh_from_db()
    assert (page.inhibited_by_id, kinds(page)) == (None, ["fired"])


@pytest.mark.parametrize("heartbeats", [True, False])
def test_what_an_agent_holds_back_is_looked_at_between_breaches_where_others_may_bring_its_flows(heartbeats: bool):
    push("/ingest/v1/events", [event(destination="orders")], key=agent_key("an agent"))
    Agent.objects.update(last_seen_at=NOON, heartbeat_at=NOON if heartbeats else None)
    for minutes in (11, 13):
        watching.look(now=after(minutes=minutes))
    page = fired(after(minutes=14), key="2", flow_ids=(Flow.objects.get().pk,))

    assert page.inhibited_by is not None
    assert environments_to_look_at(after(minutes=14)) == ([] if heartbeats else [page.environment_id])
