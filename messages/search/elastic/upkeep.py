"""What a worker does beside indexing: first builds, aliases of new indices, and letting go what PostgreSQL let go."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection

from console.identity.models import Environment
from messages.models import SearchGeneration
from messages.retention.policies import last_finished
from messages.search.elastic.bulk import Item, send
from messages.search.elastic.client import client
from messages.search.elastic.names import alias_of, indices_of, parts_of
from messages.search.elastic.old_texts import read_again_what_lost_its_text
from messages.search.elastic.outbox import next_version
from messages.search.elastic.rebuild import (
    Filling,
    RebuildElsewhere,
    begin_generation,
    go_live,
    point_alias,
    put_template,
)
from messages.search.elastic.whole import Lost, check_whole, days_with_messages, is_let_go, is_past_its_time, remember

log = structlog.get_logger(__name__)
State = SearchGeneration.State
COMPARED = 1_000  # documents at a time


def build_what_is_missing(*, budget_s: float) -> None:
    """Build the index of environments that have none, a while at a time, and go on with what somebody began."""
    for environment in Environment.objects.all():
        generations = SearchGeneration.objects.filter(environment=environment)
        if not generations.filter(state__in=[State.BUILDING, State.LIVE]).exists():
            put_template()  # raises while it is away: nothing is begun that could not be filled
            begin_generation(environment)
        building = generations.filter(state=State.BUILDING).select_related("environment").first()
        if building is None:
            continue
        try:
            if Filling(building).fill(budget_s=budget_s):
                go_live(building)
        except (RebuildElsewhere, Lost):
            continue


def keep_up(now: datetime | None = None) -> None:
    """Have aliases lead to indices made since, delete generations that retired, and let go what retention let go."""
    now = now or datetime.now(UTC)
    put_template()
    for generation in SearchGeneration.objects.select_related("environment"):
        environment = generation.environment
        alias = alias_of(settings.ELASTICSEARCH_PREFIX, environment.pk, environment.slug)
        if generation.state == State.RETIRING:
            _delete(alias, generation)
            continue
        if generation.state == State.LIVE:
            try:
                there = check_whole(generation, now)
            except Lost:
                continue
            point_alias(alias, generation)
            remember(generation, there)
        let_go(alias, generation, now)
        read_again_what_lost_its_text(alias, generation, now)
    delete_strangers()


def _delete(alias: str, generation: SearchGeneration) -> None:
    if names := _indices(indices_of(alias, generation.pk)):
        client().indices.delete(index=names, ignore_unavailable=True)
    generation.delete()


def delete_strangers() -> None:
    """Delete indices of ours whose generation is not there any more: a late request had made them again."""
    known = set(SearchGeneration.objects.values_list("pk", flat=True))
    for name in _indices(f"{settings.ELASTICSEARCH_PREFIX}-e*-g*"):
        parts = parts_of(name)
        if parts is not None and parts[1] not in known:
            client().indices.delete(index=name, ignore_unavailable=True)


def _indices(pattern: str) -> list[str]:
    """Return the names of the indices of a pattern that are named as ours are."""
    found = client().indices.get(index=pattern, features="aliases", allow_no_indices=True)
    return sorted(name for name in found if parts_of(name) is not None)


def let_go(alias: str, generation: SearchGeneration, now: datetime) -> None:
    """Delete indices of messages all of whose days are gone; of days that some rows were let go of, after each run, delete those."""
    days, run = set(days_with_messages()), last_finished()
    last = run.pk if run else 0
    for name in _indices(indices_of(alias, generation.pk)):
        parts = parts_of(name)
        if parts is None or parts[2] != "messages":
            continue
        if is_let_go(name, generation, days, now):
            remember(generation, {one: uuid for one, uuid in generation.indices.items() if one != name})
            client().indices.delete(index=name, ignore_unavailable=True)
            log.info("search_index_let_go", index=name)
        elif generation.compared_run != last and is_past_its_time(generation.environment, parts[3], now):
            for gone in _gone(name):
                send(Item(index=name, id=pk, version=next_version(), document=None) for pk in gone)
    SearchGeneration.objects.filter(pk=generation.pk).update(compared_run=last)


def _gone(index: str) -> Iterator[list[UUID]]:
    """Yield ids of documents of this index that PostgreSQL has no more, some at a time."""
    after: list[str] | None = None
    while True:
        body: dict[str, Any] = {"size": COMPARED, "sort": [{"id": "asc"}], "_source": False, "track_total_hits": False}
        answer = client().search(index=index, body=body | ({"search_after": after} if after else {}))
        hits = answer["hits"]["hits"]
        if not hits:
            return
        after = hits[-1]["sort"]
        ids = [UUID(hit["sort"][0]) for hit in hits]
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM messaging_message WHERE id = ANY(%s)", [ids])
            there = {row[0] for row in cursor.fetchall()}
        yield [one for one in ids if one not in there]
