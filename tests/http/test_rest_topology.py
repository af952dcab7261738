"""REST of the map and of the figures: the same reads as the pages, as far as the key may see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from console.identity.models import Role, Team
from messages.models import Flow
from tests.factories import agent_key, api_key, event, person, push

pytestmark = pytest.mark.django_db


def got(path: str, *, team: str = "Order team", name: str = "reader", status: int = 200) -> Any:
    key = api_key(person(name, Role.VIEWER, team=team))
    answer = Client().get(f"/api/v1/{path}", HTTP_AUTHORIZATION=f"Bearer {key}")
    assert answer.status_code == status, answer.content
    return answer.json()


def estate() -> None:
    at = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()
    common = {"destination": "orders", "occurred_at": at, "duration_ms": 40}
    taken = event(**common, system="erp", operation="process", outcome="error")
    events = [event(**common), taken, event(destination="stock", system="wms", occurred_at=at)]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == 3


def test_the_map_has_systems_and_connections_with_their_health():
    estate()

    [found] = got("topology?environment=production")["results"]

    systems = {one["name"]: one for one in found["systems"]}
    assert {name: one["health"] for name, one in systems.items()} == {
        "erp": "failing", "shop": "well", "wms": "well", "receiver": "well",
    }  # fmt: skip
    [line] = [one for one in found["connections"] if one["flow"] == "orders"]
    assert (line["sender"], line["receiver"]) == (systems["shop"]["key"], systems["erp"]["key"])
    assert (line["count"], line["failed"], line["health"], line["tie"]) == (1, 1, "failing", "destination")
    assert (line["about"], found["cut"]) == (False, False)


def bound(exchange: str, queues: dict[str, str], *, sender: str = "shop", messages: int = 10, failed: int = 0) -> None:
    """Push messages that a system sent to an exchange and others took from queues bound to it, {queue: system}, each a flow of its own."""
    at = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()
    events = []
    for number in range(messages):
        told = {"message_id": f"{exchange}-of-{sender}-{number:06}", "occurred_at": at}
        events.append(event(**told, system=sender, destination=exchange))
        outcome = "error" if number < failed else "ok"
        events += [
            event(**told, system=system, destination=queue, operation="process", outcome=outcome)
            for queue, system in queues.items()
        ]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == len(events)


def lines(found: Any) -> set[tuple[str, str, str, int, int, str, bool]]:
    names = {one["key"]: one["name"] for one in found["systems"]}
    return {
        (
            names[one["sender"]],
            names[one["receiver"]],
            one["flow"],
            one["count"],
            one["failed"],
            one["tie"],
            one["about"],
        )
        for one in found["connections"]
    }


def test_queues_bound_to_an_exchange_are_tied_to_it_by_their_messages_without_a_rule():
    bound("ex.orders", {"q.erp": "erp", "q.mail": "mail"}, failed=2)
    erp = ("shop", "erp", "ex.orders", 10, 2, "messages", False)

    [found] = got("topology", name="a")["results"]
    [of_queue] = got(f"topology?flow={Flow.objects.get(name='q.erp').pk}", name="b")["results"]

    assert lines(found) == {erp, ("shop", "mail", "ex.orders", 10, 2, "messages", False)}
    assert lines(of_queue) == {erp}
    assert not [one for one in found["systems"] if one["kind"] == "unknown"]


def test_a_queue_of_two_exchanges_has_its_share_of_each():
    bound("ex.orders", {"q.erp": "erp"}, messages=30)
    bound("ex.returns", {"q.erp": "erp"}, sender="portal")

    [found] = got("topology")["results"]

    assert lines(found) == {
        ("shop", "erp", "ex.orders", 30, 0, "messages", True),
        ("portal", "erp", "ex.returns", 10, 0, "messages", True),
    }


def test_a_queue_is_tied_to_no_exchange_that_the_reader_may_not_see():
    bound("ex.orders", {"q.erp": "erp"})
    Flow.objects.filter(name="ex.orders").update(team=Team.objects.create(name="Shop team"))

    [found] = got("topology", team="Stock team")["results"]

    assert lines(found) == {("sender", "erp", "q.erp", 10, 0, "nobody", False)}


def test_one_system_or_one_flow_of_the_map():
    estate()
    flow = Flow.objects.get(name="orders").pk

    [near] = got("topology?system=erp", name="a")["results"]
    [stations] = got(f"topology?flow={flow}", name="b")["results"]

    for found in (near, stations):
        assert sorted(one["name"] for one in found["systems"]) == ["erp", "shop"]
    got("topology?system=nobody", name="c", status=404)


def test_figures_by_step_and_their_total():
    estate()

    [found] = got("figures?window=1h")["results"]

    assert (found["environment"], found["flow"], found["step_s"], len(found["steps"])) == ("production", None, 60, 60)
    assert (found["total"]["delivered"], found["total"]["failed"], found["total"]["p95_ms"]) == (
        0,
        1,
        pytest.approx(62.4),
    )
    assert sum(step["failed"] for step in found["steps"]) == 1
    assert found["steps"][0]["p50_ms"] is None


def test_what_a_key_may_not_see_is_in_no_total():
    estate()
    Flow.objects.filter(name="orders").update(team=Team.objects.create(name="Order team"))
    hidden = Flow.objects.get(name="orders").pk

    [found] = got("figures?window=1h", team="Stock team", name="a")["results"]
    [drawn] = got("topology", team="Stock team", name="b")["results"]

    assert found["total"]["failed"] == 0
    assert sorted(one["name"] for one in drawn["systems"]) == ["receiver", "wms"]
    for number, path in enumerate(("figures", "topology")):
        got(f"{path}?flow={hidden}", team="Stock team", name=f"c{number}", status=404)


@pytest.mark.parametrize("path", ["topology", "figures"])
@pytest.mark.parametrize(
    "query", ["window=junk", "since=junk", "since=2100-01-01T00:00:00Z", "since=2020-01-01T00:00:00Z"]
)
def test_a_time_that_cannot_be_read_is_a_problem(path, query):
    estate()

    assert got(f"{path}?{query}", status=400)["code"] == "bad_window"


@pytest.mark.parametrize("path", ["topology", "figures"])
def test_the_longest_time_can_be_asked_for(path):
    estate()

    assert len(got(f"{path}?window=1100d")["results"]) == 1
    assert got(f"{path}?window=1101d", name="longer", status=400)["code"] == "bad_window"


@pytest.mark.parametrize("path", ["topology", "figures"])
def test_strangers_and_other_environments_get_nothing(path):
    assert Client().get(f"/api/v1/{path}").status_code == 401
    got(f"{path}?environment=staging", status=404)


def test_the_map_counts_whole_hours_of_utc_whatever_zone_they_are_asked_in():
    hour = (datetime.now(UTC) - timedelta(hours=5)).replace(minute=0, second=0, microsecond=0)
    beside = [hour + timedelta(minutes=minute) for minute in (-5, 5, 50, 65)]
    events = [event(destination="orders", occurred_at=at.isoformat()) for at in beside]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == 4
    asked = hour + timedelta(minutes=35), hour + timedelta(minutes=45)

    for number, zone in enumerate((UTC, timezone(timedelta(hours=5, minutes=30)))):
        since, until = (quote(at.astimezone(zone).isoformat()) for at in asked)
        [found] = got(f"topology?since={since}&until={until}", name=f"in zone {number}")["results"]

        assert [one["sent"] for one in found["systems"] if one["name"] == "shop"] == [2]
        assert [datetime.fromisoformat(found[name]) for name in ("since", "until")] == [hour, hour + timedelta(hours=1)]


@pytest.mark.parametrize("path", ["topology", "figures"])
@pytest.mark.parametrize("said", ["orders", "-1", "1.5", "²"])
def test_what_is_no_id_of_a_flow_is_told_that_one_is_wanted_and_where_it_is_and_an_id_of_nothing_is_not_there(
    path: str, said: str
):
    estate()

    refused = got(f"{path}?flow={quote(said)}", status=400)

    assert refused["code"] == "invalid"
    assert (
        refused["detail"]
        == f"flow is the id of a flow here, and “{said}” is none: /api/v1/flows?q=… has the ids by name"
    )
    for wanting in ("999999", "9" * 30):
        got(f"{path}?flow={wanting}", name=f"w{wanting}", status=404)
