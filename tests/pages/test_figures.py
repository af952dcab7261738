"""The figures and the overview as pages: what they say, and where a click leads."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from console.identity.models import Role, Team
from messages.figures.present import messages_address
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
