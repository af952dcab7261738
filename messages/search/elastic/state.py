"""How the index stands: whether it may be asked, how far it is behind, what is being built, what was refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import connection

from console.identity.models import Environment
from messages.models import SearchChange, SearchGeneration, Unindexed
from messages.search.base import Away
from messages.search.elastic.outbox import oldest_change

TOO_FAR_BEHIND = timedelta(minutes=1)
COUNTED_TO = 10_000

READY = """
SELECT count(DISTINCT environment_id), coalesce(sum((SELECT count(*) FROM jsonb_object_keys(indices))), 0)::int,
       (SELECT changed_at FROM messaging_searchchange ORDER BY id LIMIT 1)
FROM messaging_searchgeneration WHERE state = 'live' AND environment_id = ANY(%s)
"""


def check_ready(environments: Sequence[Environment], now: datetime) -> int:
    """Return how many indices must answer for these environments. Raises Away when they cannot be asked now; one query."""
    with connection.cursor() as cursor:
        cursor.execute(READY, [[environment.pk for environment in environments]])
        live, indices, oldest = cursor.fetchone()
    if live < len({environment.pk for environment in environments}):
        raise Away("its index is being built")
    if oldest is not None and now - oldest > TOO_FAR_BEHIND:
        raise Away(f"its index is {_words(now - oldest)} behind")
    return int(indices)


def _words(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} hours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one environment's index stands.

    state     live, building (a first one), rebuilding (beside a live one), missing.
    documents and days_left  of what is being built, else of what is live.
    """

    environment: str
    state: str
    documents: int
    days_left: int | None
    since: datetime | None
    refused: int
    latest_refusal: str
    latest_refused: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How the back end stands. waiting: rows of the outbox, counted to 10,000.   behind_s: age of the oldest."""

    configured: bool
    waiting: int
    behind_s: float
    environments: list[Standing]


def search_status(environments: Sequence[Environment] | None = None) -> Status:
    """Return the status of these environments, of all by default."""
    chosen = list(Environment.objects.all() if environments is None else environments)
    oldest = oldest_change()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM (SELECT 1 FROM messaging_searchchange LIMIT %s) counted", [COUNTED_TO])
        waiting = int(cursor.fetchone()[0])
    return Status(
        configured=bool(settings.ELASTICSEARCH_URLS),
        waiting=waiting,
        behind_s=max(0.0, (datetime.now(UTC) - oldest).total_seconds()) if oldest else 0.0,
        environments=[_standing(environment) for environment in chosen],
    )


def _standing(environment: Environment) -> Standing:
    generations = {one.state: one for one in SearchGeneration.objects.filter(environment=environment)}
    building, live = generations.get("building"), generations.get("live")
    shown = building or live
    refused = Unindexed.objects.filter(environment=environment)
    latest = refused.first()
    state = ("rebuilding" if live else "building") if building else "live" if live else "missing"
    return Standing(
        environment=environment.slug,
        state=state,
        documents=shown.documents if shown else 0,
        days_left=building.days_left if building else None,
        since=building.started_at if building else live.went_live_at if live else None,
        refused=refused.count(),
        latest_refusal=latest.reason if latest else "",
        latest_refused=f"{SearchChange.Kind(latest.kind).label.lower()} {latest.object_id}" if latest else "",
    )
