"""The figures and the overview as pages: what they say, and where a click leads."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from console.identity.models import Role, Team
from messages.models import Flow
from messages.replay.services import request_replay
from tests.factories import ROOT, agent_key, environment, event, memory_connection, push, stored_letter
from tests.pages.mapped import estate, links, shown
from tests.pages.people import signed_in, text_of

pytestmark = pytest.mark.django_db
ENDS_IN_THE_PAST = {"since": "2026-11-01T00:00:00Z", "until": "2026-11-01T06:00:00Z"}


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
    assert client.get(url).context["q"].startswith('via:"orders" failed:["')
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
    urls += [(reader, reader.get("/?window=1h").context["strip"]["failed_url"]) for reader in readers]

    found = [[row[0].message_id for row in reader.get(url).context["rows"]] for reader, url in urls]
    assert found == [["passed since"]] * 6


FAILURE = {"outcome": "error", "error": {"type": "ErpTimeout", "message": "no", "stack": ""}}
SENT = datetime.now(UTC).replace(minute=0, second=30, microsecond=0) - timedelta(hours=4)


def told(name: str, after: timedelta, **more: Any) -> dict[str, Any]:
    """What is told of a message so long after SENT."""
    of_it = {"message_id": f"the long id of {name}", "destination": "orders"}
    return event(**of_it | {"occurred_at": (SENT + after).isoformat()} | more)


def tried(name: str, after: timedelta, **more: Any) -> dict[str, Any]:
    return told(name, after, **{"system": "erp", "operation": "process"} | FAILURE | more)


def stored(*events: dict[str, Any]) -> None:
    assert push("/ingest/v1/events", list(events), key=agent_key()).json()["accepted"] == len(events)


def failed_then(client: Client, hours: int = 2, **asked: str) -> list[tuple[int, list[str]]]:
    """Return of each step in which something failed how many events did, and the messages that its link finds; oldest first."""
    since, until = SENT - timedelta(seconds=30), SENT + timedelta(hours=hours)
    page = shown(client, "/figures/", since=since.isoformat(), until=until.isoformat(), **asked)
    found = [(step.failed, client.get(url).context["rows"]) for step, _, url in page.context["failed_steps"][::-1]]
    return [
        (failed, sorted(row[0].message_id.removeprefix("the long id of ") for row in rows)) for failed, rows in found
    ]


def test_a_poison_message_is_found_by_each_step_in_which_a_try_of_it_failed():
    tries = [tried("poison", timedelta(minutes=5 * number)) for number in range(1, 13)]
    stored(told("poison", timedelta()), told("another", timedelta()), *tries)
    client = signed_in(superuser=True)

    assert failed_then(client, flow="orders") == failed_then(client) == [(1, ["poison"])] * 12


def test_of_an_outage_each_step_finds_what_failed_in_it_whenever_that_began():
    began = {
        "old": -timedelta(days=2, hours=20),
        "late": timedelta(minutes=50),
        "both": timedelta(),
        "well": timedelta(),
    }
    failed = {"old": [20], "late": [55], "both": [20, 55]}
    tries = [tried(name, timedelta(minutes=one)) for name, when in failed.items() for one in when]
    passed = tried("well", timedelta(minutes=20), outcome="ok", error=None)
    stored(*(told(name, after) for name, after in began.items()), *tries, passed)

    found = failed_then(signed_in(superuser=True), flow="orders")

    assert found == [(2, ["both", "old"]), (2, ["both", "late"])]


def test_what_a_failed_batch_took_is_found_by_its_step():
    trace, spans = "4bf92f3577b34da6a3ce929d0e0e4736", [f"{number:016x}" for number in (1, 2)]
    sent = [told(f"order {span[-1]}", timedelta(), trace_id=trace, span_id=span) for span in spans]
    links = [{"trace_id": trace, "span_id": one["span_id"], "message_id": one["message_id"]} for one in sent]
    batch = tried("", timedelta(minutes=30), trace_id="5bf92f3577b34da6a3ce929d0e0e4736", links=links, message_id="")
    stored(*sent, told("order 3", timedelta(), trace_id=trace, span_id=f"{3:016x}"), batch)

    assert failed_then(signed_in(superuser=True), flow="orders") == [(1, ["order 1", "order 2"])]


def test_a_message_that_failed_in_another_flow_is_not_found_by_the_steps_of_one_that_had_it():
    """It was in both within the step, and failed in one: `via` and `failed` are asked of the same event."""
    passed = tried("order", timedelta(minutes=20), outcome="ok", error=None)
    stored(
        told("order", timedelta()),
        passed,
        tried("order", timedelta(minutes=20), destination="stock"),
        tried("other", timedelta(minutes=20)),
    )
    client = signed_in(superuser=True)

    assert failed_then(client, flow="orders") == [(1, ["other"])]
    assert failed_then(client, flow="stock") == [(1, ["order"])]


def test_a_failure_that_the_reader_may_not_see_finds_no_message_for_them():
    stored(told("order", timedelta()), tried("order", timedelta(minutes=20), destination="payroll"))
    Flow.objects.filter(name="payroll").update(team=Team.objects.create(name="Payroll team"))
    q = {"q": f'failed:>="{SENT.isoformat()}"'}
    readers = signed_in("mate", Role.VIEWER, team="Stock team"), signed_in("owner", Role.VIEWER, team="Payroll team")

    assert [len(reader.get("/messages/", q).context["rows"]) for reader in readers] == [0, 1]


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
