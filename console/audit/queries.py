"""Reads of the audit list."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet

from console.audit.access import visible_audit
from console.audit.models import AuditEntry
from console.identity.actor import Actor
from console.identity.models import Environment


def object_history(kind: str, object_id: str) -> QuerySet[AuditEntry]:
    """Return what was done to one object, newest first; the caller has already checked that it may be seen."""
    return AuditEntry.objects.filter(object_kind=kind, object_id=object_id)


def find_audit(
    actor: Actor,
    environment: Environment,
    *,
    who: str = "",
    kind: str = "",
    object_id: str = "",
    before: UUID | None = None,
    limit: int = 50,
) -> list[AuditEntry]:
    """Return entries of this environment and of none, newest first, those before an id; served by audit_by_environment."""
    entries = visible_audit(actor).filter(Q(environment=environment) | Q(environment__isnull=True)).order_by("-id")
    if who:
        entries = entries.filter(actor=who)
    if kind:
        entries = entries.filter(object_kind=kind)
    if object_id:
        entries = entries.filter(object_id=object_id)
    if before:
        entries = entries.filter(id__lt=before)
    return list(entries[:limit])
