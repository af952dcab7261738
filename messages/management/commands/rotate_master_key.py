"""`rotate_master_key [--make]`: wrap data keys and connection secrets by the present master key."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from console.core.errors import ConfigurationError
from console.identity.actor import COMMAND
from messages.payloads.rotation import rotate_master_key


class Command(BaseCommand):
    help = "Wrap every data key and connection secret by the present master key. Payloads are not touched; the console may run."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--make",
            action="store_true",
            help="put a new key into WAYBILL_DATA first (when the environment gives none)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            done = rotate_master_key(by=COMMAND, make=options["make"])
        except ConfigurationError as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(
            f"{done.data_keys} data keys, {done.connections} connection secrets, {done.mappings} mapping secrets, "
            f"{done.order_secrets} order secrets and {done.others} secrets of channels are wrapped by the present master key now."
        )
        if done.unreadable:
            raise CommandError(
                f"{done.unreadable} are opened by neither key: they need the one that they were made with."
            )
        if options["make"]:
            self.stdout.write(
                f"The old key is in {settings.CONFIG.previous_master_key_file}: keep it as long as backups from before now, then delete it."
            )
