"""`/ingest/v1/heartbeat`: an agent's sign of life."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from msgspec import Meta

from console.identity.models import Agent
from messages.catalog.queues import note_queues, queue_reports
from messages.ingest import native
from messages.ingest.api import ingest_endpoint, refuse_with_problem
from messages.ingest.clocks import note_heartbeat
from messages.ingest.http import receive

Label = Annotated[str, Meta(max_length=300)]
Count = Annotated[int, Meta(ge=0, le=2**53)]


class QueueReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a harvester says of one queue; depth and lag (age of the oldest letter) null when the broker does not tell.

    parked  letters that the console will never have.   gone  letters that left a mirrored queue.
    """

    broker: Label
    queue: Label
    mode: Annotated[str, Meta(max_length=20)] = ""
    depth: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    lag_s: Annotated[float, Meta(ge=0, le=1e12)] | None = None
    harvested: Count = 0
    parked: Count = 0
    gone: Count = 0
    error: Annotated[str, Meta(max_length=2000)] = ""


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent says of one broker over which it sends replays: its items by result since it started, when it last had an answer."""

    broker: Label
    kind: Annotated[str, Meta(max_length=40)] = ""
    confirmed: Count = 0
    refused: Count = 0
    unavailable: Count = 0
    unknown: Count = 0
    asked_at: Annotated[datetime, Meta(tz=True)] | None = None
    error: Annotated[str, Meta(max_length=2000)] = ""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """`sent_at`: the agent's own clock at the sending."""

    version: Label = ""
    sent_at: Annotated[datetime, Meta(tz=True)] | None = None
    queues: Annotated[list[QueueReport], Meta(max_length=1000)] = []
    replays: Annotated[list[ReplayReport], Meta(max_length=100)] = []
    spooled: int = 0


@ingest_endpoint("heartbeat", refuse_with_problem)
def heartbeat(request: HttpRequest) -> HttpResponse:
    """A sign of life with what the agent sees of its queues."""
    agent, body = receive(request, media_types=frozenset({"application/json"}))
    report = native.decode_item(body.data, Heartbeat)
    now = datetime.now(UTC)
    said = _without_nul(msgspec.to_builtins(report))
    with transaction.atomic():
        seen = Agent.objects.select_for_update().get(pk=agent.pk)
        before = queue_reports(seen)
        seen.heartbeat_at, seen.last_seen_at, seen.heartbeat = now, now, said
        seen.save(update_fields=["heartbeat_at", "last_seen_at", "heartbeat"])
        note_queues(agent.pk, queue_reports(seen), before, now=now)
    if report.sent_at is not None:
        note_heartbeat(agent, report.sent_at, received_at=now)
    return JsonResponse({"ok": True})


def _without_nul(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_nul(item) for key, item in value.items()}
    return value
