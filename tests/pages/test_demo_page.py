"""The page "Demo estate" and the set-up behind it: who sees it, who switches, what is kept."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from django.test import Client

from agents.demo import faults, place
from agents.demo.names import ALIVE_KEY, FAULTS_KEY, HOPS
from alerts.models import Objective
from console.audit.models import AuditEntry
from console.identity.keys import find_key
from console.identity.models import Key, Role
from messages.catalog.connections import open_secret
from messages.models import Change, Connection, Flow, FlowRule
from tests.factories import environment, person

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture(autouse=True)
def broker() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.delete(FAULTS_KEY, f"{ALIVE_KEY}erp")
        yield client
        client.delete(FAULTS_KEY, f"{ALIVE_KEY}erp")


def signed_in(role: Role | None, slug: str = "demo") -> Client:
    environment("demo")
    client = Client()
    client.force_login(person(f"{role}-{slug}", role, slug=slug))
    return client


def erp_is_alive(broker: redis.Redis) -> None:
    broker.set(f"{ALIVE_KEY}erp", json.dumps({"pid": 1, "since": time.time() - 90, "done": 1234, "failed": 17}), ex=30)


def switch(client: Client, fault: str, on: str, **headers: str) -> Any:
    return client.post(f"/demo/faults/{fault}", {"on": on}, **headers)


def test_an_operator_switches_a_fault_and_the_audit_list_says_who(broker: redis.Redis):
    client = signed_in(Role.OPERATOR)

    response = switch(client, "erp-timeout", "0")

    assert (response.status_code, response["Location"]) == (303, "/demo/")
    assert faults.switches(broker) == {"erp-timeout": False, "vat-missing": True, "unknown-sku": True, "poison": True}
    entry = AuditEntry.objects.get(action="demo.fault_switched")
    assert (entry.actor, entry.environment.slug, entry.object_label) == ("2-demo", "demo", "ERP time-outs off")


def test_a_switched_fault_is_a_configuration_change_of_its_system_once(broker: redis.Redis):
    client = signed_in(Role.OPERATOR)

    for on in ("0", "0", "1"):
        switch(client, "erp-timeout", on)

    assert list(Change.objects.order_by("pk").values_list("kind", "title", "systems", "author")) == [
        ("configuration", "ERP time-outs off", ["erp"], "2-demo"),
        ("configuration", "ERP time-outs on", ["erp"], "2-demo"),
    ]


def test_htmx_gets_the_part_with_the_new_state(broker: redis.Redis):
    erp_is_alive(broker)

    response = switch(signed_in(Role.OPERATOR), "erp-timeout", "0", **HTMX)

    text = response.content.decode()
    assert response.status_code == 200
    assert text.lstrip().startswith('<div id="demo"')
    assert 'aria-checked="false" aria-label="ERP time-outs"' in text
    assert 'aria-checked="true" aria-label="Poison message"' in text


def test_a_viewer_looks_and_switches_nothing(broker: redis.Redis):
    erp_is_alive(broker)
    client = signed_in(Role.VIEWER)

    assert 'role="switch"' not in client.get("/demo/").content.decode()
    assert switch(client, "erp-timeout", "0").status_code == 403
    assert broker.hgetall(FAULTS_KEY) == {}
    assert not AuditEntry.objects.filter(action="demo.fault_switched").exists()


def test_who_has_no_part_in_the_demo_is_told_that_there_is_none():
    client = signed_in(Role.ADMINISTRATOR, slug="production")

    assert client.get("/demo/").status_code == 404
    assert switch(client, "erp-timeout", "0").status_code == 404


def test_the_rail_leads_to_the_demo_only_who_may_see_it():
    assert 'href="/demo/"' in signed_in(Role.VIEWER).get("/agents/").content.decode()
    assert 'href="/demo/"' not in signed_in(Role.ADMINISTRATOR, slug="production").get("/agents/").content.decode()


def test_a_stranger_goes_to_sign_in():
    assert Client().get("/demo/")["Location"] == "/sign-in/?next=/demo/"
    assert switch(Client(), "erp-timeout", "0")["Location"].startswith("/sign-in/")


def test_a_switch_needs_the_forms_token():
    client = Client(enforce_csrf_checks=True)
    environment("demo")
    client.force_login(person("ana", Role.OPERATOR, slug="demo"))

    assert switch(client, "erp-timeout", "0").status_code == 403


def test_a_fault_that_does_not_exist_is_not_found():
    assert switch(signed_in(Role.OPERATOR), "gravity", "0").status_code == 404


def test_the_page_says_what_each_process_did_and_which_are_gone(broker: redis.Redis):
    erp_is_alive(broker)

    text = signed_in(Role.VIEWER).get("/demo/").content.decode()

    assert "1,234" in text
    assert (text.count(">alive<"), text.count(">gone<")) == (1, 7)


def test_an_estate_that_does_not_run_says_how_to_start_it():
    text = signed_in(Role.VIEWER).get("/demo/").content.decode()

    assert "The estate is not running" in text
    assert "make run DEMO=1" in text


def test_a_broker_that_is_away_switches_nothing_and_audits_nothing(settings: Any):
    client = signed_in(Role.OPERATOR)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    assert switch(client, "erp-timeout", "0").status_code == 503
    assert client.get("/demo/").status_code == 503
    assert not AuditEntry.objects.filter(action="demo.fault_switched").exists()
    assert Change.objects.count() == 0


@pytest.fixture
def keys_folder() -> Iterator[Any]:
    folder = place.folder(settings.CONFIG)
    yield folder
    for name in (place.ESTATE_KEY, place.HARVESTER_KEY):
        (folder / name).unlink(missing_ok=True)


def test_setting_up_twice_makes_everything_once_and_keeps_the_keys(keys_folder: Any):
    call_command("setup_demo")
    kept = [(keys_folder / name).read_text() for name in (place.ESTATE_KEY, place.HARVESTER_KEY)]

    call_command("setup_demo")

    assert [(keys_folder / name).read_text() for name in (place.ESTATE_KEY, place.HARVESTER_KEY)] == kept
    assert [find_key(f"Bearer {text}", "agent").agent.name for text in kept] == ["demo estate", "demo harvester"]
    assert stat.S_IMODE((keys_folder / place.ESTATE_KEY).stat().st_mode) == 0o600
    assert set(Flow.objects.values_list("name", flat=True)) == {hop.flow for hop in HOPS}
    assert list(FlowRule.objects.values_list("pattern", flat=True)) == [hop.stream for hop in HOPS]
    connection = Connection.objects.get(name="demo-redis")
    assert connection.approved_at
    assert "@" not in connection.address
    assert open_secret(connection.secret) in settings.REDIS_URL


def test_the_demos_objectives_are_made_once_and_what_is_removed_stays_so(keys_folder: Any):
    call_command("setup_demo")
    made = {one.name: one.flow.name for one in Objective.objects.select_related("flow")}
    Objective.objects.get(name="Shipments are told").delete()

    call_command("setup_demo")

    assert set(made) == {"Orders reach the ERP", "Invoices within 15 min", "Shipments are told"}
    assert made["Orders reach the ERP"] == "orders: order-service → erp"
    assert Objective.objects.count() == 2


def test_a_lost_or_revoked_key_is_replaced(keys_folder: Any):
    call_command("setup_demo")
    (keys_folder / place.ESTATE_KEY).unlink()
    old = (keys_folder / place.HARVESTER_KEY).read_text()
    Key.objects.filter(agent__name="demo harvester").update(revoked_at="2026-01-01T00:00Z")

    call_command("setup_demo")

    assert find_key(f"Bearer {(keys_folder / place.ESTATE_KEY).read_text()}", "agent")
    assert (keys_folder / place.HARVESTER_KEY).read_text() != old


def test_the_connection_follows_a_broker_that_moved(keys_folder: Any, settings: Any):
    call_command("setup_demo")
    settings.REDIS_URL = "redis://:other-secret@127.0.0.1:6399/0"

    call_command("setup_demo")

    connection = Connection.objects.get(name="demo-redis")
    assert (connection.address, open_secret(connection.secret)) == ("redis://127.0.0.1:6399/0", "other-secret")
    assert connection.approved_at
    assert AuditEntry.objects.filter(action="connection.address_changed").count() == 1
