"""What alerts stores, by topic."""

from alerts.models.breaches import AlertPolicy, Breach, BreachEntry, GroupWatch, Silence, Telling

__all__ = ["AlertPolicy", "Breach", "BreachEntry", "GroupWatch", "Silence", "Telling"]
