"""Pushes the last 24 hours through the same addresses as any agent: OTLP for the spans, the dead-letter address for what waits."""

from __future__ import annotations

import gzip
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from agents.demo import place
from agents.demo.changes import changes_of
from agents.demo.history import Run, Span, Story, is_filled, load_run, stack_of, stories, utc_now
from console.core.config import Config
from console.core.errors import Unavailable

SPANS_A_BATCH = 500
LETTERS_A_BATCH = 50
GIVE_UP_AFTER_S = 120


def fill_history(config: Config) -> None:
    """Push the history of this data folder unless it is done; cut short, it goes on as the same history."""
    folder = place.folder(config)
    if is_filled(folder):
        return
    run = load_run(folder, utc_now())
    told = list(stories(run))
    # What waits comes first and the rest from now backwards: whoever opens the page meanwhile sees what is failing, and the last hours.
    _push_spans(config, run, "stuck", [story for story in told if story.letters])
    _push_letters(config, run, [letter for story in told for letter in story.letters])
    _push_changes(config, run)
    _push_spans(config, run, "rest", [story for story in reversed(told) if not story.letters])
    (folder / "history.done").write_text(utc_now().isoformat())


def _push_spans(config: Config, run: Run, part: str, told: Iterable[Story]) -> None:
    url, key = f"{place.console_address(config)}/v1/traces", place.read_key(config, place.ESTATE_KEY)
    for number, batch in enumerate(batches(told)):
        body = request_of(span for story in batch for span in story.spans).SerializeToString()
        _post(url, body, "application/x-protobuf", key, f"demo-history-{run.seed}-{part}-{number}")


def _push_letters(config: Config, run: Run, letters: list[dict[str, Any]]) -> None:
    url, key = f"{place.console_address(config)}/ingest/v1/dead-letters", place.read_key(config, place.HARVESTER_KEY)
    for start in range(0, len(letters), LETTERS_A_BATCH):
        body = json.dumps({"dead_letters": letters[start : start + LETTERS_A_BATCH]}).encode()
        _post(url, body, "application/json", key, f"demo-history-{run.seed}-letters-{start}")


def _push_changes(config: Config, run: Run) -> None:
    url, key = f"{place.console_address(config)}/ingest/v1/changes", place.read_key(config, place.ESTATE_KEY)
    body = json.dumps({"changes": changes_of(run)}).encode()
    _post(url, body, "application/json", key, f"demo-history-{run.seed}-changes")


def batches(told: Iterable[Story]) -> Iterator[list[Story]]:
    """Yield whole orders, about 500 spans at a time."""
    batch: list[Story] = []
    spans = 0
    for story in told:
        batch.append(story)
        spans += len(story.spans)
        if spans >= SPANS_A_BATCH:
            yield batch
            batch, spans = [], 0
    if batch:
        yield batch


def request_of(spans: Iterable[Span]) -> ExportTraceServiceRequest:
    """Return the OTLP request of these spans, one resource a service."""
    request = ExportTraceServiceRequest()
    scopes: dict[str, trace_pb2.ScopeSpans] = {}
    for span in spans:
        if span.service not in scopes:
            resource = request.resource_spans.add()
            resource.resource.attributes.extend(
                _attributes({"service.name": span.service, "service.namespace": "demo", "service.version": "1.4.2"})
            )
            scopes[span.service] = resource.scope_spans.add()
            scopes[span.service].scope.name = "agents.demo"
        _add(scopes[span.service].spans.add(), span)
    return request


def _add(target: trace_pb2.Span, span: Span) -> None:
    target.trace_id, target.span_id, target.parent_span_id = span.trace_id, span.span_id, span.parent_id
    target.name, target.kind = span.name, span.kind  # type: ignore[assignment]
    target.start_time_unix_nano, target.end_time_unix_nano = _ns(span.start), _ns(span.end)
    attributes = dict(span.attributes)
    if span.link:
        target.links.add(trace_id=span.link[0], span_id=span.link[1])
    if span.error is not None:
        attributes["error.type"] = type(span.error).__name__
        target.status.code, target.status.message = trace_pb2.Status.STATUS_CODE_ERROR, str(span.error)
        event = target.events.add(name="exception", time_unix_nano=_ns(span.end))
        event.attributes.extend(
            _attributes(
                {
                    "exception.type": type(span.error).__name__,
                    "exception.message": str(span.error),
                    "exception.stacktrace": stack_of(span.error),
                }
            )
        )
    target.attributes.extend(_attributes(attributes))


def _attributes(values: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_any(value)) for key, value in values.items()]


def _any(value: Any) -> AnyValue:
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    return AnyValue(string_value=str(value))


def _ns(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1_000


def _post(url: str, body: bytes, content_type: str, key: str, batch_id: str) -> None:
    """Post until it is taken; a console that cannot take it now is waited for, one that refuses it is an error."""
    headers = {
        "Authorization": f"Bearer {key}",
        "Content-Type": content_type,
        "Content-Encoding": "gzip",
        "Idempotency-Key": batch_id,
    }
    data = gzip.compress(body, compresslevel=1)
    until = time.monotonic() + GIVE_UP_AFTER_S
    while True:
        try:
            request = urllib.request.Request(url, data, headers)  # noqa: S310  our own address
            with urllib.request.urlopen(request, timeout=30):  # noqa: S310
                return
        except urllib.error.HTTPError as error:
            why = f"{error.code} {error.read().decode(errors='replace')[:300]}"
            if error.code not in {429, 502, 503, 504}:
                raise Unavailable(f"the console refused the demo's history: {why}") from error
        except OSError as error:
            why = str(error)
        if time.monotonic() > until:
            raise Unavailable(f"the console does not take the demo's history: {why}")
        time.sleep(0.5)
