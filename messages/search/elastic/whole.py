"""Whether Elasticsearch still has what was built: a lost volume or an older snapshot is not to answer as if it had everything.

PostgreSQL remembers the indices of a generation with their UUIDs, which an index that is made again or restored does not have, and how late
the template had been kept, which tells a disk that was set back. A generation that lost something retires; PostgreSQL answers meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta

import structlog
from django.conf import settings
from django.db import connection
from django.db.models import Q, QuerySet

from console.identity.models import Environment
from messages.models import SearchGeneration
from messages.retention.policies import policy_of
from messages.retention.rules import last_due
from messages.search.base import Away
from messages.search.elastic.client import client
from messages.search.elastic.names import alias_of, indices_of, parts_of

log = structlog.get_logger(__name__)
State = SearchGeneration.State
TURN_S = 300  # the template says this often how late it is


class Lost(Away):
    """Something that was built is not there any more."""


def check_whole(generation: SearchGeneration, now: datetime | None = None) -> dict[str, str]:
    """Return {index: UUID} as Elasticsearch has them. Raises Lost when some that it had are gone or made anew: then all are built anew.

    What retention lets go is no loss, nor is what a late request makes again of it.
    """
    environment, known = generation.environment, generation.indices
    alias = alias_of(settings.ELASTICSEARCH_PREFIX, environment.pk, environment.slug)
    found = client().indices.get(index=indices_of(alias, generation.pk), features="settings", allow_no_indices=True)
    there = {name: str(one["settings"]["index"]["uuid"]) for name, one in found.items()}
    lost = [name for name, uuid in known.items() if there.get(name) != uuid]
    if lost:
        now, days = now or datetime.now(UTC), set(days_with_messages())
        lost = [name for name in lost if not is_let_go(name, generation, days, now)]
    if not known and generation.state == State.LIVE and not client().indices.exists_alias(name=alias):
        lost = [alias]  # live since a version that remembered no indices
    if lost:
        _retire(SearchGeneration.objects.filter(pk=generation.pk), lost=sorted(lost)[:10])
        raise Lost("it lost a part of its index, which is built anew")
    return there


def remember(generation: SearchGeneration, indices: dict[str, str]) -> None:
    """Remember what was seen. Of what is live each must be behind the alias by then, for a search counts them."""
    if generation.indices != indices:
        SearchGeneration.objects.filter(pk=generation.pk).update(indices=indices)
        generation.indices = indices


def lead_to(alias: str, generation: SearchGeneration, written: Collection[str]) -> None:
    """Have the alias of what is live lead to what a write has just made, and remember that: before the write is taken for done.

    It only adds, for another may have added one meanwhile. What retires meanwhile is not behind the alias in the end: either this sees
    that it retired, or the swap that retired it comes after.
    """
    new = {name for name in written if name.startswith(f"{alias}-g{generation.pk}-")} - generation.indices.keys()
    if not new or not SearchGeneration.objects.filter(pk=generation.pk, state=State.LIVE).exists():
        return
    indices = client().indices
    found = indices.get(index=sorted(new), features="settings", ignore_unavailable=True)
    there = {name: str(one["settings"]["index"]["uuid"]) for name, one in found.items()}
    if not there:
        return
    indices.put_alias(index=sorted(there), name=alias)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE messaging_searchgeneration SET indices = %s::jsonb || indices WHERE id = %s AND state = 'live'",
            [json.dumps(there), generation.pk],
        )
        is_live = cursor.rowcount
    generation.indices |= there
    if not is_live:
        client().options(ignore_status=404).indices.delete_alias(index=sorted(there), name=alias)


def check_not_set_back(kept: int) -> None:
    """Have everything built anew when Elasticsearch says an earlier turn than it had said; two workers' clocks may differ by one."""
    _retire(SearchGeneration.objects.filter(kept__gt=kept + 1), kept=kept)


def retire_all(*, reason: str) -> None:
    _retire(SearchGeneration.objects.all(), reason=reason)


def remember_kept(kept: int) -> None:
    SearchGeneration.objects.filter(Q(kept=None) | Q(kept__lt=kept)).exclude(state=State.RETIRING).update(kept=kept)


def this_turn() -> int:
    return int(datetime.now(UTC).timestamp()) // TURN_S


def _retire(generations: QuerySet[SearchGeneration], **why: object) -> None:
    kept = generations.exclude(state=State.RETIRING)
    if count := kept.update(state=State.RETIRING, lease_until=None, leased_by=None):
        log.error("search_index_lost", generations=count, **why)


def is_let_go(index: str, generation: SearchGeneration, days: set[date], now: datetime) -> bool:
    """Whether an index holds only days of messages that retention let go. days: those that have messages."""
    parts = parts_of(index)
    if parts is None or parts[2] != "messages":
        return False
    covered = [parts[3] + timedelta(days=number) for number in range(generation.days_per_index)]
    return is_past_its_time(generation.environment, covered[-1], now) and not days & set(covered)


def is_past_its_time(environment: Environment, day: date, now: datetime) -> bool:
    """Whether retention may have let rows of this day go: then ingest makes no new ones of it either."""
    return day <= last_due(now, policy_of(environment).metadata_days)


def days_with_messages() -> list[date]:
    """Return the days that may have messages, oldest first: those of the partitions, and those of rows that found none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT to_date(right(c.relname, 8), 'YYYYMMDD') FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = 'messaging_message'::regclass AND c.relname ~ '_[0-9]{8}$' "
            "UNION SELECT DISTINCT first_seen_on FROM messaging_message_default ORDER BY 1"
        )
        return [row[0] for row in cursor.fetchall()]
