"""Data for retention: what came on a day, and what of it is left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from console.identity.models import Environment
from messages.models import Event, Flow
from messages.retention.tables import TABLES
from tests.factories import agent_key, environment, event, push

EVENTS = "/ingest/v1/events"
TODAY = datetime.now(UTC).date()


def in_days(days: int) -> datetime:
    """Noon, so many days from today."""
    return datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=UTC) + timedelta(days=days)


def store(flow: str = "orders", slug: str = "production", **changes: Any) -> Event:
    """Store an event of this flow with payload, message, link and rollups, as an agent does; return it."""
    body = {"content_type": "application/json", "body": '{"order_no": "4711"}'}
    one = event(
        destination=flow, payload=body, trace_id="ab" * 16, span_id="cd" * 8,
        links=[{"trace_id": "ef" * 16, "span_id": "01" * 8}],
    )  # fmt: skip
    one["span_id"] = one["id"].removeprefix("event-").rjust(16, "0")
    key = agent_key(f"agent of {slug}", slug)
    assert push(EVENTS, [one | changes], key=key).json()["accepted"] == 1
    return Event.objects.filter(environment=environment(slug)).latest("received_at")


def flow_of(name: str, slug: str = "production") -> Flow:
    return Flow.objects.get(name=name, environment__slug=slug)


def rows_left(of: Environment | None = None) -> dict[str, int]:
    """Return how many rows each partitioned table has, of one environment or of all; tables without any are left out."""
    left = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(
                f"SELECT count(*) FROM {table} WHERE %s IS NULL OR environment_id = %s", [of and of.pk, of and of.pk]
            )
            if count := cursor.fetchone()[0]:
                left[table.removeprefix("messaging_")] = count
    return left


def partitions(table: str = "messaging_payload") -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = %s::regclass", [table]
        )
        return {row[0] for row in cursor.fetchall()}
