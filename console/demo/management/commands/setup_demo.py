"""`setup_demo`: environment demo with its teams, flows, connection and keys; prints the path of the estate's settings."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import transaction

from agents.demo.landscape import FLOWS
from console.identity.actor import SYSTEM
from console.identity.keys import create_agent_key
from console.identity.models import Environment, Key, Team
from messages.catalog.connections import approve_connection, create_connection, seal_secret
from messages.catalog.services import ensure_environment
from messages.models import Connection, Flow, FlowRule

BROKER = "demo-redis"


class Command(BaseCommand):
    help = "Prepare environment demo and write the estate's settings (keys, addresses) to the data folder."

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        environment = ensure_environment("demo", name="demo", colour="teal", position=1)
        for position, (destination, (name, team)) in enumerate(FLOWS.items(), 1):
            self._flow(environment, position, destination, name, team)
        self._connection(environment)
        folder = Path(settings.CONFIG.data) / "demo"
        folder.mkdir(mode=0o700, exist_ok=True)
        self.stdout.write(str(self._write_settings(environment, folder / "estate.json")))

    def _flow(self, environment: Environment, position: int, destination: str, name: str, team_name: str) -> None:
        team, _ = Team.objects.get_or_create(name=team_name)
        defaults = {"team": team, "receiver_is_idempotent": True, "description": "Part of the demo estate."}
        flow, _ = Flow.objects.get_or_create(environment=environment, name=name, defaults=defaults)
        FlowRule.objects.get_or_create(
            environment=environment, pattern=destination, defaults={"flow": flow, "position": position}
        )

    def _connection(self, environment: Environment) -> None:
        """The address changes with every start of the embedded engine: port and password are new."""
        parts = urlsplit(settings.REDIS_URL)
        address = urlunsplit((parts.scheme, f"{parts.hostname}:{parts.port or 6379}", parts.path, "", ""))
        found = Connection.objects.filter(environment=environment, name=BROKER).first()
        if found is None:
            found = create_connection(
                environment,
                name=BROKER,
                kind="redis-streams",
                address=address,
                username=parts.username or "",
                secret=parts.password or "",
                by=SYSTEM,
            )
            approve_connection(found, by=SYSTEM)
        else:
            secret = seal_secret(parts.password or "")
            Connection.objects.filter(pk=found.pk).update(address=address, username=parts.username or "", secret=secret)

    def _write_settings(self, environment: Environment, path: Path) -> Path:
        """Write addresses and keys, 0600; a key is shown once, so it is kept here and made anew when it is lost or revoked."""
        try:
            known = json.loads(path.read_text())
        except (OSError, ValueError):
            known = {}
        for field, agent in (("otlp_key", "demo estate"), ("harvest_key", "demo harvester")):
            alive = Key.objects.filter(
                prefix=str(known.get(field, ""))[:13], agent__name=agent, revoked_at=None
            ).exists()
            if not known.get(field) or not alive:
                known[field] = create_agent_key(agent, environment, by=SYSTEM.name)[1]
        config = settings.CONFIG
        host = "127.0.0.1" if config.bind in {"127.0.0.1", "0.0.0.0"} else config.bind  # noqa: S104
        known |= {"console": f"http://{host}:{config.port}", "redis_url": settings.REDIS_URL, "broker": BROKER}
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(known, file)
        return path
