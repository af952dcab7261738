"""OTLP/HTTP traces → events. Pure but for the caller's clock.

Source: opentelemetry-proto `docs/specification.md` (JSON: hex ids, integer enums, lowerCamelCase) and the messaging semantic
conventions with the names they had before. One span becomes one event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.message import DecodeError

from messages.ingest import clean, semconv
from messages.ingest.http import MOST_OTLP_ITEMS, TooLarge
from messages.ingest.identity import message_of_span, message_uid, messages_of_links, span_event_id
from messages.ingest.model import NewEvent, NewPayload, Refused
from messages.ingest.otlp_decode import check_some_are_readable, not_readable
from messages.ingest.otlp_wire import Encoded, TraceRequest, attributes_of, plain
from messages.ingest.status import ERROR, OK, UNSET
from messages.payloads.seal import Content

PAYLOAD_ATTRIBUTES = ("waybill.payload", "messaging.message.body")
ERROR_STATUS = 2
UNREADABLE = (UnicodeDecodeError, DecodeError, RecursionError)
MOST_LINKS_OF_ALL = 50_000
NO_TRACE, NO_SPAN = bytes(16), bytes(8)  # all zero is no id

Keys = Callable[[Mapping[str, Any]], dict[str, str]]


def events_of(
    request: Any,
    *,
    environment_id: int,
    now: datetime,
    retention: timedelta,
    keys: Keys,
    unreadable: Mapping[int, Refused] = {},
) -> tuple[list[NewEvent], list[Refused]]:
    """Return (events, refused spans) of a TraceRequest, indices counted over all spans; raises TooLarge over 10,000 spans.

    unreadable  what decoding left an empty span for, by index. Raises Malformed when no span can be read.
    """
    events: list[NewEvent] = []
    refused: list[Refused] = []
    index = links = 0
    for resource_spans in request.resource_spans:
        source = _source_of(resource_spans.resource, environment_id, now, retention, keys)
        for scope_spans in resource_spans.scope_spans:
            place = _Place(
                resource=resource_spans.resource, scope_spans=scope_spans, scope=scope_spans.scope.name, first=index
            )
            if index + len(scope_spans.spans) > MOST_OTLP_ITEMS:
                raise TooLarge(f"a request carries at most {MOST_OTLP_ITEMS:,} spans; lower the exporter's batch size")
            for span in scope_spans.spans:
                linked = len(span.links)
                links += linked
                if links > MOST_LINKS_OF_ALL:
                    raise TooLarge(
                        f"a request carries at most {MOST_LINKS_OF_ALL:,} links; lower the exporter's batch size"
                    )
                trace_id, span_id = span.trace_id, span.span_id
                if len(trace_id) != 16 or len(span_id) != 8 or trace_id == NO_TRACE or span_id == NO_SPAN:
                    refused.append(unreadable.get(index) or _refused(index, place))
                else:
                    try:
                        events.append(_event(span, trace_id, index, source, place, linked=linked > 0))
                    except UNREADABLE as error:
                        refused.append(not_readable(index, error, place.alone(index)))
                index += 1
    check_some_are_readable(index, refused)
    return events, refused


def _refused(index: int, place: _Place) -> Refused:
    detail = "a span needs a trace id of 16 bytes and a span id of 8 bytes, not all zero"
    return Refused(index=index, code="invalid_span_id", detail=detail, raw=place.alone(index))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where the spans of one scope stood in their request; first: the index of the first one, counted over all; scope: its name."""

    resource: Any
    scope_spans: Any
    scope: str
    first: int

    def alone(self, index: int) -> bytes:
        """Return a request that holds the span with this index alone."""
        request = TraceRequest()
        alone = request.resource_spans.add(resource=self.resource).scope_spans.add(scope=self.scope_spans.scope)
        alone.spans.append(self.scope_spans.spans[index - self.first])
        return bytes(request.SerializeToString())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """What every span of one resource shares."""

    system: str
    keys: dict[str, str]
    attributes: dict[str, Any]
    environment_id: int
    now: datetime
    earliest_ns: int
    latest_ns: int
    retention: timedelta
    key_rules: Keys
    kept: dict[str, Any]


def _source_of(resource: Any, environment_id: int, now: datetime, retention: timedelta, keys: Keys) -> _Source:
    attributes = plain(resource.attributes)
    semconv.rename(attributes)
    return _Source(
        kept={name: attributes[name] for name in semconv.RESOURCE_KEPT if name in attributes},
        system=clean.text(str(attributes.get("service.name") or "unknown_service"), 120),
        keys=keys(attributes),
        attributes=attributes,
        environment_id=environment_id,
        now=now,
        earliest_ns=int((now - retention - clean.EPOCH).total_seconds()) * 1_000_000_000,
        latest_ns=int((now + clean.FUTURE - clean.EPOCH).total_seconds()) * 1_000_000_000,
        retention=retention,
        key_rules=keys,
    )


