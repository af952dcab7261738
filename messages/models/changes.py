"""What people and pipelines changed: deployments, configuration changes, maintenance windows."""

from __future__ import annotations

from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import CheckConstraint, F, Index, Q, UniqueConstraint

from console.core.ids import uuid7


class Change(models.Model):
    """One change, known by its sender's id in its environment; a later message with the same id says more about it.

    systems, flows  names as the sender wrote them, matched when read: a name that nothing has yet may be given to something later.
    started_at, ended_at  may lie ahead (a planned window). Without an end it is an instant, or it has not ended yet.
    """

    class Kind(models.TextChoices):
        DEPLOYMENT = "deployment"
        CONFIGURATION = "configuration"
        MAINTENANCE = "maintenance"

    class Outcome(models.TextChoices):
        NOT_TOLD = "", "not told"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    id: models.UUIDField[UUID, UUID] = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    identity: models.UUIDField[UUID, UUID] = models.UUIDField()  # derived from environment and the sender's id
    environment = models.ForeignKey("identity.Environment", models.PROTECT, related_name="+")
    agent = models.ForeignKey("identity.Agent", models.SET_NULL, null=True, related_name="+")  # null: said by a person
    external_id = models.CharField(max_length=256)
    kind = models.CharField(max_length=13, choices=Kind.choices)
    title = models.CharField(max_length=300)
    version = models.CharField(max_length=120, blank=True)
    systems = ArrayField(models.CharField(max_length=120), default=list)
    flows = ArrayField(models.CharField(max_length=200), default=list)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=9, choices=Outcome.choices, blank=True)
    url = models.URLField(max_length=2000, blank=True)
    author = models.CharField(max_length=150, blank=True)
    received_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True)
    withdrawn_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-started_at", "-id"]
        constraints = [
            UniqueConstraint(name="change_once_per_environment_and_id", fields=["identity"]),
            CheckConstraint(
                name="change_kind_is_known", condition=Q(kind__in=["deployment", "configuration", "maintenance"])
            ),
            CheckConstraint(
                name="change_outcome_is_known",
                condition=Q(outcome__in=["", "running", "succeeded", "failed", "cancelled"]),
            ),
            CheckConstraint(
                name="change_ends_after_it_started",
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("started_at")),
            ),
            CheckConstraint(
                name="change_withdrawn_at_and_by_agree",
                condition=Q(withdrawn_at__isnull=True, withdrawn_by="")
                | (Q(withdrawn_at__isnull=False) & ~Q(withdrawn_by="")),
            ),
        ]
        # The list is read in this order; a look around a time reads the range from a month before it, the longest that anything lasts.
        indexes = [Index(fields=["environment", "-started_at", "-id"], name="change_by_start")]

    def __str__(self) -> str:
        return self.title
