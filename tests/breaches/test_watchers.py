"""What is watched of messages: replays that nobody confirmed, agents, and what the tasks do with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from alerts import tasks
from alerts.breaches import acts, watching
from alerts.breaches.services import observe
from alerts.models import Breach, Telling
from console.identity.keys import create_agent_key
from console.identity.models import Agent, Key, Role
from messages.models import DeadLetter, Flow
from messages.queries import MOST_TROUBLED, done_to_flows, overdue_replays, silent_agents
from messages.replay.sending import send_due
from messages.replay.services import request_replay
from tests.automatic.failing import died, processed, run_plan
from tests.automatic.test_recipes_and_reports import ada, line, plan_of
from tests.breaches.breaching import condition, policy
from tests.factories import ROOT, actor, environment, person

__all__ = ["ada", "line"]
pytestmark = pytest.mark.django_db


def later(minutes: float = 13) -> datetime:
    return datetime.now(UTC) + timedelta(minutes=minutes)


def test_a_plan_whose_items_are_not_proved_makes_a_ticket_about_its_flows(line, ada):
    died(2)
    plan = run_plan(plan_of(DeadLetter.objects.first(), ada), line, proved=False, turns=3)
    assert overdue_replays(later(11)) == []

    watching.look(now=later())

    breach = Breach.objects.get(source="replay")
    assert (breach.key, breach.severity, breach.state, breach.flow_ids) == (
        plan.reference,
        "ticket",
        "firing",
        plan.flow_ids,
    )
    assert breach.summary.startswith("2 messages were sent again and no receiver has reported")
    assert breach.url == f"/plans/{plan.reference}/"


def test_single_replays_of_a_flow_whose_receivers_report_make_a_ticket_of_it(line, ada):
    request_replay(died(1)[0], by=ada, reason="x")
    send_due(line.pk)
    assert overdue_replays(later()) == []
    processed(1)

    [found] = overdue_replays(later())

    assert (found.key, found.summary[:13]) == (f"flow-{Flow.objects.get().pk}", "1 message was")


def test_replays_of_a_flow_stand_in_the_timeline_of_its_breach_for_who_may_see_them(line, ada):
    died(2)
    plan = run_plan(plan_of(DeadLetter.objects.first(), ada), line, proved=False, turns=3)
    since = later(-60)

    [done] = done_to_flows(ada, environment(), plan.flow_ids, since=since, until=later())

    assert (done.words, done.url) == (f"ada had 2 sent again by {plan.reference}", f"/plans/{plan.reference}/")
    stranger = actor(person("elsewhere", Role.OPERATOR, slug="staging"))
    assert done_to_flows(stranger, environment(), plan.flow_ids, since=since, until=later()) == []


def test_agents_that_were_never_heard_or_have_no_key_any_more_are_not_missed():
    now = datetime.now(UTC)
    for name, heard, revoked in (("new", None, None), ("silent", -20, None), ("gone", -20, now), ("alive", -1, None)):
        create_agent_key(name, environment(), by="tests")
        Key.objects.filter(agent__name=name).update(revoked_at=revoked)
        Agent.objects.filter(name=name).update(last_seen_at=heard and now + timedelta(minutes=heard))
    Agent.objects.filter(name="alive").update(heartbeat_at=now - timedelta(hours=9))

    found = silent_agents(now, watching.SILENT_AFTER)

    assert [one.title for one in found] == ["Agent silent is silent"]
    assert found[0].summary.startswith("Nothing came from silent for 20 min")


def test_the_tasks_look_and_tell():
    policy()
    observe([condition()])

    tasks.look()
    tasks.tell()

    assert Telling.objects.get().said == "firing"
    acts.acknowledge(Breach.objects.get(), by=ROOT)
    tasks.tell()
    assert Telling.objects.get().said == "acknowledged"


def test_what_was_not_said_because_too_much_is_wrong_is_not_over():
    observe([condition(source="check", key="the oldest")])
    wrong = [condition(source="check", key=str(number)) for number in range(MOST_TROUBLED)]

    assert [one.key for one in watching.the_rest("check", wrong[1:])] == ["the oldest"]
    assert watching.the_rest("check", wrong) == []
