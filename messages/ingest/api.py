"""The addresses that agents push to: `/v1/traces` (OTLP/HTTP) and `/ingest/v1/events` (native)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial, wraps

import psycopg
import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from prometheus_client import Counter

from console.core.errors import ConsoleError, Unavailable
from console.core.problems import problem
from messages.ingest import cloudevents, gate, native, otlp, otlp_logs
from messages.ingest.catalog import business_keys, rules_of
from messages.ingest.exceptions import store_exceptions
from messages.ingest.http import Body, batch_identity, finish, receive
from messages.ingest.model import Batch
from messages.ingest.writer import Answer, write_batch

log = structlog.get_logger(__name__)
RETRY_AFTER_S = 2
TIMED_OUT = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled)
OTLP_TYPES = frozenset({"application/x-protobuf", "application/json"})
NATIVE_TYPES = frozenset({"application/json", native.NDJSON})
EVENTS = Counter("waybill_ingest_events_total", "Events by what became of them.", ["endpoint", "result"])
REFUSALS = Counter("waybill_ingest_refused_requests_total", "Requests refused whole, by code.", ["endpoint", "code"])
# google.rpc.Code by HTTP status
GRPC_CODES = {400: 3, 401: 16, 403: 7, 405: 12, 409: 6, 413: 8, 415: 3, 429: 8, 503: 14}

View = Callable[[HttpRequest], HttpResponse]
Refuse = Callable[[HttpRequest, ConsoleError], HttpResponse]


def ingest_endpoint(name: str, refuse: Refuse) -> Callable[[View], View]:
    """Make a view for agents: no CSRF, every refusal in the caller's own error format, a database in trouble is 503."""

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapped(request: HttpRequest) -> HttpResponse:
            started = time.monotonic()
            try:
                return view(request)
            except ConsoleError as error:
                refusal = error
            except (OperationalError, InterfaceError) as error:
                log.warning("ingest_unavailable", endpoint=name, reason=str(error)[:300])
                if isinstance(error.__cause__, TIMED_OUT):
                    gate.stumbled()
                refusal = Unavailable("the database cannot take this now; send it again")
            finally:
                if (agent := getattr(request, "ingest_agent", None)) is not None:
                    gate.took(agent, time.monotonic() - started)
            REFUSALS.labels(name, refusal.code).inc()
            return _refused(refuse(request, refusal), refusal)

        return csrf_exempt(wrapped)

    return decorate


def _refused(response: HttpResponse, refusal: ConsoleError) -> HttpResponse:
    if refusal.status in (429, 503):
        response["Retry-After"] = str(getattr(refusal, "retry_after_s", RETRY_AFTER_S))
    if refusal.status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="waybill"'
    if refusal.status == 405:
        response["Allow"] = "POST"
    return response


def refuse_with_problem(request: HttpRequest, error: ConsoleError) -> HttpResponse:
    return problem(error.status, error.code, str(error))


def refuse_with_status(request: HttpRequest, error: ConsoleError) -> HttpResponse:
    """OTLP wants a google.rpc.Status in the request's own encoding."""
    status = Status(code=GRPC_CODES.get(error.status, 2), message=f"{error.code}: {error}")
    if request.content_type == "application/x-protobuf":
        return HttpResponse(status.SerializeToString(), status=error.status, content_type="application/x-protobuf")
    return HttpResponse(MessageToJson(status), status=error.status, content_type="application/json")


def retention() -> timedelta:
    return timedelta(days=settings.RETENTION_DAYS)


def count(endpoint: str, answer: Answer) -> None:
    EVENTS.labels(endpoint, "accepted").inc(answer.accepted)
    EVENTS.labels(endpoint, "duplicate").inc(answer.duplicates)
    EVENTS.labels(endpoint, "rejected").inc(len(answer.rejected))


