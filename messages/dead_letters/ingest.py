"""The addresses that harvesters push to: `/ingest/v1/dead-letters` and `/ingest/v1/heartbeat`."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import msgspec
from django.http import HttpRequest, HttpResponse, JsonResponse
from msgspec import Meta
from prometheus_client import Counter

from console.identity.models import Agent
from messages.dead_letters.items import letters_of
from messages.dead_letters.services import store_dead_letters
from messages.ingest import native
from messages.ingest.api import NATIVE_TYPES, ingest_endpoint, refuse_with_problem, retention
from messages.ingest.catalog import business_keys, rules_of
from messages.ingest.http import batch_identity, finish, receive

LETTERS = Counter("waybill_ingest_dead_letters_total", "Dead letters by what became of them.", ["result"])
Label = Annotated[str, Meta(max_length=300)]


class QueueReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a harvester says of one queue; depth and lag null when the broker does not tell."""

    broker: Label
    queue: Label
    depth: int | None = None
    lag_s: float | None = None
    harvested: int = 0
    error: Annotated[str, Meta(max_length=2000)] = ""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    version: Label = ""
    queues: Annotated[list[QueueReport], Meta(max_length=1000)] = []
    spooled: int = 0


@ingest_endpoint("dead-letters", refuse_with_problem)
def dead_letters(request: HttpRequest) -> HttpResponse:
    """Dead letters: a JSON array, an envelope or NDJSON."""
    agent, body = receive(request, media_types=NATIVE_TYPES)
    items, batch_id = native.split_items(body.data, body.media_type, "dead_letters")
    letters, refused = letters_of(
        items,
        environment_id=agent.environment_id,
        now=datetime.now(UTC),
        retention=retention(),
        keys=partial(business_keys, rules_of(agent.environment_id)),
        nested_checked=body.media_type != native.NDJSON,
    )
    identity = batch_identity("dead-letters", body.batch_id or batch_id, body.sha256)
    answer = store_dead_letters(agent, letters, refused, batch_id=identity, body_sha256=body.sha256)
    for result in ("accepted", "duplicates"):
        LETTERS.labels(result).inc(answer[result])
    LETTERS.labels("rejected").inc(len(answer["rejected"]))
    finish(agent, body, len(items))
    return JsonResponse(answer)


@ingest_endpoint("heartbeat", refuse_with_problem)
def heartbeat(request: HttpRequest) -> HttpResponse:
    """A sign of life with what the agent sees of its queues."""
    agent, body = receive(request, media_types=frozenset({"application/json"}))
    report = native.decode_item(body.data, Heartbeat, nested_checked=False)
    now = datetime.now(UTC)
    Agent.objects.filter(pk=agent.pk).update(
        heartbeat_at=now, last_seen_at=now, heartbeat=_without_nul(msgspec.to_builtins(report))
    )
    return JsonResponse({"ok": True})


def _without_nul(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_nul(item) for key, item in value.items()}
    return value
