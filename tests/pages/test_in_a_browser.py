"""Pages in Chromium: the keyboard's walk from the overview to a proof, no overflow on a phone, nothing that axe finds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, connections
from django.test import Client
from playwright.sync_api import Browser, Page, expect, sync_playwright

from console.core.bundles import write_bundles
from console.identity.models import Role
from messages.mappings.services import NewMapping, add_mapping
from messages.mappings.shipped import EVENTBRIDGE
from messages.masking.services import NewRule, add_masking_rule
from messages.models import Change, Connection, Message, Replay
from messages.replay.proofs import settle_replays
from messages.schemas.services import NewSchema, add_schema
from tests.axe import faults_of
from tests.factories import ROOT, agent_key, environment, event, memory_connection, person, push, stored_letter
from tests.pages.keys import press
from tests.product import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
MESSAGE = "order-4711-long-enough"


@pytest.fixture(autouse=True)
def unsafe_async(monkeypatch: pytest.MonkeyPatch) -> None:
    """Playwright's loop runs in this thread; Django takes that for asynchronous code and refuses the database."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")


@pytest.fixture
def browser(chromium: str, live_server: Any) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()
        connections.close_all()  # those of Playwright's loop are not those of the thread outside it
    wait_until(lambda: other_sessions() == 0, seconds=10, what="the live server's threads to leave the database")


def other_sessions() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])


def stuck_order() -> None:
    """An order that the ERP did not take, as the shop, the ERP and the harvester report it."""
    memory_connection()
    common = {"trace_id": TRACE, "destination": "erp.orders", "message_id": MESSAGE, "keys": {"order_no": "4711"}}
    error = {
        "type": "ErpTimeout",
        "message": "erp did not answer",
        "stack": "Traceback (most recent call last):\nErpTimeout: no",
    }
    body = {"content_type": "application/json", "body": json.dumps({"order_no": "4711"})}
    failed = event(**common, system="erp", operation="process", outcome="error", error=error, span_id="b" * 16)
    push("/ingest/v1/events", [event(**common, span_id="a" * 16, payload=body), failed], key=agent_key())
    stored_letter(message_id=MESSAGE, trace_id=TRACE, keys={"order_no": "4711"}, error=error)


def sign_in(browser: Browser, address: str, **context: Any) -> Page:
    client = Client()
    client.force_login(person(f"operator {len(browser.contexts)}", Role.ADMINISTRATOR))
    page = browser.new_context(**context).new_page()
    page.context.add_cookies([{"name": "waybill", "value": client.cookies["waybill"].value, "url": address}])
    return page


def test_the_keyboard_walks_from_the_overview_to_a_replay_that_the_receiver_proves(browser: Browser, live_server: Any):
    stuck_order()
    page = sign_in(browser, live_server.url)
    page.goto(live_server.url)
    expect(page.locator("h1")).to_contain_text("1 flow is failing.")
    press(page, "j", "Enter")
    page.wait_for_url("**/groups/G-*/")
    press(page, "j", "Enter")
    expect(page.locator("h1")).to_have_text("Order 4711")

    press(page, "r")
    expect(page.locator("#replay-reason")).to_be_focused()
    expect(page.locator("#hints")).to_contain_text("The broker knows of nothing to mind.")
    page.keyboard.type(" ")
    press(page, "Enter")
    expect(page.locator("#replay .error")).to_have_text("say why: the reason is kept in the audit list")
    page.fill("#replay-reason", "erp answers again")
    press(page, "Enter")
    expect(page.locator("#outcome")).to_contain_text("It waits for a worker.")

    replay = Replay.objects.get()
    Replay.objects.filter(pk=replay.pk).update(
        state="confirmed", sent_at=replay.created_at, confirmed_at=replay.created_at
    )
    expect(page.locator("#outcome")).to_contain_text("Whether erp processed it is known when its own event arrives")
    proof = event(
        system="erp",
        operation="process",
        destination="erp.orders",
        message_id=MESSAGE,
        trace_id=replay.trace_id.hex,
        span_id="c" * 16,
        occurred_at=replay.created_at.isoformat(),
    )
    push("/ingest/v1/events", [proof], key=agent_key())
    assert settle_replays() == 1

    expect(page.locator("#outcome .chip")).to_have_text("processed, proved by erp")
    page.click("#outcome a >> text=see the event")
    expect(page.locator("details.fold:has(:target)")).to_have_attribute("open", "")


