"""Every write to schemas, and the preview of one on a sample."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.db import IntegrityError, transaction

from console.audit.services import record_audit
from console.core.errors import Conflict, Invalid
from console.identity.access import check_can_administer
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.models import Schema
from messages.payloads.unpack import Packed, unpack
from messages.programs.runner import Runner
from messages.schemas import avro, protobuf
from messages.schemas.checking import check_definition, findings_of
from messages.schemas.decoding import AVRO, CHECKS, FORMATS, Undecoded, decode_sample
from messages.schemas.limits import LARGEST_SCHEMA, BadSchema
from messages.schemas.registry import registry_answer

MOST_SCHEMAS = 200  # in one environment
MOST_IDS = 100
LARGEST_ID = 2**31 - 1
LARGEST_TEXT = 2 * 1024 * 1024  # a FileDescriptorSet in base64
SAMPLE_CHARACTERS = 512 * 1024
HEX = re.compile(r"(?:0x)?(?:[0-9a-fA-F]{2})+")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSchema:
    """What an administrator says of a schema. definition: Avro's JSON, .proto source, a FileDescriptorSet in base64, or a registry's answer."""

    name: str
    format: str
    definition: str
    message: str = ""
    destination: str = ""
    ids: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a schema makes of a sample: JSON and how it was read; or in words why nothing."""

    json: str = ""
    steps: tuple[str, ...] = ()
    problem: str = ""


def understood(said: NewSchema) -> NewSchema:
    """Return what was said with a registry's answer taken apart; raises BadSchema."""
    answer = registry_answer(said.definition)
    if answer is None:
        return said
    ids = [] if answer.format in CHECKS else sorted({*said.ids, answer.schema_id} - {0})
    return replace(said, definition=answer.schema, format=answer.format, ids=ids)


def check_schema(said: NewSchema) -> None:
    """Raise Invalid, in words, for what else than its definition cannot be."""
    if not said.name.strip() or len(said.name) > 120 or "\x00" in said.name:
        raise Invalid("a name has 1 to 120 characters")
    if said.format not in FORMATS:
        raise Invalid(f"a schema is one of {', '.join(FORMATS)}")
    if len(said.destination) > 200 or len(said.message) > 300 or "\x00" in said.destination + said.message:
        raise Invalid("a destination has at most 200 characters, a message's name at most 300")
    if len(said.ids) > MOST_IDS or not all(0 < one <= LARGEST_ID for one in said.ids):
        raise Invalid(f"at most {MOST_IDS} ids, each between 1 and {LARGEST_ID:,}")
    if said.format in CHECKS and (said.ids or not said.destination.strip()):
        raise Invalid("a JSON Schema or XSD is for a destination, and has no ids: * is for any")
    if not said.destination.strip() and not said.ids:
        raise Invalid("say which bodies it is for: a destination, the schema's ids in the registry, or both")


def columns_of(said: NewSchema) -> dict[str, Any]:
    """Return the columns of a schema, compiled; raises BadSchema, Invalid."""
    definition = said.definition.replace("\r\n", "\n")
    if not definition.strip() or len(definition) > LARGEST_TEXT or "\x00" in definition:
        raise BadSchema(f"a schema has text, and at most {LARGEST_SCHEMA // 1024} KiB of it")
    columns: dict[str, Any] = {
        "name": said.name.strip(),
        "format": said.format,
        "definition": definition,
        "destination": said.destination.strip(),
        "ids": sorted(set(said.ids)),
    }
    if said.format == AVRO:
        return columns | {"message": "", "compiled": b"", "fingerprint": avro.read_schema(definition).fingerprint}
    if said.format in CHECKS:
        with Runner(checks=True) as runner:
            check_definition(said.format, definition, runner)
        return columns | {"message": "", "compiled": b"", "fingerprint": ""}
    compiled = protobuf.compiled_from(definition)
    message = said.message.strip()
    protobuf.find_message(protobuf.load(compiled), message)
    return columns | {"message": message, "compiled": compiled, "fingerprint": ""}


