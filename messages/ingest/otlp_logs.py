"""OTLP/HTTP logs → exceptions that belong to spans. Pure but for the caller's clock.

Of logs the console keeps what explains a failure: records with a span and an exception, whether it stands in attributes
(`exception.type`, …) or is named by the event (`messaging.process.exception`). A log store keeps the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from console.core.ids import derived_uuid, uuid_of
from messages.ingest import clean
from messages.ingest.http import MOST_OTLP_ITEMS, TooLarge
from messages.ingest.identity import span_event_id
from messages.ingest.otlp_text import KINDS, read_request
from messages.ingest.otlp_wire import plain


@dataclass(frozen=True, slots=True, kw_only=True)
class NewException:
    """An exception that was logged inside a span. event_id: the id of that span's event, whether it is here or not."""

    id: UUID
    occurred_at: datetime
    event_id: UUID
    system: str
    error_type: str
    error_message: str | None
    error_stack: str | None
    time_is_ours: bool = False  # it has none, or one that was moved: another one when it comes again


def exceptions_of(
    request: ExportLogsServiceRequest, *, environment_id: int, now: datetime, retention: timedelta
) -> tuple[list[NewException], int]:
    """Return (exceptions with a span, equal ones as often as they came; how many other records there were); raises TooLarge over 10,000 records."""
    found: list[NewException] = []
    total = 0
    for resource_logs in request.resource_logs:
        resource = plain(resource_logs.resource.attributes)
        system = clean.text(str(resource.get("service.name") or "unknown_service"), 120)
        for scope_logs in resource_logs.scope_logs:
            total += len(scope_logs.log_records)
            if total > MOST_OTLP_ITEMS:
                raise TooLarge(
                    f"a request carries at most {MOST_OTLP_ITEMS:,} log records; lower the exporter's batch size"
                )
            for record in scope_logs.log_records:
                exception = _exception(record, system, environment_id, now, retention)
                if exception is not None:
                    found.append(exception)
    return found, total - len(found)


def _exception(
    record: Any, system: str, environment_id: int, now: datetime, retention: timedelta
) -> NewException | None:
    if len(record.trace_id) != 16 or len(record.span_id) != 8 or not any(record.trace_id) or not any(record.span_id):
        return None
    attributes = plain(record.attributes)
    kind = attributes.get("exception.type")
    message = attributes.get("exception.message")
    named = record.event_name == "exception" or record.event_name.endswith(".exception")
    if not (kind or message or named):
        return None
    if not message and record.body.WhichOneof("value") == "string_value":
        message = record.body.string_value
    nanoseconds = record.time_unix_nano or record.observed_time_unix_nano
    at = clean.moment_of_ns(nanoseconds) if nanoseconds else now
    occurred_at, moved_from = clean.moment(at, now=now, retention=retention)
    stack = attributes.get("exception.stacktrace")
    error_type = clean.text(str(kind or "_OTHER"), clean.NAME_BYTES)
    error_message = clean.optional(str(message) if message else None, clean.ERROR_BYTES)
    return NewException(
        id=derived_uuid(
            "logged",
            environment_id,
            record.trace_id,
            record.span_id.hex(),
            nanoseconds,
            error_type,
            error_message or "",
        ),
        occurred_at=occurred_at,
        event_id=uuid_of(span_event_id(environment_id, record.trace_id, record.span_id)),
        system=system,
        error_type=error_type,
        error_message=error_message,
        error_stack=clean.optional(str(stack) if stack else None, clean.ERROR_BYTES),
        time_is_ours=not nanoseconds or moved_from is not None,
    )


def is_exception(raw: bytes) -> bool:
    """Whether a record that could not be read may be an exception inside a span, so that it must not be lost; raw: its request."""
    try:
        request = read_request(raw, KINDS["logs"])
    except DecodeError:
        return True
    longest = timedelta(days=36500)
    return bool(exceptions_of(request, environment_id=0, now=clean.EPOCH, retention=longest)[0])
