"""What the console holds, in lines that a person can read and that say the same on every machine: names, never row ids or times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from messages.journeys.queries import journey_of_dead_letter, journey_of_message, journey_of_trace
from messages.journeys.stitch import Journey
from messages.models import DeadLetter, Event, Flow, IngestReject, LoggedException, Message, Payload, System, TraceLink
from tests.corpus.wire import Answer
from tests.factories import ROOT, environment

OTLP = {"/v1/traces": ExportTraceServiceResponse, "/v1/logs": ExportLogsServiceResponse}
SHOWN = (
    "messaging.system",
    "messaging.operation.name",
    "messaging.operation.type",
    "messaging.batch.message_count",
    "cloudevents.event_subject",
)


def described_answers(answers: Iterable[Answer]) -> str:
    return _section("answers", (f"{a.path}: {a.status} {_said(a)}" for a in answers))


def _said(answer: Answer) -> str:
    kind = OTLP.get(answer.path)
    if kind is None or answer.content_type != "application/x-protobuf":
        return f"{answer.content_type} {answer.body.decode()}"
    return f"{answer.content_type} {MessageToDict(kind.FromString(answer.body))}"


def described_rows() -> str:
    """Return the rows of every table that ingest fills, and the journeys that they make."""
    events = list(
        Event.objects.select_related("system", "flow").order_by("occurred_at", "operation", "span_id", "message_id")
    )
    names = {event.span_id: f"{event.system.name} {event.get_operation_display()}" for event in events if event.span_id}
    messages = {message.id: message for message in Message.objects.select_related("flow")}
    return "\n".join(
        (
            _section("systems", [", ".join(sorted(System.objects.values_list("name", flat=True)))]),
            _section("flows", sorted(Flow.objects.values_list("name", flat=True))),
            _section("messages", sorted(_message(message, names) for message in messages.values())),
            _section("events", (_event(event, messages, names) for event in events)),
            _section("links", sorted(_link(link, names) for link in TraceLink.objects.all())),
            _section("logged exceptions", sorted(_logged(one, events) for one in LoggedException.objects.all())),
            _section("dead letters", sorted(_letter(letter) for letter in DeadLetter.objects.select_related("flow"))),
            _section("payloads", sorted(f"{p.content_type}, {p.size_bytes} bytes" for p in Payload.objects.all())),
            _section("refused", sorted(f"{r.endpoint} {r.code}: {r.detail}" for r in IngestReject.objects.all())),
            _section("journeys", sorted({_journey(journey) for journey in _journeys(messages.values(), events)})),
        )
    )


def _section(title: str, lines: Iterable[str]) -> str:
    return "\n".join((title, *(f"  {line}" for line in lines), ""))


def _words(*parts: object) -> str:
    return " | ".join(str(part) for part in parts if part)


def _keys(keys: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(keys.items()))


def _called(message: Message, names: Mapping[str, str]) -> str:
    """Return a message's id, or whose span made it when it has none."""
    if message.message_id != str(message.id):
        return message.message_id
    first = Event.objects.filter(message_uid=message.id).select_related("system").order_by("occurred_at").first()
    return f"(made by {first.system.name} {first.get_operation_display()})" if first else "(made by a span elsewhere)"


def _message(message: Message, names: Mapping[str, str]) -> str:
    error = f"{message.error_type}: {message.error_message}" if message.error_type else ""
    count = f"{message.event_count} event{'s' if message.event_count != 1 else ''}"
    return _words(
        _called(message, names), message.flow.name, message.get_status_display(), count, _keys(message.keys), error
    )


def _event(event: Event, messages: Mapping[Any, Message], names: Mapping[str, str]) -> str:
    message = messages.get(event.message_uid) if event.message_uid else None
    what = f"{event.get_outcome_display()} {event.error_type or ''}".strip()
    stack = "with stack" if event.error_stack else ""
    said = {name: event.attributes[name] for name in SHOWN if name in event.attributes}
    return _words(
        f"{event.system.name} {event.get_operation_display()} {event.destination or '-'}",
        f"flow {event.flow.name}",
        what,
        event.error_message,
        stack,
        event.name,
        f"message {_called(message, names)}" if message else "",
        f"correlation {event.correlation_id}" if event.correlation_id else "",
        f"under {names.get(event.parent_span_id, 'a span elsewhere')}" if event.parent_span_id else "",
        _keys(event.keys),
        _keys(said),
        "its time was clamped" if event.clamped_from else "",
    )


def _link(link: TraceLink, names: Mapping[str, str]) -> str:
    return f"{names.get(link.span_id, '?')} → {names.get(link.linked_span_id, 'a span elsewhere')}"


def _logged(one: LoggedException, events: Iterable[Event]) -> str:
    inside = next((f"{e.system.name} {e.get_operation_display()}" for e in events if e.id == one.event_id), "nothing")
    stack = "with stack" if one.error_stack else ""
    return _words(one.system, f"{one.error_type}: {one.error_message}", stack, f"inside {inside}")


def _letter(letter: DeadLetter) -> str:
    error = f"{letter.error_type}: {letter.error_message}"
    return _words(
        f"{letter.queue} of {letter.broker}",
        letter.flow.name,
        letter.reason,
        error,
        letter.message_id,
        _keys(letter.keys),
    )


def _journeys(messages: Iterable[Message], events: Iterable[Event]) -> Iterator[Journey]:
    for message in messages:
        yield journey_of_message(ROOT, message)
    for trace_id in {event.trace_id for event in events if event.trace_id}:
        yield journey_of_trace(ROOT, [environment()], trace_id)
    for letter in DeadLetter.objects.all():
        yield journey_of_dead_letter(ROOT, letter)


def _journey(journey: Journey) -> str:
    way = " → ".join(f"{station.system} {station.note}" for station in journey.stations)
    letters = f"{len(journey.dead_letters)} dead letter{'s' if len(journey.dead_letters) != 1 else ''}"
    return _words(
        way,
        f"{len(journey.steps)} steps in {len(journey.trace_ids)} traces",
        f"tied by {', '.join(sorted(journey.ties))}",
        letters if journey.dead_letters else "",
    )
