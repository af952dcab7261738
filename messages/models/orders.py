"""Two-way agents: the secret that an agent's orders are signed with, and the orders that were handed out."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Index, UniqueConstraint


class OrderSecret(models.Model):
    """What makes an agent one that may send replays. Shown once; without it a key of the agent fetches nothing.

    secret  Fernet token: it must be readable here, because orders are signed with it.
    """

    agent = models.OneToOneField("identity.Agent", models.CASCADE, related_name="order_secret")
    secret = models.BinaryField()
    made_at = models.DateTimeField(auto_now_add=True)
    made_by = models.CharField(max_length=150)


class ReplayOrder(models.Model):
    """One order that was handed out, kept for a day: an ask that is repeated, because its answer was lost, gets the same one."""

    agent = models.ForeignKey("identity.Agent", models.CASCADE, related_name="+", db_index=False)
    nonce = models.CharField(max_length=32)
    connection = models.ForeignKey("messaging.Connection", models.CASCADE, related_name="+", db_index=False)
    issued_at = models.DateTimeField()
    replays = ArrayField(models.UUIDField())
    attempts = ArrayField(models.PositiveIntegerField())  # of each, under which it was claimed

    class Meta:
        constraints = [UniqueConstraint(name="replay_order_once_per_nonce", fields=["agent", "nonce"])]
        indexes = [Index(fields=["issued_at"], name="replay_order_by_age")]
