"""Events made ready for COPY: their places in the catalog, what masking leaves of them, their payload sealed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from functools import partial

import msgspec
from django.db import DataError

from console.identity.models import Agent
from messages.ingest import messages_sql
from messages.ingest.catalog import business_keys, flow_id_for, rules_of, system_id_for
from messages.ingest.masking import as_json, mask_event
from messages.ingest.model import NewEvent
from messages.masking.rules import Budget, Work
from messages.payloads.seal import seal
from messages.payloads.services import data_key_for

EVENT_COLUMNS = (
    ("occurred_at", "timestamptz"),
    ("id", "bytea"),  # a UUID's 16 bytes are its binary form
    ("received_at", "timestamptz"),
    ("environment_id", "int8"),
    ("flow_id", "int8"),
    ("system_id", "int8"),
    ("agent_id", "int8"),
    ("message_uid", "bytea"),
    ("message_id", "text"),
    ("correlation_id", "text"),
    ("trace_id", "bytea"),
    ("span_id", "text"),
    ("parent_span_id", "text"),
    ("operation", "int2"),
    ("outcome", "int2"),
    ("duration_us", "int8"),
    ("name", "text"),
    ("destination", "text"),
    ("error_type", "text"),
    ("error_message", "text"),
    ("error_stack", "text"),
    ("keys", "bytea"),  # jsonb, already in its binary form: half of the cost of handing it to psycopg
    ("attributes", "bytea"),
    ("clamped_from", "timestamptz"),
    ("payload_on", "date"),
)
EVENT_NAMES = ", ".join(name for name, _ in EVENT_COLUMNS)
EVENT_TYPES = [kind for _, kind in EVENT_COLUMNS]
PAYLOAD_NAMES = "stored_on, id, environment_id, flow_id, data_key_id, content_type, size_bytes, masked, sealed"
PAYLOAD_TYPES = ["date", "bytea", "int8", "int8", "int8", "text", "int8", "jsonb", "bytea"]


class Row(msgspec.Struct):
    """An event with its places in the catalog and its payload as COPY writes it. work: what masking did to it; None without rules."""

    event: NewEvent
    flow_id: int
    system_id: int
    payload: tuple[object, ...] | None
    work: Work | None


encode = msgspec.json.Encoder().encode
JSONB = b"\x01"  # jsonb's binary form is its version and the text
UNENCODABLE = (TypeError, ValueError, RecursionError, OverflowError, msgspec.MsgspecError)


def rows_of(agent: Agent, events: Sequence[NewEvent], now: datetime) -> list[Row]:
    environment_id = agent.environment_id
    flows_of_traces: dict[bytes | None, str | None] = {}
    if not all(event.destination for event in events):
        flows_of_traces = {
            event.trace_id: event.destination for event in reversed(events) if event.destination and event.trace_id
        }
    today = now.date()
    budget = Budget() if rules_of(environment_id).masking else None
    places: dict[tuple[str | None, str], tuple[int, int]] = {}
    rows = []
    for event in events:
        # A span that is not about messaging belongs to the flow of its trace's messaging, when this batch tells.
        destination = event.destination or (flows_of_traces.get(event.trace_id) if event.trace_id else None)
        place = places.get((destination, event.system))
        if place is None:
            flow_id = flow_id_for(environment_id, destination, event.system)
            place = places[(destination, event.system)] = flow_id, system_id_for(environment_id, event.system)
        flow_id, system_id = place
        work = _masked(event, environment_id, flow_id, budget) if budget else None
        payload = _sealed(environment_id, flow_id, today, event, work) if event.payload else None
        rows.append(Row(event, flow_id, system_id, payload, work))
    return rows


def columns_of(rows: Iterable[Row], agent: Agent, now: datetime) -> Iterator[tuple[object, ...]]:
    """Yield what COPY writes of each event, in the order of EVENT_COLUMNS; one at a time, because 500 of them leave the processor's cache.

    Raises DataError, as the database does, for an event that is no JSON: it is found among its neighbours and refused alone.
    """
    environment_id, agent_id, today = agent.environment_id, agent.pk, now.date()
    for row in rows:
        event = row.event
        try:
            keys, attributes = JSONB + encode(event.keys), JSONB + encode(event.attributes)
        except UNENCODABLE as error:  # cleaning should have seen to it: a mistake of ours is not to cost the batch
            raise DataError(f"an event cannot be written as JSON: {type(error).__name__}") from error
        yield (
            event.occurred_at,
            event.id,
            now,
            environment_id,
            row.flow_id,
            row.system_id,
            agent_id,
            event.message_uid,
            event.message_id,
            event.correlation_id,
            event.trace_id,
            event.span_id,
            event.parent_span_id,
            event.operation,
            event.outcome,
            event.duration_us,
            event.name,
            event.destination,
            event.error_type,
            event.error_message,
            event.error_stack,
            keys,
            attributes,
            event.clamped_from,
            today if row.payload else None,
        )


def _masked(event: NewEvent, environment_id: int, flow_id: int, budget: Budget) -> Work | None:
    """Mask an event by the rules of its flow, before anything of it is written or sealed."""
    rules = rules_of(environment_id)
    compiled = rules.masking.of_flow(flow_id)
    if compiled is None:
        return None
    work = Work(compiled, budget)
    mask_event(event, work, partial(business_keys, rules))
    return work


def _sealed(environment_id: int, flow_id: int, day: date, event: NewEvent, work: Work | None) -> tuple[object, ...]:
    payload, event.payload = event.payload, None  # open bodies are let go one by one: they may be 20 MiB together
    assert payload is not None
    key_id, key = data_key_for(environment_id, day)
    sealed = seal(key, payload.content, environment_id=environment_id, row_id=event.id)
    masked = messages_sql.json(as_json(work.in_payload)) if work and work.in_payload else None
    size = len(payload.content.body)
    return (day, event.id, environment_id, flow_id, key_id, payload.content_type, size, masked, sealed)
