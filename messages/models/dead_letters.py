"""Dead letters and their replays."""

from __future__ import annotations

from uuid import UUID

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import CheckConstraint, Index, Q, UniqueConstraint

from console.core.ids import uuid7
from messages.search.naming import name_of

WAITING = ["open", "replaying", "compensating"]  # not closed


class DeadLetter(models.Model):
    """A message that failed for good and waits for a person: origin, reason, error, body, how to send it back."""

    class State(models.TextChoices):
        OPEN = "open"
        REPLAYING = "replaying"
        COMPENSATING = "compensating"
        CLOSED = "closed"

    class Resolution(models.TextChoices):
        PROCESSED = "processed"
        DISCARDED = "discarded"
        FAILED_AGAIN = "failed_again"
        COMPENSATED = "compensated"  # what it had already done was undone
        GONE = "gone"  # it left the queue of a mirror: somebody took it there

    class ReasonCode(models.TextChoices):
        REJECTED = "rejected"
        DELIVERY_LIMIT = "delivery_limit"
        EXPIRED = "expired"
        OVERFLOW = "overflow"
        DESERIALIZATION = "deserialization"
        TARGET_ERROR = "target_error"
        AUTH = "auth"
        THROTTLED = "throttled"
        HOP_LIMIT = "hop_limit"
        UNKNOWN = "unknown"

    WAITING = WAITING

    id: models.UUIDField[UUID, UUID] = models.UUIDField(primary_key=True)  # uuid7: time-ordered by harvest
    identity: models.UUIDField[UUID, UUID] = (
        models.UUIDField()
    )  # derived from environment and the sender's id: a second copy meets the first
    environment = models.ForeignKey("identity.Environment", models.PROTECT, related_name="dead_letters")
    flow = models.ForeignKey("messaging.Flow", models.PROTECT, related_name="dead_letters")
    system = models.ForeignKey("messaging.System", models.PROTECT, null=True, related_name="dead_letters")
    agent = models.ForeignKey("identity.Agent", models.PROTECT, null=True, related_name="+")
    state = models.CharField(max_length=12, choices=State.choices, default=State.OPEN)
    resolution = models.CharField(max_length=14, choices=Resolution.choices, null=True)
    closed_at = models.DateTimeField(null=True)
    received_at = models.DateTimeField()
    failed_at = models.DateTimeField()
    first_failed_at = models.DateTimeField(null=True)
    broker = models.CharField(max_length=120)
    family = models.CharField(max_length=40)
    queue = models.CharField(max_length=300)
    origin = models.CharField(max_length=300, blank=True)
    route = models.JSONField(default=dict)
    reason = models.TextField(blank=True)
    reason_code = models.CharField(max_length=20, choices=ReasonCode.choices, default=ReasonCode.UNKNOWN)
    error_type = models.TextField(blank=True)
    error_root_type = models.TextField(blank=True)
    error_message = models.TextField(blank=True)
    error_stack = models.TextField(blank=True)
    attempts = models.IntegerField(null=True)
    message_uid: models.UUIDField[UUID | None, UUID | None] = models.UUIDField(null=True)
    message_id = models.TextField(blank=True)
    correlation_id = models.TextField(blank=True)
    trace_id: models.UUIDField[UUID | None, UUID | None] = models.UUIDField(null=True)
    span_id = models.CharField(max_length=16, blank=True)
    keys = models.JSONField(default=dict)
    content_type = models.CharField(max_length=200, blank=True)
    size_bytes = models.BigIntegerField(null=True)  # null: no body came with it
    payload_on = models.DateField(null=True)
    masked = models.JSONField(
        default=dict, db_default={}
    )  # {masking rule id: values it replaced} in everything that is stored of it
    content_masked = models.BooleanField(
        default=False, db_default=False
    )  # body, headers or properties: what a replay would send
    previous = models.ForeignKey(
        "self", models.SET_NULL, null=True, related_name="later"
    )  # the death before a replay that failed again
    group = models.ForeignKey(
        "messaging.FailureGroup", models.PROTECT, null=True, related_name="+", db_index=False
    )  # by its own fingerprint, whatever that group was merged into; null: stored before there were groups

    class Meta:
        ordering = ["-id"]
        constraints = [
            UniqueConstraint(name="dead_letter_once_per_identity", fields=["identity"]),
            CheckConstraint(name="dead_letter_state_is_known", condition=Q(state__in=[*WAITING, "closed"])),
            CheckConstraint(
                name="dead_letter_resolution_is_known",
                condition=Q(resolution__isnull=True)
                | Q(resolution__in=["processed", "discarded", "failed_again", "gone", "compensated"]),
            ),
            CheckConstraint(
                name="dead_letter_resolved_iff_closed",
                condition=Q(state="closed", resolution__isnull=False, closed_at__isnull=False)
                | (~Q(state="closed") & Q(resolution__isnull=True, closed_at__isnull=True)),
            ),
            CheckConstraint(
                name="dead_letter_content_masked_by_a_rule", condition=Q(content_masked=False) | ~Q(masked={})
            ),
        ]
        indexes = [
            Index(fields=["environment", "-id"], name="dead_letter_newest"),
            # No index knows `state`: a replay that begins then writes to none of them (see the migration 0036).
            Index(fields=["environment", "-id"], name="dead_letter_waiting", condition=Q(closed_at__isnull=True)),
            Index(fields=["environment", "flow", "-id"], name="dead_letter_by_flow"),
            Index(fields=["message_uid"], name="dead_letter_by_message"),
            Index(fields=["trace_id"], name="dead_letter_by_trace"),
            Index(fields=["payload_on"], name="dead_letter_by_payload_day"),
            Index(fields=["environment", "closed_at"], name="dead_letter_closed", condition=Q(closed_at__isnull=False)),
            GinIndex(fields=["keys"], name="dead_letter_by_key", opclasses=["jsonb_path_ops"]),
            Index(fields=["message_id"], name="dead_letter_by_message_id"),
            Index(fields=["correlation_id"], name="dead_letter_by_correlation", condition=~Q(correlation_id="")),
            Index(fields=["group", "-id"], name="dead_letter_by_group"),
            Index(  # not of those without a group: it would be read whole for what waits in an environment
                fields=["group", "-id"],
                name="dead_letter_waits_in_group",
                condition=Q(closed_at__isnull=True, group__isnull=False),
            ),
            Index(fields=["id"], name="dead_letter_ungrouped", condition=Q(group__isnull=True)),
        ]

    def __str__(self) -> str:
        return name_of(
            self.keys, self.message_id or str(self.id), what="Dead letter"
        ).title  # also its name in the audit list


