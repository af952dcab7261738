"""Reads of the audit list."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from console.audit.models import AuditEntry
from console.identity.actor import Actor


def visible_audit(actor: Actor) -> QuerySet[AuditEntry]:
    """Return what the actor may read: their environments' entries of their teams and of no team; all for a superuser."""
    entries = AuditEntry.objects.select_related("environment")
    if actor.is_superuser:
        return entries
    own = Q(pk__in=[])
    for environment_id, teams in actor.grants.items():
        own |= Q(environment_id=environment_id) & (Q(team_id__isnull=True) | Q(team_id__in=list(teams)))
    return entries.filter(own)


def object_history(kind: str, object_id: str) -> QuerySet[AuditEntry]:
    """Return what was done to one object, newest first; the caller has already checked that it may be seen."""
    return AuditEntry.objects.filter(object_kind=kind, object_id=object_id)
