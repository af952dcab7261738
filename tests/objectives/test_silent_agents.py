"""What is promised of a flow whose agent is silent: nothing is known of it, and nothing is over."""

from __future__ import annotations

from copy import copy
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from alerts.breaches.services import observe
from alerts.models import Breach, FlowAgent
from alerts.objectives import assess, counting
from alerts.objectives.agents import learn_agents
from console.core.ids import uuid7
from console.identity.keys import create_agent_key, revoke_key
from console.identity.models import Agent
from messages import queries as queries_of_messages
from messages.models import DeadLetter, Flow
from messages.queries import letters_brought_by
from tests.factories import agent, agent_key, environment, event, push, stored_letter
from tests.objectives.stored import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    a_month_of_traffic,
    looked,
    promised,
    rolled,
    standing,
)
from tests.services.reconciling import flow

pytestmark = pytest.mark.django_db


def test_a_silent_agent_freezes_and_resolves_nothing():
    a_month_of_traffic()
    rolled(NOW - 60 * MINUTE, 0, 20, minutes=60)
    promised()
    harvester = agent("harvester")
    Agent.objects.filter(pk=harvester.pk).update(heartbeat_at=NOW, last_seen_at=NOW)
    FlowAgent.objects.create(flow=flow(), agent=harvester, seen_at=NOW)
    assert looked(NOW)["Orders arrive: page"] == "yes"

    held = looked(NOW + 11 * MINUTE)

    assert held == {"Orders arrive: page": "unknown", "Orders arrive: ticket": "unknown"}
    assert standing().state == "no_data"
    assert standing().problem == "the agent harvester has been silent since 2026-11-26 12:30 UTC"
    assert looked(NOW + 30 * DAY)["Orders arrive: page"] == "unknown"  # and so it stays
    Agent.objects.filter(pk=harvester.pk).update(heartbeat_at=NOW + 30 * DAY, last_seen_at=NOW + 30 * DAY)
    assert looked(NOW + 30 * DAY)["Orders arrive: page"] == "no"


@pytest.mark.parametrize("heartbeats", [True, False])
def test_what_an_agent_left_open_is_not_over_while_it_is_silent(heartbeats: bool):
    """The short window is empty after five minutes, long before an agent counts as silent."""
    a_month_of_traffic()
    rolled(NOW - 60 * MINUTE, 15, 5, minutes=60)  # for the page over an hour, and for no other
    promised()
    harvester = agent("harvester")

    def heard(at: datetime) -> None:
        Agent.objects.filter(pk=harvester.pk).update(heartbeat_at=at if heartbeats else None, last_seen_at=at)
        FlowAgent.objects.update_or_create(flow=flow(), agent=harvester, defaults={"seen_at": at})

    def state_after(first: int, last: int) -> str:
        for minute in range(first, last):
            at = NOW + minute * MINUTE
            counting.count(at)
            observe(assess.assess(at), now=at)
        return str(Breach.objects.get(severity="page").state)

    heard(NOW)
    states = [state_after(0, 5), state_after(5, 90)]
    for minute in range(90, 100):
        heard(NOW + minute * MINUTE)
        states.append(state_after(minute, minute + 1))

    assert states[:2] == ["firing", "firing"]
    assert states[-1] == "resolved"


def test_where_silence_is_what_is_promised_only_heartbeats_are_missed():
    one = agent("shop")
    Agent.objects.filter(pk=one.pk).update(last_seen_at=NOW - 5 * HOUR)
    FlowAgent.objects.create(flow=flow(), agent=one, seen_at=NOW - 5 * HOUR)
    promised(kind="volume", at_least=1, limit_minutes=60)
    promised("Success")

    held = looked()

    assert held["Orders arrive: page"] == "yes"
    assert held["Success: page"] == "unknown"


def test_an_agent_that_another_took_over_from_is_no_matter():
    old, new = agent("old"), agent("new")
    Agent.objects.filter(pk=new.pk).update(last_seen_at=NOW)
    FlowAgent.objects.create(flow=flow(), agent=old, seen_at=NOW - 2 * DAY)
    FlowAgent.objects.create(flow=flow(), agent=new, seen_at=NOW)
    promised()

    assert looked()["Orders arrive: page"] == "no"


