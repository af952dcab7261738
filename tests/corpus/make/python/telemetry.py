"""What every instrumented script beside this one starts with: OpenTelemetry's SDK, service named by the first argument."""

import atexit
import sys

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

service = sys.argv[1]
provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
atexit.register(provider.shutdown)


def about(order_no: str) -> None:
    """Name the business key on the span of the instrumentation, as an application does."""
    trace.get_current_span().set_attribute("order_no", order_no)
