"""Reconciliations: a list of business keys that a system says it sent, and what became of each.

The lines of a list, what a day's messages carry and the outcome of each key are written by COPY and set-based SQL: their tables are
made by messages/migrations/0023 in SQL.
"""

from __future__ import annotations

from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import CheckConstraint, F, Index, Q, UniqueConstraint

from console.core.ids import uuid7


class ReconciliationCheck(models.Model):
    """A reconciliation that is due every working day at a time: its list comes before, and the console looks whether it came.

    The row is the queue, as that of a subscription. waiting_for: the reconciliation whose end decides about the occurrence that is due.
    """

    class State(models.TextChoices):
        NEW = "new"
        CALM = "calm"
        RAISED = "raised"
        STOPPED = "stopped"

    environment = models.ForeignKey("identity.Environment", models.CASCADE, related_name="+")
    flow = models.ForeignKey("messaging.Flow", models.CASCADE, related_name="+")
    owner = models.ForeignKey("identity.User", models.CASCADE, related_name="+")
    name = models.CharField(max_length=120)
    key_name = models.CharField(max_length=120)
    system = models.ForeignKey(
        "messaging.System", models.PROTECT, null=True, related_name="+"
    )  # as that of its reconciliations
    minute = models.SmallIntegerField()  # of the local day, when it is due
    days = ArrayField(models.SmallIntegerField())  # ISO weekdays on which it is due
    time_zone = models.CharField(max_length=60)
    hours = models.PositiveSmallIntegerField()  # the period: so long before it is due
    created_at = models.DateTimeField(auto_now_add=True)
    state = models.CharField(max_length=7, choices=State.choices, default=State.NEW)
    state_since = models.DateTimeField()
    problem = models.CharField(max_length=500, blank=True)  # why it is raised or stopped, in words
    due_at = models.DateTimeField()  # the occurrence that is next, or decided about now
    next_look_at = models.DateTimeField(null=True)
    decided_due_at = models.DateTimeField(null=True)  # when the occurrence was due that was decided last
    waiting_for = models.ForeignKey("messaging.Reconciliation", models.SET_NULL, null=True, related_name="+")
    waiting_since = models.DateTimeField(null=True)  # it has waited for that
    attempt = models.PositiveIntegerField(default=0)
    checked_at = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            UniqueConstraint(name="reconciliation_check_name_once_per_flow", fields=["flow", "name"]),
            CheckConstraint(
                name="reconciliation_check_state_is_known", condition=Q(state__in=["new", "calm", "raised", "stopped"])
            ),
            CheckConstraint(
                name="reconciliation_check_is_looked_at_unless_stopped",
                condition=Q(state="stopped", next_look_at__isnull=True)
                | (~Q(state="stopped") & Q(next_look_at__isnull=False)),
            ),
            CheckConstraint(
                name="reconciliation_check_has_a_time",
                condition=Q(minute__gte=0, minute__lt=1440, days__len__gte=1, hours__gte=1),
            ),
        ]
        indexes = [
            Index(
                fields=["next_look_at"],
                name="reconciliation_check_due",
                condition=Q(next_look_at__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return self.name


class Reconciliation(models.Model):
    """One list against one flow's messages of a period. The row is the queue of the work, step by step under `attempt`.

    state  waiting: no list yet. receiving: it comes. queued, running: compared step by step. done, cancelled, failed.
    list_attempt  which lines are the list: an upload that died leaves others.   Counts are of the last comparison that ended.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        RECEIVING = "receiving"
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        CANCELLED = "cancelled"
        FAILED = "failed"

    id: models.UUIDField[UUID, UUID] = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    environment = models.ForeignKey("identity.Environment", models.CASCADE, related_name="+")
    flow = models.ForeignKey("messaging.Flow", models.CASCADE, related_name="+")
    of_check = models.ForeignKey(ReconciliationCheck, models.SET_NULL, null=True, related_name="reconciliations")
    name = models.CharField(max_length=120)
    key_name = models.CharField(max_length=120)
    system = models.ForeignKey(
        "messaging.System", models.PROTECT, null=True, related_name="+"
    )  # that decides alone; null: any receiver
    since = models.DateTimeField()
    until = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=150)
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING)
    problem = models.CharField(max_length=500, blank=True)
    attempt = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    deaths = models.PositiveSmallIntegerField(default=0)  # of workers at this comparison
    steps_done = models.PositiveSmallIntegerField(default=0)
    steps = models.PositiveSmallIntegerField(default=0)
    list_attempt = models.PositiveIntegerField(null=True)
    received_at = models.DateTimeField(null=True)
    lines = models.PositiveIntegerField(default=0)  # that say something: keys and bad ones
    blank_lines = models.PositiveIntegerField(default=0)
    bad_lines = models.PositiveIntegerField(default=0)
    bad = models.JSONField(default=list)  # the first of them: [{"line": 7, "why": "…"}]
    evaluated_at = models.DateTimeField(null=True)
    listed = models.PositiveIntegerField(default=0)  # different keys
    repeated = models.PositiveIntegerField(default=0)  # lines that say a key again
    processed = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    moving = models.PositiveIntegerField(default=0)
    never = models.PositiveIntegerField(default=0)
    twice = models.PositiveIntegerField(default=0)
    unlisted = models.PositiveIntegerField(default=0)
    messages = models.PositiveBigIntegerField(default=0)  # of the flow in the period
    without_key = models.PositiveBigIntegerField(default=0)
    removed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            CheckConstraint(
                name="reconciliation_state_is_known",
                condition=Q(state__in=["waiting", "receiving", "queued", "running", "done", "cancelled", "failed"]),
            ),
            CheckConstraint(name="reconciliation_ends_after_it_begins", condition=Q(until__gt=F("since"))),
            CheckConstraint(
                name="reconciliation_compares_what_it_has",
                condition=~Q(state__in=["queued", "running", "done"]) | Q(list_attempt__isnull=False),
            ),
            CheckConstraint(
                name="reconciliation_counts_add_up",
                condition=Q(listed=F("processed") + F("failed") + F("moving") + F("never")),
            ),
        ]
        indexes = [
            Index(fields=["environment", "-id"], name="reconciliation_newest"),
            Index(fields=["of_check", "-id"], name="reconciliation_by_check"),
            Index(
                fields=["lease_until"],
                name="reconciliation_at_work",
                condition=Q(state__in=["receiving", "queued", "running"]) | Q(removed_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_of_list(self) -> bool:
        """Whether the counts are of the list that is there: a newer one may be being compared, or have been cancelled."""
        return bool(self.evaluated_at and self.received_at and self.evaluated_at >= self.received_at)

    @property
    def arrived(self) -> int:
        """Return how many keys of the list were seen."""
        return self.processed + self.failed + self.moving


class ReconciledKey(models.Model):
    """What became of one key: of the list, or seen without being on it."""

    class Kind(models.IntegerChoices):
        PROCESSED = 1, "processed"
        FAILED = 2, "failed"
        MOVING = 3, "on the way"
        NEVER = 4, "never seen"
        UNLISTED = 5, "not on the list"

    pk = models.CompositePrimaryKey("reconciliation_id", "kind", "key")
    reconciliation_id: models.UUIDField[UUID, UUID] = models.UUIDField()
    kind = models.SmallIntegerField(choices=Kind.choices)
    key = models.TextField(db_collation="C")
    listed = models.IntegerField()  # how often the list says it
    line = models.IntegerField(null=True)  # the first line that does
    messages = (
        models.IntegerField()
    )  # how many carry it; of several, how many one system took: the one that is named, or any
    message_uid: models.UUIDField[UUID | None, UUID | None] = models.UUIDField(null=True)  # the one that decided
    letter_id: models.UUIDField[UUID | None, UUID | None] = models.UUIDField(
        null=True
    )  # or the dead letter of no message that did

    class Meta:
        managed = False
        db_table = "messaging_reconciled_key"

    def __str__(self) -> str:
        return self.key

    @property
    def decided_by(self) -> UUID | None:
        """The message, or the dead letter of no message, that decided."""
        return self.message_uid or self.letter_id
