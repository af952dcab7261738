"""Searches that people keep, what they want to be told of them, and the mails that tell it."""

from __future__ import annotations

from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import CheckConstraint, F, Index, Q, UniqueConstraint

from console.core.ids import uuid7


class SavedSearch(models.Model):
    """A query under a name: its text, read anew whenever it is used. It belongs to a person, who may share it with a team."""

    class Of(models.TextChoices):
        MESSAGES = "messages"
        DEAD_LETTERS = "dead-letters"

    environment = models.ForeignKey("identity.Environment", models.CASCADE, related_name="+")
    owner = models.ForeignKey("identity.User", models.CASCADE, related_name="+")
    team = models.ForeignKey("identity.Team", models.SET_NULL, null=True, related_name="+")  # null: the owner's alone
    of = models.CharField(max_length=12, choices=Of.choices)
    name = models.CharField(max_length=80)
    q = models.TextField()
    window = models.CharField(max_length=12, blank=True)  # a span such as 7d; empty: that of the list
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            UniqueConstraint(
                name="saved_search_name_once_per_owner_and_list", fields=["environment", "owner", "of", "name"]
            ),
            CheckConstraint(name="saved_search_list_is_known", condition=Q(of__in=["messages", "dead-letters"])),
        ]
        indexes = [Index(fields=["environment", "team"], name="saved_search_by_team")]

    def __str__(self) -> str:
        return self.name


class Subscription(models.Model):
    """A wish to be told of a saved search. The row is the queue: who moves `next_look_at` on may look, under that `attempt`.

    state  new: never looked. calm, raised: as the last look found it. broken: the query cannot be read, or takes too long
    again and again. stopped: its owner may not see the search any more.   told  the state that the owner knows of; empty before the first telling.
    """

    class When(models.TextChoices):
        MATCHES = "matches"
        SILENT = "silent"

    class State(models.TextChoices):
        NEW = "new"
        CALM = "calm"
        RAISED = "raised"
        BROKEN = "broken"
        STOPPED = "stopped"

    search = models.ForeignKey(SavedSearch, models.CASCADE, related_name="subscriptions")
    owner = models.ForeignKey("identity.User", models.CASCADE, related_name="+")
    when = models.CharField(max_length=7, choices=When.choices)
    minutes = models.PositiveIntegerField(null=True)  # silent: so many working minutes without a match
    digest_minutes = models.PositiveIntegerField(
        null=True
    )  # matches: news at most so often; null: changes of state only
    days = ArrayField(models.SmallIntegerField(), default=list)  # ISO: 1 is Monday
    from_minute = models.SmallIntegerField(default=0)  # of the local day
    until_minute = models.SmallIntegerField(default=1440)
    time_zone = models.CharField(max_length=60, default="UTC")
    created_at = models.DateTimeField(auto_now_add=True)
    state = models.CharField(max_length=7, choices=State.choices, default=State.NEW)
    state_since = models.DateTimeField()
    told = models.CharField(max_length=7, blank=True)
    told_at = models.DateTimeField(null=True)
    told_count = models.PositiveIntegerField(default=0)  # how often; numbers the occurrences
    fingerprint = models.CharField(max_length=64, blank=True)  # of what was told last: count and first rows
    count = models.PositiveIntegerField(null=True)  # of the last look, capped
    last_looked_at = models.DateTimeField(null=True)
    last_matched_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=500, blank=True)
    in_vain = models.PositiveSmallIntegerField(default=0, db_default=0)  # looks one after the other that took too long
    next_look_at = models.DateTimeField(null=True)
    attempt = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            UniqueConstraint(name="subscription_once_per_search_and_owner", fields=["search", "owner"]),
            CheckConstraint(
                name="subscription_state_is_known",
                condition=Q(state__in=["new", "calm", "raised", "broken", "stopped"]),
            ),
            CheckConstraint(
                name="subscription_is_looked_at_unless_stopped",
                condition=Q(state="stopped", next_look_at__isnull=True)
                | (~Q(state="stopped") & Q(next_look_at__isnull=False)),
            ),
            CheckConstraint(
                name="subscription_minutes_iff_silent",
                condition=Q(when="silent", minutes__gte=1, digest_minutes__isnull=True)
                | Q(when="matches", minutes__isnull=True),
            ),
            CheckConstraint(
                name="subscription_has_working_time",
                condition=Q(days__len__gte=1, from_minute__gte=0, until_minute__gt=F("from_minute"))
                & Q(until_minute__lte=1440),
            ),
        ]
        indexes = [
            Index(fields=["next_look_at"], name="subscription_due", condition=Q(next_look_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.owner_id} on {self.search_id}"


class OutboxMail(models.Model):
    """A mail that is to go, or went, or never will. `occurrence` makes a second writer of the same news meet the first.

    about  whose mail it is, such as "subscription:5".   next_try_at  null when nothing more is tried; while it is sent, its lease.
    flows  ids of the flows that its words tell of: it goes only while its receiver may see every one of them.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        SENT = "sent"
        GIVEN_UP = "given_up"

    id: models.UUIDField[UUID, UUID] = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    about = models.CharField(max_length=60)
    occurrence = models.CharField(max_length=120)
    to = models.CharField(max_length=254, blank=True)
    subject = models.CharField(max_length=200)
    body = models.TextField()
    html = models.TextField(blank=True, default="", db_default="")  # the same for who reads HTML; empty: text alone
    flows = ArrayField(models.BigIntegerField(), default=list, db_default=[])
    created_at = models.DateTimeField(auto_now_add=True)
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    attempt = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    answer = models.CharField(max_length=500, blank=True)  # what the mail server said last
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            UniqueConstraint(name="outbox_mail_once_per_occurrence", fields=["occurrence"]),
            CheckConstraint(name="outbox_mail_state_is_known", condition=Q(state__in=["waiting", "sent", "given_up"])),
            CheckConstraint(
                name="outbox_mail_is_tried_iff_waiting",
                condition=Q(state="waiting", next_try_at__isnull=False, finished_at__isnull=True)
                | (~Q(state="waiting") & Q(next_try_at__isnull=True, finished_at__isnull=False)),
            ),
        ]
        indexes = [
            Index(fields=["about", "-id"], name="outbox_mail_by_subject"),
            Index(fields=["next_try_at"], name="outbox_mail_due", condition=Q(state="waiting")),
        ]

    def __str__(self) -> str:
        return self.subject
