"""OTLP/HTTP: protobuf and JSON, partial success, errors as google.rpc.Status, the messaging conventions."""

from __future__ import annotations

import json
import time
import uuid

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from messages.ingest.mending import read_refused, resubmit
from messages.ingest.otlp_text import as_json
from messages.models import Event, Flow, IngestReject, Message, TraceLink
from tests.factories import ROOT, agent_key, push

pytestmark = pytest.mark.django_db
PROTOBUF = "application/x-protobuf"


def span(request, *, service="shop", name="send", kind=4, trace=None, span_id=None, links=(), parent=b"", **attributes):
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    made = resource.scope_spans.add().spans.add(
        trace_id=trace or uuid.uuid4().bytes,
        span_id=span_id or uuid.uuid4().bytes[:8],
        parent_span_id=parent,
        name=name,
        kind=kind,
        start_time_unix_nano=time.time_ns(),
        end_time_unix_nano=time.time_ns() + 5_000_000,
    )
    for key, value in attributes.items():
        pair = made.attributes.add(key=key.replace("__", "."))
        if isinstance(value, int):
            pair.value.int_value = value
        else:
            pair.value.string_value = value
    for trace_id, linked in links:
        made.links.add(trace_id=trace_id, span_id=linked)
    return made


def export(request, key):
    return push("/v1/traces", request.SerializeToString(), key=key, content_type=PROTOBUF)


def test_producer_and_consumer_in_two_traces_are_one_message_tied_by_a_link():
    request = ExportTraceServiceRequest()
    sent = span(
        request,
        messaging__system="kafka",
        messaging__destination__name="orders",
        messaging__operation__type="send",
        order_no="4711",
    )
    span(
        request,
        service="erp",
        name="process",
        kind=5,
        links=[(sent.trace_id, sent.span_id)],
        messaging__system="kafka",
        messaging__destination__name="orders",
        messaging__operation__type="process",
    )

    answer = export(request, agent_key())

    assert answer.status_code == 200
    assert answer["Content-Type"] == PROTOBUF
    assert not ExportTraceServiceResponse.FromString(answer.content).HasField("partial_success")
    assert Message.objects.get().event_count == 2
    assert Message.objects.get().keys == {"order_no": "4711"}
    assert TraceLink.objects.get().linked_trace_id.bytes == sent.trace_id


@pytest.mark.parametrize("content_type", [PROTOBUF, "application/json"])
def test_bytes_in_any_attribute_are_kept_as_text_or_base64(content_type: str):
    request = ExportTraceServiceRequest()
    made = span(request, messaging__destination__name="orders")
    request.resource_spans[0].resource.attributes.add(key="host.name").value.bytes_value = b"\x00\xff"
    for name in ("messaging.kafka.message.key", "messaging.message.id", "order_no", "empty"):
        made.attributes.add(key=name).value.bytes_value = b"\x00\xff" if name != "empty" else b""
    made.attributes.add(key="invoice_no").value.bytes_value = b"2024-17"
    listed = made.attributes.add(key="listed").value
    listed.array_value.values.add().bytes_value = b"\x00\xff"
    listed.array_value.values.add().kvlist_value.values.add(key="in").value.bytes_value = b"\x00\xff"
    body = request.SerializeToString() if content_type == PROTOBUF else as_json(request.SerializeToString())

    answer = push(
        "/v1/traces", body if content_type == PROTOBUF else body.encode(), key=agent_key(), content_type=content_type
    )

    assert answer.status_code == 200
    stored = Event.objects.get()
    base64 = "AP8="
    assert (stored.message_id, stored.keys) == (base64, {"order_no": base64, "invoice_no": "2024-17"})
    assert stored.attributes["messaging.kafka.message.key"] == stored.attributes["host.name"] == base64
    assert (stored.attributes["listed"], stored.attributes["empty"]) == ([base64, {"in": base64}], "")


@pytest.mark.parametrize("field", ["attribute", "name", "status"])
def test_a_span_whose_text_is_not_utf_8_is_refused_to_its_flow_and_can_be_mended(field: str):
    key, request = agent_key(), ExportTraceServiceRequest()
    span(request, messaging__destination__name="orders")
    bad = span(request, messaging__destination__name="orders", note="?mark" if field == "attribute" else "")
    if field == "name":
        bad.name = "?mark"
    elif field == "status":
        bad.status.message = "?mark"
    body = request.SerializeToString().replace(b"?mark", b"\xffmark")

    answer = ExportTraceServiceResponse.FromString(push("/v1/traces", body, key=key, content_type=PROTOBUF).content)

    assert answer.partial_success.rejected_spans == 1
    reject = IngestReject.objects.get()
    text = read_refused(reject, by=ROOT)
    assert reject.flow.name == "orders"
    assert "\ufffdmark" in text
    assert resubmit(reject, text.replace("\ufffd", "!"), by=ROOT)["accepted"] == 1
    assert Event.objects.count() == 2