def add_schema(environment: Environment, said: NewSchema, *, by: Actor) -> Schema:
    """Make a schema; bodies are read by it from then on, those stored before too. Raises Forbidden, BadSchema, Invalid, Conflict."""
    check_can_administer(by, environment)
    said = understood(said)
    check_schema(said)
    columns = columns_of(said)  # runs a compiler: before the transaction
    with transaction.atomic():
        if Schema.objects.filter(environment=environment).count() >= MOST_SCHEMAS:
            raise Invalid(f"{environment.slug} has {MOST_SCHEMAS} schemas, and more are not taken")
        try:
            with transaction.atomic():
                made = Schema.objects.create(environment=environment, created_by=by.name, **columns)
        except IntegrityError as error:
            raise Conflict(f"there is a schema '{columns['name']}' already") from error
        _audit(by, "schema.added", made)
    return made


def change_schema(schema: Schema, said: NewSchema, *, by: Actor) -> Schema:
    """Replace what a schema says. Raises Forbidden, BadSchema, Invalid, Conflict."""
    check_can_administer(by, schema.environment)
    said = understood(said)
    check_schema(said)
    columns = columns_of(said)
    with transaction.atomic():
        now = Schema.objects.select_for_update(of=("self",)).select_related("environment").get(pk=schema.pk)
        shown = ("name", "format", "definition", "message", "destination", "ids")
        changed = sorted(name for name in shown if getattr(now, name) != columns[name])
        try:
            with transaction.atomic():
                Schema.objects.filter(pk=now.pk).update(**columns, updated_at=datetime.now(UTC))
        except IntegrityError as error:
            raise Conflict(f"there is a schema '{columns['name']}' already") from error
        now.refresh_from_db()
        _audit(by, "schema.changed", now, details={"changed": changed})
    return now


@transaction.atomic
def remove_schema(schema: Schema, *, by: Actor, reason: str) -> None:
    """Remove a schema: bodies that needed it are shown as bytes. Raises Forbidden, Invalid without a reason."""
    check_can_administer(by, schema.environment)
    reason = reason.replace("\x00", "").strip()[:1000]
    if not reason:
        raise Invalid("say why: the reason is kept in the audit list")
    _audit(by, "schema.removed", schema, reason=reason)
    schema.delete()


def _audit(by: Actor, action: str, schema: Schema, *, reason: str = "", details: dict[str, Any] | None = None) -> None:
    said = {"format": schema.format, "destination": schema.destination, "ids": schema.ids}
    record_audit(
        by, action, schema, environment=schema.environment, label=schema.name, reason=reason, details=details or said
    )


def sample_bytes(sample: str) -> bytes:
    """Return the bytes that a pasted sample is, in hex or base64; raises Invalid."""
    packed = "".join(sample.split())
    if len(packed) > SAMPLE_CHARACTERS:
        raise Invalid(f"a sample has at most {SAMPLE_CHARACTERS // 1024} KiB of text")
    if HEX.fullmatch(packed):
        return bytes.fromhex(packed.removeprefix("0x"))
    packed = packed.removeprefix("base64:").replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("a sample is given in hex or in base64") from error


def preview_schema(environment: Environment, said: NewSchema, sample: str, *, by: Actor) -> Preview:
    """Return what a schema would make of a body, whatever bodies it is for; nothing of it is kept. Raises Forbidden, BadSchema, Invalid."""
    check_can_administer(by, environment)
    said = understood(said)
    if said.format not in FORMATS:
        raise Invalid(f"a schema is one of {', '.join(FORMATS)}")
    schema = Schema(environment=environment, **columns_of(replace(said, name=said.name or "this one")))
    if said.format in CHECKS:
        return _checked(schema, sample)
    data = sample_bytes(sample)
    try:
        unpacked = unpack(data)
        done = decode_sample(unpacked.body, schema)
    except (Packed, Undecoded) as refusal:
        return Preview(problem=str(refusal))
    pretty = msgspec.json.format(done.json, indent=2).decode("utf-8", "replace")
    return Preview(json=pretty, steps=unpacked.layers + done.steps)


def _checked(schema: Schema, sample: str) -> Preview:
    if len(sample) > SAMPLE_CHARACTERS:
        raise Invalid(f"a sample has at most {SAMPLE_CHARACTERS // 1024} KiB of text")
    with Runner(checks=True) as runner:
        wrong = findings_of(schema, sample.encode("utf-8", "replace"), runner)
    return Preview(problem="; ".join(wrong)) if wrong else Preview(json=sample, steps=("It is as the schema says",))