def _event(span: Any, trace_id: bytes, index: int, source: _Source, place: _Place, *, linked: bool) -> NewEvent:
    environment_id, span_id = source.environment_id, span.span_id.hex()
    scope = place.scope
    attributes = _attributes(span, scope)
    parent_id = span.parent_span_id
    parent = parent_id.hex() if len(parent_id) == 8 and parent_id != NO_SPAN else None
    links = _links(span) if linked else ()
    destination = semconv.destination_of(attributes)
    operation = semconv.operation_of(attributes, span.kind, destination, name=span.name, scope=scope)
    message_id = semconv.message_id_of(attributes)
    batch = _batch(span, attributes, operation, destination, environment_id) if linked and not message_id else ()
    # A batch whose messages nobody names (Kafka's receive spans) is about none: their own spans follow.
    nobodys = semconv.BATCH_COUNT in attributes and not message_id and not links
    uid = None
    if message_id:
        uid = message_uid(environment_id, message_id, destination)
    elif not (batch or nobodys):
        uid = message_of_span(
            environment_id, operation=operation, destination=destination, trace_id=trace_id, span_id=span_id, parent_span_id=parent, links=links,
        )  # fmt: skip
    occurred_at, clamped_from = _started(span, source)
    error_type, error_message, error_stack = _error(span, attributes)
    business = source.key_rules(attributes)
    if source.keys:
        business = source.keys | business
    payload = _payload(attributes)
    return NewEvent(  # by position, in the order of its fields: see there
        index,
        span_event_id(environment_id, trace_id, span.span_id),
        occurred_at,
        source.system,
        operation,
        ERROR
        if error_type
        else UNSET
        if _is_given_back(operation, attributes, destination, span.name)
        else OK,  # outcome
        clamped_from,
        False,  # time_is_ours
        _took_us(span),
        clean.text(span.name, clean.NAME_BYTES),
        destination,
        message_id,
        uid,
        batch,
        semconv.text_of(attributes, "messaging.message.conversation_id", clean.ID_BYTES),  # correlation_id
        trace_id,
        span_id,
        parent,
        links,
        error_type,
        error_message,
        error_stack,
        business,
        clean.attributes(source.kept | attributes if source.kept else attributes),
        payload,
        attributes,  # found_in
        source.attributes,  # found_around
        None,  # named_keys
        False,  # keys_in_body
        place.alone,
    )


def _is_given_back(operation: int, attributes: dict[str, Any], destination: str | None, name: str) -> bool:
    return operation == semconv.SETTLE and semconv.gives_back(attributes, destination, name)


def _attributes(span: Any, scope: str) -> dict[str, Any]:
    """Return the span's attributes under their present names."""
    attributes = attributes_of(span.attributes[:])  # a slice: iterating protobuf's list takes twice as long
    if scope == semconv.PIKA:
        semconv.mend_pika(attributes, span.name)
    return attributes


def _links(span: Any) -> list[tuple[bytes, str]]:
    return [one for one in map(_span_of, span.links[: clean.MOST_LINKS]) if one]


def _span_of(link: Any) -> tuple[bytes, str] | None:
    """Return the span that a link names. SDKs also record links to nothing, all zero, for the attributes on them."""
    trace_id, span_id = link.trace_id, link.span_id
    leads = len(trace_id) == 16 and len(span_id) == 8 and trace_id != NO_TRACE and span_id != NO_SPAN
    return (trace_id, span_id.hex()) if leads else None


def _took_us(span: Any) -> int:
    end, start = span.end_time_unix_nano, span.start_time_unix_nano
    if end <= start:
        return 0
    took_us = (end - start) // 1000
    return took_us if took_us < clean.MOST_US else clean.MOST_US


def _batch(
    span: Any, attributes: dict[str, Any], operation: int, destination: str | None, environment_id: int
) -> list[tuple[bytes, str | None]]:
    """Return the messages of a span about many: those that its links lead to, or [] for a span about one or none.

    The conventions link a batch to the contexts its messages were created in, and put each message's id on its link.
    """
    many = len(span.links) > 1 and operation in semconv.CONSUMING
    if not destination or not (many or semconv.BATCH_COUNT in attributes):
        return []
    links = ((semconv.message_id_of(plain(link.attributes)), _span_of(link)) for link in span.links[: clean.MOST_LINKS])
    return messages_of_links(environment_id, destination, links)


def _started(span: Any, source: _Source) -> tuple[datetime, datetime | None]:
    nanoseconds = span.start_time_unix_nano
    if source.earliest_ns < nanoseconds < source.latest_ns:
        return clean.moment_of_ns(nanoseconds), None
    if not nanoseconds:  # the sender does not know: it is now, as far as we do
        return source.now, clean.EPOCH
    return clean.moment(clean.moment_of_ns(nanoseconds), now=source.now, retention=source.retention)


def _error(span: Any, attributes: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
    """Return (type, message, stack trace) of a failed span, all None for one that did not fail.

    A recorded exception alone is no failure: instrumentations record those that were handled as well.
    """
    retried = (
        attributes.get("celery.state") == "RETRY"
    )  # Celery's spans of an attempt that failed and is tried again are no errors
    if not (span.status.code == ERROR_STATUS or attributes.get("error.type") or retried):
        return None, None, None
    recorded: dict[str, Any] = {}
    for event in span.events:
        if event.name == "exception":
            recorded = plain(event.attributes)
    kind = attributes.get("error.type") or recorded.get("exception.type") or attributes.get("exception.type")
    kind = kind or ("Retry" if retried else "_OTHER")
    message = recorded.get("exception.message") or span.status.message or attributes.get("exception.message")
    message = message or (attributes.get("celery.retry.reason") if retried else None)
    stack = recorded.get("exception.stacktrace") or attributes.get("exception.stacktrace")
    return (
        clean.text(str(kind), clean.NAME_BYTES),
        clean.optional(str(message) if message else None, clean.ERROR_BYTES),
        clean.optional(str(stack) if stack else None, clean.ERROR_BYTES),
    )


def _payload(attributes: dict[str, Any]) -> NewPayload | None:
    """Take the payload out of the attributes, so that it is stored sealed and nowhere else."""
    body = None
    for name in PAYLOAD_ATTRIBUTES:
        if name in attributes:
            given = attributes.pop(name)
            body = given if body is None else body
    if body is None:
        return None
    content_type = clean.text(str(attributes.pop("waybill.payload.content_type", "") or "text/plain"), 200)
    if isinstance(body, Encoded):
        return NewPayload(content_type, Content(body.data))
    return NewPayload(content_type, Content(str(body).encode("utf-8", "replace")))
