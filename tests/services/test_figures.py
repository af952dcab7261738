"""Figures against rows: what was pushed is what is read, only of flows that the reader may see, by few index reads."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from console.dashboard.overview import message_rates, recent_figures
from console.identity.actor import Actor
from console.identity.models import Role, Team
from messages.catalog.queries import FlowLine, add_figures, recent_destinations, systems_of_flow
from messages.figures.queries import read_figures, replay_runs
from messages.figures.ranges import Range, range_of
from messages.figures.services import fold_latency
from messages.models import Flow, RollupLatency, RollupMinute
from messages.replay.services import request_replay
from messages.search.window import Window, parse_window
from messages.topology.queries import read_topology
from tests.factories import ROOT, actor, agent_key, environment, event, memory_connection, person, push, stored_letter

pytestmark = pytest.mark.django_db
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def ago(span: timedelta) -> str:
    return (datetime.now(UTC) - span).isoformat()


def pushed(*events: dict[str, Any], slug: str = "production") -> None:
    assert push("/ingest/v1/events", list(events), key=agent_key("agent of tests", slug)).json()["accepted"] == len(
        events
    )


def order(at: timedelta, *, took_ms: int = 40, outcome: str = "ok", flow: str = "orders") -> list[dict[str, Any]]:
    common = {"destination": flow, "occurred_at": ago(at)}
    taken = event(**common, system="erp", operation="process", outcome=outcome, duration_ms=took_ms)
    return [event(**common), taken | {"message_id": f"other {taken['message_id']}"}]


def day_ago() -> Window:
    now = datetime.now(UTC)
    return Window(since=now - DAY, until=now)


def figures(who: Actor = ROOT, *, hours: float = 3, now: datetime | None = None) -> Any:
    now = now or datetime.now(UTC)
    return read_figures(who, environment(), range_of(Window(since=now - hours * HOUR, until=now), now=now))


def other_team() -> Actor:
    """A member of another team than that of the flow `orders`."""
    Flow.objects.filter(name="orders").update(team=Team.objects.create(name="Order team"))
    return actor(person("stranger", Role.ADMINISTRATOR, team="Stock team"))


# figures -------------------------------------------------------------------------------------------------------------


def test_what_was_pushed_is_counted_in_its_step():
    pushed(*order(10 * MINUTE, took_ms=40), *order(20 * MINUTE, took_ms=3000, outcome="error"))

    found = figures()

    assert (found.total.delivered, found.total.failed, found.total.replays) == (1, 1, 0)
    assert [(step.delivered, step.failed) for step in found.steps if step.delivered or step.failed] == [(0, 1), (1, 0)]
    assert 32 <= found.total.latency_ms("p50") < 64
    assert 2048 <= found.total.latency_ms("p99") < 4096


def test_the_same_figures_come_from_hours_as_from_minutes():
    pushed(*order(3 * HOUR, took_ms=5), *order(5 * HOUR, took_ms=700), *order(9 * HOUR, outcome="error"))
    fold_latency()

    by_minute, by_hour = figures(hours=24), figures(hours=100)

    assert (by_minute.range.by_hour, by_hour.range.by_hour) == (False, True)
    for name in ("delivered", "failed", "buckets"):
        assert getattr(by_hour.total, name) == getattr(by_minute.total, name)


def test_what_is_not_folded_yet_is_read_from_the_minutes():
    pushed(*order(70 * MINUTE))

    assert figures(hours=100).total.buckets == {6: 1}
    assert not RollupLatency.objects.exists()


def test_only_flows_that_the_reader_may_see_are_in_the_figures_and_their_total():
    pushed(*order(90 * MINUTE), *order(4 * HOUR), *order(90 * MINUTE, flow="stock"))
    fold_latency()
    stranger = other_team()

    assert figures(hours=24).total.delivered == 3
    assert figures(stranger, hours=24).total.delivered == 1
    assert figures(hours=100).total.delivered == 3
    assert figures(stranger, hours=100).total.delivered == 1
    assert sum(figures(stranger, hours=100).total.buckets.values()) == 1


def test_another_environment_is_another_figure():
    pushed(*order(10 * MINUTE), slug="staging")

    assert figures().total.delivered == 0


def test_replays_are_counted_by_step_and_neighbours_are_one_run():
    memory_connection()
    for number in range(3):
        request_replay(stored_letter(id=f"death {number}"), by=ROOT, reason="again")
    now = datetime.now(UTC).replace(second=0, microsecond=0) + 2 * MINUTE

    found = figures(now=now)

    assert found.total.replays == 3
    assert sum(run.count for run in replay_runs(found)) == 3
    assert figures(other_team(), now=now).total.replays == 3  # of a flow that nobody owns
    Flow.objects.update(team=Team.objects.get(name="Order team"))
    assert figures(actor(person("another", Role.VIEWER, team="Stock team")), now=now).total.replays == 0


def test_a_month_of_one_flow_is_few_index_reads():
    """The primary keys lead with the time: PostgreSQL skips from hour to hour to the one flow (or reads all where that is cheaper)."""
    one = busy_month()
    span = range_of(parse_window("30d", now=datetime.now(UTC)), now=datetime.now(UTC))

    here = environment()

    with CaptureQueriesContext(connection) as asked:
        read_figures(ROOT, here, span, flow=one)

    assert len(asked) == 4
    for query in asked:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("EXPLAIN " + query["sql"])
            plan = "\n".join(row[0] for row in cursor.fetchall())
        assert "Seq Scan" not in plan, plan
        if "rollup_hour" in plan or "rollup_latency" in plan:
            assert "flow_id = " in plan.split("Index Cond")[1].split("\n")[0], plan


def busy_month() -> Flow:
    pushed(event(destination="orders"))
    one = Flow.objects.get(name="orders")
    with connection.cursor() as cursor:
        for table, columns, values in (
            ("hour", "system_id, destination, operation, outcome, shard", "1, 'q', 4, 1, 0"),
            ("latency", "bucket", "5"),
        ):
            cursor.execute(
                f"INSERT INTO messaging_rollup_{table} (hour, environment_id, flow_id, count, {columns}) SELECT hour, %s, flow, 1, {values} "
                "FROM generate_series(date_trunc('hour', now()) - interval '20 days', now(), '1 hour') hour, generate_series(%s, %s) flow "
                "ON CONFLICT DO NOTHING",
                [environment().pk, one.pk, one.pk + 20],
            )
            cursor.execute(f"ANALYZE messaging_rollup_{table}")
    return one


# folding -------------------------------------------------------------------------------------------------------------


def folded() -> dict[tuple[datetime, int], int]:
    return {(row.hour, row.bucket): row.count for row in RollupLatency.objects.all()}


def test_folding_again_changes_nothing_and_what_came_late_is_added():
    pushed(*order(5 * HOUR))
    fold_latency()
    first = folded()
    assert sum(first.values()) == 1

    fold_latency()
    assert folded() == first

    pushed(*order(2 * HOUR, took_ms=3))
    fold_latency()
    assert sum(folded().values()) == 2


def test_after_a_pause_it_catches_up():
    pushed(*order(20 * HOUR))
    fold_latency(datetime.now(UTC) - 19 * HOUR)
    pushed(*order(12 * HOUR))

    fold_latency()

    assert sum(folded().values()) == 2


@pytest.mark.parametrize("started", [0, 5 * HOUR, 9 * HOUR + 7 * MINUTE, 14 * HOUR, 21 * HOUR])
def test_what_comes_days_late_is_in_within_a_day_and_a_bit(started: timedelta | int):
    """Whenever that is: each hour of the week has its turn once in 28 hours of runs."""
    pushed(*order(30 * MINUTE))
    fold_latency()
    later = started or timedelta(0)
    pushed(
        *order(2 * DAY), *order(7 * DAY - 29 * HOUR - later)
    )  # the oldest of which each run still thinks as of the week
    begins = datetime.now(UTC) + later

    for run in range(7 * 24):
        fold_latency(begins + run * 10 * MINUTE)

    assert sum(folded().values()) == 3


def test_percentiles_of_long_ranges_say_of_how_many_they_are_where_some_were_reported_more_than_a_week_late(
    client: Client,
):
    pushed(*order(9 * DAY), *order(10 * DAY), *order(30 * HOUR))
    for run in range(7 * 24):
        fold_latency(datetime.now(UTC) + run * 10 * MINUTE)

    found = figures(hours=30 * 24)
    assert (found.total.processed, found.total.in_percentiles) == (3, 1)
    assert (figures(hours=36).total.processed, figures(hours=36).total.in_percentiles) == (1, 1)

    client.force_login(person("vera", Role.VIEWER))
    assert "of 1 of 3 processed, the rest is not in them" in client.get("/figures/?window=30d").content.decode()
    assert "not in them" not in client.get("/figures/?window=7d").content.decode()


def test_an_older_count_never_replaces_a_newer_one():
    pushed(*order(5 * HOUR))
    fold_latency()
    RollupLatency.objects.update(count=7)

    fold_latency()

    assert set(folded().values()) == {7}


@pytest.mark.usefixtures("committed")
def test_several_that_fold_at_once_count_once():
    pushed(*(one for hours in range(1, 6) for one in order(hours * HOUR)))
    failures: list[BaseException] = []

    def fold() -> None:
        try:
            fold_latency()
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=fold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert sum(folded().values()) == RollupMinute.objects.filter(operation=4).count() == 5


def test_figures_of_a_range_that_a_caller_made_have_its_steps():
    now = datetime(2026, 11, 26, 10, tzinfo=UTC)

    found = read_figures(ROOT, environment(), Range(since=now - HOUR, until=now, step=15 * MINUTE))

    assert [step.at.minute for step in found.steps] == [0, 15, 30, 45]
    assert found.total.latency_ms("p95") is None


@pytest.mark.parametrize(("ages", "step"), [((10, 20), 59 * MINUTE), ((10, 20), 2 * DAY), ((10, 300), 2 * DAY)])
def test_a_step_adds_up_what_lies_in_several_latency_buckets_and_in_minutes_and_hours(
    ages: tuple[int, int], step: timedelta
):
    pushed(*order(ages[0] * MINUTE, took_ms=5), *order(ages[1] * MINUTE, took_ms=700))
    fold_latency()
    until = datetime.now(UTC).replace(second=0, microsecond=0) + MINUTE

    found = read_figures(ROOT, environment(), Range(since=until - step, until=until, step=step))

    assert [(one.delivered, sorted(one.buckets.values())) for one in found.steps] == [(2, [1, 1])]
    assert (found.total.delivered, sorted(found.total.buckets.values())) == (2, [1, 1])


def test_what_is_hours_old_is_kept_for_a_minute_and_not_for_who_sees_other_flows(monkeypatch: pytest.MonkeyPatch):
    stored: dict[str, bytes] = {}
    own = SimpleNamespace(get=stored.get, set=lambda name, value, seconds: stored.update({name: value}))
    monkeypatch.setattr("console.core.kept.cache", own)
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    span = Range(since=now - timedelta(hours=6), until=now - timedelta(hours=3), step=timedelta(minutes=15))
    at = (now - timedelta(hours=4)).isoformat()
    push("/ingest/v1/events", [event(operation="process", occurred_at=at)], key=agent_key())

    def delivered(who: Any) -> int:
        return read_figures(who, environment(), span).total.delivered

    before = delivered(ROOT)
    push("/ingest/v1/events", [event(operation="process", occurred_at=at, destination="another")], key=agent_key())
    others = actor(person("others", Role.VIEWER))
    during = delivered(ROOT), delivered(others)
    stored.clear()

    assert (before, during, delivered(ROOT)) == (1, (1, 2), 2)


def test_the_overview_and_the_figures_of_a_day_say_the_same():
    last_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - HOUR
    now = last_hour + 14 * MINUTE  # in the middle of a point of the overview's chart
    taken = event(destination="orders", system="erp", operation="process")
    pushed(taken | {"occurred_at": (last_hour + 7 * MINUTE).isoformat()})

    figures_of_day = figures(hours=24, now=now)
    shown = recent_figures(ROOT, environment(), window="24h", now=now)

    assert (shown.range, shown.total) == (figures_of_day.range, figures_of_day.total)
    rates = message_rates(shown)
    assert (len(rates), sum(rate.delivered * 15 for rate in rates)) == (96, shown.total.delivered) == (96, 1)


@pytest.mark.parametrize("minute", [1, 59])
def test_the_figures_of_a_day_of_a_flow_are_of_24_hours_at_any_minute_and_those_of_the_map(minute):
    now = datetime.now(UTC).replace(minute=minute, second=0, microsecond=0) - HOUR
    for at in (now - DAY, now - DAY + timedelta(minutes=30), now):
        pushed(event(operation="process", occurred_at=at.isoformat()))
    pushed(event(operation="process", occurred_at=(now - DAY - HOUR).isoformat()))
    flow, who, where = Flow.objects.get(), actor(person("root", Role.ADMINISTRATOR)), environment()
    line = FlowLine(flow=flow)

    add_figures(who, [line], now=now)

    [station] = read_topology(who, where, parse_window("24h", now=now), now=now).graph.systems
    [destination] = recent_destinations(who, where, [], now=now)
    counts = [line.delivered, systems_of_flow(flow, now=now)[0].count, destination.count, station.count]
    assert counts == [3, 3, 3, 3]
