"""What the demo needs in the console: environment, teams, flows, connection, objectives and two agent keys. Harmless when it is there."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.db import transaction

from agents.demo import place
from agents.demo.names import (
    CONNECTION,
    ENVIRONMENT,
    ESTATE_AGENT,
    HARVESTER_AGENT,
    HOP_OF_CONSUMER,
    HOPS,
    RABBIT_CONNECTION,
)
from console.audit.services import record_audit
from console.core.config import Config
from console.demo.book import BOOK
from console.demo.promises import promise
from console.identity.actor import Actor
from console.identity.keys import InvalidKey, create_agent_key, find_key
from console.identity.models import Environment, Team
from messages.catalog.connections import approve_connection, create_connection, open_secret, rotate_secret
from messages.catalog.services import ensure_environment
from messages.compensation.book import parse_book
from messages.compensation.books import save_book
from messages.models import CompensationBook, Connection, Flow, FlowRule

SETUP = Actor(name="demo set-up", via="command", is_superuser=True)


def setup_demo(config: Config) -> None:
    """Make everything the estate needs; run again, it repairs what is missing and follows a broker that moved."""
    with transaction.atomic():
        environment = ensure_environment(ENVIRONMENT, name="demo", colour="teal", position=10)
        _make_flows(environment)
    _make_connection(environment, CONNECTION, "redis-streams", settings.REDIS_URL, 6379)
    if config.demo_rabbitmq_url:
        _make_connection(environment, RABBIT_CONNECTION, "rabbitmq", config.demo_rabbitmq_url, 5672)
    _write_book(environment)
    promise(environment, by=SETUP)
    for name, file in ((ESTATE_AGENT, place.ESTATE_KEY), (HARVESTER_AGENT, place.HARVESTER_KEY)):
        _keep_key(environment, name, place.folder(config) / file)


def _make_flows(environment: Environment) -> None:
    for position, hop in enumerate(HOPS, 1):
        team, _ = Team.objects.get_or_create(name=hop.team)
        flow, _ = Flow.objects.get_or_create(
            environment=environment,
            name=hop.flow,
            defaults={
                "team": team,
                "criticality": hop.criticality,
                "description": hop.description,
                "receiver_is_idempotent": True,
            },
        )
        FlowRule.objects.get_or_create(
            environment=environment, pattern=hop.stream, defaults={"flow": flow, "position": position}
        )


def _write_book(environment: Environment) -> None:
    """Say what undoes an order that billing refuses; a book that somebody wrote, or ended, stays as it is."""
    flow = Flow.objects.get(environment=environment, name=HOP_OF_CONSUMER["billing"].flow)
    if not CompensationBook.objects.filter(flow=flow).exists():
        save_book(flow, parse_book(BOOK), by=SETUP, reason="the demo's own", base=0)


def _make_connection(environment: Environment, name: str, kind: str, url: str, port: int) -> None:
    """Make the approved connection; the embedded Valkey has another port and password at every start, so it is followed."""
    parts = urlsplit(url)
    address = f"{parts.scheme}://{_host(parts.hostname)}:{parts.port or port}{parts.path}"
    username, secret = unquote(parts.username or ""), unquote(parts.password or "")
    connection = Connection.objects.filter(environment=environment, name=name).first()
    if connection is None:
        connection = create_connection(
            environment, name=name, kind=kind, address=address, username=username, secret=secret, by=SETUP
        )  # fmt: skip
        approve_connection(connection, by=SETUP)
        return
    if connection.address != address:
        with transaction.atomic():
            Connection.objects.filter(pk=connection.pk).update(address=address)
            record_audit(
                SETUP, "connection.address_changed", connection, environment=environment, details={"address": address}
            )
    if (connection.username, open_secret(bytes(connection.secret))) != (username, secret):
        rotate_secret(connection, username=username, secret=secret, by=SETUP)


def _host(host: str | None) -> str:
    return f"[{host}]" if host and ":" in host else host or "127.0.0.1"


def _keep_key(environment: Environment, name: str, path: Path) -> None:
    """Keep an agent's key in a file of mode 0600; a key is shown once, so a lost or dead one is replaced."""
    if path.exists():
        try:
            find_key(f"Bearer {path.read_text().strip()}", "agent")
            return
        except InvalidKey:
            path.unlink()
    key, text = create_agent_key(name, environment, by=SETUP.name)
    assert key.agent is not None
    details = {"key": key.pk, "prefix": key.prefix}
    record_audit(SETUP, "agent_key.created", key.agent, environment=environment, details=details)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
