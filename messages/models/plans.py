"""Plans: a frozen selection of dead letters and what will be done to them; and what stops every replay at once."""

from __future__ import annotations

from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import CheckConstraint, Index, Q, UniqueConstraint

from messages.plans.doing import DOES
from messages.plans.reasons import LEFT_OUT
from messages.plans.states import ENDED, STATES

DEFAULT_RATE = 10.0
ENDED_STATES = sorted(ENDED)


class Plan(models.Model):
    """A frozen, checksummed selection of dead letters, and what will be done to them. Its reference is P-<id>.

    does       replay: they are sent again; compensate: what had happened is undone, each by its flow's compensation book.
    source     query, group, ticked or list: how the letters were chosen; `q` and `group` say which, for people: the items decide.
    checksum   SHA-256 over the ids of the items in order and everything that changes what is sent where (checksum.py).
    edits      what is changed in each message before it is sent, sealed (edits.py); empty for nothing.
    wave_ends  ordinal of each wave's last item, rising; `steps` are what they were made of.
    figures    of the selection when it was frozen: see freeze.py.
    flow_ids   the flows of all its items, those that were left out too: who may not see one of them does not see the plan.
    sent_flow_ids  those of what is sent: who does not operate all of them does nothing to the plan.
    released_to  every item up to this ordinal was handed to the workers, or left out, or is held back behind one of its key.
    """

    class Source(models.TextChoices):
        QUERY = "query"
        GROUP = "group"
        TICKED = "ticked"
        LIST = "list"

    class WaitsFor(models.TextChoices):
        PROCESSED = "processed"
        CONFIRMED = "confirmed"

    environment = models.ForeignKey("identity.Environment", models.PROTECT, related_name="+")
    created_by = models.CharField(max_length=150)
    created_by_user = models.ForeignKey("identity.User", models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    does = models.CharField(max_length=10, default="replay", db_default="replay")
    source = models.CharField(max_length=6, choices=Source.choices)
    q = models.TextField(blank=True)
    group = models.ForeignKey("messaging.FailureGroup", models.SET_NULL, null=True, related_name="plans")
    reason = models.TextField()
    ticket = models.CharField(max_length=100, blank=True)
    state = models.CharField(max_length=17, default="draft")
    state_at = models.DateTimeField()
    state_by = models.CharField(max_length=150)
    why = models.TextField(blank=True)  # it is in this state, in words
    checksum = models.CharField(max_length=64, blank=True)
    flow_ids: models.Field[list[int], list[int]] = ArrayField(models.BigIntegerField(), default=list)
    sent_flow_ids: models.Field[list[int], list[int]] = ArrayField(models.BigIntegerField(), default=list)
    items_count = models.PositiveIntegerField(default=0)  # that are sent; without those that are left out
    figures = models.JSONField(default=dict)

    destination = models.CharField(max_length=300, blank=True)  # "": each where it came from
    connection = models.ForeignKey(
        "messaging.Connection", models.PROTECT, null=True, related_name="+"
    )  # null: of its broker
    expiry = models.CharField(max_length=4, blank=True, default="")
    edits = models.BinaryField(default=b"")
    edits_sha256 = models.CharField(max_length=64, blank=True)
    order_key = models.CharField(max_length=64, blank=True)  # business key whose items keep their order; "": none

    steps: models.Field[list[str], list[str]] = ArrayField(models.CharField(max_length=16), default=list)
    wave_ends: models.Field[list[int], list[int]] = ArrayField(models.PositiveIntegerField(), default=list)
    rate_per_s = models.FloatField(null=True, default=DEFAULT_RATE)  # null: as fast as the broker takes them
    concurrency = models.PositiveIntegerField(default=8000)  # with the workers, or waiting for one, at once
    waits_for = models.CharField(max_length=9, choices=WaitsFor.choices, default=WaitsFor.PROCESSED)
    wave_wait_s = models.PositiveIntegerField(default=600)
    stop_failed_percent = models.FloatField(default=5.0)
    stop_latency_times = models.FloatField(null=True, default=4.0)

    approval_why = models.TextField(blank=True)  # why a second person is needed; "": none is
    approved_by = models.CharField(max_length=150, blank=True)
    approved_by_user = models.ForeignKey("identity.User", models.SET_NULL, null=True, related_name="+")
    approved_at = models.DateTimeField(null=True)
    approved_checksum = models.CharField(max_length=64, blank=True)

    begins_at = models.DateTimeField(null=True)
    # Who started it, and with which key. Of who is deleted the number stays, so that nobody is not taken for a command.
    started_by_user = models.ForeignKey(
        "identity.User", models.DO_NOTHING, null=True, related_name="+", db_constraint=False, db_index=False
    )
    started_by_key = models.ForeignKey(
        "identity.Key", models.DO_NOTHING, null=True, related_name="+", db_constraint=False, db_index=False
    )
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    wave = models.PositiveSmallIntegerField(default=0)  # that runs, from 1; 0: none has begun
    wave_released_at = models.DateTimeField(null=True)  # the last item of the wave was handed to the workers
    released_to = models.PositiveIntegerField(default=0)
    forgiven = models.JSONField(
        default=dict
    )  # {outcome: items} that stood when it was resumed: they count no more against its bounds
    allowance = models.FloatField(default=0)  # items that the rate allows at `allowance_at`
    allowance_at = models.DateTimeField(null=True)

    automatic = models.ForeignKey(
        "messaging.AutomaticRule", models.SET_NULL, null=True, related_name="plans"
    )  # the rule that made it
    mail_to_author = models.BooleanField(default=False, db_default=False)  # a report, whenever it ends or stops itself
    reported_at = models.DateTimeField(null=True)  # the report was mailed last
    overdue_told_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            CheckConstraint(name="plan_state_is_known", condition=Q(state__in=STATES)),
            CheckConstraint(name="plan_does_is_known", condition=Q(does__in=list(DOES))),
            CheckConstraint(
                name="plan_approved_for_its_checksum",
                condition=~Q(state="approved") | Q(approved_at__isnull=False, approved_checksum=models.F("checksum")),
            ),
            CheckConstraint(
                name="plan_approved_by_another",
                condition=Q(approved_by_user__isnull=True)
                | Q(created_by_user__isnull=True)
                | ~Q(approved_by_user=models.F("created_by_user")),
            ),
            CheckConstraint(
                name="plan_begins_when_scheduled", condition=~Q(state="scheduled") | Q(begins_at__isnull=False)
            ),
            UniqueConstraint(
                name="plan_one_of_a_rule_at_a_time",
                fields=["automatic"],
                condition=Q(automatic__isnull=False) & ~Q(state__in=ENDED_STATES),
            ),
        ]
        indexes = [
            Index(fields=["environment", "-id"], name="plan_newest"),
            Index(fields=["id"], name="plan_at_work", condition=Q(state__in=["scheduled", "running"])),
            Index(
                fields=["expires_at"],
                name="plan_expiring",
                condition=Q(state__in=["draft", "awaiting_approval", "approved"]),
            ),
            Index(fields=["automatic", "-id"], name="plan_by_rule", condition=Q(automatic__isnull=False)),
            Index(fields=["state_at"], name="plan_reporting", condition=Q(mail_to_author=True)),
            Index(fields=["created_by", "started_at"], name="plan_by_author"),
        ]

    def __str__(self) -> str:
        return self.reference

    @property
    def reference(self) -> str:
        return f"P-{self.pk}"


