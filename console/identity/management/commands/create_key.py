"""`create_key agent NAME --environment ENV` or `create_key api NAME --user USER`: prints the key alone."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from console.audit.services import record_audit
from console.identity.actor import COMMAND
from console.identity.keys import create_agent_key, create_api_key
from console.identity.models import Environment, User


class Command(BaseCommand):
    help = "Make a bearer key and print it, alone, on standard output. It is shown this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("kind", choices=["agent", "api"])
        parser.add_argument("name")
        parser.add_argument("--environment", help="slug of the environment (agent keys)")
        parser.add_argument("--user", help="name of the user the key acts as (API keys)")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["kind"] == "agent":
            environment = Environment.objects.filter(slug=options["environment"] or "").first()
            if environment is None:
                raise CommandError(
                    f"--environment must be one of: {', '.join(Environment.objects.values_list('slug', flat=True))}"
                )
            key, text = create_agent_key(options["name"], environment, by=COMMAND.name)
            record_audit(COMMAND, "key.created", key, environment=environment, label=options["name"])
        else:
            user = User.objects.filter(username=options["user"] or "").first()
            if user is None:
                raise CommandError("--user must name an existing user")
            key, text = create_api_key(options["name"], user, by=COMMAND.name)
            record_audit(COMMAND, "key.created", key, label=options["name"])
        self.stdout.write(text)
