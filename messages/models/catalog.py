"""What an integration landscape consists of: systems, flows, the rules that find them, connections."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import models
from django.db.models import CheckConstraint, Index, Q, UniqueConstraint


class System(models.Model):
    """An application that sends or receives (`crm`, `erp`); made when an event first names it."""

    environment = models.ForeignKey("identity.Environment", models.PROTECT, related_name="systems")
    name = models.CharField(max_length=120)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [UniqueConstraint(name="system_name_once_per_environment", fields=["environment", "name"])]

    def __str__(self) -> str:
        return self.name


class Flow(models.Model):
    """One integration route that somebody owns (`orders: shop → erp`); made by itself for an unknown destination.

    A flow without a team is visible to every member of its environment, so that nothing is invisible.
    """

    class Criticality(models.TextChoices):
        LOW = "low"
        NORMAL = "normal"
        HIGH = "high"

    environment = models.ForeignKey("identity.Environment", models.PROTECT, related_name="flows")
    name = models.CharField(max_length=200)
    team = models.ForeignKey("identity.Team", models.SET_NULL, null=True, related_name="flows")
    criticality = models.CharField(max_length=6, choices=Criticality.choices, default=Criticality.NORMAL)
    runbook_url = models.URLField(blank=True)
    description = models.TextField(blank=True)
    receiver_is_idempotent = models.BooleanField(default=False)  # an interrupted replay may be sent again by itself
    replay_allowed = models.BooleanField(default=True, db_default=True)
    replay_days = models.PositiveSmallIntegerField(
        null=True
    )  # older dead letters are left out of plans; null: none is too old
    most_replays = models.PositiveSmallIntegerField(default=5, db_default=5)  # of one message, all its deaths together
    replay_rate = models.FloatField(null=True)  # most that plans send a second; null: what each plan says
    approve_above = models.PositiveIntegerField(
        null=True
    )  # larger plans need a second person; 0: every plan; null: none
    order_key = models.CharField(max_length=64, blank=True, default="", db_default="")  # its messages keep their order
    supersede_key = models.CharField(
        max_length=64, blank=True, default="", db_default=""
    )  # a newer one replaces older ones
    payload_days = models.PositiveSmallIntegerField(null=True)  # null: those of the environment's retention policy
    payload_search = models.BooleanField(default=False, db_default=False)  # an optional back end may index its bodies
    found_by_itself = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            UniqueConstraint(name="flow_name_once_per_environment", fields=["environment", "name"]),
            CheckConstraint(name="flow_criticality_is_known", condition=Q(criticality__in=["low", "normal", "high"])),
        ]

    def __str__(self) -> str:
        return self.name


class FlowRule(models.Model):
    """Destination pattern (`*` and `?`) → flow. The lowest position wins; the first match counts."""

    environment = models.ForeignKey("identity.Environment", models.CASCADE, related_name="flow_rules")
    position = models.PositiveIntegerField()
    pattern = models.CharField(max_length=200)
    flow = models.ForeignKey(Flow, models.CASCADE, related_name="rules")

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            UniqueConstraint(name="flow_rule_pattern_once_per_environment", fields=["environment", "pattern"])
        ]


class KeyRule(models.Model):
    """Attribute pattern (`order_no`, `business.*`) → business key. An empty key name takes the attribute's own."""

    environment = models.ForeignKey("identity.Environment", models.CASCADE, related_name="key_rules")
    position = models.PositiveIntegerField()
    attribute = models.CharField(max_length=200)
    key_name = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            UniqueConstraint(name="key_rule_attribute_once_per_environment", fields=["environment", "attribute"])
        ]


class Connection(models.Model):
    """How to reach a broker or endpoint. Replay goes only over connections that an administrator approved.

    name    what agents call this broker (the `broker` of a dead letter).
    secret  Fernet token; write-only: no page and no API ever returns it.
    agent   it lives with this agent, which has address and credentials and sends what the console orders; null: the console sends.
    """

    environment = models.ForeignKey("identity.Environment", models.PROTECT, related_name="connections")
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=40)  # of a Family
    agent = models.ForeignKey("identity.Agent", models.PROTECT, null=True, related_name="connections")
    agent_asked_at = models.DateTimeField(null=True)  # for orders, written at most every 10 s
    address = models.CharField(max_length=500, blank=True)  # URL without user and password; none with an agent
    username = models.CharField(max_length=200, blank=True)
    secret = models.BinaryField(default=b"")
    options = models.JSONField(default=dict)
    approved_at = models.DateTimeField(null=True)
    approved_by = models.CharField(max_length=150, blank=True)
    not_before = models.DateTimeField(null=True)  # its receiver asked to be left alone until then
    undo_not_before = models.DateTimeField(null=True)  # after trouble with a compensation others wait; replays do not
    undo_at_once = models.PositiveSmallIntegerField(default=1, db_default=1)  # workers that send compensations over it
    checked_at = models.DateTimeField(null=True)
    check_result = models.JSONField(default=list)  # [{"question", "answer", "detail"}] of the last test
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            UniqueConstraint(name="connection_name_once_per_environment", fields=["environment", "name"]),
            CheckConstraint(
                name="connection_approved_at_and_by_agree",
                condition=Q(approved_at__isnull=True, approved_by="")
                | (Q(approved_at__isnull=False) & ~Q(approved_by="")),
            ),
            CheckConstraint(
                name="connection_has_an_address_or_an_agent",
                condition=Q(agent__isnull=False, address="", username="", secret=b"")
                | (Q(agent__isnull=True) & ~Q(address="")),
            ),
            CheckConstraint(
                name="connection_undo_at_once_in_bounds", condition=Q(undo_at_once__gte=1, undo_at_once__lte=32)
            ),
        ]
        indexes = [Index(fields=["environment", "name"], name="connection_by_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def agent_is_silent(self) -> bool:
        """Whether the agent that it lives with has not asked for orders for a minute, or never."""
        if self.agent_id is None:
            return False
        return self.agent_asked_at is None or datetime.now(UTC) - self.agent_asked_at > timedelta(minutes=1)

    @property
    def held_until(self) -> datetime | None:
        """When its receiver may be sent to again; None: now."""
        return self.not_before if self.not_before and self.not_before > datetime.now(UTC) else None
