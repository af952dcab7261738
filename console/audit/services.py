"""The one writer of the audit list."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from console.audit.models import AuditEntry
from console.identity.actor import Actor
from console.identity.models import Environment


def record_audit(
    by: Actor,
    action: str,
    target: Model,
    *,
    environment: Environment | None = None,
    team_id: int | None = None,
    reason: str = "",
    label: str = "",
    object_id: str = "",
    details: dict[str, Any] | None = None,
) -> AuditEntry:
    """Append one operator action; call it in the transaction of what it records, so that both are there or neither.

    action  `<object>.<verb, past tense>`, e.g. `replay.requested`.   details  ids and numbers, never a payload or secret.
    """
    return AuditEntry.objects.create(
        actor=by.name,
        via=by.via,
        action=action,
        environment=environment,
        team_id=team_id,
        object_kind=target._meta.model_name or "",
        object_id=object_id or str(target.pk),
        object_label=(label or str(target))[:200],
        reason=reason,
        details=details or {},
    )
