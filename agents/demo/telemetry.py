"""OpenTelemetry as any service would use it: the SDK, its batch processor, its standard OTLP/HTTP exporter."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

EVERY_MS = 1_500  # how long a span waits at most: the console's proof of a replay waits as long


class Telemetry:
    """One service's tracer. Producers `send`, consumers `process` linked to the producer's context (semantic conventions)."""

    def __init__(self, service: str, exporter: SpanExporter) -> None:
        resource = Resource({"service.name": service, "service.namespace": "demo", "service.version": "1.4.2"})
        self.provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.provider.add_span_processor(
            BatchSpanProcessor(exporter, schedule_delay_millis=EVERY_MS, max_queue_size=20_000)
        )
        self.tracer = self.provider.get_tracer("agents.demo")
        self.propagator = TraceContextTextMapPropagator()

    @contextmanager
    def send(self, stream: str, attributes: Mapping[str, Any], headers: dict[str, str]) -> Iterator[None]:
        """Span of one publication; its context goes into `headers`."""
        common = {**_common(stream, "send"), **attributes}
        with self.tracer.start_as_current_span(f"send {stream}", kind=SpanKind.PRODUCER, attributes=common):
            self.propagator.inject(headers)
            yield

    @contextmanager
    def process(self, stream: str, attributes: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[Span]:
        """Span of one attempt, a trace of its own, linked to the sender's; an exception is recorded and goes on."""
        sender = get_current_span(self.propagator.extract(dict(headers), Context())).get_span_context()
        links = [Link(sender)] if sender.is_valid else []
        common = {**_common(stream, "process"), **attributes}
        with self.tracer.start_as_current_span(
            f"process {stream}", context=Context(), kind=SpanKind.CONSUMER, attributes=common, links=links,
            record_exception=False, set_status_on_exception=False,
        ) as span:  # fmt: skip
            try:
                yield span  # type: ignore[misc]
            except Exception as error:
                span.record_exception(error)
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(Status(StatusCode.ERROR, str(error)))
                raise

    def stop(self) -> None:
        self.provider.shutdown()


def _common(stream: str, operation: str) -> dict[str, Any]:
    return {
        "messaging.system": "redis",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": stream,
    }


def exporter(console: str, key: str) -> OTLPSpanExporter:
    """Return the standard exporter, pointed at the console with an agent's key."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a console that restarts is no news of the estate
    return OTLPSpanExporter(
        endpoint=f"{console}/v1/traces",
        headers={"Authorization": f"Bearer {key}"},
        compression=Compression.Gzip,
        timeout=5,
    )
