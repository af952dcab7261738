"""`prepare`: everything between an empty database and a console that can be opened; harmless when nothing is to do."""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor

from console.core.bundles import write_bundles
from console.core.config import load_config
from console.core.errors import Invalid
from console.identity.models import User
from console.identity.passwords import check_password
from messages.catalog.services import ensure_environment
from messages.ingest.partitions import create_partitions
from messages.search.elastic.work import note_changes_or_not


class Command(BaseCommand):
    help = "Migrate, make user admin and environment production when they are not there, build static files; print JSON {created, password}."

    def handle(self, *args: Any, **options: Any) -> None:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            call_command("migrate", interactive=False, verbosity=0)
        create_partitions()
        note_changes_or_not()
        self._build_static_files()
        self.stdout.write(json.dumps(self._first_administrator()))

    @transaction.atomic
    def _first_administrator(self) -> dict[str, object]:
        ensure_environment("production", name="production", colour="red")
        if User.objects.filter(username="admin").exists():
            return {"created": False, "password": None}
        given = load_config().admin_password
        if given:
            _check_given(given)
        password = given or secrets.token_urlsafe(12)
        User.objects.create_superuser("admin", password=password)
        return {"created": True, "password": None if given else password}

    def _build_static_files(self) -> None:
        """Collect and compress only when a source or a pinned wheel changed: it takes seconds."""
        root = Path(settings.BASE_DIR)
        sources = [root / "requirements.txt", *sorted(path for path in (root / "static").rglob("*") if path.is_file())]
        digest = hashlib.sha256(
            b"".join(str(path.relative_to(root)).encode() + path.read_bytes() for path in sources)
        ).hexdigest()
        stamp = Path(settings.STATIC_ROOT) / ".stamp"
        if stamp.exists() and stamp.read_text() == digest:
            return
        write_bundles(Path(settings.CONFIG.data))
        call_command("collectstatic", interactive=False, verbosity=0, clear=True)
        stamp.write_text(digest)


def _check_given(password: str) -> None:
    """Ask of the first administrator's password what is asked of everybody's."""
    try:
        check_password(password, User(username="admin"))
    except Invalid as error:
        raise CommandError(f"WAYBILL_ADMIN_PASSWORD cannot be used: {error}") from error
