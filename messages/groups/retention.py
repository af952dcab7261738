"""What is let go of groups: their counts by hour. The groups stay, with their notes and history, when their letters are gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from messages.models import GroupHour

KEPT = timedelta(days=400)  # a year and a month: "was it like this last year?"


def expire_hours() -> int:
    """Delete counts of groups that are older than 400 days; return how many rows."""
    return GroupHour.objects.filter(hour__lt=datetime.now(UTC) - KEPT).delete()[0]
