"""How many SQL queries each list page makes: a committed number, the same for few rows as for many."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from alerts.breaches.services import observe
from alerts.breaches.silences import NewSilence, silence
from alerts.delivery.services import tell
from console.identity.models import Role, Team
from messages.automatic.services import NewAutomaticRule, add_automatic_rule
from messages.groups.ruling import NewGroupRule, add_rule
from messages.mappings.services import NewMapping, add_mapping
from messages.mappings.shipped import EVENTBRIDGE
from messages.masking.services import NewRule, add_masking_rule
from messages.models import Compensation, CompensationBook, CompensationStep, DeadLetter, Flow, Message, Plan
from messages.plans.selection import Selection
from messages.plans.services import create_plan
from messages.plans.stops import stop_replays
from messages.reconcile.check_services import NewCheck, add_check
from messages.reconcile.services import NewReconciliation, begin_reconciliation
from messages.saved.services import NewSearch, save_search
from messages.schemas.services import NewSchema, add_schema
from tests.breaches.breaching import condition, heard
from tests.delivery.notices import memory_channel, notice
from tests.factories import ROOT, actor, agent_key, environment, event, memory_connection, person, push, stored_letter
from tests.reports.sending import listed

pytestmark = pytest.mark.django_db

# Of an administrator of one team; eight of each are the frame's: session, user, grants, environments, what waits, what runs, what needs a person, what fires.
BASELINE = {
    "/": 25,
    "/messages/": 12,
    "/dead-letters/": 12,
    "/dead-letters/?state=all": 12,
    "/topology/": 13,
    "/topology/?system=shop&window=7d": 13,
    "/figures/": 14,
    "/figures/?flow=flow-1&window=30d": 17,
    "/groups/": 18,
    "/groups/?show=all": 18,
    "/groups/rules/": 10,
    "/compensations/": 11,
    "/compensations/?show=all": 11,
    "/compensations/?show=tasks": 10,
    "/plans/": 11,
    "/plans/?show=all": 11,
    "/plans/stops/": 11,
    "/replay-rules/": 10,
    "/saved-searches/": 10,
    "/reconciliations/": 9,
    "/reconciliations/checks/": 9,
    "/flows/": 12,
    "/changes/": 13,
    "/changes/?show=ahead": 13,
    "/connections/": 11,
    "/agents/": 10,
    "/audit/": 9,
    "/settings/": 15,
    "/settings/masking/": 11,
    "/settings/mappings/": 9,
    "/settings/schemas/": 9,
    "/ingest/": 13,
    "/ingest/refused/": 9,
    "/breaches/": 14,
    "/breaches/?show=all": 14,
    "/breaches/?show=elsewhere": 10,
    "/breaches/silences/": 10,
    "/settings/alerting/": 12,
    "/settings/channels/": 13,
    "/reports/": 14,
}


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted are the queries of who comes first: whoever comes within the minute makes fewer."""
    monkeypatch.setattr("console.core.kept.cache", SimpleNamespace(get=lambda name: None, set=lambda *_: None))


