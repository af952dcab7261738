"""OTLP/HTTP logs: an exception that was logged inside a span explains that span's failed event, whichever comes first."""

from __future__ import annotations

import json
import time
import uuid

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from messages.ingest.exceptions import attach_exceptions
from messages.ingest.mending import NotMended, read_refused, resubmit
from messages.models import Event, Flow, IngestReject, LedgerEntry, LoggedException, Message
from tests.factories import ROOT, agent_key, event, push
from tests.http.test_otlp import PROTOBUF, export, span

pytestmark = pytest.mark.django_db
ORDERS = {"messaging__destination__name": "orders", "messaging__operation__type": "process"}


def record(request: ExportLogsServiceRequest, *, of=None, event_name: str = "", body: str = "", **attributes: str):
    """Add a log record, inside the span `of` when one is given."""
    resource = request.resource_logs.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "erp"
    made = resource.scope_logs.add().log_records.add(
        time_unix_nano=time.time_ns(), event_name=event_name, severity_number=17
    )
    if of is not None:
        made.trace_id, made.span_id = of.trace_id, of.span_id
    if body:
        made.body.string_value = body
    for key, value in attributes.items():
        made.attributes.add(key=key.replace("__", ".")).value.string_value = value
    return made


def log(request: ExportLogsServiceRequest, key: str):
    return push("/v1/logs", request.SerializeToString(), key=key, content_type=PROTOBUF)


EXCEPTION = {
    "exception__type": "ErpTimeout",
    "exception__message": "no answer in 30 s",
    "exception__stacktrace": "at erp.py:7",
}


@pytest.mark.parametrize("first", ["log", "span"])
def test_a_logged_exception_explains_its_failed_event_whichever_comes_first(first: str):
    key, spans, logs = agent_key(), ExportTraceServiceRequest(), ExportLogsServiceRequest()
    failed = span(spans, service="erp", kind=5, **ORDERS, messaging__message__id="a long message id 1")
    failed.status.code = 2
    record(logs, of=failed, **EXCEPTION)

    for what in ("log", "span") if first == "log" else ("span", "log"):
        assert (log(logs, key) if what == "log" else export(spans, key)).status_code == 200
        attach_exceptions(10)

    event, message = Event.objects.get(), Message.objects.get()
    assert (event.error_type, event.error_message, event.error_stack) == (
        "ErpTimeout",
        "no answer in 30 s",
        "at erp.py:7",
    )
    assert (message.error_type, message.error_message) == ("ErpTimeout", "no answer in 30 s")
    assert LoggedException.objects.get().attached


def test_an_exception_inside_a_span_of_another_flow_is_told_by_that_flow():
    key, spans, logs = agent_key(), ExportTraceServiceRequest(), ExportLogsServiceRequest()
    push("/ingest/v1/events", [event(message_id="a long message id 1")], key=key)
    payroll = ORDERS | {"messaging__destination__name": "payroll"}
    failed = span(spans, service="hr", kind=5, **payroll, messaging__message__id="a long message id 1")
    failed.status.code = 2
    record(logs, of=failed, **EXCEPTION)

    assert (export(spans, key).status_code, log(logs, key).status_code) == (200, 200)
    attach_exceptions(10)

    message = Message.objects.get()
    assert (message.flow.name, message.error_type) == ("orders", "ErpTimeout")
    assert message.told_by == [Flow.objects.get(name="payroll").pk]


def test_a_handled_exception_makes_no_failure_and_what_the_span_said_itself_stays():
    key, spans, logs = agent_key(), ExportTraceServiceRequest(), ExportLogsServiceRequest()
    fine = span(spans, service="erp", kind=5, **ORDERS)
    failed = span(spans, service="erp", kind=5, **ORDERS, error__type="OwnError")
    failed.status.code = 2
    record(logs, of=fine, **EXCEPTION)
    record(logs, of=failed, **EXCEPTION)
    export(spans, key)
    log(logs, key)

    assert attach_exceptions(10) == 2
    assert attach_exceptions(10) == 0

    assert {(e.get_outcome_display(), e.error_type, e.error_message) for e in Event.objects.all()} == {
        ("ok", None, None),
        ("error", "OwnError", "no answer in 30 s"),
    }


def test_the_event_name_of_the_conventions_names_an_exception_and_its_body_is_the_message():
    key, spans, logs = agent_key(), ExportTraceServiceRequest(), ExportLogsServiceRequest()
    failed = span(spans, service="erp", kind=5, **ORDERS)
    failed.status.code = 2
    record(logs, of=failed, event_name="messaging.process.exception", body="the ERP went away")

    log(logs, key)
    export(spans, key)
    attach_exceptions(10)

    assert (Event.objects.get().error_type, Event.objects.get().error_message) == ("_OTHER", "the ERP went away")