def test_x_ticks_r_asks_and_the_two_ticked_of_three_are_sent(browser: Browser, live_server: Any):
    memory_connection()
    letters = [stored_letter(keys={"order_no": str(number)}) for number in (1, 2, 3)]
    page = sign_in(browser, live_server.url)
    page.goto(live_server.url + "/dead-letters/")
    press(page, *"jxjjx")
    expect(page.locator("[data-pick-count]")).to_have_text("2 selected")

    press(page, "r")
    expect(page.locator("h1")).to_have_text("Send 2 dead letters again, in production")
    expect(page.locator("#reason")).to_be_focused()
    page.keyboard.type("erp answers again")
    press(page, "Enter")

    expect(page.locator("h1")).to_have_text("What became of 2 dead letters")
    assert {replay.dead_letter_id for replay in Replay.objects.all()} == {letters[0].pk, letters[2].pk}

    page.goto(live_server.url + "/dead-letters/")
    press(page, "j", "j")
    press(page, "d")  # nothing is ticked: the row under the cursor is meant
    expect(page.locator("h1")).to_have_text("Close 1 dead letter without sending, in production")


def test_a_masking_rule_shows_what_it_would_do_while_it_is_written(browser: Browser, live_server: Any):
    environment()
    page = sign_in(browser, live_server.url)
    page.goto(f"{live_server.url}/settings/masking/")

    page.locator("[name=body]").fill('{"card": "4111", "ok": true}')
    page.locator("[name=expression]").fill("$.card")

    expect(page.locator("#masking-preview pre")).to_have_text('{"card":"•••","ok":true}')
    page.locator("[name=expression]").fill("$.card[")
    expect(page.locator("#masking-preview")).to_contain_text("column 7: a step is")


def test_a_mapping_shows_what_it_would_make_of_a_sample_while_it_is_written(browser: Browser, live_server: Any):
    environment()
    page = sign_in(browser, live_server.url)
    page.goto(f"{live_server.url}/settings/mappings/")
    page.click("text=AWS EventBridge events")
    preview = page.locator("#mapping-preview")
    expect(preview).to_contain_text("OrderPlaced")

    page.locator("[name=sample]").fill('{"id": "one", "source": "erp", "time": "soon", "detail-type": "Paid"}')
    expect(preview).to_contain_text("invalid_item: Invalid RFC3339 encoded datetime")
    page.locator("[name=definition]").fill("{")
    expect(preview).to_contain_text("Definition: it is not JSON")


def test_a_schema_shows_what_it_makes_of_a_sample_while_it_is_written(browser: Browser, live_server: Any):
    environment()
    page = sign_in(browser, live_server.url)
    page.goto(f"{live_server.url}/settings/schemas/")
    page.click("text=New schema")
    preview = page.locator("#schema-preview")

    page.locator("[name=definition]").fill(
        '{"type": "record", "name": "Paid", "fields": [{"name": "card", "type": "string"}]}'
    )
    page.locator("[name=sample]").fill("00 00 00 00 2a 08 34 31 31 31")
    expect(preview).to_contain_text("Confluent framing, schema id 42 · Avro by the schema this one")
    expect(preview).to_contain_text('"card": "4111"')
    page.locator("[name=sample]").fill("00 00 00 00 2a 08 34 31 31")
    expect(preview).to_contain_text("the schema this one does not fit: at byte 1 it needs 4 more, and 3 are there")
    page.locator("[name=definition]").fill("{")
    expect(preview).to_contain_text("Schema: it is not JSON")


