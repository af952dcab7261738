"""A search while an agent is silent that brings what it finds: nothing is resolved by silence, and nothing missed by it."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection

from alerts.breaches.services import observe
from alerts.models import Breach, FlowAgent, Objective, Standing
from alerts.objectives import assess, counting, search_silence, searches
from alerts.objectives.asking import TooSlow
from console.identity.models import Agent
from messages.models import MessageStatus
from tests.factories import agent
from tests.objectives.searching import on_search
from tests.objectives.stored import HOUR, MINUTE, NOW, looked, message
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


def test_a_search_that_cannot_be_asked_who_is_silent_is_frozen_and_asked_no_more_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
):
    asked: list[Any] = []

    def too_slow(*said: Any) -> None:
        asked.append(said)
        raise TooSlow("its search took longer than 5 s and was given up: narrow it down")

    monkeypatch.setattr(search_silence, "found_flow", too_slow)
    on_search("flow:orders")
    for number in range(40):
        message(NOW - number * MINUTE, status=MessageStatus.FAILED)
        message(NOW - number * MINUTE, took=timedelta())
    brought_until(NOW)
    looked()
    first = held(NOW)

    found = [held(NOW + minute * MINUTE) for minute in range(1, 90)]

    assert (first, found[-1]) == ("yes", "unknown")
    assert Breach.objects.get(severity="page").state == "firing"
    assert len(asked) == 1
    problem = Standing.objects.get().problem
    assert problem.startswith("its search took longer than 5 s and was given up: narrow it down; ")
    assert problem.endswith("the agent harvester has been silent since 2026-11-26 12:30 UTC")


def test_the_same_problem_is_written_and_logged_once(monkeypatch: pytest.MonkeyPatch):
    logged: list[dict[str, Any]] = []
    monkeypatch.setattr(searches, "log", SimpleNamespace(warning=lambda event, **said: logged.append(said)))
    one = on_search()
    looked()
    Objective.objects.update(owner=None)

    def version() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT ctid::text FROM alerts_standing WHERE objective_id = %s", [one.pk])
            return str(cursor.fetchone()[0])

    counting.count(NOW + MINUTE)
    first = version()
    counting.count(NOW + 2 * MINUTE)
    counting.count(NOW + HOUR)

    assert version() == first
    assert [said["objective"] for said in logged] == [one.pk]


@pytest.mark.parametrize("heartbeats", [True, False])
@pytest.mark.parametrize("order", [("before", "after"), ("after", "before")])
def test_of_two_silent_agents_the_one_that_was_heard_last_is_missed(heartbeats: bool, order: tuple[str, str]):
    heard = {"before": NOW - 5 * HOUR, "after": NOW}
    for name in order:
        one = agent(name)
        told = heard[name] if heartbeats else None
        Agent.objects.filter(pk=one.pk).update(last_seen_at=heard[name], heartbeat_at=told)
        FlowAgent.objects.create(flow=flow(), agent=one, seen_at=heard[name])
    on_search("flow:orders")
    for number in range(40):
        message(NOW - number * MINUTE, status=MessageStatus.FAILED)
        message(NOW - number * MINUTE, took=timedelta())
    looked()
    first = held(NOW)

    found = [held(NOW + minute * MINUTE) for minute in range(1, 90)]

    assert (first, found[-1]) == ("yes", "unknown")
    assert Breach.objects.get(severity="page").state == "firing"