class Replay(models.Model):
    """One sending of one dead letter again. Its row is the queue, the lease and the proof."""

    class State(models.TextChoices):
        QUEUED = "queued"
        SENDING = "sending"
        SENT = "sent"
        CONFIRMED = "confirmed"
        PROCESSED = "processed"
        FAILED_AGAIN = "failed_again"
        REFUSED = "refused"
        UNKNOWN = "unknown"
        WITHDRAWN = "withdrawn"  # taken back before it left

    class Expiry(models.TextChoices):
        DROP = "drop"
        KEEP = "keep"

    id: models.UUIDField[UUID, UUID] = models.UUIDField(
        primary_key=True, default=uuid7, editable=False
    )  # the replay id on the wire
    dead_letter = models.ForeignKey(DeadLetter, models.PROTECT, related_name="replays")
    # Without indexes of their own: nothing asks by them alone, and every claim and mark would write to each.
    # And without constraints, which cost as much as the row itself, each: environments and connections are never deleted, and a plan only
    # after its last item, by who has its row, as has whoever makes replays of it.
    environment = models.ForeignKey(
        "identity.Environment", models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    connection = models.ForeignKey(
        "messaging.Connection", models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    destination = models.CharField(max_length=300)
    state = models.CharField(max_length=12, choices=State.choices, default=State.QUEUED)
    attempt = models.PositiveIntegerField(default=0)  # how often a worker claimed it: the fence of its marks
    spared = models.PositiveIntegerField(
        default=0, db_default=0
    )  # of its attempts: claimed, and held back by the console itself; they count towards no bound
    lease_until = models.DateTimeField(null=True)
    not_before = models.DateTimeField(null=True)  # back-off after "unavailable"
    requested_by = models.CharField(max_length=150)
    reason = models.TextField()
    expiry = models.CharField(max_length=4, choices=Expiry.choices, blank=True, default="", db_default="")
    plan = models.ForeignKey(
        "messaging.Plan", models.PROTECT, null=True, related_name="+", db_index=False, db_constraint=False
    )
    trace_id: models.UUIDField[UUID, UUID] = models.UUIDField(default=uuid7)  # fresh trace of the replay's own send
    span_id = models.CharField(max_length=16)
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True)  # first moment something may have left
    despite_stop = models.BooleanField(
        default=False, db_default=False
    )  # a person sent it again after its plan was stopped
    confirmed_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    detail = models.TextField(blank=True)  # the broker's words, or why it is unknown
    proof_event_at = models.DateTimeField(null=True)
    proof_event_id: models.UUIDField[UUID | None, UUID | None] = models.UUIDField(null=True)
    proof_tie = models.CharField(max_length=20, blank=True)  # trace, link, message id: why this event proves it

    class Meta:
        ordering = ["-id"]
        constraints = [
            CheckConstraint(
                name="replay_state_is_known",
                condition=Q(
                    state__in=[
                        "queued",
                        "sending",
                        "sent",
                        "confirmed",
                        "processed",
                        "failed_again",
                        "refused",
                        "unknown",
                        "withdrawn",
                    ]
                ),
            ),
            CheckConstraint(name="replay_expiry_is_known", condition=Q(expiry__in=["", "drop", "keep"])),
            CheckConstraint(
                name="replay_lease_iff_sending",
                condition=Q(state="sending", lease_until__isnull=False)
                | (~Q(state="sending") & Q(lease_until__isnull=True)),
            ),
            CheckConstraint(
                name="replay_processed_has_proof", condition=~Q(state="processed") | Q(proof_event_id__isnull=False)
            ),
            UniqueConstraint(
                name="replay_one_in_flight_per_dead_letter",
                fields=["dead_letter"],
                condition=Q(state__in=["queued", "sending", "sent", "confirmed"]),
            ),
        ]
        indexes = [
            Index(fields=["connection", "id"], name="replay_due", condition=Q(state__in=["queued", "sending"])),
            Index(fields=["id"], name="replay_awaiting_proof", condition=Q(state__in=["sent", "confirmed", "unknown"])),
            Index(fields=["trace_id"], name="replay_by_trace"),
            Index(fields=["plan", "id"], name="replay_by_plan", condition=Q(plan__isnull=False)),
            Index(fields=["requested_by", "created_at"], name="replay_by_hand", condition=Q(plan__isnull=True)),
            Index(
                fields=["plan"],
                name="replay_odd",
                condition=Q(state__in=["sent", "failed_again", "refused", "unknown"]),
            ),
        ]
