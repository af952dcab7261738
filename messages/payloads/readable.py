"""A stored body made readable for a person: unpacked, decoded by its schema, and masked by the rules of its flow where it was.

Stored bytes stay what the broker had, for a replay sends them. Masking could not see into what only a schema opens, or what came
before its rule: whatever is shown here and is not the stored bytes goes through the rules of its flow again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from console.core.words import size_words
from messages.ingest.catalog import rules_of
from messages.masking.bodies import mask_body
from messages.masking.rules import Budget, Work
from messages.models import Event, Flow
from messages.payloads.unpack import MOST_BYTES, Packed, Unpacked, declared_encoding, unpack
from messages.schemas.decoding import SchemaRow, Undecoded, decode
from messages.schemas.queries import schemas_for_reading

JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    """What is shown of a body.

    steps     how it was read: ("gzip, 12 KB → 88 KB", "Confluent framing, schema id 42", …); () for the stored bytes as they are.
    problem   why it is shown as it is stored, a sentence; "" when it need not be read.
    masked    {masking rule id: values it replaced now}; then, and when it is withheld, the stored bytes are not for people either.
    withheld  why nothing is shown, a sentence; then body is empty.
    """

    body: bytes
    content_type: str
    steps: tuple[str, ...] = ()
    problem: str = ""
    cut: bool = False
    masked: dict[str, int] = field(default_factory=dict)
    withheld: str = ""

    @property
    def hides_stored(self) -> bool:
        return bool(self.masked or self.withheld)


def readable(
    flow: Flow,
    body: bytes,
    content_type: str,
    headers: Sequence[Mapping[str, Any]],
    properties: Mapping[str, Any],
    destinations: Sequence[str],
    *,
    mask_again: bool = False,
    schemas: Callable[[], Sequence[SchemaRow]] | None = None,
) -> Readable:
    """Return a stored body for a person who may read it; never raises for what the body is.

    schemas     those of the environment, for whoever reads many bodies; else they are read for each that may need one.
    mask_again  also a body that is shown as it is stored, which came before its rule: for whoever shows parts of many.
    """
    try:
        plain = unpack(body, declared_encoding(headers, properties))
    except Packed as error:
        return Readable(body=body, content_type=content_type, problem=str(error))
    known = schemas or (lambda: schemas_for_reading(flow.environment_id))
    shown = _decoded(plain, len(body), content_type, destinations, known)
    return _masked(flow, shown) if shown.steps or mask_again else shown


def _decoded(
    plain: Unpacked,
    stored_bytes: int,
    content_type: str,
    destinations: Sequence[str],
    schemas: Callable[[], Sequence[SchemaRow]],
) -> Readable:
    steps = (_packing(plain, stored_bytes),) if plain.layers else ()
    unpacked = Readable(body=plain.body, content_type=content_type, steps=steps, cut=plain.cut)
    if len(plain.body) >= MOST_BYTES:
        return unpacked  # it would make more JSON than is decoded
    try:
        found = decode(plain.body, destinations, schemas)
    except Undecoded as error:
        return replace(unpacked, problem=str(error))
    if found is None:
        return unpacked
    return Readable(body=found.json, content_type=JSON, steps=steps + found.steps)


def _packing(plain: Unpacked, stored_bytes: int) -> str:
    size = f"more than {size_words(len(plain.body))}" if plain.cut else size_words(len(plain.body))
    return f"{', '.join(plain.layers)}, {size_words(stored_bytes)} → {size}"


def _masked(flow: Flow, shown: Readable) -> Readable:
    rules = rules_of(flow.environment_id).masking.of_flow(flow.pk)
    if rules is None or not rules.for_bodies:
        return shown
    if shown.cut:
        numbers = ", ".join(str(rule.id) for rule in rules.all[:5])
        return _withheld(shown, f"it is too large to be masked by rule {numbers}")
    work = Work(rules, Budget())
    done = mask_body(work, shown.body, shown.content_type)
    if work.dropped:
        numbers = ", ".join(str(rule) for rule in sorted(work.dropped)[:5])
        return _withheld(shown, f"masking rule {numbers} cannot be applied to what is in it")
    return replace(shown, body=done.body, masked={str(rule): count for rule, count in work.counts.items()})


def masked_headers(flow: Flow, headers: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return headers, which may have come before their rule, masked by the rules of their flow."""
    rules = rules_of(flow.environment_id).masking.of_flow(flow.pk)
    return Work(rules, Budget()).headers(headers) if rules is not None and rules.for_texts else headers


def mask_attributes(environment_id: int, events: Iterable[Event]) -> None:
    """Mask attributes, which may have come before their rule, by the rules of the flow of each event; in memory alone."""
    masking, budget = rules_of(environment_id).masking, Budget()
    for event in events:
        rules = masking.of_flow(event.flow_id)
        if rules is not None and rules.for_texts:
            event.attributes = Work(rules, budget).named(event.attributes)


def _withheld(shown: Readable, why: str) -> Readable:
    return replace(shown, body=b"", withheld=why)
