"""The map as a page: what it says, where a click leads, who sees what, and that no name runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from django.test import Client

from console.identity.models import Role, Team
from messages.groups.refresh import refresh_groups
from messages.groups.sweep import sweep_groups
from messages.models import Flow
from tests.factories import agent_key, event, memory_connection, push, stored_letter
from tests.pages.mapped import estate, links, shown
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
EVIL = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
ENDS_IN_THE_PAST = {"since": "2026-11-01T00:00:00Z", "until": "2026-11-01T06:00:00Z"}


# the map -------------------------------------------------------------------------------------------------------------


def test_systems_whose_names_end_otherwise_are_told_apart_where_their_names_are_cut():
    name = "order-orchestration-service-prod-eu-"
    for number in (1, 2):
        estate(system=f"{name}{number}", minutes=number)
    connections = signed_in(superuser=True).get("/topology/").content.decode().partition('id="connections"')[2]

    assert [f'title="{name}{number}"' in connections for number in (1, 2)] == [True, True]


def test_the_map_and_the_tables_below_say_the_same():
    estate()
    page = signed_in(superuser=True).get("/topology/")

    assert page.status_code == 200
    assert "1 is failing." in text_of(page)
    assert "2 systems in 1 flow" in text_of(page)
    assert [line.node.name for line in page.context["systems"]] == ["erp", "shop"]
    assert [(line.source.name, line.target.name, line.edge.failed) for line in page.context["edges"]] == [
        ("shop", "erp", 1)
    ]
    drawn = page.content.decode()
    assert drawn.count('class="box ') == 2
    assert "shop to erp:" in drawn
    assert ", 1 failed" in drawn


def test_clicks_lead_to_neighbours_to_stations_and_to_messages():
    estate()
    estate("stock", "wms", outcome="ok")
    client = signed_in(superuser=True)
    page = client.get("/topology/")

    near = client.get("/topology/?system=erp")
    assert sorted(line.node.name for line in near.context["systems"]) == ["erp", "shop"]
    assert near.context["focus"].name == "erp"
    flow = Flow.objects.get(name="stock")
    assert f"/topology/?flow={flow.pk}" in links(page, "/topology/")
    assert sorted(line.node.name for line in client.get(f"/topology/?flow={flow.pk}").context["systems"]) == [
        "shop",
        "wms",
    ]
    for url in set(links(page, "/messages/?")):
        found = client.get(url)
        assert found.status_code == 200
        assert len(found.context["rows"]) == 1


def test_figures_and_lines_of_a_queue_lead_to_the_messages_of_the_exchange_that_they_count():
    """The sender names the exchange, the receiver a queue bound to it, and no rule makes one flow of them."""
    at, error = (datetime.now(UTC) - timedelta(minutes=10)).isoformat(), {"type": "E", "message": "no", "stack": ""}
    common = {"occurred_at": at, "message_id": "message of an exchange", "duration_ms": 40}
    taken = event(**common, system="erp", operation="process", outcome="error", error=error, destination="q.orders")
    push("/ingest/v1/events", [event(**common, destination="ex.orders")], key=agent_key())
    push("/ingest/v1/events", [taken], key=agent_key())
    estate("stock")
    sweep_groups()
    refresh_groups()
    client = signed_in(superuser=True)
    queue, exchange = (Flow.objects.get(name=name) for name in ("q.orders", "ex.orders"))

    pages = [client.get(f"/figures/?flow={queue.name}"), client.get(f"/topology/?flow={queue.pk}")]
    found = [
        [row for row, *_ in client.get(url).context["rows"]]
        for page in pages
        for url in links(page, "/messages/?q=via")
    ]

    assert len(found) >= 2
    assert [[row.flow.name for row in rows] for rows in found] == [["ex.orders"]] * len(found)
    own = text_of(client.get(f"/flows/{exchange.pk}/"))
    assert "Nothing failed in this time, as far as events name this flow." in own


def test_a_flow_whose_letters_wait_has_a_station_also_without_traffic():
    """One letter says at which system it died, the other does not."""
    stored_letter(origin="stock", system="wms")
    stored_letter(origin="payroll", system="")
    client = signed_in(superuser=True)

    page = client.get("/topology/")
    pages = {name: client.get(f"/topology/?flow={Flow.objects.get(name=name).pk}") for name in ("stock", "payroll")}

    assert sorted((line.node.name, line.node.waiting) for line in page.context["systems"]) == [
        ("system", 1),
        ("wms", 1),
    ]
    assert [line.node.name for line in pages["stock"].context["systems"]] == ["wms"]
    assert "1 waiting" in pages["stock"].content.decode()
    assert "unknown system" in text_of(pages["payroll"])
    assert "1 waiting" in pages["payroll"].content.decode()
    assert "Nothing of it in this time" not in text_of(pages["payroll"])


def test_a_chosen_time_goes_along_with_every_click():
    estate()
    client = signed_in(superuser=True)
    since = (datetime.now(UTC) - timedelta(hours=3)).isoformat(timespec="seconds").replace("+00:00", "Z")

    page = shown(client, "/topology/", since=since)

    assert page.status_code == 200
    inside = [url for url in links(page, "/topology/?") if "system=" in url or "flow=" in url]
    assert inside
    assert all(urlencode({"since": since}) in url for url in inside)
    messages = links(page, "/messages/?")
    assert messages
    assert [len(client.get(url).context["rows"]) for url in set(messages)] == [1]
    assert client.get(inside[0]).status_code == 200


def test_a_time_without_anything_and_a_system_that_is_not_there_say_so():
    estate()
    client = signed_in(superuser=True)

    assert "No system was seen in this time" in text_of(shown(client, "/topology/", **ENDS_IN_THE_PAST))
    assert "Nothing of it in this time" in text_of(client.get("/topology/?system=nobody"))
    assert "Nothing of it in this time" in text_of(client.get("/topology/?flow=999999999999999999"))
    assert "Nothing of it in this time" in text_of(client.get("/topology/?flow=junk"))


@pytest.mark.parametrize("path", ["/topology/", "/figures/"])
@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"window": "junk"}, "A span is a number"),
        ({"since": "junk"}, "is a time such as"),
        ({"since": "2026-11-02T00:00:00Z", "until": "2026-11-01T00:00:00Z"}, "before the second"),
        ({"since": "2020-01-01T00:00:00Z"}, "at most 1100 days"),
        ({"since": "2100-01-01T00:00:00Z"}, "before"),
        ({"from": "2026-11-01T25:00"}, "is a time such as"),
        ({"window": "99999w"}, "at most 1100 days"),
    ],
)
def test_a_time_that_cannot_be_read_is_told_and_a_day_is_shown(path, query, words):
    estate()

    page = shown(signed_in(superuser=True), path, **query)

    assert page.status_code == 400
    assert words in text_of(page)
    assert "Shown are 24 hours." in text_of(page)


def test_without_scripts_the_form_of_two_times_is_utc():
    estate()

    page = shown(signed_in(superuser=True), "/figures/", **{"from": "2026-11-01T00:00", "to": "2026-11-01T06:00"})

    assert page.status_code == 200
    assert page.context["figures"].range.since == datetime(2026, 11, 1, tzinfo=UTC)
    assert 'value="2026-11-01T06:00"' in page.content.decode()


def test_names_of_systems_and_flows_do_not_run():
    estate(EVIL, EVIL[:100])
    stored_letter(origin=EVIL, system=EVIL[:100])
    memory_connection()
    flow = Flow.objects.get(name=EVIL)
    client = signed_in(superuser=True)
    change = {"id": "1", "kind": "deployment", "title": EVIL, "systems": [EVIL[:100]], "flows": [EVIL]}
    push("/ingest/v1/changes", [change], key=agent_key())

    for path in (
        "/", "/topology/", f"/topology/?flow={flow.pk}", f"/topology/?{urlencode({'system': EVIL[:100]})}", "/figures/",
        f"/figures/?{urlencode({'flow': EVIL})}", f"/flows/{flow.pk}/", f"/topology/?{urlencode({'window': EVIL})}",
    ):  # fmt: skip
        drawn = client.get(path).content.decode()
        assert "<script>alert" not in drawn
        assert "<img" not in drawn
        assert "alert(1)" in drawn or path == "/topology/?window"


# rights --------------------------------------------------------------------------------------------------------------


def test_flows_of_other_teams_are_on_no_map_and_in_no_figure():
    estate()
    estate("stock", "wms")
    Flow.objects.filter(name="orders").update(team=Team.objects.create(name="Order team"))
    stranger = signed_in("stranger", Role.ADMINISTRATOR, team="Stock team")
    mate = signed_in("mate", Role.VIEWER)
    hidden = Flow.objects.get(name="orders").pk

    assert [line.node.name for line in mate.get("/topology/").context["systems"]] == ["erp", "wms", "shop"]
    page = stranger.get("/topology/")
    assert [line.node.name for line in page.context["systems"]] == ["wms", "shop"]
    assert "erp" not in page.content.decode()
    assert "Nothing of it" in text_of(stranger.get(f"/topology/?flow={hidden}"))
    assert "orders" not in text_of(stranger.get(f"/topology/?flow={hidden}"))
    assert "Nothing of it" in text_of(stranger.get("/topology/?system=erp"))
    assert stranger.get("/figures/").context["figures"].total.failed == 1
    assert mate.get("/figures/").context["figures"].total.failed == 2
    assert stranger.get("/figures/?flow=orders").status_code == 404
    assert Client().get("/topology/").status_code == 302


def test_another_environment_is_another_map():
    estate()
    push("/ingest/v1/events", [event(system="elsewhere")], key=agent_key("x", "staging"))

    page = signed_in().get("/topology/")

    assert "elsewhere" not in page.content.decode()