def test_logs_without_span_or_exception_are_said_to_be_rejected_and_the_rest_is_kept_once():
    key, logs = agent_key(), ExportLogsServiceRequest()
    inside = span(ExportTraceServiceRequest())
    record(logs, of=inside, body="user signed in")
    record(logs, **EXCEPTION)
    record(logs, of=inside, **EXCEPTION)

    answers = [ExportLogsServiceResponse.FromString(log(logs, key).content) for _ in range(2)]

    assert [answer.partial_success.rejected_log_records for answer in answers] == [2, 2]
    assert "log store" in answers[0].partial_success.error_message
    assert LoggedException.objects.count() == 1


@pytest.mark.parametrize("nanoseconds", [0, 1, 1 << 63, None], ids=["none", "1970", "2262", "now"])
def test_equal_exceptions_are_one_and_the_counts_add_up_to_what_was_sent(nanoseconds: int | None):
    key, logs = agent_key(), ExportLogsServiceRequest()
    inside = span(ExportTraceServiceRequest())
    first = record(logs, of=inside, **EXCEPTION)
    if nanoseconds is not None:
        first.time_unix_nano = nanoseconds
    logs.resource_logs.add().CopyFrom(logs.resource_logs[0])
    logs.resource_logs.add().CopyFrom(logs.resource_logs[0])
    record(logs, body="user signed in")
    again = ExportLogsServiceRequest(resource_logs=logs.resource_logs[:2])

    log(logs, key)
    log(again, key)

    counted = [entry.answer for entry in LedgerEntry.objects.order_by("id")]
    assert counted == [
        {"accepted": 1, "duplicates": 2, "rejected": [], "ignored": 1},
        {"accepted": 0, "duplicates": 2, "rejected": [], "ignored": 0},
    ]
    assert LoggedException.objects.count() == 1


def test_an_exception_that_cannot_be_read_is_kept_and_mended_and_another_record_is_none():
    key, logs = agent_key(), ExportLogsServiceRequest()
    inside = span(ExportTraceServiceRequest())
    record(logs, of=inside, exception__type="E", exception__message="M*ller")
    record(logs, of=inside, body="M*ller signed in")
    record(logs, of=inside, **EXCEPTION)
    sent = logs.SerializeToString().replace(b"M*ller", "Müler".encode("latin-1") + b"!")

    answer = push("/v1/logs", sent, key=key, content_type=PROTOBUF)

    told = ExportLogsServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, told.rejected_log_records) == (200, 2)
    assert told.error_message.startswith("record 0: it cannot be read")
    assert LedgerEntry.objects.get().answer["accepted"] == LoggedException.objects.count() == 1
    reject = IngestReject.objects.get()
    text = read_refused(reject, by=ROOT)
    assert '"stringValue": "M\ufffdler!"' in text
    with pytest.raises(NotMended, match="no exception"):
        resubmit(reject, text.replace("exception.", "other."), by=ROOT)
    assert resubmit(reject, text.replace("M\ufffdler!", "Müller"), by=ROOT)["accepted"] == 1
    assert LoggedException.objects.filter(error_message="Müller").count() == 1


def test_json_logs_take_hex_ids_and_an_empty_request_is_a_success():
    key, trace, span_id = agent_key(), uuid.uuid4().hex, uuid.uuid4().hex[:16]
    attributes = [{"key": "exception.type", "value": {"stringValue": "E\u0000"}}]
    records = [{"traceId": trace, "spanId": span_id, "timeUnixNano": "18446744073709551615", "attributes": attributes}]
    body = {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}

    answer = push("/v1/logs", body, key=key)

    assert (answer.status_code, json.loads(answer.content)) == (200, {})
    stored = LoggedException.objects.get()
    assert (stored.error_type, stored.system) == ("E\ufffd", "unknown_service")
    assert push("/v1/logs", {}, key=key).status_code == 200
    no_hex = push("/v1/logs", {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"traceId": "xyz"}]}]}]}, key=key)
    assert no_hex.json()["partialSuccess"]["rejectedLogRecords"] == "1"


def test_the_journey_shows_what_was_logged_inside_its_steps():
    from tests.pages.people import signed_in, text_of

    key, spans, logs = agent_key(), ExportTraceServiceRequest(), ExportLogsServiceRequest()
    fine = span(spans, service="erp", kind=5, **ORDERS)
    record(logs, of=fine, exception__type="Retried", exception__message="the first try <b>failed</b>")
    export(spans, key)
    log(logs, key)

    page = signed_in(superuser=True).get(f"/messages/{Message.objects.get().id}/")

    assert "Retried the first try &lt;b&gt;failed&lt;/b&gt;" in text_of(page)
