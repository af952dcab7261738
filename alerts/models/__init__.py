"""What alerts stores, by topic."""

from alerts.models.objectives import Exclusion, FlowAgent, Objective, ObjectiveMinutes, ObjectiveSum, Standing

__all__ = ["Exclusion", "FlowAgent", "Objective", "ObjectiveMinutes", "ObjectiveSum", "Standing"]
