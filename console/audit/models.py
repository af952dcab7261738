"""The audit list: append-only, refused to be changed by the database itself."""

from __future__ import annotations

from uuid import UUID

from django.db import models
from django.db.models import Index

from console.core.ids import uuid7


class AuditEntry(models.Model):
    """One operator action: who, what, to which object, why, with which details."""

    id: models.UUIDField[UUID, UUID] = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField(auto_now_add=True)
    actor = models.CharField(max_length=150)  # user name, "agent:<name>" or "system"
    via = models.CharField(max_length=10)  # web, api, command, system
    action = models.CharField(max_length=60)  # e.g. "replay.requested"
    environment = models.ForeignKey("identity.Environment", models.PROTECT, null=True, related_name="+")
    team = models.ForeignKey("identity.Team", models.DO_NOTHING, null=True, related_name="+", db_constraint=False)
    object_kind = models.CharField(max_length=40)
    object_id = models.CharField(max_length=80)
    object_label = models.CharField(max_length=200)
    reason = models.TextField(blank=True)
    details = models.JSONField(default=dict)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        indexes = [
            Index(fields=["environment", "-id"], name="audit_by_environment"),
            Index(fields=["object_kind", "object_id", "-id"], name="audit_by_object"),
        ]
