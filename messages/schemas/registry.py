"""What Confluent's schema registry answers, pasted: {"schema": "…", "id": 42, "schemaType": "PROTOBUF"}. Pure.

Source: Confluent's Schema Registry API reference: GET /subjects/…/versions/… and GET /schemas/ids/…; no schemaType is Avro.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from messages.schemas.limits import BadSchema

FORMATS = {"AVRO": "avro", "PROTOBUF": "protobuf", "JSON": "json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """schema_id: 0 when the answer does not say it."""

    schema: str
    format: str
    schema_id: int


class _Said(msgspec.Struct):
    schema: str
    id: int = 0
    schema_type: str = msgspec.field(name="schemaType", default="AVRO")
    references: list[msgspec.Raw] = []


def registry_answer(text: str) -> Answer | None:
    """Return what a registry's answer says, None for what is none; raises BadSchema for one that cannot be used."""
    try:
        said = msgspec.json.decode(text.encode("utf-8", "replace"), type=_Said)
    except (msgspec.DecodeError, RecursionError):
        return None
    if said.schema_type not in FORMATS:
        raise BadSchema(f"the registry says it is {said.schema_type[:40]}: Avro, Protobuf and JSON are known")
    if said.references:
        raise BadSchema("it refers to other schemas of the registry: write them into one, or give a FileDescriptorSet")
    return Answer(schema=said.schema, format=FORMATS[said.schema_type], schema_id=max(said.id, 0))
