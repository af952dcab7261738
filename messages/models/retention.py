"""How long data is kept, what may not go, and what the runs that let it go did."""

from __future__ import annotations

from django.db import models
from django.db.models import CheckConstraint, F, Index, Q, UniqueConstraint


class RetentionPolicy(models.Model):
    """One environment's days; without a row the defaults of messages.retention.rules.Policy hold."""

    environment = models.OneToOneField("identity.Environment", models.CASCADE, related_name="+", primary_key=True)
    payload_days = models.PositiveSmallIntegerField()
    metadata_days = models.PositiveSmallIntegerField()
    rollup_days = models.PositiveSmallIntegerField()
    letter_days = models.PositiveSmallIntegerField()  # after closing
    settled_reject_days = models.PositiveSmallIntegerField()
    waiting_reject_days = models.PositiveSmallIntegerField()
    reconciliation_days = models.PositiveSmallIntegerField(default=30, db_default=30)
    report_days = models.PositiveSmallIntegerField(default=400, db_default=400)
    changed_at = models.DateTimeField()
    changed_by = models.CharField(max_length=150)

    class Meta:
        constraints = [
            CheckConstraint(
                name="retention_payloads_then_metadata_then_rollups",
                condition=Q(
                    payload_days__gte=1, payload_days__lte=F("metadata_days"), metadata_days__lte=F("rollup_days")
                ),
            )
        ]

    def __str__(self) -> str:
        return f"retention of {self.environment}"


class LegalHold(models.Model):
    """Nothing of this flow, or of the whole environment, is deleted while the row is there; the audit list keeps its history."""

    environment = models.ForeignKey("identity.Environment", models.PROTECT, related_name="+")
    flow = models.ForeignKey("messaging.Flow", models.PROTECT, null=True, related_name="+")
    reason = models.TextField()
    placed_at = models.DateTimeField(auto_now_add=True)
    placed_by = models.CharField(max_length=150)

    class Meta:
        ordering = ["-id"]
        constraints = [
            UniqueConstraint(name="legal_hold_once_per_flow", fields=["flow"], condition=Q(flow__isnull=False)),
            UniqueConstraint(
                name="legal_hold_once_per_environment", fields=["environment"], condition=Q(flow__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"legal hold on {self.flow or self.environment}"


class RetentionRun(models.Model):
    """One run of retention: what it let go, what it could not, or the error that ended it."""

    class State(models.TextChoices):
        RUNNING = "running"
        FINISHED = "finished"
        UNFINISHED = "unfinished"  # something was locked, or the time was up: the next one goes on
        FAILED = "failed"

    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.RUNNING)
    details = models.JSONField(
        default=dict
    )  # {"done": [{"table", "day", "way", "rows", "bytes"}], "left": […], "error"}

    class Meta:
        ordering = ["-id"]
        constraints = [
            CheckConstraint(
                name="retention_run_state_is_known",
                condition=Q(state__in=["running", "finished", "unfinished", "failed"]),
            )
        ]
        indexes = [Index(fields=["-id"], name="retention_run_finished", condition=Q(state="finished"))]