def test_an_agent_all_of_whose_keys_are_revoked_is_missed_no_more():
    keys = [create_agent_key("harvester", environment(), by="tests")[0] for _ in range(2)]
    harvester, before = agent("harvester"), agent("before")
    Agent.objects.filter(pk=harvester.pk).update(heartbeat_at=NOW)
    FlowAgent.objects.create(flow=flow(), agent=harvester, seen_at=NOW)
    FlowAgent.objects.create(flow=flow(), agent=before, seen_at=NOW - 2 * DAY)  # it took over from that one
    promised()
    held = []

    for key in keys:
        held.append(looked(NOW + HOUR)["Orders arrive: page"])
        revoke_key(key)
    held.append(looked(NOW + HOUR)["Orders arrive: page"])

    assert held == ["unknown", "unknown", "no"]


def heard(name: str, at: datetime, *, heartbeats: bool = False) -> None:
    one = agent(name)
    Agent.objects.filter(pk=one.pk).update(last_seen_at=at, heartbeat_at=at if heartbeats else None)
    FlowAgent.objects.create(flow=flow(), agent=one, seen_at=at)


def test_an_agent_that_only_has_nothing_to_say_keeps_nobody_from_being_called():
    a_month_of_traffic()
    rolled(NOW - 60 * MINUTE, 0, 20, minutes=61)
    promised()
    heard("once a night", NOW - 10 * HOUR)
    heard("shop", NOW)

    held = looked(NOW)

    assert held["Orders arrive: page"] == "yes"
    assert standing().state == "burning"


@pytest.mark.parametrize(("heartbeats", "after"), [(True, "unknown"), (False, "no")])
def test_a_receiver_that_says_nothing_beside_a_sender_that_does_is_missed_when_nothing_was_counted_since(
    heartbeats: bool, after: str
):
    a_month_of_traffic()  # until an hour ago
    promised()
    heard("shop", NOW + 20 * MINUTE)
    heard("erp", NOW - HOUR, heartbeats=heartbeats)

    first = looked(NOW + 20 * MINUTE)["Orders arrive: page"]
    rolled(NOW + 18 * MINUTE, 5)
    then = looked(NOW + 20 * MINUTE)["Orders arrive: page"]

    assert (first, then) == ("unknown", after)


def test_letters_that_wait_are_known_though_the_flow_is_quiet():
    letter = stored_letter(origin="orders")
    DeadLetter.objects.filter(pk=letter.pk).update(failed_at=NOW - 3 * HOUR, received_at=NOW - 3 * HOUR)
    one = promised(kind="dead_letter_age", limit_minutes=60, of=letter.flow, target="0.99999")
    FlowAgent.objects.create(flow=letter.flow, agent=agent("shop"), seen_at=NOW - 3 * HOUR)
    Agent.objects.update(last_seen_at=NOW - 3 * HOUR)

    waits = looked(NOW)
    DeadLetter.objects.update(state="closed", resolution="processed", closed_at=NOW)
    closed = looked(NOW + 7 * HOUR)

    assert (waits[f"{one.name}: page"], closed[f"{one.name}: page"]) == ("yes", "no")


def test_an_age_of_dead_letters_is_not_known_while_who_harvests_them_is_silent():
    """A harvester brings letters and no events. What events say is known without it."""
    letter = stored_letter(origin="orders")
    DeadLetter.objects.filter(pk=letter.pk).update(failed_at=NOW - MINUTE, received_at=NOW)
    promised("Letters", kind="dead_letter_age", limit_minutes=60, of=letter.flow)
    promised(of=letter.flow)
    rolled(NOW - HOUR, 10, of=letter.flow)
    Agent.objects.update(last_seen_at=NOW, heartbeat_at=NOW)

    heard, soon, later = looked(NOW), looked(NOW + 5 * MINUTE), looked(NOW + 11 * MINUTE)

    assert [found["Letters: page"] for found in (heard, soon, later)] == ["no", "unknown", "unknown"]
    assert (standing("Letters").state, standing().state) == ("no_data", "kept")
    assert standing("Letters").problem == "the agent harvester has been silent since 2026-11-26 12:30 UTC"
    assert later["Orders arrive: page"] == "no"


