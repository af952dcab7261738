"""What alerts stores, by topic."""

from alerts.models.breaches import AlertPolicy, Breach, BreachEntry, GroupWatch, Silence, Telling
from alerts.models.objectives import Exclusion, FlowAgent, Objective, ObjectiveMinutes, ObjectiveSum, Standing

__all__ = [
    "AlertPolicy",
    "Breach",
    "BreachEntry",
    "Exclusion",
    "FlowAgent",
    "GroupWatch",
    "Objective",
    "ObjectiveMinutes",
    "ObjectiveSum",
    "Silence",
    "Standing",
    "Telling",
]
