"""Failure groups: what an operator works on. Failures with one fingerprint, the rules that say which belong together, and notes."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import CheckConstraint, F, Index, Q, UniqueConstraint

from messages.groups.classes import CLASSES
from messages.groups.reference import reference_of
from messages.groups.states import STATES

NO_BREACH = 10**12  # seconds: later than any
FURTHEST_FIRST = [
    "-blast",
    "next_breach_s",
    "-id",
]  # of those that reach as far, the one whose flow has the next breach


class GroupRule(models.Model):
    """An operator's rule: what fits all of its patterns belongs together by these parts. The lowest position that fits counts.

    Patterns have `*` and `?` and do not mind the case; "" fits everything; `words` stand anywhere in the
    error, or, after "=", are the whole of it without its values.
    parts  of messages.groups.rules.PARTS; none at all makes one group of everything in a flow that fits.
    teams  ids of those that its author operated: it acts on their flows and on flows of no team. None: on every flow.
    """

    environment = models.ForeignKey("identity.Environment", models.CASCADE, related_name="group_rules")
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=120)
    flow = models.CharField(max_length=200, blank=True)
    step = models.CharField(max_length=120, blank=True)
    error_type = models.CharField(max_length=300, blank=True)
    words = models.CharField(max_length=310, blank=True)
    destination = models.CharField(max_length=300, blank=True)
    reason = models.CharField(max_length=20, blank=True)
    parts: models.Field[list[str], list[str]] = ArrayField(models.CharField(max_length=80), default=list)
    teams: models.Field[list[int] | None, list[int] | None] = ArrayField(models.IntegerField(), null=True)
    failure_class = models.CharField(max_length=14, blank=True)
    runbook_url = models.URLField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=150)

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            UniqueConstraint(name="group_rule_name_once_per_environment", fields=["environment", "name"]),
            CheckConstraint(name="group_rule_class_is_known", condition=Q(failure_class__in=["", *CLASSES])),
            CheckConstraint(
                name="group_rule_asks_for_something",
                condition=~Q(flow="", step="", error_type="", words="", destination="", reason=""),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class FailureGroup(models.Model):
    """Failures of one flow with the same fingerprint. Its reference is G-<id>.

    fingerprint  derived from environment, flow and what says why it failed (messages.groups.fingerprint), in this version of the rule.
    title        what its own failures' messages have in common, whatever it speaks for; `message` is the normal form in the fingerprint.
    merged_into  the group that speaks for this one. Nothing moves when groups are merged, so that taking it back loses nothing.
    From `letters` to `blast` are figures that messages.groups.refresh brings up to date every few seconds, for the whole of a merged group.
    """

    environment = models.ForeignKey("identity.Environment", models.PROTECT, related_name="+")
    flow = models.ForeignKey("messaging.Flow", models.PROTECT, related_name="groups")
    version = models.PositiveSmallIntegerField()
    fingerprint: models.UUIDField[UUID, UUID] = models.UUIDField()
    rule = models.ForeignKey(GroupRule, models.SET_NULL, null=True, related_name="groups")
    by_hand = models.BooleanField(default=False)  # taken out of another one by a person: rules leave it alone
    name = models.CharField(max_length=200, blank=True)
    step = models.CharField(max_length=120, blank=True)
    error_type = models.TextField(blank=True)
    message = models.TextField(blank=True)
    destination = models.TextField(blank=True)
    title = models.TextField(blank=True)
    failure_class = models.CharField(max_length=14)
    state = models.CharField(max_length=12, default="open")
    state_at = models.DateTimeField()
    owner = models.ForeignKey("identity.User", models.SET_NULL, null=True, related_name="+")
    runbook_url = models.URLField(blank=True)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    merged_into = models.ForeignKey("self", models.SET_NULL, null=True, related_name="merged")
    letters = models.IntegerField(default=0)  # that wait: open or being replayed
    replaying = models.IntegerField(default=0)
    failed = models.IntegerField(default=0)  # messages without a dead letter that failed within a day and stand so
    customers = models.IntegerField(default=0)
    documents = models.IntegerField(default=0)
    amounts = models.JSONField(default=dict)  # {"EUR": "74912.00"}; "" for a currency that nobody said
    # Of what failed some name none; an amount that cannot be read is none.
    customers_partial = models.BooleanField(default=False, db_default=False)
    documents_partial = models.BooleanField(default=False, db_default=False)
    amounts_partial = models.BooleanField(default=False, db_default=False)
    word = models.CharField(max_length=64, blank=True)  # what a document is called: order, invoice
    capped = models.BooleanField(
        default=False
    )  # more waits than was looked at: customers, documents and amounts are "at least"
    failed_capped = models.BooleanField(default=False, db_default=False)  # so is `failed`: letters are all counted
    oldest_at = models.DateTimeField(null=True)
    failed_oldest_at = models.DateTimeField(null=True)  # of the messages alone, for a letter may be being replayed
    spread = models.CharField(max_length=8, blank=True)
    spread_words = models.TextField(blank=True)
    blast = models.BigIntegerField(default=0)
    next_breach_at: datetime | None  # of its flow; set by messages.groups.breaching, no column
    next_breach_s = models.BigIntegerField(
        default=NO_BREACH, db_default=NO_BREACH
    )  # the same as it was at the last look, for the order of the list: seconds since 1970
    newest: models.UUIDField[UUID | None, UUID | None] = models.UUIDField(null=True)  # newest letter that waits
    figures_at = models.DateTimeField(null=True)
    figures_no = models.PositiveIntegerField(default=0, db_default=0)  # how often they became those of another whole

    class Meta:
        ordering = FURTHEST_FIRST
        constraints = [
            UniqueConstraint(name="failure_group_once_per_fingerprint", fields=["environment", "fingerprint"]),
            CheckConstraint(name="failure_group_state_is_known", condition=Q(state__in=list(STATES))),
            CheckConstraint(name="failure_group_class_is_known", condition=Q(failure_class__in=list(CLASSES))),
            CheckConstraint(
                name="failure_group_not_merged_into_itself",
                condition=Q(merged_into__isnull=True) | ~Q(merged_into=F("id")),
            ),
        ]
        indexes = [
            Index(fields=["environment", *FURTHEST_FIRST], name="group_by_reach", condition=Q(merged_into=None)),
        ]

    def __str__(self) -> str:
        return f"{self.reference} {self.heading}"

    @property
    def reference(self) -> str:
        return reference_of(self.pk)

    @property
    def short_type(self) -> str:
        """Return the exception's own name, without its package."""
        return self.error_type.rpartition(".")[2] or self.error_type

    @property
    def heading(self) -> str:
        """Return what the group is called: the name that people gave it, else what its failures say."""
        said = self.title or self.message
        kind = self.short_type
        return self.name or (f"{kind}: {said}" if kind and said else kind or said or "no error was reported")

    @property
    def is_least(self) -> bool:
        """Whether customers, documents or amounts may be more."""
        return self.capped or self.customers_partial or self.documents_partial or self.amounts_partial

    @property
    def waiting(self) -> int:
        """Return the letters and failed messages that stand so now."""
        return self.letters + self.failed


class GroupHour(models.Model):
    """Failures of a group per hour in which they failed; `shard` spreads concurrent writers."""

    pk = models.CompositePrimaryKey("group_id", "hour", "shard")
    group = models.ForeignKey(FailureGroup, models.CASCADE, related_name="hours", db_index=False)
    hour = models.DateTimeField()
    shard = models.SmallIntegerField()
    letters = models.IntegerField(default=0)
    messages = models.IntegerField(default=0)

    class Meta:
        indexes = [Index(fields=["hour"], name="group_hour_by_hour")]


class GroupNote(models.Model):
    """What a person wrote about a group. It stays: a later reader must know what an earlier one knew."""

    group = models.ForeignKey(FailureGroup, models.PROTECT, related_name="notes")
    at = models.DateTimeField(auto_now_add=True)
    author = models.CharField(max_length=150)
    text = models.TextField()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.text[:80]
