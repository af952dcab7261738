"""What the tests from end to end share: an application's tracer, a harvester beside the product, an environment of it for each file."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.product import ROOT, Product

ENVIRONMENTS = (
    "alert-loop", "activemq-loop", "celery-loop", "http-loop", "kafka-loop", "more-loops", "rabbitmq-loop", "sqs-loop", "two-way-loop",
    "two-way-undoing",
)  # fmt: skip
MAKE = """
from messages.catalog.services import ensure_environment
for slug in {0}: ensure_environment(slug, name=slug, colour="red")
"""


def make_environments(product: Product) -> None:
    product.manage("shell", "-c", MAKE.format(ENVIRONMENTS))


@dataclass(frozen=True, slots=True)
class Corner:
    """One environment of a console that runs: what is made is made there, and what is listed is of there."""

    product: Product
    environment: str

    @property
    def base(self) -> str:
        return self.product.base

    def agent_key(self, name: str) -> str:
        return self.product.agent_key(name, self.environment)

    def api_key(self) -> str:
        return self.product.api_key()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        return self.product.ask(method, path, body)

    def connect(self, **about: Any) -> None:
        """Make a connection and approve it."""
        made = self.ask("POST", "connections", {"environment": self.environment, **about})
        self.ask("POST", f"connections/{made['id']}/approve")

    def listed(self, what: str, q: str = "") -> list[dict[str, Any]]:
        """Return the first 200 `dead-letters`, `messages` or whatever else has a list."""
        asked = urlencode({"environment": self.environment, "limit": 200} | ({"q": q} if q else {}))
        return list(self.ask("GET", f"{what}?{asked}")["results"])

    def replay(self, letter: dict[str, Any]) -> dict[str, Any]:
        return dict(self.ask("POST", f"dead-letters/{letter['id']}/replay", {"reason": "the ERP answers again"}))


def tracer(product: Product | Corner, key: str, service: str) -> trace.Tracer:
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
