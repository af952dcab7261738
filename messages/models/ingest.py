"""What ingest remembers of its own work: the ledger of batches, rejected items, data keys."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import models
from django.db.models import Index, UniqueConstraint

from console.core.ids import uuid7
from console.core.words import CLOCK_TRUSTED, clock_words_of


class LedgerEntry(models.Model):
    """A batch that was answered: the same batch gets the same answer, the same id with another body is 409."""

    agent = models.ForeignKey("identity.Agent", models.CASCADE, related_name="+")
    batch = models.CharField(max_length=200)  # the sender's batch id, or "sha256:" + hex of endpoint and body
    body_sha256 = models.BinaryField(max_length=32)
    answer = models.JSONField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [UniqueConstraint(name="ledger_batch_once_per_agent", fields=["agent", "batch"])]
        indexes = [Index(fields=["created_at"], name="ledger_by_age")]


class IngestReject(models.Model):
    """An item that was refused, kept raw with its reason so that nothing disappears."""

    id: models.UUIDField[UUID, UUID] = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    environment = models.ForeignKey("identity.Environment", models.PROTECT, related_name="+")
    agent = models.ForeignKey("identity.Agent", models.CASCADE, related_name="+")
    received_at = models.DateTimeField()
    endpoint = models.CharField(max_length=40)
    code = models.CharField(max_length=60)
    detail = models.TextField()
    raw = models.BinaryField()  # sealed like a payload's body
    whole = models.BooleanField(default=False, db_default=False)  # a whole body (from Kafka), not an item of one
    data_key = models.ForeignKey("messaging.DataKey", models.PROTECT, related_name="+")
    flow = models.ForeignKey(
        "messaging.Flow", models.SET_NULL, null=True, related_name="+"
    )  # when the item names a known one
    masked = models.BooleanField(
        default=False, db_default=False
    )  # its values were taken out, because masking rules apply to its flow
    settled_at = models.DateTimeField(null=True)
    settled_by = models.CharField(max_length=150, blank=True)
    settled_how = models.CharField(
        max_length=12, blank=True, choices=[("resubmitted", "resubmitted"), ("dismissed", "dismissed")]
    )

    class Meta:
        indexes = [
            Index(fields=["environment", "-id"], name="reject_by_environment"),
            Index(fields=["environment", "-id"], name="reject_waiting", condition=models.Q(settled_at=None)),
        ]
        constraints = [
            models.CheckConstraint(
                name="reject_is_settled_somehow",
                condition=models.Q(settled_at=None, settled_how="")
                | models.Q(settled_at__isnull=False, settled_how__gt=""),
            )
        ]


class DataKey(models.Model):
    """The key of one environment's payloads of one day, wrapped by the master key (AES key wrap, RFC 3394).

    Payloads that go with their day have one; what outlives it (`kept`: dead letters, refused items) has another, so that
    destroying the first shreds the day and nothing that somebody still waits for.
    """

    environment = models.ForeignKey("identity.Environment", models.PROTECT, related_name="+")
    day = models.DateField()
    kept = models.BooleanField(default=False, db_default=False)
    wrapped = models.BinaryField(max_length=40)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            UniqueConstraint(name="data_key_once_per_environment_day_and_use", fields=["environment", "day", "kept"])
        ]


class ClockReading(models.Model):
    """The least that a system's clock, as one agent reports it, was ahead of ours in one hour; negative: behind, or reported late.

    system  None for the agent's own clock, which its heartbeats tell.   exact  the agent said its own time.
    """

    agent = models.ForeignKey("identity.Agent", models.CASCADE, related_name="clock_readings")
    system = models.ForeignKey("messaging.System", models.CASCADE, null=True, related_name="+")
    hour = models.DateTimeField()
    ahead_us = models.BigIntegerField()
    exact = models.BooleanField()

    class Meta:
        constraints = [
            UniqueConstraint(
                name="clock_reading_once_an_hour", fields=["agent", "system", "hour"], nulls_distinct=False
            )
        ]
        indexes = [Index(fields=["hour"], name="clock_reading_by_hour")]

    @property
    def ahead(self) -> timedelta:
        return timedelta(microseconds=self.ahead_us)

    @property
    def words(self) -> str:
        """Return what the reading says of the clock: "right", "2.4 s ahead"."""
        return clock_words_of(self.ahead, exact=self.exact)

    @property
    def is_wrong(self) -> bool:
        """Whether the clock is certainly wrong, not only perhaps late."""
        return self.ahead > CLOCK_TRUSTED or (self.exact and self.ahead < -CLOCK_TRUSTED)


class QueueReading(models.Model):
    """What a harvester last said of one queue in ten minutes: the trend of a connection's page, kept for a week.

    slot  the beginning of the ten minutes.   depth, lag_s  None when the broker does not tell.   harvested  letters in the slot.
    """

    agent = models.ForeignKey("identity.Agent", models.CASCADE, related_name="queue_readings")
    broker = models.CharField(max_length=300)
    queue = models.CharField(max_length=300)
    slot = models.DateTimeField()
    depth = models.BigIntegerField(null=True)
    lag_s = models.FloatField(null=True)
    harvested = models.BigIntegerField(default=0)

    class Meta:
        constraints = [UniqueConstraint(name="queue_reading_once_a_slot", fields=["agent", "broker", "queue", "slot"])]
        indexes = [Index(fields=["slot"], name="queue_reading_by_slot")]
