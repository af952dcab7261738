"""Objectives, what does not count, and the counters that they are assessed from.

Counters are of one objective: minutes (arrays of an hour), and the sums of hours and days that are folded from them, once as they are and once
without what is excluded. A row is a function of minutes and exclusions, so it may be written again at any time.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import CheckConstraint, Index, Q, UniqueConstraint

from console.core.ids import uuid7


class Objective(models.Model):
    """A promise about a flow, or about the messages that a saved search finds. `q` is its text when the promise was made."""

    class Kind(models.TextChoices):
        SUCCESS = "success"
        LATENCY = "latency"
        FRESHNESS = "freshness"
        VOLUME = "volume"
        DEAD_LETTER_AGE = "dead_letter_age"

    class Method(models.TextChoices):
        OCCURRENCES = "occurrences"
        TIMESLICES = "timeslices"
        RATIO_TIMESLICES = "ratio_timeslices"

    class Unit(models.TextChoices):
        ROLLING = "rolling"
        WEEK = "week"
        MONTH = "month"
        QUARTER = "quarter"
        YEAR = "year"

    environment = models.ForeignKey("identity.Environment", models.CASCADE, related_name="+")
    flow = models.ForeignKey("messaging.Flow", models.CASCADE, null=True, related_name="+")
    search = models.ForeignKey("messaging.SavedSearch", models.SET_NULL, null=True, related_name="+")
    q = models.TextField(blank=True, default="")
    owner = models.ForeignKey(
        "identity.User", models.SET_NULL, null=True, related_name="+"
    )  # a search is counted with their rights
    team = models.ForeignKey(
        "identity.Team", models.SET_NULL, null=True, related_name="+"
    )  # of a search: who else sees it
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True, default="")
    kind = models.CharField(max_length=15, choices=Kind.choices)
    target = models.DecimalField(max_digits=9, decimal_places=8)  # 0.995
    limit_ms = models.BigIntegerField(null=True)  # latency: processed in less than this
    limit_minutes = models.PositiveIntegerField(
        null=True
    )  # freshness and dead-letter age; volume: a period, 0 is a whole day
    recover_minutes = models.PositiveIntegerField(null=True)  # freshness: processed after that is lost, not late
    at_least = models.PositiveIntegerField(null=True)  # volume, a period: processings of a flow, messages of a search
    method = models.CharField(max_length=16, choices=Method.choices, default=Method.OCCURRENCES)
    slice_minutes = models.PositiveSmallIntegerField(default=1)
    slice_target = models.FloatField(default=0.95)
    empty_is_good = models.BooleanField(default=False)
    unit = models.CharField(max_length=7, choices=Unit.choices, default=Unit.ROLLING)
    days = models.PositiveSmallIntegerField(default=30)  # rolling
    time_zone = models.CharField(max_length=60, default="UTC")  # of the calendar's window and of working time
    work_days = ArrayField(models.SmallIntegerField(), default=list)  # volume; ISO weekdays
    from_minute = models.PositiveSmallIntegerField(default=0)
    until_minute = models.PositiveSmallIntegerField(default=1440)
    holidays = ArrayField(models.DateField(), default=list)
    pairs = ArrayField(models.CharField(max_length=12), default=list)  # names of burn.PAIRS
    guarded = models.BooleanField(default=True)  # a pair needs p·b·N bad events
    sustained = models.BooleanField(default=True)
    exhausted = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    begun_at = models.DateTimeField()  # what comes since then is counted as it comes
    fill_from = models.DateTimeField()  # history is counted back to here
    filled_since = models.DateTimeField()  # and has been back to here
    counted_to = models.DateTimeField(null=True)  # end of the last minute that was counted
    # of a search: a digest of what it meant and its owner saw when it was counted, of the names of then; "": it has not been counted yet
    meant = models.CharField(max_length=64, blank=True, default="", db_default="")
    meant_at = models.DateTimeField(null=True)
    kept_before = models.DateTimeField(
        null=True
    )  # what is older stays as it was counted when the search means something else
    step_minutes = models.PositiveSmallIntegerField(
        default=1440, db_default=1440
    )  # of a search: so many are counted by one query

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            UniqueConstraint(name="objective_name_once_per_environment", fields=["environment", "name"]),
            CheckConstraint(
                name="objective_is_of_a_flow_or_a_search",
                condition=Q(flow__isnull=False, q="") | (Q(flow__isnull=True) & ~Q(q="")),
            ),
            CheckConstraint(name="objective_target_is_a_ratio", condition=Q(target__gt=0, target__lt=1)),
            CheckConstraint(
                name="objective_kind_has_its_limit",
                condition=Q(kind="success")
                | Q(kind="latency", limit_ms__isnull=False)
                | Q(kind="freshness", limit_minutes__isnull=False, recover_minutes__isnull=False)
                | Q(kind="volume", limit_minutes__isnull=False, at_least__isnull=False)
                | Q(kind="dead_letter_age", limit_minutes__isnull=False),
            ),
            CheckConstraint(
                name="objective_method_is_known",
                condition=Q(method__in=["occurrences", "timeslices", "ratio_timeslices"]),
            ),
            CheckConstraint(
                name="objective_window_is_known", condition=Q(unit__in=["rolling", "week", "month", "quarter", "year"])
            ),
        ]
        indexes = [Index(fields=["flow"], name="objective_by_flow")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_filling(self) -> bool:
        """Whether some of the history that it needs is not counted yet."""
        return self.filled_since > self.fill_from

    @property
    def progress(self) -> float:
        """Return how much of the history that it needs is counted, 0 to 1."""
        whole = self.begun_at - self.fill_from
        return 1.0 if whole <= timedelta() else min(1.0, max(0.0, (self.begun_at - self.filled_since) / whole))


class Exclusion(models.Model):
    """Time that does not count for one objective, or for all of a flow: once, or by a rule of RFC 5545. Kept when it is withdrawn."""

    class Category(models.TextChoices):
        MAINTENANCE = "maintenance"
        PARTNER = "partner"
        DEPLOYMENT = "deployment"
        OTHER = "other"

    id: models.UUIDField[UUID, UUID] = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    environment = models.ForeignKey("identity.Environment", models.CASCADE, related_name="+")
    objective = models.ForeignKey(Objective, models.CASCADE, null=True, related_name="exclusions")
    flow = models.ForeignKey("messaging.Flow", models.CASCADE, null=True, related_name="+")
    category = models.CharField(max_length=11, choices=Category.choices)
    reason = models.CharField(max_length=500)
    starts_at = models.DateTimeField()
    minutes = models.PositiveIntegerField()
    rule = models.CharField(max_length=200, blank=True, default="")
    time_zone = models.CharField(max_length=60, default="UTC")
    made_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)
    withdrawn_at = models.DateTimeField(null=True)
    withdrawn_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        ordering = ["-id"]
        constraints = [
            CheckConstraint(
                name="exclusion_is_of_an_objective_or_a_flow",
                condition=Q(objective__isnull=False, flow__isnull=True) | Q(objective__isnull=True, flow__isnull=False),
            ),
            CheckConstraint(name="exclusion_lasts", condition=Q(minutes__gt=0)),
            CheckConstraint(
                name="exclusion_withdrawn_at_and_by_agree",
                condition=Q(withdrawn_at__isnull=True, withdrawn_by="")
                | (Q(withdrawn_at__isnull=False) & ~Q(withdrawn_by="")),
            ),
        ]
        indexes = [
            Index(fields=["objective", "-id"], name="exclusion_of_objective"),
            Index(fields=["flow", "-id"], name="exclusion_of_flow"),
        ]

    def __str__(self) -> str:
        return f"{self.get_category_display()}: {self.reason}"[:200]

    @property
    def ends_at(self) -> datetime:
        """Return when its first time ends."""
        return self.starts_at + timedelta(minutes=self.minutes)


class ObjectiveMinutes(models.Model):
    """The minutes of one hour: three arrays of 60 counts. An hour without anything has no row."""

    pk = models.CompositePrimaryKey("objective", "hour")
    objective = models.ForeignKey(Objective, models.CASCADE, related_name="+", db_index=False)
    hour = models.DateTimeField()
    good = ArrayField(models.IntegerField())
    late = ArrayField(models.IntegerField())
    lost = ArrayField(models.IntegerField())


class FoundMinutes(models.Model):
    """How many processed messages a search found in each minute of an hour, for a promise of volume: that is judged by the period."""

    pk = models.CompositePrimaryKey("objective", "hour")
    objective = models.ForeignKey(Objective, models.CASCADE, related_name="+", db_index=False)
    hour = models.DateTimeField()
    found = ArrayField(models.IntegerField())


class Uncounted(models.Model):
    """Minutes of an objective on a search that changed and are to be counted yet: its search could not be asked, or there was no time.

    since[i] <= minute < until[i], apart and oldest first.
    """

    objective = models.OneToOneField(Objective, models.CASCADE, primary_key=True, related_name="+")
    since = ArrayField(models.DateTimeField())
    until = ArrayField(models.DateTimeField())


class ObjectiveSum(models.Model):
    """What an hour (span 1) or a UTC day (span 24) adds up to; `kept_…` without what is excluded."""

    pk = models.CompositePrimaryKey("objective", "span", "at")
    objective = models.ForeignKey(Objective, models.CASCADE, related_name="+", db_index=False)
    span = models.SmallIntegerField()
    at = models.DateTimeField()
    good = models.BigIntegerField()
    late = models.BigIntegerField()
    lost = models.BigIntegerField()
    slices = models.IntegerField()
    slices_good = models.FloatField()
    kept_good = models.BigIntegerField()
    kept_late = models.BigIntegerField()
    kept_lost = models.BigIntegerField()
    kept_slices = models.IntegerField()
    kept_slices_good = models.FloatField()

    class Meta:
        constraints = [CheckConstraint(name="objective_sum_is_of_an_hour_or_a_day", condition=Q(span__in=[1, 24]))]


class Standing(models.Model):
    """How an objective stands, as the last look found it: one row each, so that lists are one query.

    good, late, lost   events of the window so far, as they came; out: of these excluded.
    attained, adjusted ratio with and without what is excluded; null when nothing was measured.
    budget, spent      in events, or in slices where time is counted; of the adjusted figures.   left: the share that is left.
    burn               over the last hour.   gone_at: when the budget is gone at this pace; null: not in this window.
    rules              [{rule, severity, long_minutes, short_minutes, at, long, short, bad, needs, holds, words}].
    """

    class State(models.TextChoices):
        FILLING = "filling"
        KEPT = "kept"
        BURNING = "burning"
        SPENT = "spent"
        NO_DATA = "no_data"

    objective = models.OneToOneField(Objective, models.CASCADE, primary_key=True, related_name="standing")
    environment = models.ForeignKey("identity.Environment", models.CASCADE, related_name="+", db_index=False)
    state = models.CharField(max_length=8, choices=State.choices, default=State.FILLING)
    state_since = models.DateTimeField()
    assessed_at = models.DateTimeField(null=True)
    since = models.DateTimeField(null=True)
    until = models.DateTimeField(null=True)
    good = models.BigIntegerField(default=0)
    late = models.BigIntegerField(default=0)
    lost = models.BigIntegerField(default=0)
    out = models.BigIntegerField(default=0)
    attained = models.FloatField(null=True)
    adjusted = models.FloatField(null=True)
    budget = models.FloatField(default=0)
    spent = models.FloatField(default=0)
    left = models.FloatField(default=1)
    burn = models.FloatField(default=0)
    gone_at = models.DateTimeField(null=True)
    severity = models.CharField(max_length=6, blank=True, default="")  # the worst one that holds
    problem = models.CharField(max_length=300, blank=True, default="")  # why there are no data
    last_event_at = models.DateTimeField(null=True)  # the newest minute with something in it
    rules = models.JSONField(default=list, encoder=DjangoJSONEncoder)

    class Meta:
        constraints = [
            CheckConstraint(
                name="standing_state_is_known",
                condition=Q(state__in=["filling", "kept", "burning", "spent", "no_data"]),
            )
        ]
        indexes = [Index(fields=["environment", "left", "objective"], name="standing_riskiest")]


class FlowAgent(models.Model):
    """An agent that brought events of a flow lately: when it falls silent, the flow's objectives have no data."""

    pk = models.CompositePrimaryKey("flow", "agent")
    flow = models.ForeignKey("messaging.Flow", models.CASCADE, related_name="+", db_index=False)
    agent = models.ForeignKey("identity.Agent", models.CASCADE, related_name="+")
    seen_at = models.DateTimeField()
