"""The map against rows: who sent what to whom, only of flows that the reader may see, by few index reads."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from console.identity.actor import Actor
from console.identity.models import Agent
from messages.access import visible_flows
from messages.models import DeadLetter, System
from messages.search.window import BadWindow, Window
from messages.topology.queries import Topology, read_topology
from tests.factories import ROOT, agent_key, environment, event, push, stored_letter
from tests.services.test_figures import DAY, HOUR, MINUTE, day_ago, order, other_team, pushed

pytestmark = pytest.mark.django_db


def topology(who: Actor = ROOT) -> Topology:
    return read_topology(who, environment(), day_ago(), now=datetime.now(UTC))


def test_the_map_says_who_sent_what_to_whom():
    pushed(*order(10 * MINUTE), *order(20 * MINUTE, outcome="error"), event(destination="nowhere"))

    found = topology()

    names = {node.key: node.name for node in found.graph.nodes.values()}
    assert {(names[edge.source], names[edge.target], edge.count, edge.failed, edge.tie) for edge in found.graph.edges} == {
        ("shop", "erp", 2, 1, "destination"), ("shop", "receiver", 1, 0, "nobody"),
    }  # fmt: skip
    assert sorted(flow.name for flow in found.flows.values()) == ["nowhere", "orders"]


def test_what_the_reader_may_not_see_is_neither_drawn_nor_counted():
    pushed(*order(10 * MINUTE, outcome="error"), event(destination="stock", system="wms"))
    stored_letter(origin="orders", system="erp")
    stranger = other_team()

    found = topology(stranger)

    assert [node.name for node in found.graph.systems] == ["wms"]
    assert [flow.name for flow in found.flows.values()] == ["stock"]
    assert found.waiting == {}
    assert not visible_flows(stranger).filter(name="orders").exists()


def test_letters_wait_at_the_system_they_died_at():
    stored_letter(origin="orders", system="erp")
    stored_letter(origin="orders", system="erp", id="another")
    DeadLetter.objects.filter(pk=stored_letter(origin="orders", system="erp", id="closed").pk).update(
        state="closed", resolution="discarded", closed_at=datetime.now(UTC)
    )

    found = topology()

    assert [(node.name, node.waiting, node.health) for node in found.graph.systems] == [("erp", 2, "failing")]
    assert list(found.waiting.values()) == [2]


def test_a_system_is_quiet_when_all_its_agents_are():
    pushed(*order(10 * MINUTE))
    assert {node.name: node.health for node in topology().graph.systems} == {"shop": "well", "erp": "well"}

    Agent.objects.update(last_seen_at=datetime.now(UTC) - HOUR)

    assert {node.name: node.health for node in topology().graph.systems} == {"shop": "quiet", "erp": "quiet"}

    push("/ingest/v1/events", [event(destination="orders")], key=agent_key("another agent"))
    assert {node.name: node.health for node in topology().graph.systems} == {"shop": "well", "erp": "quiet"}


def test_a_range_of_the_map_is_bounded():
    now = datetime.now(UTC)
    for since, until in ((now + HOUR, now + DAY), (now - 1200 * DAY, now), (now, now - HOUR)):
        with pytest.raises(BadWindow):
            read_topology(ROOT, environment(), Window(since=since, until=until), now=now)


def test_the_map_makes_as_many_queries_for_many_systems_as_for_few():
    pushed(*order(10 * MINUTE))
    here, now = environment(), datetime.now(UTC)
    with CaptureQueriesContext(connection) as few:
        read_topology(ROOT, here, day_ago(), now=now)

    pushed(*(event(destination=f"flow {number}", system=f"system {number}") for number in range(40)))
    with CaptureQueriesContext(connection) as many:
        read_topology(ROOT, here, day_ago(), now=now)

    assert len(many) == len(few) == 5
    assert System.objects.count() == 42


def test_an_estate_that_makes_up_destinations_is_cut_at_its_busiest(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("messages.topology.queries.MOST_CELLS", 2)
    pushed(*order(10 * MINUTE), *order(10 * MINUTE), event(destination="rare"))

    found = topology()

    assert found.cut
    assert sorted(node.name for node in found.graph.systems) == ["erp", "shop"]
