"""What a promise consists of, as the audit list keeps it when it is changed: reports tell what it was before."""

from __future__ import annotations

from typing import Any

from alerts.models import Objective
from alerts.objectives.shapes import method_of
from alerts.objectives.windows import ROLLING

TERMS = (
    "kind", "target", "limit_ms", "limit_minutes", "recover_minutes", "at_least", "method", "slice_minutes", "slice_target", "empty_is_good",
    "unit", "days", "time_zone", "work_days", "from_minute", "until_minute", "holidays",
)  # fmt: skip
OF_SLICES = ("slice_minutes", "slice_target", "empty_is_good")
OF_CALENDAR = ("work_days", "from_minute", "until_minute", "holidays")


def terms_of(one: Objective) -> dict[str, Any]:
    """Return {term: value as JSON has it} of everything that a promise is judged by; what means nothing for its kind is not there."""
    limits = ("limit_ms", "limit_minutes", "recover_minutes", "at_least")
    told = {name: value for name in limits if (value := getattr(one, name)) is not None}
    told |= {"kind": one.kind, "target": str(one.target), "window": f"{one.unit} {one.days}", "method": one.method}
    if method_of(one).counts_time:
        told |= {name: getattr(one, name) for name in OF_SLICES}
    if one.kind == Objective.Kind.VOLUME:
        told |= {name: getattr(one, name) for name in OF_CALENDAR} | {"holidays": [str(day) for day in one.holidays]}
    if one.kind == Objective.Kind.VOLUME or one.unit != ROLLING:
        told["time_zone"] = one.time_zone
    return told


def terms_that_differ(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return {"was": {…}, "now": {…}}, each with the terms that the other one has not, or has otherwise."""
    return {
        "was": {name: value for name, value in before.items() if now.get(name) != value},
        "now": {name: value for name, value in now.items() if before.get(name) != value},
    }
