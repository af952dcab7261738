"""Breaches with their timeline, what people were told of them, silences, and the policies that say who is told."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import CheckConstraint, F, Index, Q, UniqueConstraint

from alerts.breaches.reference import reference_of
from alerts.breaches.states import OPEN, STATES, WORDS
from messages.groups.classes import CLASSES

SEVERITIES = ("page", "ticket")


class Silence(models.Model):
    """Who must not be told of what fits, until when, and why. Empty is everything; see alerts.breaches.holding.Matcher."""

    environment = models.ForeignKey("identity.Environment", models.PROTECT, related_name="+")
    flow = models.ForeignKey("messaging.Flow", models.CASCADE, null=True, related_name="+")
    source = models.CharField(max_length=20, blank=True)
    key = models.CharField(max_length=200, blank=True)
    severity = models.CharField(max_length=6, blank=True)
    labels = models.JSONField(default=dict)
    author = models.CharField(max_length=150)
    comment = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)
    starts_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    end_when_resolved = models.BooleanField(default=False)
    ended_at = models.DateTimeField(null=True)  # before it expired
    ended_by = models.CharField(max_length=150, blank=True)
    about = models.ForeignKey("alerts.Breach", models.SET_NULL, null=True, related_name="+")  # made on its page

    class Meta:
        ordering = ["-id"]
        constraints = [
            CheckConstraint(name="silence_severity_is_known", condition=Q(severity__in=["", *SEVERITIES])),
            CheckConstraint(name="silence_expires_after_it_starts", condition=Q(expires_at__gt=F("starts_at"))),
        ]
        indexes = [Index(fields=["environment", "expires_at"], name="silence_not_ended", condition=Q(ended_at=None))]

    def __str__(self) -> str:
        return f"silence {self.pk}"


class Breach(models.Model):
    """Something that is wrong, from when it was first seen until it is over. Its reference is B-<id>.

    source, key, severity  of the condition; at most one is open of each.
    opened_at  first seen; fires_at: a pending one fires then; fired_at: the last time that it began to fire.
    clear_since, frozen_at  see alerts.breaches.rules.Clocks.
    is_excluded  it cannot be measured because its time is excluded.
    unwatched_since  nobody looks any more since then: it stays as it is.
    flaps  how often it fired again shortly after it was over.
    inhibited_by, silenced_by  hold it back now.   silence_over  ended while it fired: the next notice says so.
    """

    environment = models.ForeignKey("identity.Environment", models.PROTECT, related_name="+")
    source = models.CharField(max_length=20)
    key = models.CharField(max_length=200)
    severity = models.CharField(max_length=6)
    title = models.CharField(max_length=200)
    summary = models.TextField()
    url = models.CharField(max_length=500)
    flow_ids: models.Field[list[int], list[int]] = ArrayField(models.BigIntegerField(), default=list)
    labels = models.JSONField(default=dict)
    state = models.CharField(max_length=12, default="pending")
    owner = models.ForeignKey("identity.User", models.SET_NULL, null=True, related_name="+")
    acknowledged_by = models.CharField(max_length=150, blank=True)
    acknowledged_at = models.DateTimeField(null=True)
    opened_at = models.DateTimeField()
    fires_at = models.DateTimeField()
    fired_at = models.DateTimeField(null=True)
    resolved_at = models.DateTimeField(null=True)
    last_seen_at = models.DateTimeField()
    clear_since = models.DateTimeField(null=True)
    frozen_at = models.DateTimeField(null=True)
    is_excluded = models.BooleanField(default=False, db_default=False)
    unwatched_since = models.DateTimeField(null=True)
    flaps = models.PositiveIntegerField(default=0)
    inhibited_by = models.ForeignKey("self", models.SET_NULL, null=True, related_name="+")
    silenced_by = models.ForeignKey(Silence, models.SET_NULL, null=True, related_name="+")
    silence_over = models.ForeignKey(Silence, models.SET_NULL, null=True, related_name="+")

    class Meta:
        ordering = ["-id"]
        constraints = [
            UniqueConstraint(
                name="breach_open_once",
                fields=["environment", "source", "key", "severity"],
                condition=Q(state__in=OPEN),
            ),
            CheckConstraint(name="breach_state_is_known", condition=Q(state__in=STATES)),
            CheckConstraint(name="breach_severity_is_known", condition=Q(severity__in=SEVERITIES)),
            CheckConstraint(
                name="breach_fired_unless_pending", condition=Q(state="pending") ^ Q(fired_at__isnull=False)
            ),
            CheckConstraint(
                name="breach_has_resolved_at_iff_resolved",
                condition=Q(state="resolved", resolved_at__isnull=False)
                | (~Q(state="resolved") & Q(resolved_at__isnull=True)),
            ),
            CheckConstraint(
                name="breach_acknowledged_by_somebody",
                condition=~Q(state="acknowledged") | Q(acknowledged_at__isnull=False),
            ),
        ]
        indexes = [
            Index(fields=["environment", "-id"], name="breach_open", condition=Q(state__in=OPEN)),
            Index(fields=["environment", "-id"], name="breach_newest"),
            Index(fields=["environment", "source", "key", "-resolved_at"], name="breach_resolved", condition=Q(state="resolved")),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.reference} {self.title}"

    @property
    def reference(self) -> str:
        return reference_of(self.pk)

    @property
    def state_words(self) -> str:
        return WORDS[self.state]

    @property
    def held(self) -> bool:
        """Whether it fires and nobody is told, because something holds it back, or its time is excluded."""
        return self.inhibited_by_id is not None or self.silenced_by_id is not None or self.is_excluded


class BreachEntry(models.Model):
    """One line of a breach's timeline. It stays as it was written."""

    class Kind(models.TextChoices):
        FIRED = "fired"
        TOLD = "told"
        ACKNOWLEDGED = "acknowledged"
        NOTE = "note"
        ASSIGNED = "assigned"
        ESCALATED = "escalated"
        SILENCED = "silenced"
        HEARD = "heard"  # what held it back is over
        HELD = "held"
        UNWATCHED = "unwatched"
        RESOLVED = "resolved"
        FLAPPED = "flapped"

    breach = models.ForeignKey(Breach, models.CASCADE, related_name="entries")
    at = models.DateTimeField()
    kind = models.CharField(max_length=12, choices=Kind.choices)
    by = models.CharField(max_length=150, blank=True)  # "": the console
    text = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            CheckConstraint(
                name="breach_entry_kind_is_known",
                condition=Q(kind__in=["fired", "told", "acknowledged", "note", "assigned", "escalated", "silenced", "heard",
                                      "held", "unwatched", "resolved", "flapped"]),
            ),
        ]  # fmt: skip
        indexes = [Index(fields=["breach", "-id"], name="breach_entry_newest")]


