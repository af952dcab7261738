"""The addresses that agents push to. Each reads a body, hands it to intake, and says the answer in its caller's words."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import psycopg
import structlog
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from prometheus_client import Counter

from console.core.errors import ConsoleError, Unavailable
from console.core.problems import meaning, problem
from console.identity.models import Agent
from messages.ingest import gate, native
from messages.ingest.http import Body, finish, receive
from messages.ingest.intake import decode, store
from messages.ingest.model import MAPPED
from messages.mappings.queries import find_mapping
from messages.mappings.senders import as_bearer, check_signature

log = structlog.get_logger(__name__)
RETRY_AFTER_S = 2
TIMED_OUT = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled)
OTLP_TYPES = frozenset({"application/x-protobuf", "application/json"})
NATIVE_TYPES = frozenset({"application/json", native.NDJSON})
REFUSALS = Counter("waybill_ingest_refused_requests_total", "Requests refused whole, by code.", ["endpoint", "code"])
# google.rpc.Code by HTTP status
GRPC_CODES = {400: 3, 401: 16, 403: 7, 405: 12, 409: 6, 413: 8, 415: 3, 429: 8, 503: 14}

View = Callable[..., HttpResponse]
Refuse = Callable[[HttpRequest, ConsoleError], HttpResponse]


def ingest_endpoint(name: str, refuse: Refuse) -> Callable[[View], View]:
    """Make a view for agents: no CSRF, every refusal in the caller's own error format, a database in trouble is 503."""

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapped(request: HttpRequest, **named: str) -> HttpResponse:
            started = time.monotonic()
            try:
                return view(request, **named)
            except ConsoleError as error:
                refusal = _without_frames(error)
                _charge_refused(request, refusal)
            except (OperationalError, InterfaceError) as error:
                log.warning("ingest_unavailable", endpoint=name, reason=str(error)[:300])
                if isinstance(error.__cause__, TIMED_OUT):
                    gate.stumbled()
                refusal = Unavailable("the database cannot take this now; send it again")
            except DatabaseError as error:
                if (meant := meaning(error)) is None:
                    raise
                refusal = meant
            finally:
                gate.leave_room(request)
                if (agent := getattr(request, "ingest_agent", None)) is not None:
                    gate.took(agent, time.monotonic() - started)
            REFUSALS.labels(name, refusal.code).inc()
            return _refused(refuse(request, refusal), refusal)

        return csrf_exempt(wrapped)

    return decorate


def _charge_refused(request: HttpRequest, refusal: ConsoleError) -> None:
    """Charge the bytes of a body that was read and refused for good, or no quota would hold back a sender of nothing else."""
    wire_bytes = getattr(request, "ingest_wire_bytes", 0)
    if wire_bytes and refusal.status < 500 and refusal.status != 429:
        gate.charge(request.ingest_agent, events=0, wire_bytes=wire_bytes)  # type: ignore[attr-defined]


def _without_frames(error: ConsoleError) -> ConsoleError:
    """Return the refusal without the frames it came through: they hold the body, and it holds them until garbage is looked for."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


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


def take(
    request: HttpRequest,
    endpoint: str,
    *,
    media_types: frozenset[str] | None,
    check: Callable[[Agent, Body], None] = lambda agent, body: None,
) -> tuple[Body, dict[str, Any]]:
    """Return (body, answer) of a request whose items are stored now. check: raises for a body that is not to be read."""
    agent, body = receive(request, media_types=media_types)
    check(agent, body)
    decoded = decode(endpoint, agent, body)
    body = replace(body, data=b"")  # up to 20 MiB that nobody needs any more
    answer = store(endpoint, decoded)
    finish(agent, body, decoded.items)
    return body, answer


@ingest_endpoint("traces", refuse_with_status)
def traces(request: HttpRequest) -> HttpResponse:
    """OTLP/HTTP traces, protobuf or JSON."""
    body, answer = take(request, "traces", media_types=OTLP_TYPES)
    response = ExportTraceServiceResponse()
    if rejected := answer["rejected"]:
        response.partial_success.rejected_spans = len(rejected)
        response.partial_success.error_message = "; ".join(f"span {r['index']}: {r['detail']}" for r in rejected[:5])
    return _otlp_answer(body, response)


@ingest_endpoint("logs", refuse_with_status)
def logs(request: HttpRequest) -> HttpResponse:
    """OTLP/HTTP logs, protobuf or JSON: exceptions with a span are kept, the rest is said to be rejected."""
    body, answer = take(request, "logs", media_types=OTLP_TYPES)
    response = ExportLogsServiceResponse()
    words = [f"record {r['index']}: {r['detail']}" for r in answer["rejected"][:5]]
    if answer["ignored"]:
        words.append("only exceptions that were logged inside a span are kept here; send other logs to a log store")
    if words:
        response.partial_success.rejected_log_records = len(answer["rejected"]) + answer["ignored"]
        response.partial_success.error_message = "; ".join(words)
    return _otlp_answer(body, response)


def _otlp_answer(body: Body, response: Message) -> HttpResponse:
    if body.media_type == "application/json":
        return HttpResponse(MessageToJson(response, indent=None), content_type="application/json")
    return HttpResponse(response.SerializeToString(), content_type="application/x-protobuf")


def json_endpoint(name: str, media_types: frozenset[str] | None) -> View:
    """Make the view of an endpoint that answers {"accepted", "duplicates", "rejected"}."""

    @ingest_endpoint(name, refuse_with_problem)
    def view(request: HttpRequest) -> HttpResponse:
        return JsonResponse(take(request, name, media_types=media_types)[1])

    return view


events = json_endpoint("events", NATIVE_TYPES)  # a JSON array, an envelope or NDJSON
dead_letters = json_endpoint("dead-letters", NATIVE_TYPES)  # the same
changes = json_endpoint("changes", NATIVE_TYPES)  # the same
cloud_events = json_endpoint("cloudevents", None)  # structured, batched, or binary with any content type


@ingest_endpoint("mapped", refuse_with_problem)
def mapped(request: HttpRequest, slug: str) -> HttpResponse:
    """A body of another platform, read by the mapping of this name. The key may come as the password of HTTP Basic."""
    request.META["HTTP_AUTHORIZATION"] = as_bearer(request.META.get("HTTP_AUTHORIZATION", ""))

    def check(agent: Agent, body: Body) -> None:
        check_signature(find_mapping(agent.environment_id, slug), body.headers, body.data)

    return JsonResponse(take(request, f"{MAPPED}{slug}", media_types=None, check=check)[1])
