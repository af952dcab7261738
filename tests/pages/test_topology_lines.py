"""The lines of the map as a page: what they count and which messages they lead to."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import unquote_plus

import pytest
from django.test import Client

from messages.catalog.services import add_flow_rule
from messages.replay.sending import send_due
from messages.replay.services import request_replay
from tests.factories import ROOT, agent_key, environment, event, memory_connection, push, stored_letter
from tests.pages.mapped import estate, links
from tests.pages.people import signed_in

pytestmark = pytest.mark.django_db


def test_a_line_of_several_flows_leads_to_what_both_ends_touched():
    """Each flow of an OR would be looked for in every event of the time."""
    estate("orders"), estate("invoices")
    client = signed_in(superuser=True)

    addresses = {unquote_plus(url) for url in links(client.get("/topology/"), "/messages/?q=")}

    words = ('system:"shop" system:"erp"', 'via:"orders" system:"erp"', 'via:"invoices" system:"erp"')
    assert addresses == {f"/messages/?q={one}&window=24h" for one in words}


def test_a_line_leads_to_what_its_receiver_reports_under_ids_of_its_own():
    """Receivers of webhooks do, and nothing ties the two."""
    error = {"outcome": "error", "error": {"type": "E", "message": "no", "stack": ""}}
    sent = [event(destination="hooks", system="crm") for _ in range(4)]
    taken = [
        event(destination="hooks", system="partner", operation="process", **(error if at else {})) for at in range(2)
    ]
    push("/ingest/v1/events", [*sent, *taken], key=agent_key())
    client = signed_in(superuser=True)

    [line] = client.get("/topology/").context["edges"]

    assert (line.edge.count, line.edge.failed) == (2, 1)
    assert found_by(client, line.url) == {one["message_id"] for one in taken}


def test_a_line_asks_for_its_sender_where_the_receiver_has_other_lines_of_the_flow():
    """What it takes of another, and what it sends on, are not of this line."""
    add_flow_rule(environment(), pattern="sales.*", flow_name="sales", by=ROOT)
    hops = [("sales.in", "shop", "erp"), ("sales.out", "erp", "wms"), ("sales.direct", "crm", "wms")]
    for destination, sender, receiver in hops:
        common = {"destination": destination, "message_id": f"{destination}-{0:020d}"}
        push("/ingest/v1/events", [event(**common, system=sender)], key=agent_key())
        push("/ingest/v1/events", [event(**common, system=receiver, operation="process")], key=agent_key())
    client = signed_in(superuser=True)

    lines = client.get("/topology/").context["edges"]

    found = {line.edge.destination: found_by(client, line.url) for line in lines}
    assert found == {destination: {f"{destination}-{0:020d}"} for destination, *_ in hops}


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


def test_the_sender_to_an_exchange_keeps_its_line_when_dead_letters_are_replayed_into_the_queue():
    """RabbitMQ: who sends names the exchange, who takes a queue bound to it, and a replay goes into the queue."""
    add_flow_rule(environment(), pattern="sales.*", flow_name="sales", by=ROOT)
    ids = [f"sale-{number:020d}" for number in range(6)]
    sent = [event(destination="sales.orders", message_id=name) for name in ids]
    taken = {"system": "erp", "operation": "process", "destination": "sales.q.erp"}
    error = {"outcome": "error", "error": {"type": "E", "message": "no", "stack": ""}}
    tried = [event(message_id=name, **taken, **(error if name in ids[:2] else {})) for name in ids]
    push("/ingest/v1/events", [*sent, *tried], key=agent_key())
    redis = memory_connection()
    for name in ids[:2]:
        request_replay(stored_letter(message_id=name, origin="sales.q.erp", queue="sales.dlq"), by=ROOT, reason="fixed")
    send_due(redis.pk)
    now = datetime.now(UTC).isoformat()
    push("/ingest/v1/events", [event(message_id=name, occurred_at=now, **taken) for name in ids[:2]], key=agent_key())
    client = signed_in(superuser=True)

    lines = client.get("/topology/").context["edges"]

    counted = {
        (one.source.name, one.target.name): (one.edge.count, one.edge.about, found_by(client, one.url)) for one in lines
    }
    assert counted == {("shop", "erp"): (6, True, set(ids)), ("waybill", "erp"): (2, True, set(ids[:2]))}


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