PATHS = [
    "/",
    "/messages/",
    "/dead-letters/",
    "/dead-letters/?q=none",
    "/flows/",
    "/changes/",
    "/changes/?show=ahead",
    "/connections/",
    "/connections/?kind=rabbitmq",
    "/connections/connect/",
    "/connections/connect/?kind=rabbitmq&name=rabbit&address=amqp://h/&queues=erp.orders.dlq&password=on",
    "/agents/",
    "/audit/",
    "/settings/",
    "/settings/masking/",
    "/settings/mappings/",
    "/settings/mappings/new/",
    "/settings/mappings/new/?from=webhook",
    "/settings/schemas/",
    "/settings/schemas/new/",
    "/settings/retention/",
    "/settings/retention/?payload_days=3&metadata_days=20&rollup_days=400&letter_days=30&settled_reject_days=14&waiting_reject_days=90&reconciliation_days=30&report_days=400",
    "/ingest/",
    "/ingest/refused/",
    "/messages/?q=)",
    "/dead-letters/selected/?do=replay",
    "/api/v1/docs/",
    "/docs/errors",
    "/account/password/",
]


def test_pages_fit_a_phone_and_a_desk_and_axe_finds_nothing(browser: Browser, live_server: Any):
    stuck_order()
    Connection.objects.update(options={"sources": ["erp.orders"]})
    letter = stored_letter(family="memory", message_id=MESSAGE, trace_id=TRACE, keys={"order_no": "4711"})
    change = {"id": "1", "kind": "maintenance", "title": "ERP patch", "systems": ["erp"], "url": "https://ci.example/1"}
    push("/ingest/v1/changes", [change], key=agent_key())
    queue = {
        "broker": "redis",
        "queue": "erp.orders.dlq",
        "depth": 1234,
        "lag_s": 90,
        "harvested": 7,
        "error": "the broker is away",
    }
    push("/ingest/v1/heartbeat", {"version": "1", "queues": [queue]}, key=agent_key())
    said = NewMapping(slug="hook", name="Hook", definition=json.dumps(EVENTBRIDGE.definition))
    mapping = add_mapping(environment(), said, by=ROOT)
    orders = '{"type": "record", "name": "Order", "fields": [{"name": "order_no", "type": "string"}]}'
    schema = add_schema(environment(), NewSchema(name="Orders", format="avro", definition=orders, ids=[42]), by=ROOT)
    framed = {"body": None, "body_base64": "AAAAACoINDcxMQ==", "content_type": "application/octet-stream"}
    encoded = stored_letter(message_id=MESSAGE, trace_id=TRACE, **framed)
    write_bundles(Path(settings.CONFIG.data))  # as set-up does
    paths = [
        *PATHS,
        f"/connections/{Connection.objects.get().pk}/",
        f"/connections/{Connection.objects.get().pk}/redrive/",
        f"/connections/{Connection.objects.get().pk}/redrive/?queue=erp.orders.dlq",
        f"/changes/{Change.objects.get().pk}/",
        f"/flows/{letter.flow_id}/",
        f"/settings/mappings/{mapping.pk}/",
        f"/settings/schemas/{schema.pk}/",
        f"/dead-letters/{encoded.pk}/",
        f"/messages/{Message.objects.get().id}/",
        f"/dead-letters/{letter.pk}/",
        f"/dead-letters/selected/?do=replay&id={letter.pk}",
        f"/dead-letters/selected/?id={letter.pk}",
        f"/j/{TRACE}",
        "/?environment=staging",
    ]
    push("/ingest/v1/events", [event()], key=agent_key())
    add_masking_rule(environment(), NewRule(kind="json_path", expression="$..card"), by=ROOT)
    page = sign_in(browser, live_server.url)
    complaints: list[str] = []
    page.on(
        "console",
        lambda said: (
            complaints.append(said.text)
            if said.type in {"error", "warning"} and "status of 400" not in said.text
            else None
        ),
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))

    found = faults_of(page, live_server.url, paths)

    assert (found, complaints) == ({}, [])
