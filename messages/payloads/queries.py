"""Reads of payloads: with the right to, and audited; and the worker's own read, which is no person's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Model

from console.audit.models import AuditEntry
from console.audit.services import record_audit
from console.core.errors import Forbidden
from console.identity.actor import Actor
from messages.access import can_read_payload
from messages.models import Flow, Payload
from messages.payloads.seal import Content, PayloadUnreadable, unseal
from messages.payloads.services import open_data_keys

AUDITED_EVERY = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPayload:
    """A payload opened for a reader: body, typed headers ({"name", "type", "value"}), broker properties.

    masked  {masking rule id: values it replaced before this was stored}
    """

    body: bytes
    headers: list[dict[str, object]]
    properties: dict[str, object]
    content_type: str
    size_bytes: int
    masked: dict[str, int]


def stored_content(environment_id: int, row_id: UUID, stored_on: date | None) -> Content | None:
    """Return what was sealed under this row, None when it is not stored (any more); raises PayloadUnreadable."""
    found = stored_contents(environment_id, {row_id: stored_on} if stored_on else {}).get(row_id)
    if isinstance(found, PayloadUnreadable):
        raise found
    return found


def stored_contents(environment_id: int, places: Mapping[UUID, date]) -> dict[UUID, Content | PayloadUnreadable]:
    """Return what was sealed under each of these {row id: day it was stored on}, or why it cannot be opened; not what is not stored."""
    if not places:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, data_key_id, sealed FROM messaging_payload WHERE id = ANY(%s) AND stored_on = ANY(%s) AND environment_id = %s",
            [list(places), list(set(places.values())), environment_id],
        )
        rows = cursor.fetchall()
    keys = open_data_keys({key_id for _, key_id, _ in rows})
    return {pk: _opened(keys[key_id], bytes(sealed), environment_id, pk) for pk, key_id, sealed in rows}


def _opened(
    key: bytes | PayloadUnreadable, sealed: bytes, environment_id: int, row_id: UUID
) -> Content | PayloadUnreadable:
    if isinstance(key, PayloadUnreadable):
        return key
    try:
        return unseal(key, sealed, environment_id=environment_id, row_id=row_id.bytes)
    except PayloadUnreadable as error:
        return error


def _row(row_id: UUID, stored_on: date | None) -> Payload | None:
    return Payload.objects.filter(id=row_id, stored_on=stored_on).first() if stored_on else None


def read_payload(actor: Actor, flow: Flow, owner: Model, row_id: UUID, stored_on: date | None) -> StoredPayload | None:
    """Return the payload of an event or dead letter of this flow; None when there is none.

    Raises Forbidden without the right, PayloadUnreadable when it cannot be opened. The first read of an object by an
    actor within an hour is an entry in the audit list.
    """
    if not can_read_payload(actor, flow):
        raise Forbidden(f"only operators of {flow.team or flow.environment} may read payloads of {flow.name}")
    row = _row(row_id, stored_on)
    content = stored_content(flow.environment_id, row_id, stored_on)
    if row is None or content is None:
        return None
    audit_read(actor, flow, owner, row_id)
    return StoredPayload(
        body=content.body,
        headers=content.headers,
        properties=content.properties,
        content_type=row.content_type,
        size_bytes=row.size_bytes,
        masked=row.masked or {},
    )


def audit_read(actor: Actor, flow: Flow, owner: Any, row_id: object) -> None:
    """Write down that somebody read what is sealed in an object; of an actor and an object once an hour."""
    kind = owner._meta.model_name or ""
    since = datetime.now(UTC) - AUDITED_EVERY
    mine = AuditEntry.objects.filter(
        object_kind=kind, object_id=str(row_id), action="payload.read", actor=actor.name, at__gte=since
    )
    if not mine.exists():
        record_audit(
            actor, "payload.read", owner, environment=flow.environment, team_id=flow.team_id, object_id=str(row_id)
        )
