"""Items that were refused, kept sealed with their reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
from google.protobuf.message import DecodeError

from console.core.ids import uuid7
from console.identity.models import Agent
from messages.ingest import semconv
from messages.ingest.catalog import known_flow, rules_of
from messages.ingest.masking import mask_refused
from messages.ingest.model import MAPPED, Refused
from messages.ingest.otlp_text import KINDS, as_json, read_request
from messages.ingest.otlp_wire import plain
from messages.masking.rules import Budget, Work
from messages.models import IngestReject
from messages.payloads.seal import Content, seal
from messages.payloads.services import data_key_for


def prepare_refused(agent: Agent, endpoint: str, refused: Sequence[Refused]) -> list[Refused]:
    """Return refused items with the flow they would have belonged to, and masked where rules apply to it.

    One whose flow is not known may belong to any: every rule of its environment applies to it.
    """
    masking = rules_of(agent.environment_id).masking if refused else None
    prepared, budget = [], Budget()
    for item in refused:
        flow_id = item.flow_id or flow_of(agent.environment_id, endpoint, item.raw)
        rules = None
        if masking and not item.masked:
            rules = masking.of_unknown_flow() if flow_id is None else masking.of_flow(flow_id)
        kept = mask_refused(item, _as_json(endpoint, item.raw), Work(rules, budget)) if rules else item
        prepared.append(replace(kept, flow_id=flow_id))
    return prepared


def _as_json(endpoint: str, raw: bytes) -> str | None:
    if endpoint.startswith(
        MAPPED
    ):  # of another platform's item nobody knows which members are names and which are secrets
        return None
    try:
        return as_json(raw, KINDS[endpoint]) if endpoint in KINDS else raw.decode()
    except (DecodeError, UnicodeError):
        return None


def store_refused(
    agent: Agent, endpoint: str, refused: Sequence[Refused], now: datetime, *, whole: bool = False
) -> None:
    """Keep prepared items, sealed, with their reason and, where the item names one we know, their flow.

    whole  each is a body that was refused as one, not an item of a body.
    """
    if not refused:
        return
    key_id, key = data_key_for(agent.environment_id, now.date(), kept=True)
    rejects = []
    for item in refused:
        pk = uuid7()
        raw = seal(key, Content(item.raw), environment_id=agent.environment_id, row_id=pk.bytes)
        rejects.append(
            IngestReject(
                id=pk,
                environment_id=agent.environment_id,
                agent=agent,
                received_at=now,
                endpoint=endpoint.replace("\x00", "\ufffd")[:40],  # a Kafka header may say anything
                code=item.code,
                detail=item.detail,
                raw=raw,
                data_key_id=key_id,
                flow_id=item.flow_id,
                masked=item.masked,
                whole=whole,
            )
        )
    IngestReject.objects.bulk_create(rejects)


def flow_of(environment_id: int, endpoint: str, raw: bytes) -> int | None:
    """Return the flow that an item would have belonged to: it decides who may read it. Never makes a flow."""
    if endpoint.startswith(MAPPED):  # another platform's words: what they call a system or type says nothing here
        return None
    try:
        if endpoint == "traces":
            resource = read_request(raw, KINDS["traces"]).resource_spans[0]
            attributes = plain(resource.scope_spans[0].spans[0].attributes)
            semconv.rename(attributes)
            system = plain(resource.resource.attributes).get("service.name")
            names = [semconv.destination_of(attributes), system]
        else:
            item: dict[str, Any] = msgspec.json.decode(raw, type=dict[str, Any])
            names = [item.get(name) for name in ("destination", "origin", "queue", "type", "system")]
            names += item["flows"] if endpoint == "changes" and isinstance(item.get("flows"), list) else []
    except (msgspec.MsgspecError, DecodeError, IndexError, RecursionError, UnicodeError):
        return None
    return next(
        (found for name in names if isinstance(name, str) and (found := known_flow(environment_id, name))), None
    )
