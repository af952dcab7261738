"""Masking rules and how often each acted."""

from __future__ import annotations

from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint


class MaskingRule(models.Model):
    """What is replaced by ••• before it is stored. No flow: for every flow of the environment. Run from the lowest position."""

    class Kind(models.TextChoices):
        JSON_PATH = "json_path", "JSON path"
        XPATH = "xpath", "XPath"
        HEADER = "header", "header name"
        REGEX = "regex", "regular expression"

    environment = models.ForeignKey("identity.Environment", models.CASCADE, related_name="masking_rules")
    flow = models.ForeignKey("messaging.Flow", models.CASCADE, null=True, related_name="masking_rules")
    position = models.PositiveIntegerField()
    kind = models.CharField(max_length=10, choices=Kind.choices)
    expression = models.CharField(max_length=500)
    keep_last = models.PositiveSmallIntegerField(default=0)  # characters that stay at the end of what is replaced
    drop_unreadable = models.BooleanField(default=True)  # a body it cannot be applied to is not stored
    found_as = models.CharField(
        max_length=64, blank=True, default="", db_default=""
    )  # business key that its hash becomes
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=150)

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            UniqueConstraint(
                name="masking_rule_once_per_flow",
                fields=["environment", "flow", "kind", "expression"],
                nulls_distinct=False,
            ),
            CheckConstraint(
                name="masking_rule_kind_is_known", condition=Q(kind__in=["json_path", "xpath", "header", "regex"])
            ),
            CheckConstraint(name="masking_rule_keeps_at_most_8", condition=Q(keep_last__lte=8)),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.expression}"


class MaskingHit(models.Model):
    """Values that one rule replaced in one hour, and bodies that were not stored because of it; shard spreads writers.

    Without a foreign key: a batch may still count for a rule that was removed a moment ago.
    """

    rule = models.ForeignKey(MaskingRule, models.DO_NOTHING, db_constraint=False, related_name="hits")
    hour = models.DateTimeField()
    shard = models.SmallIntegerField()
    masked = models.BigIntegerField()
    dropped = models.BigIntegerField()

    class Meta:
        constraints = [UniqueConstraint(name="masking_hit_once_an_hour", fields=["rule", "hour", "shard"])]