def test_links_and_a_parent_that_are_all_zero_tie_nothing_together():
    """SDKs record a link to no span for the attributes on it: where the producer is not traced, that is every link."""
    request, orders = ExportTraceServiceRequest(), {"messaging__destination__name": "orders"}
    nowhere = (bytes(16), bytes(8))
    for _ in range(2):
        span(request, kind=5, links=[nowhere], parent=bytes(8), messaging__operation__type="process", **orders)
    many = span(request, kind=5, links=[nowhere, nowhere], messaging__operation__type="receive", **orders)
    for link, message_id in zip(many.links, ("order-4711", "order-4712"), strict=True):
        link.attributes.add(key="messaging.message.id").value.string_value = message_id

    export(request, agent_key())

    assert Message.objects.count() == 4
    assert Message.objects.filter(message_id__startswith="order-").count() == 2
    assert not TraceLink.objects.exists()


@pytest.mark.parametrize(
    ("attributes", "kind", "operation", "destination"),
    [
        ({"messaging__operation__type": "send", "messaging__destination__name": "q"}, 4, "send", "q"),
        ({"messaging__operation": "publish", "messaging__destination": "q"}, 4, "send", "q"),
        ({"messaging__operation": "deliver", "messaging__destination": "q"}, 5, "process", "q"),
        ({"messaging__operation__name": "ack", "messaging__destination__name": "q"}, 3, "settle", "q"),
        ({"messaging__operation__name": "poll", "messaging__destination__name": "q"}, 3, "receive", "q"),
        ({"messaging__destination__name": "q"}, 4, "send", "q"),
        ({"messaging__destination__name": "q"}, 5, "process", "q"),
        ({}, 2, "other", None),
        ({"messaging__system": "rabbitmq", "messaging__destination__name": "ex:key:queue"}, 5, "process", "ex:key"),
    ],
)
def test_current_and_deprecated_names_give_the_same_event(attributes, kind, operation, destination):
    request = ExportTraceServiceRequest()
    span(request, kind=kind, **attributes)

    export(request, agent_key())

    stored = Event.objects.get()
    assert (stored.get_operation_display(), stored.destination) == (operation, destination)


def test_publisher_and_consumer_under_pikas_own_instrumentation_are_one_delivered_message_of_their_queue():
    """As opentelemetry-instrumentation-pika 0.44b0 sends it: the destination of the one is a placeholder, of the other a consumer tag."""
    request = ExportTraceServiceRequest()
    common = {"messaging__system": "rabbitmq", "messaging__message_id": "m-1"}
    sent = span(request, name="orders send", messaging__destination="(temporary)", **common)
    tag = "ctag1.fce654fa8f1547b5be4c9fdeb94d75a4"
    span(
        request,
        service="warehouse",
        name="orders receive",
        kind=5,
        trace=sent.trace_id,
        parent=sent.span_id,
        messaging__destination=tag,
        messaging__operation="receive",
        **common,
    )
    for resource in request.resource_spans:
        resource.scope_spans[0].scope.name = "opentelemetry.instrumentation.pika.pika_instrumentor"

    export(request, agent_key())

    message = Message.objects.get()
    assert (message.event_count, message.get_status_display()) == (2, "delivered")
    assert [flow.name for flow in Flow.objects.all()] == ["orders"]


def test_a_failed_span_gives_the_recorded_exception_and_a_handled_one_is_no_failure():
    request = ExportTraceServiceRequest()
    for status in (2, 0):
        made = span(request, kind=5, messaging__destination__name="q")
        made.status.code = status
        exception = made.events.add(name="exception")
        for key, value in (
            ("exception.type", "ErpTimeout"),
            ("exception.message", "no answer"),
            ("exception.stacktrace", "at x"),
        ):
            exception.attributes.add(key=key).value.string_value = value

    export(request, agent_key())

    outcomes = {(e.get_outcome_display(), e.error_type, e.error_message, e.error_stack) for e in Event.objects.all()}
    assert outcomes == {("error", "ErpTimeout", "no answer", "at x"), ("ok", None, None, None)}


def test_a_span_with_a_payload_attribute_keeps_it_sealed_and_nowhere_else():
    request = ExportTraceServiceRequest()
    span(
        request, messaging__destination__name="q", waybill__payload="secret body", messaging__message__body="the secret body again"
    )  # fmt: skip

    export(request, agent_key())

    stored = Event.objects.get()
    assert stored.payload_on is not None
    assert "secret body" not in json.dumps(stored.attributes)


