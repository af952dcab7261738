"""`setup_demo`: environment demo with its teams, flows, connection and keys; harmless when it is all there."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from console.core.errors import ConsoleError
from console.demo.setup import setup_demo


class Command(BaseCommand):
    help = "Make what the demo estate needs: environment demo, teams, flows, an approved connection, two agent keys."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            setup_demo(settings.CONFIG)
        except ConsoleError as error:
            raise CommandError(str(error)) from error