class AlertPolicy(models.Model):
    """Who is told of the breaches of a team's flows; without a team, of all that no team's own policy tells.

    Channels are ids.   steps  [{"after_minutes": 15, "channels": [3]}], rising.
    days  ISO weekdays on which tickets are told; none: always.
    removed_at  it tells of nothing since then but the end of what it told.
    """

    environment = models.ForeignKey("identity.Environment", models.PROTECT, related_name="+")
    team = models.ForeignKey("identity.Team", models.CASCADE, null=True, related_name="+")
    page_channels: models.Field[list[int], list[int]] = ArrayField(models.BigIntegerField(), default=list)
    ticket_channels: models.Field[list[int], list[int]] = ArrayField(models.BigIntegerField(), default=list)
    steps = models.JSONField(default=list)
    days: models.Field[list[int], list[int]] = ArrayField(models.PositiveSmallIntegerField(), default=list)
    from_minute = models.PositiveSmallIntegerField(default=8 * 60)
    until_minute = models.PositiveSmallIntegerField(default=18 * 60)
    time_zone = models.CharField(max_length=60, default="UTC")
    wait_s = models.PositiveIntegerField(default=30)
    repeat_minutes = models.PositiveIntegerField(default=240)
    quiet_minutes = models.PositiveIntegerField(default=30)
    removed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["environment", "team"]
        constraints = [
            UniqueConstraint(
                name="alert_policy_once_per_team",
                fields=["environment", "team"],
                nulls_distinct=False,
                condition=Q(removed_at=None),
            ),
            CheckConstraint(name="alert_policy_day_has_hours", condition=Q(from_minute__lt=F("until_minute"))),
        ]

    def __str__(self) -> str:
        name = f"policy of {self.team.name}" if self.team else "policy of everything else"
        return f"{name}, removed" if self.removed_at else name


class Telling(models.Model):
    """What one policy's people know of one breach, and when there is more to tell. See alerts.breaches.routing.

    due_at    look then; null: nothing is owed until the breach changes.
    thread    under which it was told: its own, or that of the breach it was told together with.
    channels  who was told, and hears of the end.
    step      the next one; stepped_at: when the one before was told.
    """

    breach = models.ForeignKey(Breach, models.CASCADE, related_name="tellings")
    policy = models.ForeignKey(AlertPolicy, models.CASCADE, related_name="tellings")
    due_at = models.DateTimeField(null=True)
    said = models.CharField(max_length=12, blank=True)
    thread = models.CharField(max_length=120, blank=True)
    channels: models.Field[list[int], list[int]] = ArrayField(models.BigIntegerField(), default=list)
    began_at = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True)
    step = models.PositiveSmallIntegerField(default=0)
    stepped_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            UniqueConstraint(name="telling_once_per_policy", fields=["breach", "policy"]),
            CheckConstraint(
                name="telling_said_is_known", condition=Q(said__in=["", "firing", "acknowledged", "resolved"])
            ),
            CheckConstraint(
                name="telling_has_times_once_said",
                condition=Q(said="") | Q(began_at__isnull=False, told_at__isnull=False),
            ),
        ]
        indexes = [
            Index(fields=["policy", "due_at"], name="telling_due", condition=Q(due_at__isnull=False)),
            Index(fields=["policy", "thread"], name="telling_thread", condition=Q(said__in=["firing", "acknowledged"])),
        ]


class GroupWatch(models.Model):
    """Failure groups of this class that are new, come back or grow make a breach there. since: older ones do not."""

    environment = models.ForeignKey("identity.Environment", models.CASCADE, related_name="+")
    failure_class = models.CharField(max_length=14)
    severity = models.CharField(max_length=6)
    since = models.DateTimeField()

    class Meta:
        ordering = ["environment", "failure_class"]
        constraints = [
            UniqueConstraint(name="group_watch_once_per_class", fields=["environment", "failure_class"]),
            CheckConstraint(name="group_watch_class_is_known", condition=Q(failure_class__in=list(CLASSES))),
            CheckConstraint(name="group_watch_severity_is_known", condition=Q(severity__in=SEVERITIES)),
        ]