@pytest.mark.parametrize("behind", [timedelta(), 4 * MINUTE, 3 * HOUR])
def test_an_agent_is_known_by_its_events_however_late_they_are_or_its_clock_is_behind(behind: timedelta):
    now = datetime.now(UTC)
    key = agent_key("shop")
    sent = event(occurred_at=(now - behind - timedelta(seconds=2)).isoformat())
    assert push("/ingest/v1/events", [sent], key=key).json()["accepted"] == 1
    of = Flow.objects.get()
    promised(of=of, now=now)

    learn_agents(now + timedelta(seconds=20))

    assert [(row.flow_id, row.agent.name) for row in FlowAgent.objects.all()] == [(of.pk, "shop")]


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+00:00", "1970-01-01T00:00:00+00:00"])
def test_a_sender_that_has_no_time_keeps_nothing_from_being_assessed(at: str):
    """Its events were moved to as old as they may be, and there it is found."""
    assert push("/ingest/v1/events", [event(occurred_at=at)], key=agent_key("shop")).json()["accepted"] == 1
    now = datetime.now(UTC)
    promised(of=Flow.objects.get(), now=now)

    assess.run(now + timedelta(seconds=1))

    assert [row.agent.name for row in FlowAgent.objects.all()] == ["shop"]


def test_an_agent_with_many_late_systems_costs_one_statement_and_hides_no_other():
    now = datetime.now(UTC)
    for name, behind, count in (("polls", 4 * MINUTE, 30), ("shop", 3 * HOUR, 1)):
        at = (now - behind).isoformat()
        sent = [
            event(occurred_at=at, system=f"{name} {number}", destination=f"{name} {number}") for number in range(count)
        ]
        assert push("/ingest/v1/events", sent, key=agent_key(name)).json()["accepted"] == count
    promised(of=Flow.objects.first(), now=now)

    with CaptureQueriesContext(connection) as queries:
        learn_agents(now + timedelta(seconds=20))

    assert FlowAgent.objects.count() == 31
    assert sum("messaging_event" in one["sql"] for one in queries) == 3


@pytest.mark.parametrize(("busy", "shop"), [(63, 105), (0, 40)])
def test_an_agent_is_known_though_one_that_is_less_late_brings_much(
    monkeypatch: pytest.MonkeyPatch, busy: int, shop: int
):
    """The newest events before a time are of seconds where many come: those of one that is later by more are not among them."""
    monkeypatch.setattr(queries_of_messages, "SAMPLED", 20)
    now = datetime.now(UTC)
    for name, behind, count in (("busy", busy, 30), ("shop", shop, 1)):
        at = (now - timedelta(seconds=behind)).isoformat()
        sent = [event(occurred_at=at, destination=name) for _ in range(count)]
        assert push("/ingest/v1/events", sent, key=agent_key(name)).json()["accepted"] == count
    promised(of=Flow.objects.first(), now=now)

    learn_agents(now + timedelta(seconds=20))

    assert {row.agent.name for row in FlowAgent.objects.all()} == {"busy", "shop"}


def test_a_harvester_that_is_heard_was_not_taken_over_from_by_who_brought_a_letter_later():
    """Letters are rare: one of another broker, or of an import, says nothing of a harvester that brought none for days."""
    first = stored_letter(origin="orders")
    DeadLetter.objects.filter(pk=first.pk).update(failed_at=NOW - 3 * DAY, received_at=NOW - 3 * DAY)
    brought = stored_letter(origin="orders")
    DeadLetter.objects.filter(pk=brought.pk).update(failed_at=NOW - MINUTE, received_at=NOW, agent=agent("import"))
    DeadLetter.objects.update(state="closed", resolution="processed", closed_at=F("received_at"))
    promised(kind="dead_letter_age", limit_minutes=60, of=first.flow)
    Agent.objects.filter(name="harvester").update(last_seen_at=NOW, heartbeat_at=NOW)

    states = []
    for at in (NOW, NOW + 11 * MINUTE):
        looked(at)
        states.append(standing().state)
    DeadLetter.objects.filter(pk=brought.pk).update(received_at=NOW + 25 * HOUR)
    looked(NOW + 25 * HOUR)

    assert [*states, standing().state] == ["kept", "no_data", "kept"]


def another_like(one: DeadLetter) -> DeadLetter:
    found = copy(one)
    found.id, found.identity = uuid7(), uuid4()
    return found


def test_who_harvests_a_flow_is_found_without_the_letters_of_others():
    """The statistics know one flow alone, which has nearly all letters: every look would read all of them."""
    one = stored_letter(origin="orders")
    DeadLetter.objects.bulk_create(another_like(one) for _ in range(3_000))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        few = stored_letter(origin="few").flow_id
        with CaptureQueriesContext(connection) as queries:
            found = letters_brought_by([few])
        cursor.execute(f"EXPLAIN {queries[0]['sql']}")
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert [flow_id for flow_id, *_ in found] == [few]
    assert "deadletter_pkey" not in plan, plan
    assert "(flow_id >= f.id) AND (flow_id <= f.id)" in plan, plan