class PlanItem(models.Model):
    """One dead letter of a plan. Frozen: but for being left out, it never changes; what became of it is its replay's state.

    ordinal    from 1 in the order of sending; those that are left out come behind the others.
    key        its value of the plan's order key, "" for none.
    replay_id  which its replay has once it is handed to the workers, or its compensation (`uid`), so that the two are one for ever.
    """

    id = models.BigAutoField(primary_key=True)
    plan = models.ForeignKey(Plan, models.CASCADE, related_name="items", db_index=False)
    ordinal = models.PositiveIntegerField()
    dead_letter = models.ForeignKey("messaging.DeadLetter", models.PROTECT, related_name="plan_items")
    key = models.TextField(blank=True)
    left_out = models.CharField(max_length=20, blank=True)  # of messages.plans.reasons; "": it is sent
    detail = models.TextField(blank=True)
    replay_id: models.UUIDField[UUID, UUID] = models.UUIDField()

    class Meta:
        ordering = ["plan", "ordinal"]
        constraints = [
            UniqueConstraint(name="plan_item_ordinal_once", fields=["plan", "ordinal"]),
            UniqueConstraint(name="plan_item_letter_once", fields=["plan", "dead_letter"]),
            CheckConstraint(name="plan_item_left_out_is_known", condition=Q(left_out__in=["", *LEFT_OUT])),
        ]
        indexes = [
            Index(fields=["plan", "key", "ordinal"], name="plan_item_by_key", condition=~Q(key="")),
        ]


class ReplayStop(models.Model):
    """While it stands nothing is sent again: in one flow, or in the whole environment. Whoever lifts it deletes the row."""

    environment = models.ForeignKey("identity.Environment", models.CASCADE, related_name="replay_stops")
    flow = models.ForeignKey("messaging.Flow", models.CASCADE, null=True, related_name="replay_stops")
    stopped_by = models.CharField(max_length=150)
    stopped_at = models.DateTimeField(auto_now_add=True)
    reason = models.TextField()

    class Meta:
        ordering = ["id"]
        constraints = [
            UniqueConstraint(name="replay_stop_once_per_flow", fields=["environment", "flow"], nulls_distinct=False)
        ]
