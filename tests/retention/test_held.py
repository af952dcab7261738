"""What a legal hold, or a flow with days of its own, keeps from a run of retention."""

from __future__ import annotations

import pytest
from django.db import connection

from console.audit.models import AuditEntry
from messages.dead_letters.services import discard_dead_letter
from messages.models import (
    DataKey,
    DeadLetter,
    Event,
    Flow,
    IngestReject,
    Payload,
)
from messages.payloads.queries import stored_content
from messages.retention import run
from messages.retention.run import run_retention
from messages.retention.services import lift_hold, place_hold
from tests.factories import ROOT, agent_key, environment, event, push, stored_letter
from tests.retention.stored import flow_of, in_days, rows_left, store
from tests.retention.test_run import EVERYTHING, body_of

pytestmark = pytest.mark.django_db


def test_a_flow_on_legal_hold_loses_nothing_and_its_neighbour_does(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run, "FEW", 0)
    held, other = store("orders"), store("invoices")
    letter_held = stored_letter(origin="orders")
    letter_other = stored_letter(origin="invoices")
    push("/ingest/v1/events", [event(destination="orders", operation="nonsense")], key=agent_key())
    for one in (letter_held, letter_other):
        discard_dead_letter(one, by=ROOT, reason="done")
    hold = place_hold(environment(), flow_of("orders"), by=ROOT, reason="case 7")

    for day in (15, 31, 401, 900):
        run_retention(now=in_days(day))

    assert rows_left() == EVERYTHING | {"payload": 2, "message": 2, "message_text": 2}  # type and words of its letter
    assert set(Event.objects.values_list("flow__name", flat=True)) == {"orders"}
    assert list(DeadLetter.objects.values_list("id", flat=True)) == [letter_held.id]
    assert IngestReject.objects.count() == 1
    assert (body_of(held), bool(body_of(letter_held))) == (b'{"order_no": "4711"}', True)
    assert stored_content(other.environment_id, other.id, other.payload_on) is None

    lift_hold(hold, by=ROOT, reason="closed")
    run_retention(now=in_days(900))

    assert (rows_left(), DeadLetter.objects.count(), DataKey.objects.count()) == ({}, 0, 0)
    assert list(AuditEntry.objects.filter(action__startswith="legal_hold").values_list("action", "reason")) == [
        ("legal_hold.lifted", "closed"),
        ("legal_hold.placed", "case 7"),
    ]


def test_an_environment_on_legal_hold_loses_nothing():
    store()
    discard_dead_letter(stored_letter(), by=ROOT, reason="done")
    before = rows_left()
    place_hold(environment(), None, by=ROOT, reason="case 8")

    run_retention(now=in_days(900))

    assert (rows_left(), DeadLetter.objects.count()) == (before, 1)


def test_logged_exceptions_and_links_go_but_those_of_a_held_flows_events(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run, "FEW", 0)
    held, other = store("orders"), store("invoices")
    with connection.cursor() as cursor:
        for one in (held, other):
            cursor.execute(
                "INSERT INTO messaging_logged_exception (occurred_at, id, environment_id, event_id, system, error_type) "
                "VALUES (%s, gen_random_uuid(), %s, %s, 's', 't')",
                [one.occurred_at, one.environment_id, one.id],
            )
    place_hold(environment(), flow_of("orders"), by=ROOT, reason="case 9")

    run_retention(now=in_days(50))

    left = rows_left()
    assert (left["logged_exception"], left["trace_link"], left["event"]) == (1, 1, 1)


def test_a_flow_may_keep_its_payloads_for_days_of_its_own(monkeypatch: pytest.MonkeyPatch):
    store("orders"), store("invoices"), store("secrets")
    Flow.objects.filter(name="orders").update(payload_days=20)
    Flow.objects.filter(name="secrets").update(payload_days=2)

    def flows() -> set[str]:
        return set(Payload.objects.values_list("flow__name", flat=True))

    seen = []
    for day in (2, 3, 15, 21):
        run_retention(now=in_days(day))
        seen.append(flows())

    assert seen == [{"orders", "invoices", "secrets"}, {"orders", "invoices"}, {"orders"}, set()]


def test_payloads_of_before_without_a_flow_stay_while_anything_there_is_held():
    store("orders"), store("invoices")
    Payload.objects.update(flow=None)
    hold = place_hold(environment(), flow_of("orders"), by=ROOT, reason="case")

    run_retention(now=in_days(15))
    held = rows_left()["payload"]
    lift_hold(hold, by=ROOT, reason="closed")
    run_retention(now=in_days(15))

    assert (held, "payload" in rows_left()) == (2, False)
