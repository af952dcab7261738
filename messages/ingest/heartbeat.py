"""`/ingest/v1/heartbeat`: an agent's sign of life."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from django.http import HttpRequest, HttpResponse, JsonResponse
from msgspec import Meta

from console.identity.models import Agent
from messages.ingest import native
from messages.ingest.api import ingest_endpoint, refuse_with_problem
from messages.ingest.clocks import note_heartbeat
from messages.ingest.http import receive

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
    """`sent_at`: the agent's own clock at the sending."""

    version: Label = ""
    sent_at: Annotated[datetime, Meta(tz=True)] | None = None
    queues: Annotated[list[QueueReport], Meta(max_length=1000)] = []
    spooled: int = 0


@ingest_endpoint("heartbeat", refuse_with_problem)
def heartbeat(request: HttpRequest) -> HttpResponse:
    """A sign of life with what the agent sees of its queues."""
    agent, body = receive(request, media_types=frozenset({"application/json"}))
    report = native.decode_item(body.data, Heartbeat)
    now = datetime.now(UTC)
    Agent.objects.filter(pk=agent.pk).update(
        heartbeat_at=now, last_seen_at=now, heartbeat=_without_nul(msgspec.to_builtins(report))
    )
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
