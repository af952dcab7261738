"""Times from PostgreSQL read by the C of `datetime`: Django's loader takes each apart by a regular expression in Python, an eighth of an overview."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.types.datetime import TimestamptzLoader

OF_UTC = b"+00"


class UtcLoader(TimestamptzLoader):
    """Reads `2026-11-27 13:19:01.123456+00`, what a session in UTC is told, as Django's own does; anything else is left to psycopg's."""

    timezone = UTC  # Django compares it with the connection's

    def load(self, data: Any) -> datetime:
        text = bytes(data)
        if text.endswith(OF_UTC) and text[0] != ord("-"):
            try:
                return datetime.fromisoformat(text.decode("ascii"))
            except ValueError:  # a year beyond those of Python
                pass
        return super().load(data).replace(tzinfo=UTC)


def read_times_so(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Tell a new connection of Django's to read times by this loader."""
    connection.connection.adapters.register_loader("timestamptz", UtcLoader)
