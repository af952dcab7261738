"""`bootstrap`: the first administrator and the environment `production`; harmless when they are there."""

from __future__ import annotations

import json
import secrets
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from console.core.config import load_config
from console.identity.models import User
from messages.catalog.services import ensure_environment


class Command(BaseCommand):
    help = "Make user admin and environment production if they are not there; print JSON {created, password} on standard output."

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        ensure_environment("production", name="production", colour="red")
        if load_config().demo:
            ensure_environment("demo", name="demo", colour="teal", position=1)
        created = not User.objects.filter(username="admin").exists()
        password = None
        if created:
            given = load_config().admin_password
            password = given or secrets.token_urlsafe(12)
            User.objects.create_superuser("admin", password=password)
            password = None if given else password
        self.stdout.write(json.dumps({"created": created, "password": password}))
