"""OTLP/HTTP: what spans of batches, of settlements and of attempts that are tried again say of their messages."""

from __future__ import annotations

import time
import uuid

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from console.identity.models import Role
from messages.models import Event, Message, MessageStatus, TraceLink
from tests.factories import agent_key, api_key, person
from tests.http.test_access import ask
from tests.http.test_otlp import export, span

pytestmark = pytest.mark.django_db


def test_a_batch_that_is_processed_delivers_each_message_that_it_links_to():
    key, request = agent_key(), ExportTraceServiceRequest()
    queue = {"messaging__system": "kafka", "messaging__destination__name": "orders"}
    sent = [span(request, **queue, messaging__operation__type="send", order_no=str(number)) for number in range(3)]
    span(
        request,
        service="erp",
        kind=5,
        links=[(one.trace_id, one.span_id) for one in sent],
        **queue,
        messaging__operation__type="process",
        messaging__batch__message_count=3,
    )

    assert export(request, key).status_code == 200

    assert {(m.keys["order_no"], m.get_status_display(), m.event_count) for m in Message.objects.all()} == {
        ("0", "delivered", 2), ("1", "delivered", 2), ("2", "delivered", 2),
    }  # fmt: skip
    assert Event.objects.get(system__name="erp").message_uid is None
    assert TraceLink.objects.count() == 3


def test_a_batch_names_its_messages_by_the_ids_on_its_links_and_a_failed_one_fails_them():
    key, request = agent_key(), ExportTraceServiceRequest()
    queue = {"messaging__destination__name": "orders"}
    for number in range(2):
        span(request, **queue, messaging__operation__type="send", messaging__message__id=f"a long message id {number}")
    failed = span(request, service="erp", kind=5, **queue, messaging__operation__type="process")
    for number in range(2):
        link = failed.links.add(trace_id=uuid.uuid4().bytes, span_id=b"12345678")
        link.attributes.add(key="messaging.message.id").value.string_value = f"a long message id {number}"
    failed.status.code = 2
    failed.status.message = "no connection to the database"

    export(request, key)

    assert {(m.get_status_display(), m.event_count, m.error_message) for m in Message.objects.all()} == {
        ("failed", 2, "no connection to the database")
    }
    assert Message.objects.count() == 2


def test_a_received_batch_that_names_no_message_makes_none():
    request = ExportTraceServiceRequest()
    polled = span(
        request,
        kind=5,
        messaging__destination__name="orders",
        messaging__operation="receive",
        messaging__batch__message_count=2,
    )
    span(
        request,
        kind=5,
        parent=polled.span_id,
        trace=polled.trace_id,
        messaging__destination__name="orders",
        messaging__operation="process",
    )

    export(request, agent_key())

    assert Event.objects.get(operation=3).message_uid is None
    assert Message.objects.count() == 1


def test_an_attempt_that_celery_tries_again_has_failed():
    request = ExportTraceServiceRequest()
    again = {"celery__state": "RETRY", "celery__retry__reason": "Retry in 9s: ErpTimeout()"}
    span(request, kind=5, messaging__destination="orders", messaging__message_id="a long message id 1", **again)

    export(request, agent_key())

    event = Event.objects.get()
    assert (event.get_outcome_display(), event.error_type, event.error_message) == (
        "error",
        "Retry",
        "Retry in 9s: ErpTimeout()",
    )
    assert Message.objects.get().get_status_display() == "failed"


@pytest.mark.parametrize(
    ("settled", "status", "station"),
    [
        ({"messaging__operation__name": "nack"}, MessageStatus.FAILED, "failed"),
        ({"messaging__servicebus__disposition_status": "abandon"}, MessageStatus.FAILED, "failed"),
        ({"name": "ServiceBusReceiver.DeadLetter"}, MessageStatus.FAILED, "failed"),  # as Azure's SDKs name it
        ({"name": "orders nack", "kind": 5, "messaging__operation__type": ""}, MessageStatus.FAILED, "failed"),
        (
            {"messaging__operation__name": "reject", "kind": 5, "messaging__operation__type": ""},
            MessageStatus.FAILED,
            "failed",
        ),
        ({"messaging__operation__name": "ack"}, MessageStatus.DELIVERED, "passed"),
        ({"name": "orders ack"}, MessageStatus.DELIVERED, "passed"),
    ],
)
def test_a_settlement_that_gives_its_message_back_is_no_success(settled: dict[str, str], status: int, station: str):
    request, now = ExportTraceServiceRequest(), time.time_ns() - 10**9
    of = {
        "messaging__system": "amqp",
        "messaging__destination__name": "orders",
        "messaging__message__id": "order 4711, settled",
    }
    sent = span(request, **of, messaging__operation__type="send")
    done = span(
        request,
        service="erp",
        kind=5,
        trace=sent.trace_id,
        **of,
        messaging__operation__type="process",
        error__type="ErpDown",
    )
    said = {"kind": 3, "messaging__operation__type": "settle"} | of | settled
    back = span(request, service="erp", trace=sent.trace_id, **said)
    for number, one in enumerate((sent, done, back)):
        one.start_time_unix_nano, one.end_time_unix_nano = now + number * 10**7, now + number * 10**7 + 10**6
    assert export(request, agent_key()).status_code == 200

    key = api_key(person("vera", Role.VIEWER))
    found = ask(f"journeys/{sent.trace_id.hex()}", key).json()

    assert Message.objects.get().status == status
    assert [one["state"] for one in found["stations"]] == ["passed", station]
    assert [one["failed"] for one in found["hops"]] == [int(station == "failed")]
