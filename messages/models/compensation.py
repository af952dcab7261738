"""Compensation: the book of each flow, a run of it for one message, and the run's steps."""

from __future__ import annotations

from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import CheckConstraint, Index, Q, UniqueConstraint
from django.db.models.functions import Substr

from console.core.ids import uuid7
from messages.compensation.states import ENDED, STATES, STEP_STATES, TOOK_EFFECT

ENDED_STATES = sorted(ENDED)


class CompensationBook(models.Model):
    """One version of a flow's book; the newest counts. Never changed: a change is a new version.

    content  of messages.compensation.book.data_of. `steps: []` in it: this version ends the book.
    """

    id = models.BigAutoField(primary_key=True)
    flow = models.ForeignKey("messaging.Flow", models.CASCADE, related_name="compensation_books", db_index=False)
    version = models.PositiveIntegerField()
    content = models.JSONField()
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)
    reason = models.TextField()

    class Meta:
        ordering = ["flow", "-version"]
        constraints = [UniqueConstraint(name="compensation_book_version_once", fields=["flow", "version"])]

    def __str__(self) -> str:
        return f"{self.flow.name} v{self.version}"


class Compensation(models.Model):
    """One run: what is undone for one message, by one version of its flow's book. Its reference is C-<id>.

    uid         which it has as an item of a plan, so that the two are one for ever.
    message_uid, message_on  the message that failed, and the day of its row.
    checksum    SHA-256 over the steps in order and what each sends where: what a second person approves and what is executed.
    on_failure  stop: a step that fails holds the others; continue: those that do not wait for it go on.
    destination the place that its own calls are shown under in the journey: where the message that failed came from.
    already     what had been undone before it was proposed: [{"step", "title", "by", "event"}]; by: "C-7", or "" when an event proves it.
    late        further steps that were seen to complete after it was started: [{"step", "title", "event", "at", "key", "seen_at", "answer",
                "by", "reason"}]; answer is add, leave, or "" while nobody has said.
    due_at      when the engine looks at it next; None: never by itself.
    looked_at   when its whole journey was read last.
    """

    class OnFailure(models.TextChoices):
        STOP = "stop"
        CONTINUE = "continue"

    id = models.BigAutoField(primary_key=True)
    uid: models.UUIDField[UUID, UUID] = models.UUIDField(default=uuid7, unique=True, editable=False)
    environment = models.ForeignKey("identity.Environment", models.PROTECT, related_name="+")
    flow = models.ForeignKey("messaging.Flow", models.PROTECT, related_name="compensations")
    book = models.ForeignKey(CompensationBook, models.PROTECT, related_name="+")
    plan = models.ForeignKey("messaging.Plan", models.PROTECT, null=True, related_name="+", db_index=False)
    dead_letter = models.ForeignKey("messaging.DeadLetter", models.PROTECT, null=True, related_name="compensations")
    message_uid: models.UUIDField[UUID | None, UUID | None] = models.UUIDField(null=True)
    message_on = models.DateField(null=True)
    message_id = models.TextField(blank=True)
    trace_id: models.UUIDField[UUID | None, UUID | None] = models.UUIDField(null=True)  # of the message that failed
    keys = models.JSONField(default=dict)
    destination = models.TextField(blank=True)
    already = models.JSONField(default=list)

    state = models.CharField(max_length=21, default="proposed")
    state_at = models.DateTimeField()
    state_by = models.CharField(max_length=150)
    why = models.TextField(blank=True)  # it is in this state, in words
    reason = models.TextField()
    ticket = models.CharField(max_length=100, blank=True)
    created_by = models.CharField(max_length=150)
    created_by_user = models.ForeignKey("identity.User", models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    on_failure = models.CharField(max_length=8, choices=OnFailure.choices, default=OnFailure.STOP)
    checksum = models.CharField(max_length=64, blank=True)

    approval_why = models.TextField(blank=True)  # why a second person is needed; "": none is
    approved_by = models.CharField(max_length=150, blank=True)
    approved_by_user = models.ForeignKey("identity.User", models.SET_NULL, null=True, related_name="+")
    approved_at = models.DateTimeField(null=True)
    approved_checksum = models.CharField(max_length=64, blank=True)

    begins_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    late = models.JSONField(default=list)
    looked_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            CheckConstraint(name="compensation_state_is_known", condition=Q(state__in=STATES)),
            CheckConstraint(
                name="compensation_approved_for_its_checksum",
                condition=~Q(state="approved") | Q(approved_at__isnull=False, approved_checksum=models.F("checksum")),
            ),
            CheckConstraint(
                name="compensation_approved_by_another",
                condition=Q(approved_by_user__isnull=True)
                | Q(created_by_user__isnull=True)
                | ~Q(approved_by_user=models.F("created_by_user")),
            ),
            UniqueConstraint(
                name="compensation_one_of_a_message_at_a_time",
                fields=["environment", "message_uid"],
                condition=Q(message_uid__isnull=False) & ~Q(state__in=ENDED_STATES),
            ),
            UniqueConstraint(
                name="compensation_one_of_a_dead_letter_at_a_time",
                fields=["dead_letter"],
                condition=Q(dead_letter__isnull=False) & ~Q(state__in=ENDED_STATES),
            ),
        ]
        indexes = [
            Index(fields=["environment", "-id"], name="compensation_newest"),
            Index(fields=["environment", "-id"], name="compensation_open", condition=~Q(state__in=ENDED_STATES)),
            Index(fields=["due_at", "id"], name="compensation_due", condition=Q(due_at__isnull=False)),
            Index(fields=["message_uid"], name="compensation_by_message"),
            Index(fields=["plan", "id"], name="compensation_by_plan", condition=Q(plan__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.reference

    @property
    def reference(self) -> str:
        return f"C-{self.pk}"


class CompensationStep(models.Model):
    """One completed step, and what undoes it. Its row is the queue, the lease and the proof.

    ordinal   from 1 in the order of undoing.   name, title, undo_title  of the book; titles with their {inputs} not filled in.
    action    what is sent or asked, filled in and sealed (sealed.py); b"" for what cannot be undone, and for what has a problem.
    answer    what its receiver answered last, sealed under the same data key; b"" while nobody has.
    problem   why it cannot be sent as it stands, in words: an input is missing. It is skipped, or done by hand.
    idempotency_key  derived from the event and the step, whichever run it is of; sent with each attempt.
    event_*   the event that proves that it completed.   proof_*  the receiver's event that proves that it is undone.
    """

    id: models.UUIDField[UUID, UUID] = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    compensation = models.ForeignKey(Compensation, models.CASCADE, related_name="steps", db_index=False)
    ordinal = models.PositiveIntegerField()
    name = models.CharField(max_length=63)
    title = models.TextField()
    undo_title = models.TextField(blank=True)
    kind = models.CharField(max_length=7, blank=True)  # http, message, manual; "" cannot be undone
    after: models.Field[list[str], list[str]] = ArrayField(models.CharField(max_length=63), default=list)
    system = models.CharField(max_length=120)
    event_at = models.DateTimeField()
    event_id: models.UUIDField[UUID, UUID] = models.UUIDField()
    idempotency_key: models.UUIDField[UUID, UUID] = models.UUIDField()
    action = models.BinaryField(default=b"")
    action_sha256 = models.CharField(max_length=64, blank=True)
    answer = models.BinaryField(default=b"", db_default=b"")
    problem = models.TextField(blank=True)
    connection = models.ForeignKey("messaging.Connection", models.PROTECT, null=True, related_name="+", db_index=False)

    state = models.CharField(max_length=12, default="waiting")
    attempt = models.PositiveIntegerField(default=0)  # how often a worker claimed it: the fence of its marks
    tries = models.PositiveIntegerField(default=0)  # since a person last said "retry"
    lease_until = models.DateTimeField(null=True)
    not_before = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)  # first moment something may have left
    answered_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    detail = models.TextField(blank=True)  # the receiver's words, or why it is unknown, or the person's note
    done_by = models.CharField(max_length=150, blank=True)  # who did it by hand, or skipped it
    assignee = models.CharField(max_length=150, blank=True)
    due_at = models.DateTimeField(null=True)
    trace_id: models.UUIDField[UUID, UUID] = models.UUIDField(default=uuid7)  # fresh trace of its own call
    span_id = models.CharField(max_length=16)
    proof_event_at = models.DateTimeField(null=True)
    proof_event_id: models.UUIDField[UUID | None, UUID | None] = models.UUIDField(null=True)
    proof_tie = models.CharField(max_length=80, blank=True)  # trace, link, or order_no=4711: why this event proves it

    class Meta:
        ordering = ["compensation", "ordinal"]
        constraints = [
            CheckConstraint(name="compensation_step_state_is_known", condition=Q(state__in=STEP_STATES)),
            CheckConstraint(
                name="compensation_step_lease_iff_sending",
                condition=Q(state="sending", lease_until__isnull=False)
                | (~Q(state="sending") & Q(lease_until__isnull=True)),
            ),
            UniqueConstraint(name="compensation_step_ordinal_once", fields=["compensation", "ordinal"]),
            UniqueConstraint(
                name="compensation_step_takes_effect_once",
                fields=["idempotency_key"],
                condition=Q(state__in=sorted(TOOK_EFFECT)),
            ),
            UniqueConstraint(
                name="compensation_step_proof_proves_once",
                fields=["proof_event_id"],
                condition=Q(proof_event_id__isnull=False),
            ),
        ]
        indexes = [
            Index(
                fields=["connection", "id"], name="compensation_step_due", condition=Q(state__in=["waiting", "sending"])
            ),
            Index(fields=["id"], name="compensation_step_unproved", condition=Q(state__in=["sent", "unknown"])),
            Index(fields=["due_at"], name="compensation_task_due", condition=Q(state="task")),
            Index(fields=["idempotency_key"], name="compensation_step_by_key"),
            Index(fields=["event_id"], name="compensation_step_by_event"),
            Index(Substr("action", 1, 8), name="compensation_step_data_key"),  # retention asks what a data key sealed
        ]

    def __str__(self) -> str:
        return f"step {self.ordinal}, {self.name}"