@ingest_endpoint("traces", refuse_with_status)
def traces(request: HttpRequest) -> HttpResponse:
    """OTLP/HTTP traces, protobuf or JSON."""
    agent, body = receive(request, media_types=OTLP_TYPES)
    decoded = otlp.decode_request(body.data, body.media_type, ExportTraceServiceRequest)
    events, refused = otlp.events_of(
        decoded,
        environment_id=agent.environment_id,
        now=datetime.now(UTC),
        retention=retention(),
        keys=partial(business_keys, rules_of(agent.environment_id)),
    )
    response = ExportTraceServiceResponse()
    if events or refused:
        identity = batch_identity("traces", body.batch_id, body.sha256)
        answer = write_batch(
            agent, Batch(endpoint="traces", batch_id=identity, body_sha256=body.sha256, events=events, refused=refused)
        )
        count("traces", answer)
        if answer.rejected:
            response.partial_success.rejected_spans = len(answer.rejected)
            response.partial_success.error_message = "; ".join(
                f"span {r['index']}: {r['detail']}" for r in answer.rejected[:5]
            )
    finish(agent, body, len(events) + len(refused))
    return _otlp_answer(body, response)


@ingest_endpoint("logs", refuse_with_status)
def logs(request: HttpRequest) -> HttpResponse:
    """OTLP/HTTP logs, protobuf or JSON: exceptions with a span are kept, the rest is said to be rejected."""
    agent, body = receive(request, media_types=OTLP_TYPES)
    decoded = otlp.decode_request(body.data, body.media_type, ExportLogsServiceRequest)
    exceptions, ignored = otlp_logs.exceptions_of(
        decoded, environment_id=agent.environment_id, now=datetime.now(UTC), retention=retention()
    )
    response = ExportLogsServiceResponse()
    if exceptions:
        identity = batch_identity("logs", body.batch_id, body.sha256)
        answer = store_exceptions(agent, exceptions, ignored, batch_id=identity, body_sha256=body.sha256)
        EVENTS.labels("logs", "accepted").inc(answer["accepted"])
        EVENTS.labels("logs", "duplicate").inc(answer["duplicates"])
    if ignored:
        EVENTS.labels("logs", "ignored").inc(ignored)
        response.partial_success.rejected_log_records = ignored
        response.partial_success.error_message = (
            "only exceptions that were logged inside a span are kept here; send other logs to a log store"
        )
    finish(agent, body, len(exceptions) + ignored)
    return _otlp_answer(body, response)


def _otlp_answer(body: Body, response: Message) -> HttpResponse:
    if body.media_type == "application/json":
        return HttpResponse(MessageToJson(response, indent=None), content_type="application/json")
    return HttpResponse(response.SerializeToString(), content_type="application/x-protobuf")


@ingest_endpoint("cloudevents", refuse_with_problem)
def cloud_events(request: HttpRequest) -> HttpResponse:
    """CloudEvents 1.0: structured, batched, or binary with `ce-…` headers and any content type."""
    agent, body = receive(request, media_types=None)
    headers = {name.lower(): value for name, value in request.headers.items()}
    items = cloudevents.split_items(body.data, body.media_type, headers)
    found, refused = cloudevents.events_of(
        items,
        environment_id=agent.environment_id,
        now=datetime.now(UTC),
        retention=retention(),
        keys=partial(business_keys, rules_of(agent.environment_id)),
    )
    sha256 = hashlib.sha256(b"\n".join(items)).digest()  # in binary mode the body alone does not tell two events apart
    identity = batch_identity("cloudevents", body.batch_id, sha256)
    answer = write_batch(
        agent, Batch(endpoint="cloudevents", batch_id=identity, body_sha256=sha256, events=found, refused=refused)
    )
    count("cloudevents", answer)
    finish(agent, body, len(found) + len(refused))
    return JsonResponse(answer.as_json())


@ingest_endpoint("events", refuse_with_problem)
def events(request: HttpRequest) -> HttpResponse:
    """Native events: a JSON array, an envelope or NDJSON."""
    agent, body = receive(request, media_types=NATIVE_TYPES)
    items, batch_id = native.split_items(body.data, body.media_type, "events")
    found, refused = native.events_of(
        items,
        environment_id=agent.environment_id,
        now=datetime.now(UTC),
        retention=retention(),
        keys=partial(business_keys, rules_of(agent.environment_id)),
        nested_checked=body.media_type != native.NDJSON,
    )
    identity = batch_identity("events", body.batch_id or batch_id, body.sha256)
    answer = write_batch(
        agent, Batch(endpoint="events", batch_id=identity, body_sha256=body.sha256, events=found, refused=refused)
    )
    count("events", answer)
    finish(agent, body, len(found) + len(refused))
    return JsonResponse(answer.as_json())
