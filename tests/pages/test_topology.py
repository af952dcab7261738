"""The map and the figures as pages: what they say, where a click leads, who sees what, and that no name runs."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote_plus, urlencode

import pytest
from django.test import Client

from console.identity.models import Role, Team
from messages.figures.present import messages_address
from messages.groups.refresh import refresh_groups
from messages.groups.sweep import sweep_groups
from messages.models import Flow
from messages.replay.services import request_replay
from tests.factories import ROOT, agent_key, environment, event, memory_connection, push, stored_letter
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
EVIL = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
ENDS_IN_THE_PAST = {"since": "2026-11-01T00:00:00Z", "until": "2026-11-01T06:00:00Z"}


def estate(flow: str = "orders", system: str = "erp", minutes: int = 10, outcome: str = "error") -> None:
    at = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
    common = {
        "destination": flow,
        "occurred_at": at,
        "message_id": f"message of {flow} {minutes}"[:60],
        "duration_ms": 40,
    }
    error = {"error": {"type": "ErpTimeout", "message": "no", "stack": ""}} if outcome == "error" else {}
    events = [event(**common), event(**common, system=system, operation="process", outcome=outcome, **error)]
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == 2


def links(page: Any, start: str) -> list[str]:
    return [
        one.replace("&amp;", "&")
        for one in re.findall(r'href="([^"]+)"', page.content.decode())
        if one.startswith(start)
    ]


def shown(client: Client, path: str, **query: str) -> Any:
    return client.get(f"{path}?{urlencode(query)}" if query else path)


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


def test_a_line_of_several_flows_leads_to_what_both_ends_touched():
    """Each flow of an OR would be looked for in every event of the time."""
    estate("orders"), estate("invoices")
    client = signed_in(superuser=True)

    addresses = {unquote_plus(url) for url in links(client.get("/topology/"), "/messages/?q=")}

    ends = 'system:"shop" system:"erp"&window=24h'
    assert addresses == {f"/messages/?q={flow}{ends}" for flow in ("", 'via:"orders" ', 'via:"invoices" ')}


def failing_sender(flow: str, *receivers: str) -> set[str]:
    """One message that failed at each receiver, one that shop failed to send, twice, and one that waits; returns the ids of those that failed."""
    error = {"outcome": "error", "error": {"type": "E", "message": "no", "stack": ""}}
    names = {f"{flow} at {receiver}": receiver for receiver in receivers}
    sent = [event(destination=flow, message_id=name) for name in names]
    taken = [
        event(destination=flow, message_id=name, system=receiver, operation="process", **error)
        for name, receiver in names.items()
    ]
    unsent = [event(destination=flow, message_id=f"{flow} unsent", span_id=f"{at:016x}", **error) for at in (1, 2)]
    waits = [event(destination=flow, message_id=f"{flow} waits")]
    push("/ingest/v1/events", [*sent, *taken, *unsent, *waits], key=agent_key())
    return {*names, f"{flow} unsent"}


def found_by(client: Client, url: str) -> set[str]:
    return {row.message_id for row, *_ in client.get(url).context["rows"]}


def test_a_line_leads_to_what_its_sender_failed_to_send():
    ids = failing_sender("payments", "ledger")
    client = signed_in(superuser=True)

    [line] = client.get("/topology/").context["edges"]

    assert (line.edge.failed, line.edge.unsent) == (3, 2)
    assert found_by(client, line.url) == ids
    assert found_by(client, line.url.replace("&", "+status%3Afailed&")) == ids


def test_a_line_with_failed_sends_leads_to_all_that_failed_of_its_sender():
    ids = failing_sender("payments", "crm", "ledger")
    client = signed_in(superuser=True)

    found = {line.target.name: found_by(client, line.url) for line in client.get("/topology/").context["edges"]}

    assert found == dict.fromkeys(("crm", "ledger"), ids)


def test_a_line_of_several_flows_leads_to_what_its_sender_failed_to_send_in_those_where_it_did():
    ids = failing_sender("payments", "ledger") | failing_sender("refunds", "ledger")
    estate("stock", "wms")
    client = signed_in(superuser=True)

    [url] = links(client.get("/topology/"), "/messages/?q=flow")

    assert found_by(client, url) == ids
    assert 'flow:("payments" OR "refunds")' in unquote_plus(url)


def test_a_line_counts_tries_and_says_so():
    estate(minutes=9)
    tries = [
        event(
            destination="orders", message_id="message of orders 9", system="erp", operation="process", outcome="error",
            error={"type": "E", "message": "no", "stack": ""}, span_id=f"{number:016x}",
        )
        for number in (1, 2)
    ]  # fmt: skip
    push("/ingest/v1/events", tries, key=agent_key())

    page = signed_in(superuser=True).get("/topology/")

    html = page.content.decode().partition('id="connections"')[2]
    assert '<th class="num">Tries</th>' in html
    assert '<th class="num">Messages</th>' not in html
    assert 'data-label="tries">3</td>' in html
    assert "tries a minute in 1 flow, 3 failed" in page.content.decode()


def test_a_share_of_what_several_did_is_told_as_about_so_much():
    estate(minutes=9)
    client = signed_in(superuser=True)
    alone = client.get("/topology/").content.decode().partition('id="connections"')[2]
    push("/ingest/v1/events", [event(destination="orders", message_id="of another", system="crm")], key=agent_key())

    shared = client.get("/topology/").content.decode().partition('id="connections"')[2]

    assert "about" not in alone
    assert "<b>about</b>: a share, as nobody says whose message was taken by whom" in shared
    assert shared.count('data-label="tries"><span class="faint">about</span> ') == 2


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


# figures -------------------------------------------------------------------------------------------------------------


def data_of(page: Any) -> dict[str, Any]:
    found = re.search(r'<script id="figures-data" type="application/json">(.*?)</script>', page.content.decode(), re.S)
    assert found
    return dict(json.loads(found[1]))


def test_the_plain_pictures_and_the_data_of_the_others_say_the_same():
    estate(minutes=30)
    estate("stock", "wms", minutes=40, outcome="ok")

    page = signed_in(superuser=True).get("/figures/?window=1h")

    data, figures = data_of(page), page.context["figures"]
    assert len(data["steps"]) == len(figures.steps) == 60
    assert sum(step["failed"] for step in data["steps"]) == figures.total.failed == 1
    assert sum(step["delivered"] for step in data["steps"]) == figures.total.delivered == 1
    assert [step["p50"] for step in data["steps"] if "p50" in step] == [48.0, 48.0]
    assert sorted(data["charts"]) == ["failures", "latency", "throughput"]
    assert page.content.decode().count('class="chart"') == 3
    assert "in steps of 1 min" in text_of(page)


def test_the_steps_in_which_something_failed_lead_to_the_messages():
    estate(minutes=30)
    estate("stock", "wms", minutes=40)
    client = signed_in(superuser=True)

    page = client.get("/figures/?window=1h&flow=orders")

    [(step, _, url)] = page.context["failed_steps"]
    assert step.failed == 1
    assert url in links(page, "/messages/?")
    assert 'via:"orders" error:*' in client.get(url).context["q"]
    assert client.get(url).status_code == 200
    recent = signed_in("now", Role.VIEWER).get("/figures/?window=1h")
    assert len(recent.context["failed_steps"]) == 2


def test_a_failure_is_found_by_its_step():
    estate(minutes=2)
    client = signed_in(superuser=True)

    [(_, _, url)] = client.get("/figures/?window=1h").context["failed_steps"]

    assert [row[0].message_id for row in client.get(url).context["rows"]] == ["message of orders 2"]


def test_what_failed_and_passed_since_is_found_by_its_step():
    """Also where the failure told nothing of itself, and by whoever may not see all that the message went through."""
    at = datetime.now(UTC) - timedelta(minutes=10)
    common = {"message_id": "passed since", "destination": "orders", "system": "erp", "operation": "process"}
    tries = [
        event(**common, occurred_at=(at + timedelta(seconds=90 * number)).isoformat(), outcome=outcome)
        for number, outcome in enumerate(("error", "ok"))
    ]
    other = event(
        **common | {"destination": "payroll"}, keys={"iban": "DE1"}, occurred_at=(at + timedelta(minutes=3)).isoformat()
    )
    push("/ingest/v1/events", [*tries, other], key=agent_key())
    Flow.objects.filter(name="payroll").update(team=Team.objects.create(name="Payroll team"))
    readers = signed_in(superuser=True), signed_in("stranger", Role.VIEWER, team="Stock team")

    asked = "/figures/?window=1h", "/figures/?window=1h&flow=orders"
    steps = [(reader, reader.get(path).context["failed_steps"]) for reader in readers for path in asked]
    urls = [(reader, url) for reader, found in steps for _, _, url in found]
    urls += [(reader, f"{messages_address(None)}&window=1h") for reader in readers]

    found = [[row[0].message_id for row in reader.get(url).context["rows"]] for reader, url in urls]
    assert found == [["passed since"]] * 6


def test_changes_and_replays_are_marks_with_links():
    memory_connection()
    request_replay(stored_letter(), by=ROOT, reason="again")
    at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    change = {"id": "1", "kind": "deployment", "title": "x", "systems": ["erp"], "version": "4.2.1", "started_at": at}
    push("/ingest/v1/changes", [change], key=agent_key())
    now = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    until = (now + timedelta(minutes=10)).isoformat()

    page = shown(signed_in(superuser=True), "/figures/", since=(now - timedelta(hours=2)).isoformat(), until=until)

    words = [mark["words"] for mark in data_of(page)["marks"]]
    assert any(one.startswith("deployed: erp 4.2.1") for one in words)
    assert links(page, "/changes/")


def test_the_page_of_a_flow_has_its_figures():
    estate(minutes=30)
    estate("stock", "wms", minutes=40)
    flow = Flow.objects.get(name="orders")

    page = signed_in(superuser=True).get(f"/flows/{flow.pk}/?window=1h")

    assert page.status_code == 200
    assert sum(step["failed"] for step in data_of(page)["steps"]) == 1
    assert f"/topology/?flow={flow.pk}" in links(page, "/topology/")


def test_a_page_without_charts_loads_neither_vega_nor_its_script():
    estate()
    client = signed_in(superuser=True)

    for path in ("/", "/messages/", "/topology/"):
        drawn = client.get(path).content.decode()
        assert "vega" not in drawn
        assert "figures.js" not in drawn
    assert "/static/vega/vega.js" in client.get("/figures/").content.decode()


def test_nothing_in_a_time_is_said_in_words():
    estate()

    said = text_of(shown(signed_in(superuser=True), "/figures/", **ENDS_IN_THE_PAST))

    assert "Nothing was delivered in this time." in said
    assert "Nothing failed in this time." in said
    assert "No receiver reported" in said


# the overview --------------------------------------------------------------------------------------------------------


def test_the_overview_counts_what_went_through_and_leads_to_the_figures():
    estate(minutes=30)
    estate("stock", "wms", minutes=40, outcome="ok")

    page = signed_in(superuser=True).get("/")

    assert "Delivered, 24 h 1 " in text_of(page)
    assert "Failed, 24 h 1 " in text_of(page)
    assert "50.0 %" in text_of(page)
    assert "/figures/?window=24h" in links(page, "/figures/")


def test_the_verdict_names_the_change_just_before_the_first_failure():
    now = datetime.now(UTC)
    failed_at = (now - timedelta(minutes=30)).isoformat()
    stored_letter(origin="orders", system="erp", failed_at=failed_at, error={"type": "ErpTimeout", "message": "no"})
    changes = [
        {"id": "1", "kind": "deployment", "title": "x", "systems": ["erp"], "version": "4.2.1",
         "started_at": (now - timedelta(minutes=34)).isoformat()},
        {"id": "2", "kind": "deployment", "title": "of another", "systems": ["wms"],
         "started_at": (now - timedelta(minutes=32)).isoformat()},
        {"id": "3", "kind": "deployment", "title": "later", "systems": ["erp"], "started_at": (now - timedelta(minutes=20)).isoformat()},
    ]  # fmt: skip
    assert push("/ingest/v1/changes", changes, key=agent_key()).json()["accepted"] == 3

    page = signed_in(superuser=True).get("/")

    assert re.search(r"the first at \d\d:\d\d:\d\d ?, 4 min after erp 4\.2\.1 went out\.", text_of(page))
    assert environment().slug == "production"
