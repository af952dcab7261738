"""Stopping replays: by whom, what it holds, and that workers honour it at once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from console.audit.models import AuditEntry
from console.core.errors import Forbidden
from console.identity.models import Role, Team
from messages.connectors import memory
from messages.dead_letters.services import ReasonMissing
from messages.models import DeadLetter, Flow, Plan, Replay, ReplayStop
from messages.plans.advance import advance_plan
from messages.plans.release import rate_of
from messages.plans.selection import Selection
from messages.plans.services import Options, create_plan, start_plan
from messages.plans.stops import lift_stop, stop_everywhere, stop_replays
from messages.replay.sending import send_due, sweep_replays
from messages.replay.services import request_replay
from tests.factories import ROOT, actor, agent_key, environment, letter, memory_connection, person, push
from tests.http.test_rest_administration import Caller
from tests.pages.people import signed_in, text_of


def letters(count: int, **changes) -> list[DeadLetter]:
    push("/ingest/v1/dead-letters", [letter(**changes) for _ in range(count)], key=agent_key("harvester"))
    return list(
        DeadLetter.objects.filter(**({"origin": changes["origin"]} if "origin" in changes else {})).order_by("pk")
    )


def plan_of(chosen, **options):
    ids = [one.pk for one in chosen]
    said = Options(**{"rate_per_s": None, "waits_for": "confirmed", "steps": ("100%",)} | options)
    return create_plan(
        Selection(source=Plan.Source.TICKED, ids=ids), environment=environment(), by=ROOT, reason="x", options=said
    )  # fmt: skip


@pytest.mark.django_db
def test_a_stop_of_a_flow_holds_its_single_replays_and_plans_and_nothing_else():
    line = memory_connection()
    [alone, *planned], [other] = letters(3, origin="orders"), letters(1, origin="invoices")
    request_replay(alone, by=ROOT, reason="x")
    plan = plan_of(planned)
    start_plan(plan, by=ROOT)
    stop, new = stop_replays(environment(), alone.flow, by=ROOT, reason="erp posts twice")
    request_replay(other, by=ROOT, reason="x")

    assert (new, advance_plan(plan.pk), send_due(line.pk), sweep_replays()) == (True, 0, 1, 0)
    assert Replay.objects.get(dead_letter=other).state == "confirmed"
    page = text_of(signed_in().get(f"/dead-letters/{alone.pk}/"))
    assert "It is held. Root stopped all replays of orders: erp posts twice" in page

    lift_stop(stop, by=ROOT, reason="mended")
    assert (advance_plan(plan.pk), send_due(line.pk)) == (2, 3)
    lift_stop(stop, by=ROOT, reason="mended")  # somebody was faster
    done = AuditEntry.objects.filter(action__in=["replays.stopped", "replays.let_go"])
    assert sorted(done.values_list("action", "object_label", "reason")) == [
        ("replays.let_go", "orders", "mended"),
        ("replays.stopped", "orders", "erp posts twice"),
    ]


@pytest.mark.django_db
def test_a_stop_of_an_environment_holds_everything_there_and_everywhere_is_each_that_one_operates():
    line = memory_connection()
    [one] = letters(1)
    request_replay(one, by=ROOT, reason="x")
    environment("staging")
    ada = actor(person("ada", Role.OPERATOR))

    stops = stop_everywhere(by=ada, reason="look")

    assert [(stop.environment.slug, stop.flow) for stop in stops] == [("production", None)]
    assert send_due(line.pk) == 0
    assert [stop.environment.slug for stop in stop_everywhere(by=ROOT, reason="all")] == ["production", "staging"]
    assert ReplayStop.objects.count() == 2
    assert ReplayStop.objects.get(environment__slug="production").stopped_by == "ada"


@pytest.mark.django_db
def test_only_operators_stop_and_lift_and_the_reason_is_needed():
    [one] = letters(1)
    flow = one.flow
    Flow.objects.update(team=Team.objects.create(name="Others"))
    flow.refresh_from_db()
    vic, ada = actor(person("vic", Role.VIEWER)), actor(person("ada", Role.OPERATOR))
    for who, target in ((vic, None), (ada, flow)):
        with pytest.raises(Forbidden):
            stop_replays(environment(), target, by=who, reason="x")
    with pytest.raises(ReasonMissing):
        stop_replays(environment(), None, by=ada, reason=" ")
    stop, _ = stop_replays(environment(), None, by=ada, reason="x")
    with pytest.raises(Forbidden):
        lift_stop(stop, by=vic, reason="x")
    assert ReplayStop.objects.count() == 1


@pytest.mark.django_db
def test_stops_in_rest_are_placed_seen_and_lifted():
    memory_connection()
    [one] = letters(1)
    ada, vic, eve = (
        Caller("ada", Role.OPERATOR),
        Caller("vic", Role.VIEWER),
        Caller("eve", Role.OPERATOR, team="Others"),
    )
    Flow.objects.update(team=Team.objects.get(name="Order team"))
    said = {"environment": "production", "flow": "erp.orders", "reason": "erp posts twice"}

    made, again = ada("post", "replay-stops", said), ada("post", "replay-stops", said | {"reason": "me too"})

    assert (made.status_code, again.status_code, again.json()) == (201, 200, made.json())
    [stop] = made.json()["results"]
    assert (stop["flow"], stop["stopped_by"], stop["reason"]) == ("erp.orders", "ada", "erp posts twice")
    assert vic("get", "replay-stops").json()["results"] == [stop]
    assert eve("get", "replay-stops").json()["results"] == []
    assert vic("get", f"replay-stops/{stop['id']}").json() == stop
    assert eve("get", f"replay-stops/{stop['id']}").status_code == 404
    assert eve("delete", f"replay-stops/{stop['id']}", {"reason": "x"}).status_code == 404
    assert vic("delete", f"replay-stops/{stop['id']}", {"reason": "x"}).status_code == 403
    assert vic("post", "replay-stops", said).status_code == 403
    assert eve("post", "replay-stops", said).status_code == 404
    for body in ({"reason": "x"}, {"environment": "production"}, {"everywhere": True, "flow": "x", "reason": "x"}):
        assert ada("post", "replay-stops", body).status_code == 400
    plan = plan_of([one])
    start_plan(plan, by=ROOT)
    Plan.objects.update(state="running", wave=1, started_at="2026-11-01T00:00:00Z")
    told = ada("get", f"plans/P-{plan.pk}").json()
    assert told["held"] == "ada stopped all replays of erp.orders: erp posts twice"
    assert told["sentence"].endswith(f"nothing is sent now: {told['held']}")
    assert ada("delete", f"replay-stops/{stop['id']}").status_code == 400
    assert ada("delete", f"replay-stops/{stop['id']}", {"reason": "mended"}).status_code == 204
    assert ada("get", f"replay-stops/{stop['id']}").status_code == 404
    everywhere = ada("post", "replay-stops", {"everywhere": True, "reason": "x"}).json()["results"]
    assert [(one["environment"], one["flow"]) for one in everywhere] == [("production", None)]


@pytest.mark.django_db
def test_a_flows_rate_is_shared_by_the_plans_that_run():
    memory_connection()
    chosen = letters(4)
    Flow.objects.update(replay_rate=6)
    first, second, third = plan_of(chosen[:2]), plan_of(chosen[2:], rate_per_s=1), plan_of(chosen[2:])
    assert [rate_of(one) for one in (first, second)] == [6, 1]
    Plan.objects.exclude(pk=third.pk).update(state="running")
    assert rate_of(first) == 3
    Flow.objects.update(replay_rate=None)
    assert [rate_of(one) for one in (first, second)] == [None, 1]


# with real commits ---------------------------------------------------------------------------------------------------------


def in_thread(do):
    try:
        return do()
    finally:
        connection.close()


def test_two_who_stop_at_once_place_one_stop(committed):
    place = environment()
    both = threading.Barrier(2)

    def press() -> bool:
        both.wait(10)
        return stop_replays(place, None, by=ROOT, reason="x")[1]

    with ThreadPoolExecutor(2) as pool:
        new = [pool.submit(in_thread, press) for _ in range(2)]
        assert sorted(one.result(20) for one in new) == [False, True]
    assert ReplayStop.objects.count() == 1
    assert AuditEntry.objects.filter(action="replays.stopped").count() == 1


def test_a_worker_in_the_middle_sends_nothing_more_than_what_it_has(committed, monkeypatch):
    """The worker is kept in its first window until the stop stands; then it looks again, finds nothing, and ends."""
    line = memory_connection()
    monkeypatch.setattr(memory.MemoryConnector, "at_once", 2)
    for one in letters(5):
        request_replay(one, by=ROOT, reason="x")
    inside, go = threading.Event(), threading.Event()
    publish = memory.MemoryConnector.publish

    def slow(self, items, *, timeout_s):
        inside.set()
        assert go.wait(20)
        return publish(self, items, timeout_s=timeout_s)

    monkeypatch.setattr(memory.MemoryConnector, "publish", slow)
    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(in_thread, lambda: send_due(line.pk))
        assert inside.wait(20)
        claimed = Replay.objects.filter(state="sending").count()
        stop_replays(environment(), None, by=ROOT, reason="x")
        go.set()
        at = time.monotonic()
        assert worker.result(20) == claimed
        assert time.monotonic() - at < 10
    assert len(memory.QUEUES[line.address]["erp.orders"]) == claimed
    assert Replay.objects.filter(state="queued").count() == 5 - claimed
    assert send_due(line.pk) == 0
