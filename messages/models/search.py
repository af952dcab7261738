"""The outbox of an optional search back end, and what has been built there."""

from __future__ import annotations

from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import CheckConstraint, Index, Q, UniqueConstraint
from django.db.models.functions import Now


class SearchChange(models.Model):
    """Messages or dead letters that changed, up to a thousand; written by triggers, in the transaction of the change.

    Only that they changed: a worker reads what they are when it takes the row. Gone when the back end has them.
    """

    class Kind(models.IntegerChoices):
        MESSAGE = 1
        LETTER = 2

    kind = models.SmallIntegerField(choices=Kind.choices)
    environment = models.ForeignKey(
        "identity.Environment", models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    ids = ArrayField(models.UUIDField())
    first_on = models.DateField(null=True)  # of messages: their days, so that only these partitions are read
    last_on = models.DateField(null=True)
    changed_at = models.DateTimeField(db_default=Now())
    not_before = models.DateTimeField(null=True)  # leased, or refused for now: nobody takes it before
    attempt = models.IntegerField(db_default=0)  # how often a worker took it: the fence of its lease

    class Meta:
        ordering = ["id"]
        constraints = [
            CheckConstraint(name="search_change_kind_is_known", condition=Q(kind__in=[1, 2])),
            CheckConstraint(
                name="search_change_has_days_iff_messages",
                condition=Q(kind=1, first_on__isnull=False, last_on__isnull=False)
                | Q(kind=2, first_on__isnull=True, last_on__isnull=True),
            ),
        ]


class SearchGeneration(models.Model):
    """One complete set of an environment's indices. Building: filled, and told of every change; live: searched; retiring: to be deleted."""

    class State(models.TextChoices):
        BUILDING = "building"
        LIVE = "live"
        RETIRING = "retiring"

    environment = models.ForeignKey("identity.Environment", models.CASCADE, related_name="+")
    state = models.CharField(max_length=8, choices=State.choices, default=State.BUILDING)
    days_per_index = models.PositiveSmallIntegerField()
    started_at = models.DateTimeField(auto_now_add=True)
    went_live_at = models.DateTimeField(null=True)
    # Where filling stands: every message of earlier days, and those of this day up to this id, are there.
    days_left = models.PositiveIntegerField(null=True)
    filled_day = models.DateField(null=True)
    filled_id: models.UUIDField[UUID | None, UUID | None] = models.UUIDField(null=True)
    messages_filled = models.BooleanField(default=False)
    filled = models.BooleanField(default=False)
    documents = models.BigIntegerField(default=0)
    compared_run = models.BigIntegerField(
        null=True
    )  # the run of retention after which held days were compared; 0: before any
    indices = models.JSONField(default=dict, db_default={})  # {name: UUID} that Elasticsearch had when it was last seen
    kept = models.BigIntegerField(null=True)  # the latest turn that its template said while this was there
    lease_until = models.DateTimeField(null=True)  # who fills it
    leased_by: models.UUIDField[UUID | None, UUID | None] = models.UUIDField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            CheckConstraint(
                name="search_generation_state_is_known", condition=Q(state__in=["building", "live", "retiring"])
            ),
            UniqueConstraint(
                name="search_generation_one_building", fields=["environment"], condition=Q(state="building")
            ),
            UniqueConstraint(name="search_generation_one_live", fields=["environment"], condition=Q(state="live")),
            CheckConstraint(
                name="search_generation_lease_names_its_holder",
                condition=Q(lease_until__isnull=True, leased_by__isnull=True)
                | Q(lease_until__isnull=False, leased_by__isnull=False),
            ),
        ]


class Unindexed(models.Model):
    """A message or dead letter that the back end refused for what it is. It is found by PostgreSQL alone until it changes."""

    environment = models.ForeignKey("identity.Environment", models.CASCADE, related_name="+")
    kind = models.SmallIntegerField(choices=SearchChange.Kind.choices)
    object_id: models.UUIDField[UUID, UUID] = models.UUIDField()
    reason = models.TextField()
    refused_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            UniqueConstraint(name="unindexed_once", fields=["kind", "object_id"]),
            CheckConstraint(name="unindexed_kind_is_known", condition=Q(kind__in=[1, 2])),
        ]
        indexes = [Index(fields=["environment", "-id"], name="unindexed_newest")]


class ErrorTextsSince(models.Model):
    """One row: from which day on messaging_message_text has the errors of all messages; see messages.ingest.error_texts."""

    begun_on = models.DateField()
    since = models.DateField()

    class Meta:
        constraints = [CheckConstraint(name="error_texts_since_is_one_row", condition=Q(id=1))]

    def __str__(self) -> str:
        return f"since {self.since}"