def fill(count: int) -> None:
    events, saver = [], actor(person(f"saver {count}", Role.OPERATOR))
    now = datetime.now(UTC)
    period = NewReconciliation(name="", key_name="order_no", since=now - timedelta(hours=1), until=now)
    team = Team.objects.get(name="Order team")
    for number in range(count):
        keys = {"order_no": f"47{number}-{count}"}
        common = {"destination": f"flow-{number}", "keys": keys, "message_id": f"a long message id {number} {count}"}
        events += [event(**common), event(**common, system=f"erp-{number}", operation="process")]
        stored_letter(
            origin=f"flow-{number}",
            broker=f"redis {number} {count}",
            keys=keys,
            system=f"erp-{number}",
            error={"type": f"Error{number}", "message": "no"},
        )
        memory_connection(f"redis {number} {count}")
        tell(notice(), [memory_channel().pk])
        listed(saver, f"{number} {count}")
        agent_key(f"agent {number} {count}")
        said = NewMapping(slug=f"hook-{number}-{count}", name="hook", definition=json.dumps(EVENTBRIDGE.definition))
        add_mapping(environment(), said, by=ROOT)
        save_search(environment(), "messages", NewSearch(name=f"{number} {count}", q="", team_id=team.pk), by=saver)
        flow = Flow.objects.filter(environment=environment()).first()
        assert flow
        begin_reconciliation(flow, period, by=ROOT)
        add_check(flow, NewCheck(name=f"{number} {count}", key_name="order_no", minute=0), by=saver)
        add_schema(
            environment(), NewSchema(name=f"{number} {count}", format="avro", definition='"int"', ids=[1]), by=ROOT
        )
        add_rule(environment(), NewGroupRule(name=f"{number} {count}", step=f"erp-{number}"), by=ROOT)
        replayed = NewAutomaticRule(name=f"{number} {count}", failure_class="transient")
        add_automatic_rule(environment(), replayed, by=saver)
        ids = [DeadLetter.objects.latest("pk").pk]
        create_plan(Selection(source=Plan.Source.TICKED, ids=ids), environment=environment(), by=ROOT, reason="x")
        add_masking_rule(environment(), NewRule(kind="header", expression=f"x-{number}-{count}"), by=ROOT)
        compensation_of(DeadLetter.objects.latest("pk"))
        heard(f"{number} {count}", flow)
        observe([condition(key=f"{number} {count}", flow_ids=(flow.pk,))])
        silence(
            environment(), NewSilence(comment="x", expires_at=now + timedelta(hours=1), flow=flow, source="x"), by=ROOT
        )
    events.append({"id": ""})
    stop_replays(environment(), Flow.objects.latest("pk"), by=ROOT, reason="x")
    changes = [
        {
            "id": f"{number} {count}",
            "kind": "deployment",
            "title": "x",
            "outcome": "running",
            "flows": [f"flow-{number}"],
        }
        for number in range(count)
    ]
    assert push("/ingest/v1/changes", changes, key=agent_key()).json()["accepted"] == count
    assert push("/ingest/v1/events", events, key=agent_key()).status_code == 200


def compensation_of(letter: DeadLetter) -> None:
    """One that needs a person, with a task."""
    flow, now = letter.flow, datetime.now(UTC)
    book = CompensationBook.objects.filter(flow=flow).first() or CompensationBook.objects.create(
        flow=flow, version=1, content={"steps": []}, created_by="x", reason="x"
    )
    run = Compensation.objects.create(
        environment=letter.environment, flow=flow, book=book, dead_letter=letter, state="stuck", state_at=now, state_by="x",
        created_by="x", reason="x",
    )  # fmt: skip
    CompensationStep.objects.create(
        compensation=run, ordinal=1, name="x", title="x", system="x", event_at=now, event_id=uuid4(), idempotency_key=uuid4(),
        state="task", span_id="0" * 16,
    )  # fmt: skip


def queries_of(client: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).status_code == 200
    return len(captured)


def member() -> Client:
    client = Client()
    client.force_login(person("member", Role.ADMINISTRATOR))
    return client


def test_list_pages_make_as_many_queries_as_committed_whatever_the_number_of_rows():
    fill(2)
    client = member()
    few = {path: queries_of(client, path) for path in BASELINE}

    fill(12)

    assert {path: queries_of(client, path) for path in BASELINE} == few == BASELINE


def test_a_message_page_makes_as_many_queries_for_a_long_journey_as_for_a_short_one():
    common = {
        "destination": "orders",
        "message_id": "one long message id",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    }
    key = agent_key()
    first = [event(**common), event(**common, system="erp", operation="process", outcome="error")]
    push("/ingest/v1/events", first, key=key)
    client = member()
    path = f"/messages/{Message.objects.get().id}/"
    short = queries_of(client, path)

    push(
        "/ingest/v1/events",
        [event(**common, system=f"system {n}", operation="process", outcome="error") for n in range(20)],
        key=key,
    )

    assert queries_of(client, path) == short


def test_a_journey_page_makes_as_many_queries_for_many_dead_letters_as_for_one():
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    stored_letter(trace_id=trace_id)
    client, path = member(), f"/j/{trace_id}"
    one = queries_of(client, path)

    for _ in range(6):
        stored_letter(trace_id=trace_id)

    assert queries_of(client, path) == one
