"""Words of payloads leave the index when their payload is let go, and when their flow no longer allows their search."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from messages.models import SearchChange, SearchGeneration
from messages.retention.policies import read_terms
from messages.retention.rules import PAYLOADS, Going, goings_of
from messages.search.elastic.client import client
from messages.search.elastic.names import indices_of, parts_of
from messages.search.elastic.outbox import add_changes
from messages.search.elastic.texts import searchable_flows

AT_ONCE = 1_000  # messages of one look; the next look finds the rest
MOST_DAYS = 1_200

Clause = dict[str, Any]


def read_again_what_lost_its_text(alias: str, generation: SearchGeneration, now: datetime) -> int:
    """Have rows read again whose words were to go; return how many. When payloads are let go, dead letters keep theirs until they go
    themselves.
    """
    lost: dict[tuple[str, SearchChange.Kind], list[Clause]] = {
        ("message", SearchChange.Kind.MESSAGE): [*_not_allowed(), *_let_go(alias, generation, now)],
        ("letter", SearchChange.Kind.LETTER): [*_not_allowed()],
    }
    count = 0
    for (word, kind), conditions in lost.items():
        for index, ids in _with_words(alias, generation, word, conditions).items():
            parts = parts_of(index)
            if parts is None:
                continue
            last = parts[3] + timedelta(days=generation.days_per_index - 1)
            days = (parts[3], last) if kind == SearchChange.Kind.MESSAGE else None
            add_changes(kind, generation.environment_id, sorted(ids), days)
            count += len(ids)
    return count


def _with_words(alias: str, generation: SearchGeneration, kind: str, conditions: list[Clause]) -> dict[str, list[UUID]]:
    """Return {index: ids of documents} of a kind with words of which one of these conditions holds."""
    asked = {"bool": {"should": conditions, "minimum_should_match": 1}}
    found = client().search(
        index=indices_of(alias, generation.pk),
        query={"bool": {"filter": [{"term": {"kind": kind}}, {"nested": {"path": "payload", "query": asked}}]}},
        size=AT_ONCE,
        source=False,
        track_total_hits=False,
    )
    by_index: dict[str, list[UUID]] = {}
    for hit in found["hits"]["hits"]:
        by_index.setdefault(hit["_index"], []).append(UUID(hit["_id"]))
    return by_index


def _not_allowed() -> Iterator[Clause]:
    yield {
        "bool": {
            "must": {"exists": {"field": "payload.flow"}},
            "must_not": {"terms": {"payload.flow": sorted(searchable_flows())}},
        }
    }


def _let_go(alias: str, generation: SearchGeneration, now: datetime) -> Iterator[Clause]:
    terms = [one for one in read_terms(now=now) if one.environment_id == generation.environment_id]
    for day in _days(alias, generation):
        for going in goings_of(PAYLOADS, day, terms, now=now)[0]:
            yield _clause(day, going)


def _clause(day: date, going: Going) -> Clause:
    of_day: list[Clause] = [{"term": {"payload.on": day.isoformat()}}]
    if going.only is not None:
        of_day.append({"terms": {"payload.flow": sorted(going.only)}})
    return {"bool": {"filter": of_day, "must_not": {"terms": {"payload.flow": sorted(going.but)}}}}


def _days(alias: str, generation: SearchGeneration) -> list[date]:
    """Return the days of payloads whose words lie in the index."""
    counted = client().search(
        index=indices_of(alias, generation.pk),
        size=0,
        query={"term": {"kind": "message"}},
        aggs={
            "texts": {
                "nested": {"path": "payload"},
                "aggs": {"days": {"terms": {"field": "payload.on", "size": MOST_DAYS}}},
            }
        },
    )
    if "aggregations" not in counted:  # it has no index yet
        return []
    return [date.fromisoformat(one["key"]) for one in counted["aggregations"]["texts"]["days"]["buckets"]]
