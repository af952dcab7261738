"""Whom notices reach: channels, the hosts that an administrator approved, what was told and what came back, and alerts from elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import models
from django.db.models import CheckConstraint, Index, Q, UniqueConstraint

from alerts.delivery.states import ENDED, OPEN, STATES


class Channel(models.Model):
    """A way to tell people or a system, of one environment.

    settings  what it was told, by field; secrets apart.   secret  Fernet token of the secret fields as JSON; write-only.
    failures  tries in a row that ended with "later"; from five on the channel rests until `rests_until`, then one try decides.
    next_at   before it nothing more is begun: the channel's rate, or what its receiver asked for.
    """

    seals = "secret"  # of the master key, which a rotation renews

    environment = models.ForeignKey("identity.Environment", models.PROTECT, related_name="+")
    kind = models.CharField(max_length=40)  # of a Notifier
    name = models.CharField(max_length=120)
    settings = models.JSONField(default=dict)
    secret = models.BinaryField(default=b"")
    title_template = models.CharField(max_length=200, blank=True)
    text_template = models.TextField(blank=True)
    enabled = models.BooleanField(default=True)
    failures = models.PositiveIntegerField(default=0)
    rests_until = models.DateTimeField(null=True)
    next_at = models.DateTimeField(null=True)
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        constraints = [UniqueConstraint(name="channel_name_once_per_environment", fields=["environment", "name"])]

    def __str__(self) -> str:
        return self.name

    @property
    def is_resting(self) -> bool:
        """Whether its receiver failed so often that it is left alone for now."""
        return self.rests_until is not None and self.rests_until > datetime.now(UTC)


class ApprovedHost(models.Model):
    """A host where channels may send to, beside the vendors' own: `host`, or `host:port`. Of the whole console."""

    host = models.CharField(max_length=260, unique=True)
    approved_by = models.CharField(max_length=150)
    approved_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["host"]

    def __str__(self) -> str:
        return self.host


class NoticeDelivery(models.Model):
    """One notice for one channel: a row of the outbox. The row is the queue, see alerts/delivery/claim.py.

    notice   frozen when it was queued.   attempt  how many tries it had in all; fences off a worker that was given up.
    tries    since it was queued or sent again: against the number after which it is dead.
    next_at  when it may be tried; of `sending` the end of the lease; null when it has ended.
    repeat_at  a telling that fires is told again then, to a receiver that forgets.   token  of a test: a second press meets the first.
    """

    channel = models.ForeignKey(Channel, models.CASCADE, related_name="deliveries")
    thread = models.CharField(max_length=500)
    happening = models.CharField(max_length=12)
    title = models.CharField(max_length=300)
    notice = models.JSONField()
    state = models.CharField(max_length=10, choices=STATES, default="queued")
    attempt = models.PositiveIntegerField(default=0)
    tries = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(null=True)
    repeat_at = models.DateTimeField(null=True)
    token = models.CharField(max_length=40, null=True)
    answer = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    queued_at = models.DateTimeField()  # or sent again: a day later it is given up
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            CheckConstraint(name="notice_delivery_state_is_known", condition=Q(state__in=[name for name, _ in STATES])),
            CheckConstraint(
                name="notice_delivery_is_tried_until_it_ended",
                condition=Q(state__in=OPEN, next_at__isnull=False, finished_at__isnull=True)
                | Q(state__in=ENDED, next_at__isnull=True, finished_at__isnull=False),
            ),
            CheckConstraint(
                name="notice_delivery_repeats_only_when_delivered",
                condition=Q(repeat_at__isnull=True) | Q(state="delivered"),
            ),
            UniqueConstraint(name="notice_delivery_token_once", fields=["channel", "token"]),
        ]
        indexes = [
            Index(fields=["channel", "-id"], name="notice_delivery_of_channel"),
            Index(fields=["channel", "thread", "id"], name="notice_delivery_of_thread"),
            Index(fields=["channel", "next_at"], name="notice_delivery_due", condition=Q(state__in=OPEN)),
            Index(fields=["queued_at"], name="notice_delivery_open", condition=Q(state__in=OPEN)),
            Index(fields=["repeat_at"], name="notice_delivery_repeats", condition=Q(repeat_at__isnull=False)),
            Index(fields=["channel", "-id"], name="notice_delivery_dead", condition=Q(state="dead")),
            Index(fields=["finished_at"], name="notice_delivery_ended", condition=Q(finished_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.title


class DeliveryAttempt(models.Model):
    """One try and what came back: response is cut and holds none of the channel's secrets."""

    delivery = models.ForeignKey(NoticeDelivery, models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    result = models.CharField(max_length=8)  # taken, refused or later
    status = models.PositiveSmallIntegerField(null=True)  # of HTTP or SMTP; null without an answer
    response = models.TextField(blank=True)

    class Meta:
        ordering = ["number"]
        constraints = [
            UniqueConstraint(name="delivery_attempt_number_once", fields=["delivery", "number"]),
            CheckConstraint(
                name="delivery_attempt_result_is_known", condition=Q(result__in=["taken", "refused", "later"])
            ),
        ]


class ExternalAlert(models.Model):
    """An alert that another system sent: one row from its beginning to its end, joined to a flow when its label `flow` names one.

    fingerprint  the sender's name of the alert; with starts_at one occurrence of it.
    """

    environment = models.ForeignKey("identity.Environment", models.CASCADE, related_name="+")
    agent = models.ForeignKey("identity.Agent", models.SET_NULL, null=True, related_name="+")
    flow = models.ForeignKey("messaging.Flow", models.SET_NULL, null=True, related_name="+")
    fingerprint = models.CharField(max_length=64)
    status = models.CharField(max_length=8)
    name = models.CharField(max_length=200)
    severity = models.CharField(max_length=40, blank=True)
    summary = models.CharField(max_length=1000, blank=True)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    labels = models.JSONField(default=dict)
    annotations = models.JSONField(default=dict)
    url = models.CharField(max_length=2000, blank=True)  # http or https: of the sender's page
    received_at = models.DateTimeField()  # when the last word of it came

    class Meta:
        ordering = ["-starts_at", "-id"]
        constraints = [
            UniqueConstraint(
                name="external_alert_once_per_occurrence", fields=["environment", "fingerprint", "starts_at"]
            ),
            CheckConstraint(
                name="external_alert_has_an_end_iff_resolved",
                condition=Q(status="firing", ends_at__isnull=True) | Q(status="resolved", ends_at__isnull=False),
            ),
        ]
        indexes = [
            Index(fields=["environment", "flow", "-starts_at"], name="external_alert_of_flow"),
            Index(fields=["received_at"], name="external_alert_received"),
        ]

    def __str__(self) -> str:
        return self.name
