"""A shop sends orders, an ERP processes them, one fails: spans and logged exceptions by OpenTelemetry's SDK."""

import logging
from contextlib import suppress

from opentelemetry import propagate
from opentelemetry._logs import set_logger_provider
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, get_current_span

log = logging.getLogger("erp")
QUEUE = {"messaging.system": "rabbitmq", "messaging.destination.name": "orders"}


def tracing(service: str) -> TracerProvider:
    """The exporter finds address and key in OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS."""
    provider = TracerProvider(resource=Resource.create({"service.name": service, "service.version": "1.0"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def logging_to_the_console(service: str) -> LoggerProvider:
    """Only errors: the console keeps exceptions that were logged inside a span, and nothing else of logs."""
    provider = LoggerProvider(resource=Resource.create({"service.name": service}))
    provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    set_logger_provider(provider)
    log.addHandler(LoggingHandler(level=logging.ERROR, logger_provider=provider))
    return provider


def send(order_no: str) -> dict[str, str]:
    about = {"messaging.operation.name": "publish", "messaging.operation.type": "send", "order_no": order_no}
    about["messaging.message.id"] = f"python-order-{order_no}"
    with shop.start_as_current_span("publish orders", kind=SpanKind.PRODUCER, attributes=QUEUE | about):
        headers: dict[str, str] = {}
        propagate.inject(headers)  # traceparent travels in the message's headers
    return headers


def process(order_no: str, headers: dict[str, str]) -> None:
    sender = get_current_span(propagate.extract(headers)).get_span_context()
    about = {"messaging.operation.name": "consume", "messaging.operation.type": "process", "order_no": order_no}
    about["messaging.message.id"] = f"python-order-{order_no}"
    with erp.start_as_current_span(
        "consume orders", context=Context(), kind=SpanKind.CONSUMER, attributes=QUEUE | about, links=[Link(sender)]
    ) as span:
        try:
            book(order_no)
        except TimeoutError as error:
            log.exception("order %s was not booked", order_no)
            span.set_attribute("error.type", type(error).__qualname__)
            raise


def book(order_no: str) -> None:
    if order_no == "4712":
        raise TimeoutError("the ERP did not answer in 30 s")


providers = [tracing("shop"), tracing("erp"), logging_to_the_console("erp")]
shop, erp = providers[0].get_tracer("orders"), providers[1].get_tracer("orders")

for number in ("4711", "4712"):
    with suppress(TimeoutError):  # a real consumer rejects the message, so that it is tried again or dead-lettered
        process(number, send(number))
for provider in providers:
    provider.shutdown()  # sends what is still in the batch
