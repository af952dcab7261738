"""Which minutes of messages changed: what is counted by the minute is counted again there, and nowhere else."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models


class TouchedMinutes(models.Model):
    """The minutes in which the messages that one statement wrote were first seen; written by triggers, in its transaction.

    Rows are only added and taken away, never changed: two writers of one minute do not wait for each other.
    """

    environment = models.ForeignKey(
        "identity.Environment", models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    minutes = ArrayField(models.DateTimeField())

    class Meta:
        ordering = ["id"]
