"""One body, from bytes to an answer, whoever brings it: an HTTP request, a Kafka record, a person who mended a refused item."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from prometheus_client import Counter, Histogram

from console.identity.models import Agent
from messages.changes.items import changes_of
from messages.changes.services import store_changes
from messages.dead_letters.items import letters_of
from messages.dead_letters.services import store_dead_letters
from messages.ingest import cloudevents, native, otlp, otlp_decode, otlp_logs
from messages.ingest.catalog import business_keys, rules_of
from messages.ingest.exceptions import store_exceptions
from messages.ingest.http import Body, Malformed, batch_identity
from messages.ingest.model import MAPPED, Batch, NewEvent, Refused
from messages.ingest.otlp_wire import TraceRequest
from messages.ingest.refusals import flow_of
from messages.ingest.writer import write_batch
from messages.mappings.definition import compiled
from messages.mappings.queries import find_mapping
from messages.mappings.rules import CODE as NOT_MAPPED
from messages.mappings.rules import Made, map_body
from messages.retention.policies import accepted_age

EVENTS = Counter("waybill_ingest_events_total", "Events by what became of them.", ["endpoint", "result"])
LAG = Histogram(
    "waybill_ingest_lag_seconds",
    "Time from the newest event of a batch to its being stored.",
    ["endpoint"],
    buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600, 86_400),
)
LETTERS = Counter("waybill_ingest_dead_letters_total", "Dead letters by what became of them.", ["result"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """What a body holds. `store` writes it in one transaction and returns the answer: accepted, duplicates, rejected or ignored."""

    items: int
    refused: list[Refused]
    store: Callable[[], dict[str, Any]]


def keys_for(agent: Agent) -> Callable[[Mapping[str, Any]], dict[str, str]]:
    return partial(business_keys, rules_of(agent.environment_id))


def _traces(agent: Agent, body: Body) -> Decoded:
    request, unreadable = otlp_decode.decode_request(body.data, body.media_type, TraceRequest)
    events, refused = otlp.events_of(
        request,
        environment_id=agent.environment_id,
        now=datetime.now(UTC),
        retention=accepted_age(agent.environment_id),
        keys=keys_for(agent),
        unreadable=unreadable,
    )
    return _of_events("traces", agent, body, events, refused)


def _events(agent: Agent, body: Body) -> Decoded:
    items, batch_id = native.split_items(body.data, body.media_type, "events")
    events, refused = native.events_of(
        items,
        environment_id=agent.environment_id,
        now=datetime.now(UTC),
        retention=accepted_age(agent.environment_id),
        keys=keys_for(agent),
    )
    return _of_events("events", agent, body, events, refused, batch_id=batch_id)


def _cloud_events(agent: Agent, body: Body) -> Decoded:
    items = cloudevents.split_items(body.data, body.media_type, body.headers)
    events, refused = cloudevents.events_of(
        items,
        environment_id=agent.environment_id,
        now=datetime.now(UTC),
        retention=accepted_age(agent.environment_id),
        keys=keys_for(agent),
    )
    # In binary mode the body alone does not tell two events apart.
    sha256 = hashlib.sha256(b"\n".join(items)).digest()
    return _of_events("cloudevents", agent, body, events, refused, sha256=sha256)


def _of_events(
    endpoint: str,
    agent: Agent,
    body: Body,
    events: list[NewEvent],
    refused: list[Refused],
    *,
    batch_id: str | None = None,
    sha256: bytes | None = None,
) -> Decoded:
    sha256 = sha256 or body.sha256
    batch = Batch(
        endpoint=endpoint,
        batch_id=batch_identity(endpoint, body.batch_id or batch_id, sha256),
        body_sha256=sha256,
        events=events,
        refused=refused,
    )
    if not events and not refused:
        return Decoded(items=0, refused=[], store=lambda: {"accepted": 0, "duplicates": 0, "rejected": []})

    def store() -> dict[str, Any]:
        answer = write_batch(agent, batch).as_json()
        if events:
            newest = max(event.occurred_at for event in events)
            LAG.labels(endpoint).observe(max(0.0, (datetime.now(UTC) - newest).total_seconds()))
        return answer

    return Decoded(items=len(events) + len(refused), refused=refused, store=store)


def _logs(agent: Agent, body: Body) -> Decoded:
    request, unreadable = otlp_decode.decode_request(body.data, body.media_type, ExportLogsServiceRequest)
    exceptions, others = otlp_logs.exceptions_of(
        request,
        environment_id=agent.environment_id,
        now=datetime.now(UTC),
        retention=accepted_age(agent.environment_id),
    )
    refused = [one for one in unreadable.values() if otlp_logs.is_exception(one.raw)]
    ignored = others - len(refused)
    identity = batch_identity("logs", body.batch_id, body.sha256)

    def store() -> dict[str, Any]:
        if not exceptions and not refused:
            return {"accepted": 0, "duplicates": 0, "rejected": [], "ignored": ignored}
        return store_exceptions(agent, exceptions, refused, ignored, batch_id=identity, body_sha256=body.sha256)

    return Decoded(items=len(exceptions) + others, refused=refused, store=store)


def _dead_letters(agent: Agent, body: Body) -> Decoded:
    items, batch_id = native.split_items(body.data, body.media_type, "dead_letters")
    letters, refused = letters_of(
        items,
        environment_id=agent.environment_id,
        now=datetime.now(UTC),
        retention=accepted_age(agent.environment_id),
        keys=keys_for(agent),
    )
    identity = batch_identity("dead-letters", body.batch_id or batch_id, body.sha256)
    store = partial(
        store_dead_letters, agent, letters, refused, batch_id=identity, body_sha256=body.sha256,
        repeated=len(items) - len(letters) - len(refused),
    )  # fmt: skip
    return Decoded(items=len(items), refused=refused, store=store)


def _changes(agent: Agent, body: Body) -> Decoded:
    items, batch_id = native.split_items(body.data, body.media_type, "changes")
    told, refused = changes_of(
        items,
        environment_id=agent.environment_id,
        now=datetime.now(UTC),
    )
    identity = batch_identity("changes", body.batch_id or batch_id, body.sha256)
    store = partial(store_changes, agent, told, refused, batch_id=identity, body_sha256=body.sha256)
    return Decoded(items=len(items), refused=refused, store=store)


DECODERS: dict[str, Callable[[Agent, Body], Decoded]] = {
    "traces": _traces,
    "logs": _logs,
    "events": _events,
    "cloudevents": _cloud_events,
    "dead-letters": _dead_letters,
    "changes": _changes,
}


def is_endpoint(name: str) -> bool:
    return name in DECODERS or name.startswith(MAPPED)


def decode(endpoint: str, agent: Agent, body: Body, *, alone: bool = False) -> Decoded:
    """Return what a body of this endpoint holds; raises Malformed, TooLarge, NotFound for a mapping that is not there.

    alone  a mapped body is one item, as refused ones are kept.
    """
    if endpoint.startswith(MAPPED):
        return _mapped(endpoint, agent, body, alone=alone)
    return DECODERS[endpoint](agent, body)


def _mapped(endpoint: str, agent: Agent, body: Body, *, alone: bool) -> Decoded:
    """Read a body by a mapping. Its refused items are kept as they came, to be sent again when the mapping or they are mended."""
    definition = find_mapping(agent.environment_id, endpoint.removeprefix(MAPPED)).definition.encode()
    found = map_body(compiled(definition), body.data, alone=alone)
    if alone and found.items > 1:
        raise Malformed(f"it has become {found.items} items: one was refused, so send one; nothing was stored")
    made = {kind: [one for one in found.made if one.kind == kind] for kind in ("event", "dead_letter")}
    around: dict[str, Any] = {
        "environment_id": agent.environment_id,
        "now": datetime.now(UTC),
        "retention": accepted_age(agent.environment_id),
        "keys": keys_for(agent),
    }
    events, refused = native.events_of([one.item for one in made["event"]], **around)
    letters, refused_letters = letters_of([one.item for one in made["dead_letter"]], **around)
    for event in events:
        event.index, event.raw = made["event"][event.index].index, made["event"][event.index].source
    for letter in letters:
        letter.index, letter.raw = made["dead_letter"][letter.index].index, made["dead_letter"][letter.index].source
    refused = _as_they_came(agent, made["event"], refused)
    refused += [Refused(index=one.index, code=NOT_MAPPED, detail=one.detail, raw=one.source) for one in found.problems]
    refused_letters = _as_they_came(agent, made["dead_letter"], refused_letters)
    # With the definition: the same body is another batch after the mapping was mended.
    identity = partial(batch_identity, batch_id=body.batch_id, sha256=hashlib.sha256(definition + body.data).digest())
    stores: list[tuple[str, Decoded]] = []
    if events or refused:
        batch = Batch(
            endpoint=endpoint, batch_id=identity(endpoint), body_sha256=body.sha256, events=events, refused=refused
        )
        write = lambda: write_batch(agent, batch).as_json()  # noqa: E731
        stores.append(("mapped", Decoded(items=0, refused=refused, store=write)))
    if letters or refused_letters:
        write_letters = partial(
            store_dead_letters, agent, letters, refused_letters, batch_id=identity(f"{endpoint}:dead-letters"),
            body_sha256=body.sha256, endpoint=endpoint, repeated=len(made["dead_letter"]) - len(letters) - len(refused_letters),
        )  # fmt: skip
        stores.append(("dead-letters", Decoded(items=0, refused=refused_letters, store=write_letters)))

    def store_all() -> dict[str, Any]:
        answers = [store(name, decoded) for name, decoded in stores]
        rejected = sorted((one for answer in answers for one in answer["rejected"]), key=lambda one: int(one["index"]))
        counted = {name: sum(answer[name] for answer in answers) for name in ("accepted", "duplicates")}
        return {**counted, "rejected": rejected, "ignored": found.ignored}

    return Decoded(items=len(found.made) + len(found.problems), refused=refused + refused_letters, store=store_all)


def _as_they_came(agent: Agent, made: Sequence[Made], refused: Sequence[Refused]) -> list[Refused]:
    """Return what the native decoders refused as items of the sender's body, with the flow that they were to be of."""
    return [
        replace(
            one,
            index=made[one.index].index,
            raw=made[one.index].source,
            flow_id=flow_of(agent.environment_id, "events", made[one.index].item),
        )
        for one in refused
    ]


def store(endpoint: str, decoded: Decoded) -> dict[str, Any]:
    """Store it, count it, and return the answer; raises BatchConflict, Unavailable."""
    answer = decoded.store()
    if endpoint.startswith(MAPPED):  # its parts were counted by themselves
        EVENTS.labels("mapped", "ignored").inc(answer["ignored"])
        return answer
    counter = LETTERS.labels if endpoint == "dead-letters" else partial(EVENTS.labels, endpoint)
    names = ("accepted", "duplicates") if endpoint == "dead-letters" else ("accepted", "duplicate")
    counter(names[0]).inc(answer["accepted"])
    counter(names[1]).inc(answer["duplicates"])
    counter("rejected").inc(len(answer.get("rejected", ())))
    if answer.get("ignored"):
        counter("ignored").inc(answer["ignored"])
    return answer
