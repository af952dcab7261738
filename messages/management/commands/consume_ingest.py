"""`consume_ingest TOPIC… --agent NAME --environment ENV`: ingest from Kafka, in the formats of the HTTP endpoints."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from console.identity.models import Agent, Environment
from messages.ingest.consume import IngestConsumer
from messages.ingest.intake import DECODERS, is_endpoint
from messages.ingest.kafka import Plain


class Command(BaseCommand):
    help = "Take batches from Kafka topics until stopped. As many processes as partitions may run; each record is stored before its offset is committed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("topics", nargs="+", metavar="TOPIC")
        parser.add_argument(
            "--agent", required=True, help="whose batches they are, unless a record carries a key; made when it is new"
        )
        parser.add_argument("--environment", required=True, help="slug of the environment")
        parser.add_argument("--group", default="waybill", help="consumer group (default waybill)")
        parser.add_argument(
            "--endpoint",
            default="events",
            help=f"what records without the header `endpoint` are: {', '.join(sorted(DECODERS))} or mapped/<slug>",
        )
        parser.add_argument("--content-type", default="", help="of records without the header `content-type`")

    def handle(self, *args: Any, **options: Any) -> None:
        environment = Environment.objects.filter(slug=options["environment"]).first()
        if environment is None:
            slugs = ", ".join(Environment.objects.values_list("slug", flat=True))
            raise CommandError(f"--environment must be one of: {slugs}")
        agent, _ = Agent.objects.select_related("environment").get_or_create(
            environment=environment, name=options["agent"]
        )
        if not is_endpoint(options["endpoint"]):
            raise CommandError(f"--endpoint must be one of: {', '.join(sorted(DECODERS))}, mapped/<slug>")
        plain = Plain(endpoint=options["endpoint"], content_type=options["content_type"])
        try:
            consumer = IngestConsumer(_properties(options["group"]), options["topics"], agent, plain)
        except (KafkaException, ValueError) as error:
            raise CommandError(f"Kafka's client refuses its properties: {error}") from error
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: consumer.stopping.set())
        consumer.run()


def _properties(group: str) -> dict[str, Any]:
    """Return librdkafka's properties: those of the file, which may name the client, the brokers, the group."""
    config = settings.CONFIG
    if not config.kafka_brokers:
        raise CommandError("set WAYBILL_KAFKA_BROKERS: host:port, comma-separated")
    properties: dict[str, Any] = {}
    if config.kafka_properties:
        properties = read_properties(config.kafka_properties)
    return {"client.id": "waybill", **properties, "bootstrap.servers": config.kafka_brokers, "group.id": group}


def read_properties(path: Path) -> dict[str, Any]:
    """Return a file of `name=value` lines, `#` before comments; raises CommandError."""
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except OSError as error:
        raise CommandError(f"WAYBILL_KAFKA_PROPERTIES cannot be read: {error}") from error
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name.strip(): value.strip() for name, _, value in pairs}
