"""What REST answered to a request that carried an Idempotency-Key."""

from __future__ import annotations

from django.db import models
from django.db.models import Index, UniqueConstraint


class KeptAnswer(models.Model):
    """A request that was carried out: the same key gets the same answer for 24 hours, with another request it is refused.

    Written in the transaction of what the request did, so that either both are there or neither.
    """

    user = models.ForeignKey("identity.User", models.CASCADE, related_name="+", db_index=False)
    environment = models.ForeignKey("identity.Environment", models.CASCADE, related_name="+")
    key = models.CharField(max_length=180)
    request_sha256 = models.BinaryField(max_length=32)  # of method, address and body
    status = models.PositiveSmallIntegerField(default=0)
    answer = models.JSONField(default=dict)
    location = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            UniqueConstraint(name="kept_answer_once_per_key", fields=["user", "environment", "key"]),
        ]
        indexes = [Index(fields=["created_at"], name="kept_answer_by_age")]
