"""Rules that replay by themselves what failed for a passing reason: when, how often, under which bounds."""

from __future__ import annotations

from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import CheckConstraint, F, Index, Q, UniqueConstraint

from messages.groups.classes import CLASSES


class AutomaticRule(models.Model):
    """What is replayed by itself: the letters of a failure group, or of every group of a class. Off until somebody switches it on.

    The row is the queue: who moves `next_look_at` on may look, under that `attempt` (messages.saved.due); null while it is off.
    author   under whose rights it acts: who made, changed or switched it on last. Looked up at every look.
    waits    minutes from a letter's death to its first, second, … replay; as many replays of one message, all its deaths together.
    success_percent  of what the receivers of a flow processed lately, more must have succeeded.
    why      it is on or off, in words.   waits_because  why the last look sent nothing, or not everything; "" when all that was due went.
    looked_to  the letters up to this one were looked at; the next look goes on behind it. Null: from the first one.
    """

    environment = models.ForeignKey("identity.Environment", models.CASCADE, related_name="automatic_rules")
    name = models.CharField(max_length=120)
    group = models.ForeignKey("messaging.FailureGroup", models.CASCADE, null=True, related_name="automatic_rules")
    failure_class = models.CharField(max_length=14, blank=True)
    waits: models.Field[list[int], list[int]] = ArrayField(models.PositiveIntegerField())
    success_percent = models.FloatField(default=95.0)
    per_hour = models.PositiveIntegerField(default=100)
    per_day = models.PositiveIntegerField(default=500)
    rate_per_s = models.FloatField(default=5.0)
    stop_failed_percent = models.FloatField(default=50.0)
    author = models.ForeignKey("identity.User", models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=150)

    is_on = models.BooleanField(default=False)
    switched_at = models.DateTimeField()
    switched_by = models.CharField(max_length=150)
    why = models.TextField(blank=True)
    waits_because = models.TextField(blank=True)
    looked_at = models.DateTimeField(null=True)
    looked_to: models.UUIDField[UUID | None, UUID | None] = models.UUIDField(null=True)
    next_look_at = models.DateTimeField(null=True)
    attempt = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            UniqueConstraint(name="automatic_rule_name_once_per_environment", fields=["environment", "name"]),
            CheckConstraint(
                name="automatic_rule_is_for_a_group_or_a_class",
                condition=Q(group__isnull=False, failure_class="") | (Q(group__isnull=True) & ~Q(failure_class="")),
            ),
            CheckConstraint(name="automatic_rule_class_is_known", condition=Q(failure_class__in=["", *CLASSES])),
            CheckConstraint(name="automatic_rule_tries_once_or_more", condition=Q(waits__len__gte=1)),
            CheckConstraint(
                name="automatic_rule_has_a_budget", condition=Q(per_hour__gte=1, per_day__gte=F("per_hour"))
            ),
            CheckConstraint(
                name="automatic_rule_is_looked_at_iff_on",
                condition=Q(is_on=True, next_look_at__isnull=False) | Q(is_on=False, next_look_at__isnull=True),
            ),
        ]
        indexes = [
            Index(fields=["next_look_at"], name="automatic_rule_due", condition=Q(next_look_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.name
