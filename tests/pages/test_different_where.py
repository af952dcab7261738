"""What is different: delivered ones are those that passed where the others failed, whatever flow their messages are of."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from messages.different.queries import messages_of_group, window_of_group
from messages.different.services import find_differences
from messages.groups.sweep import sweep_groups
from messages.models import DeadLetter, FailureGroup, Flow, Message
from tests.factories import ROOT, agent_key, event, letter, push
from tests.http.test_otlp import export, span
from tests.pages.differing import nothing_is_kept, order, said, window  # noqa: F401  the fixture

pytestmark = pytest.mark.django_db

EXCHANGE, BILL, SHIP = "ex.fan", "q.fan.bill", "q.fan.ship"
NO_VAT = "customer.vat is missing"


def sent(number: int, *, vat: bool, to: str = EXCHANGE) -> dict[str, Any]:
    body = {"content_type": "application/json", "body": order(number, vat=vat)}
    return event(message_id=uid(number), destination=to, occurred_at=at(number), payload=body)


def taken(number: int, by: str, *, ok: bool = True, system: str = "", seconds: int = 1) -> dict[str, Any]:
    failed = {"outcome": "error", "error": {"type": "BadVat", "message": "no"}}
    return event(
        message_id=uid(number),
        destination=by,
        system=system or by,
        operation="process",
        occurred_at=at(number, seconds),
    ) | ({} if ok else failed)


def uid(number: int) -> str:
    return f"order {number} by way of an exchange"


def at(number: int, seconds: int = 0) -> str:
    began = (datetime.now(UTC) - timedelta(hours=2)).replace(minute=10)
    return (began + timedelta(seconds=number + seconds)).isoformat()


def told(events: list[dict[str, Any]], letters: list[dict[str, Any]] | None = None) -> None:
    assert push("/ingest/v1/events", events, key=agent_key()).json()["accepted"] == len(events)
    if letters:
        answer = push("/ingest/v1/dead-letters", letters, key=agent_key("harvester")).json()
        assert answer["accepted"] == len(letters)


def died(number: int, queue: str = BILL, **more: Any) -> dict[str, Any]:
    return letter(
        message_id=uid(number),
        origin=queue,
        system=queue,
        failed_at=at(number, 5),
        body=order(number, vat=False),
        **more,
    )


def beside(flow: str = BILL) -> Any:
    return find_differences(ROOT, Flow.objects.get(name=flow), DeadLetter.objects.all(), window())


def test_messages_of_an_exchange_are_delivered_by_the_queue_where_others_of_it_died():
    told(
        [sent(n, vat=n >= 10) for n in range(70)] + [taken(n, BILL, ok=n >= 10) for n in range(70)],
        [died(n) for n in range(10)],
    )
    assert {one.flow.name for one in Message.objects.select_related("flow")} == {EXCHANGE}

    found = beside()

    assert (found.failed, found.delivered) == (10, 60)
    assert said(found)[NO_VAT] == (10, 10, 0, 60)


def test_what_only_another_queue_of_the_exchange_delivered_passed_nothing_here():
    told(
        [sent(n, vat=n >= 10) for n in range(100)]
        + [taken(n, BILL, ok=n >= 10) for n in range(70)]
        + [taken(n, SHIP, seconds=3) for n in range(100)],
        [died(n) for n in range(10)],
    )

    found = beside()

    assert (found.failed, found.delivered) == (10, 60)
    assert said(found).keys() == {NO_VAT}  # and not that another queue was the last to take it


def test_what_failed_here_first_never_passed_and_what_failed_elsewhere_did():
    told(
        [sent(n, vat=n >= 10) for n in range(40)]
        + [taken(n, BILL, ok=n >= 20) for n in range(40)]
        + [taken(n, BILL, seconds=9) for n in range(10, 20)]
        + [taken(n, SHIP, ok=False) for n in range(40)],
        [died(n) for n in range(10)] + [died(n, SHIP) for n in range(20, 30)] + [died(39)],
    )

    found = beside()

    assert (found.failed, found.delivered) == (11, 19)


def test_of_the_systems_of_one_flow_it_is_those_that_fail():
    told(
        [sent(n, vat=n >= 10) for n in range(100)]
        + [taken(n, EXCHANGE, ok=n >= 10, system="billing") for n in range(70)]
        + [taken(n, EXCHANGE, system="shipping") for n in range(100)],
        [died(n, EXCHANGE) | {"system": "billing"} for n in range(10)],
    )

    assert beside(EXCHANGE).delivered == 60


def test_a_queue_whose_receivers_name_its_exchange_is_found_where_its_messages_failed():
    told(
        [sent(n, vat=n >= 10) for n in range(100)]
        + [taken(n, EXCHANGE, ok=n >= 10, system="billing") for n in range(70)]
        + [taken(n, EXCHANGE, system="shipping") for n in range(100)],
        [died(n) for n in range(10)],
    )

    assert beside().delivered == 60


def test_letters_that_name_no_message_are_beside_what_passed_where_they_died():
    told(
        [sent(n, vat=True) for n in range(60)] + [taken(n, BILL) for n in range(60)],
        [died(n) | {"message_id": "", "headers": []} for n in range(60, 70)],
    )

    found = beside()

    assert (found.failed, found.delivered) == (10, 60)
    assert said(found).keys() == {NO_VAT}


def test_failed_messages_of_an_exchange_without_letters_are_beside_what_passed_where_they_failed():
    told(
        [sent(n, vat=n >= 10) for n in range(100)]
        + [taken(n, BILL, ok=n >= 10) for n in range(70)]
        + [taken(n, SHIP, seconds=-1) for n in range(100)]
    )
    sweep_groups()
    group = FailureGroup.objects.get()
    week = window_of_group(group, now=datetime.now(UTC))

    found = find_differences(ROOT, group.flow, [], week, messages_of_group(ROOT, group, week))

    assert group.flow.name == EXCHANGE
    assert (found.failed, found.delivered) == (10, 60)
    assert NO_VAT in said(found)


def test_what_could_not_be_sent_to_an_exchange_is_beside_what_was_sent_and_delivered():
    refused = [
        sent(n, vat=False) | {"outcome": "error", "error": {"type": "Closed", "message": "no"}} for n in range(10)
    ]
    told(refused + [sent(n, vat=True) for n in range(10, 80)] + [taken(n, BILL) for n in range(20, 80)])
    sweep_groups()
    group = FailureGroup.objects.get()
    week = window_of_group(group, now=datetime.now(UTC))

    found = find_differences(ROOT, group.flow, [], week, messages_of_group(ROOT, group, week))

    assert (found.failed, found.delivered) == (10, 60)


def test_messages_that_a_queue_takes_many_at_once_are_found_by_the_links_to_who_sent_them():
    request = ExportTraceServiceRequest()
    to = {
        "messaging__system": "rabbitmq",
        "messaging__destination__name": EXCHANGE,
        "messaging__operation__type": "send",
    }
    many = {
        "messaging__system": "rabbitmq",
        "messaging__destination__name": BILL,
        "messaging__operation__type": "process",
    }
    orders = [
        span(request, messaging__message__id=f"{uuid.uuid4()}", version="old" if n < 10 else "new", **to)
        for n in range(70)
    ]
    for first in range(10, 70, 20):
        links = [(one.trace_id, one.span_id) for one in orders[first : first + 20]]
        span(request, service="erp", kind=5, links=links, messaging__batch__message_count=20, **many)
    assert export(request, agent_key()).status_code == 200
    ids = [one.attributes for one in orders[:10]]
    names = [pair.value.string_value for several in ids for pair in several if pair.key == "messaging.message.id"]
    told([], [letter(message_id=name, origin=BILL) for name in names])

    found = beside()

    assert (found.failed, found.delivered) == (10, 60)
    assert "sender's version is old" in said(found)
