"""A search while an agent is silent that brings what it finds: nothing is resolved by silence, and nothing missed by it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from alerts.breaches.services import observe
from alerts.models import Breach, FlowAgent
from alerts.objectives import assess, counting
from console.identity.models import Agent
from tests.factories import agent
from tests.objectives.searching import on_search
from tests.objectives.stored import MINUTE, NOW, looked, message
from tests.services.reconciling import flow

pytestmark = pytest.mark.django_db
BIG = {"size": "big"}


def brought_until(at: datetime) -> None:
    """An agent that sends heartbeats brings the flow, and is heard no more after this."""
    brings = agent("harvester")
    Agent.objects.filter(pk=brings.pk).update(last_seen_at=at, heartbeat_at=at)
    FlowAgent.objects.create(flow=flow(), agent=brings, seen_at=at)


def held(at: datetime) -> str:
    counting.count(at)
    conditions = assess.assess(at)
    observe(conditions, now=at)
    return next(str(one.holds) for one in conditions if one.severity == "page")


@pytest.mark.parametrize(("about", "after"), [("flow:orders", "unknown"), ("size:big", "no")])
def test_a_period_that_ends_while_its_agent_is_silent_was_not_missed(about: str, after: str):
    """But one of a search of more flows, of which something comes still, is judged."""
    for minutes in range(0, 180, 10):
        message(NOW - minutes * MINUTE, took=timedelta(), keys=BIG)
    on_search(about, kind="volume", at_least=1, limit_minutes=60)
    brought_until(NOW + 5 * MINUTE)
    before = looked()
    found = []

    for minutes in range(10, 180, 10):
        message(NOW + minutes * MINUTE, took=timedelta(), of=flow("another"), keys=BIG)
        found.append(held(NOW + minutes * MINUTE))

    assert before[f"{about} volume: page"] == "no"
    assert found[-1] == after
    assert "yes" not in found
    assert not Breach.objects.filter(severity="page").exists()
