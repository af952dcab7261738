"""Every write to mappings, and the preview of one on a sample."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.db import IntegrityError, transaction

from console.audit.services import record_audit
from console.core.errors import Conflict, Invalid
from console.identity.access import check_can_administer
from console.identity.actor import Actor
from console.identity.models import Environment
from messages.dead_letters.items import letters_of
from messages.ingest import native
from messages.ingest.catalog import business_keys, rules_of
from messages.mappings.definition import BadMapping, compile_definition, read_definition
from messages.mappings.rules import CODE, Made, map_body
from messages.models import Mapping
from messages.payloads.master import seal_text
from messages.retention.policies import accepted_age

MOST_MAPPINGS = 100  # in one environment
SAMPLE_BYTES = 256 * 1024
SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,29}", re.ASCII)
HEADER = re.compile(r"[A-Za-z0-9-]{1,80}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMapping:
    """What an administrator says of a mapping. definition: JSON. secret: empty keeps the one that there is."""

    slug: str
    name: str
    definition: str
    enabled: bool = True
    signature_header: str = ""
    secret: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What becomes of one item of a sample. kind: event, dead_letter or refused; item: the native JSON, as fields."""

    index: int
    kind: str
    item: dict[str, Any]
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    lines: list[Line]
    ignored: int


def check_mapping(said: NewMapping) -> None:
    """Raise BadMapping or Invalid, in words, for a mapping that cannot be."""
    if not SLUG.fullmatch(said.slug):
        raise Invalid("the end of the address has 1 to 30 small letters, digits and hyphens")
    if not said.name.strip() or len(said.name) > 120 or "\x00" in said.name:
        raise Invalid("a name has 1 to 120 characters")
    if said.signature_header and not HEADER.fullmatch(said.signature_header):
        raise Invalid("a header's name has letters, digits and hyphens")
    if "\x00" in said.secret or len(said.secret) > 500:
        raise Invalid("a secret has at most 500 characters")
    check_definition(said.definition)


def check_definition(definition: str) -> None:
    compile_definition(read_definition(definition))
    if "\x00" in definition or "\\u0000" in definition:
        raise BadMapping("NUL is no part of a definition")


@transaction.atomic
def add_mapping(environment: Environment, said: NewMapping, *, by: Actor) -> Mapping:
    """Make a mapping; it reads what comes from then on. Raises Forbidden, BadMapping, Invalid, Conflict."""
    check_can_administer(by, environment)
    check_mapping(said)
    if Mapping.objects.filter(environment=environment).count() >= MOST_MAPPINGS:
        raise Invalid(f"{environment.slug} has {MOST_MAPPINGS} mappings, and more are not taken")
    try:
        with transaction.atomic():
            made = Mapping.objects.create(
                environment=environment, slug=said.slug, created_by=by.name, **_columns(said, b"")
            )
    except IntegrityError as error:
        raise Conflict(f"there is a mapping '{said.slug}' already") from error
    _audit(by, "mapping.added", made)
    return made


@transaction.atomic
def change_mapping(mapping: Mapping, said: NewMapping, *, by: Actor) -> Mapping:
    """Replace what a mapping says; its slug stays, for senders know it. Raises Forbidden, BadMapping, Invalid."""
    check_can_administer(by, mapping.environment)
    check_mapping(said)
    if said.slug != mapping.slug:
        raise Invalid("the end of the address stays: senders know it. Add another mapping and remove this one")
    now = Mapping.objects.select_for_update(of=("self",)).select_related("environment").get(pk=mapping.pk)
    columns = _columns(said, bytes(now.secret))
    changed = sorted(name for name, value in columns.items() if name != "secret" and getattr(now, name) != value)
    changed += ["secret"] if said.secret and said.signature_header else []
    Mapping.objects.filter(pk=now.pk).update(**columns, updated_at=datetime.now(UTC))
    now.refresh_from_db()
    _audit(by, "mapping.changed", now, details={"changed": changed})
    return now


def _columns(said: NewMapping, secret: bytes) -> dict[str, Any]:
    if not said.signature_header:
        secret = b""
    elif said.secret:
        secret = seal_text(said.secret)
    if said.signature_header and not secret:
        raise Invalid("a signature is checked with a secret: give the one that the sender signs with")
    return {
        "name": said.name.strip(),
        "definition": said.definition,
        "enabled": said.enabled,
        "signature_header": said.signature_header,
        "secret": secret,
    }


@transaction.atomic
def remove_mapping(mapping: Mapping, *, by: Actor, reason: str) -> None:
    """Remove a mapping: what is sent to its address is refused from then on. Raises Forbidden, Invalid without a reason."""
    check_can_administer(by, mapping.environment)
    reason = reason.replace("\x00", "").strip()[:1000]
    if not reason:
        raise Invalid("say why: the reason is kept in the audit list")
    _audit(by, "mapping.removed", mapping, reason=reason)
    mapping.delete()


def _audit(
    by: Actor, action: str, mapping: Mapping, *, reason: str = "", details: dict[str, Any] | None = None
) -> None:
    record_audit(
        by,
        action,
        mapping,
        environment=mapping.environment,
        label=f"{mapping.name} ({mapping.slug})",
        reason=reason,
        details=details or {"enabled": mapping.enabled, "signed": bool(mapping.signature_header)},
    )


def preview_mapping(environment: Environment, definition: str, sample: str, *, by: Actor) -> Preview:
    """Return what a definition would make of a body, judged as ingest judges it; nothing of it is kept.

    Raises Forbidden, BadMapping, Invalid, and Malformed or TooLarge for a body that it cannot read.
    """
    check_can_administer(by, environment)
    check_definition(definition)
    data = sample.encode("utf-8", "replace")
    if len(data) > SAMPLE_BYTES:
        raise Invalid(f"a sample has at most {SAMPLE_BYTES // 1024} KiB")
    found = map_body(compile_definition(read_definition(definition)), data)
    lines = [Line(index=one.index, kind="refused", item={}, code=CODE, detail=one.detail) for one in found.problems]
    refused = _refused(environment, found.made)
    for at, made in enumerate(found.made):
        code, detail = refused.get(at, ("", ""))
        item = msgspec.json.decode(made.item)
        lines.append(Line(index=made.index, kind="refused" if code else made.kind, item=item, code=code, detail=detail))
    return Preview(lines=sorted(lines, key=lambda line: line.index), ignored=found.ignored)


def _refused(environment: Environment, made: list[Made]) -> dict[int, tuple[str, str]]:
    """Return (code, detail) of what the native decoders refuse, by its place among what was made."""
    rules = rules_of(environment.pk)
    refused: dict[int, tuple[str, str]] = {}
    for kind, decode in (("event", native.events_of), ("dead_letter", letters_of)):
        places = [at for at, one in enumerate(made) if one.kind == kind]
        _, bad = decode(
            [made[at].item for at in places],
            environment_id=environment.pk,
            now=datetime.now(UTC),
            retention=accepted_age(environment.pk),
            keys=lambda attributes: business_keys(rules, attributes),
        )
        refused |= {places[one.index]: (one.code, one.detail) for one in bad}
    return refused
