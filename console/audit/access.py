"""Who may read which entries of the audit list: the only way to fetch them for an actor."""

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