def test_spans_without_ids_are_rejected_in_partial_success_and_the_rest_is_stored():
    request = ExportTraceServiceRequest()
    span(request, messaging__destination__name="q")
    span(request, trace=b"\0" * 16)
    span(request, span_id=b"\1")

    answer = export(request, agent_key())

    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (partial.rejected_spans, Event.objects.count()) == (2, 1)
    assert "16 bytes" in partial.error_message


def test_json_takes_hex_ids_numbers_as_text_and_unknown_fields():
    def text(key, value):
        return {"key": key, "value": {"stringValue": value}}

    made = {
        "traceId": "ABCDEF" + "0" * 25 + "1",
        "spanId": "A" * 16,
        "name": "x",
        "kind": 4,
        "startTimeUnixNano": str(time.time_ns()),
        "endTimeUnixNano": time.time_ns(),
        "attributes": [text("messaging.destination.name", "q"), {"key": "n", "value": {"intValue": "7"}}],
    }
    resource = {"attributes": [text("service.name", "shop")]}
    body = {"resourceSpans": [{"unknown": 1, "resource": resource, "scopeSpans": [{"spans": [made]}]}]}

    answer = push("/v1/traces", body, key=agent_key())

    assert (answer.status_code, answer["Content-Type"], answer.json()) == (200, "application/json", {})
    assert Event.objects.get().trace_id.hex.startswith("abcdef")
    assert Event.objects.get().attributes["n"] == 7


BAD_ID = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":7}]}]}]}'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [(PROTOBUF, b"\xff\xff broken"), ("application/json", b'{"resourceSpans": 7}'), ("application/json", BAD_ID)],
)
def test_bad_data_is_400_with_a_status_in_the_requests_encoding(content_type, body):
    answer = push("/v1/traces", body, key=agent_key(), content_type=content_type)

    assert (answer.status_code, answer["Content-Type"]) == (400, content_type)
    status = Status.FromString(answer.content) if content_type == PROTOBUF else json.loads(answer.content)
    assert (status.code if content_type == PROTOBUF else status["code"]) == 3


@pytest.mark.parametrize("bad", ["zz" * 16, "4bf92f", "x", "4bf92f3577b34da6a3ce929d0e0e473", "ä" * 16])
def test_an_id_that_is_no_hex_rejects_its_span_and_not_the_request(bad: str):
    good = {"traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "spanId": "00f067aa0ba902b7", "name": "send"}
    spans = [good, good | {"traceId": bad, "spanId": "00f067aa0ba902b8"}]
    body = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}

    answer = push("/v1/traces", body, key=agent_key())

    assert answer.status_code == 200
    assert answer.json()["partialSuccess"]["rejectedSpans"] == "1"
    assert Event.objects.count() == 1


def test_an_empty_request_is_a_success():
    answer = push("/v1/traces", b"", key=agent_key(), content_type=PROTOBUF, CONTENT_TYPE=PROTOBUF)

    assert (answer.status_code, answer.content) == (200, b"")


def test_an_unknown_destination_makes_a_flow_and_a_span_without_one_joins_its_traces_flow():
    request, trace = ExportTraceServiceRequest(), uuid.uuid4().bytes
    span(request, trace=trace, messaging__destination__name="stock.updates")
    span(request, trace=trace, kind=3, name="SELECT 1")
    span(request, service="cron", kind=1, name="tick")

    export(request, agent_key())

    assert set(Flow.objects.values_list("name", "found_by_itself")) == {("stock.updates", True), ("cron", True)}
    assert Event.objects.get(name="SELECT 1").flow.name == "stock.updates"


def test_a_resource_says_which_version_on_which_host_and_nothing_else_of_it_is_kept():
    request = ExportTraceServiceRequest()
    span(request, mine="yes")
    for name, value in (("service.version", "4.2.1"), ("host.name", "node-7"), ("telemetry.sdk.name", "opentelemetry")):
        request.resource_spans[0].resource.attributes.add(key=name).value.string_value = value

    export(request, agent_key())

    assert Event.objects.get().attributes == {"service.version": "4.2.1", "host.name": "node-7", "mine": "yes"}


def test_more_links_than_a_request_may_carry_are_refused_whole():
    request = ExportTraceServiceRequest()
    for _ in range(51):
        made = span(request)
        for _ in range(1_000):
            made.links.add(trace_id=b"1" * 16, span_id=b"2" * 8)

    answer = export(request, agent_key())

    assert answer.status_code == 413
    assert "at most 50,000 links" in Status.FromString(answer.content).message
    assert Event.objects.count() == 0
