"""What the tests from end to end share: an application's tracer, and a harvester beside the product."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.product import ROOT, Product


def tracer(product: Product, key: str, service: str) -> trace.Tracer:
    """Return a tracer as any application has one: the SDK and its standard OTLP/HTTP exporter, unmodified."""
    exporter = OTLPSpanExporter(endpoint=product.base + "/v1/traces", headers={"authorization": f"Bearer {key}"})
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("tests")


@contextlib.contextmanager
def harvesting(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `agents harvest`, killed at the end of the block."""
    command = [sys.executable, "-m", "agents", "harvest", "--config", str(config)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()
